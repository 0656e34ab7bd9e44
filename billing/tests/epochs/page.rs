//! The script of `docs/verify-receipt.md` says yes and no where Filature does.

use std::path::Path;
use std::process::Command;

use filature_billing::{Receipt, verify_receipt};
use serde_json::Value;

use crate::Scene;
use crate::home::Home;
use crate::world::AT_ONCE;

/// The page's block of Python.
fn script() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify-receipt.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("```python\n").expect("a block of Python");
    let (script, _) = rest.split_once("```").expect("its end");
    script.to_owned()
}

/// Runs the script; what it printed, or how it ended otherwise.
fn run(folder: &Path, receipt: &[u8], key: &str) -> Result<String, String> {
    let (program, file) = (folder.join("verify.py"), folder.join("receipt.json"));
    std::fs::write(&program, script()).expect("written");
    std::fs::write(&file, receipt).expect("written");
    let python = Command::new("python3").arg(&program).arg(&file).arg(key).output();
    let output = python.expect("this test needs python3");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn the_script_has_twenty_lines() {
    assert_eq!(script().lines().count(), 20);
}

#[tokio::test]
async fn the_script_says_yes_to_a_receipt_and_no_to_any_other() {
    let mut scene = Scene::new(Home::embedded(), 1).await;
    let world = &mut scene.world;
    for calls in [1, 2, 13] {
        world.post(calls).await;
        world.sealer(AT_ONCE).step(world.now_ms).await.expect("sealed");
    }
    let mut receipts = Vec::new();
    for call in &world.posted {
        receipts.push(world.receipt(call).await.expect("sealed"));
    }
    let (dir, key) = (tempfile::tempdir().expect("a folder"), world.key.public_hex());
    let json = |receipt: &Receipt| serde_json::to_vec_pretty(receipt).expect("json");
    for receipt in receipts.iter().step_by(3) {
        let number = receipt.inclusion.as_ref().expect("a proof").epoch.header.number;
        let said = run(dir.path(), &json(receipt), &key).expect("it verifies");
        assert_eq!(said, format!("sealed in epoch {number}\n"));
    }
    let stranger = "0".repeat(63) + "1";
    assert!(run(dir.path(), &json(&receipts[0]), &stranger).is_err());
    let whole: Value = serde_json::from_slice(&json(&receipts[9])).expect("json");
    let mut changed = 0;
    for_each_leaf(&whole, &mut Vec::new(), &mut |path, leaf| {
        changed += 1;
        // Python takes its time.
        if changed % 3 != 0 {
            return;
        }
        let mut forged = whole.clone();
        *forged.pointer_mut(path).expect("a leaf") = altered(leaf);
        let file = serde_json::to_vec(&forged).expect("json");
        assert!(verify_receipt(&file, &world.keys()).is_err(), "{path}");
        assert!(run(dir.path(), &file, &key).is_err(), "{path}");
    });
    assert!(changed > 60);
}

/// Calls `each` with every value that holds no others.
fn for_each_leaf(value: &Value, path: &mut Vec<String>, each: &mut impl FnMut(&str, &Value)) {
    let mut inside = |name: String, value: &Value| {
        path.push(name);
        for_each_leaf(value, path, each);
        path.pop();
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| inside(name.clone(), value)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(at, value)| inside(at.to_string(), value)),
        leaf => each(&format!("/{}", path.join("/")), leaf),
    }
}

/// Another value of the same kind.
fn altered(leaf: &Value) -> Value {
    match leaf {
        Value::Bool(bool) => (!bool).into(),
        Value::Number(number) => (number.as_u64().expect("a number") + 1).into(),
        Value::String(text) => {
            let last = if text.ends_with('0') { '1' } else { '0' };
            format!("{}{last}", &text[..text.len() - 1]).into()
        }
        other => panic!("{other}"),
    }
}
