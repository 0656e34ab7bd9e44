//! The command line as an operator uses it: the real program, its output and its exit codes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Runs `filature` with a clean environment in `dir`.
fn run_with(dir: &Path, env: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_filature"));
    command
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .args(args);
    command.output().expect("the program starts").into()
}

fn run(dir: &Path, args: &[&str]) -> Ran {
    run_with(dir, &[], args)
}

/// Runs a command that must succeed, and returns its JSON.
fn json(dir: &Path, args: &[&str]) -> Value {
    let ran = run(dir, &[args, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    serde_json::from_str(&ran.out).expect("JSON")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn an_operator_starts_from_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let account = json(dir, &["accounts", "create", "acme"]);
    let id = text(&account, "/id");
    assert!(id.starts_with("acct_"), "{id}");
    assert_eq!(text(&account, "/name"), "acme");

    let credited = json(dir, &["accounts", "credit", id, "2.5", "--id", "invoice-7"]);
    assert_eq!(credited["account"]["available"], 2_500_000_000_u64);
    let again = run(dir, &["accounts", "credit", id, "2.5", "--id", "invoice-7"]);
    assert_eq!(again.code, 0);
    assert_eq!(
        again.err,
        "filature: credit invoice-7 was made before: nothing was added\n"
    );
    assert!(again.out.contains("available  2.500000000 TON\n"), "{}", again.out);

    let created = run(
        dir,
        &[
            "keys",
            "create",
            "--account",
            id,
            "--name",
            "laptop",
            "--expires",
            "30d",
        ],
    );
    assert_eq!(created.code, 0, "{}", created.err);
    let secret = created
        .out
        .lines()
        .find_map(|line| line.strip_prefix("api_key    "))
        .expect("the key");
    assert!(secret.starts_with("sk-fil-") && secret.len() == 50, "{secret}");
    let keys = run(dir, &["keys", "list", "--account", id]);
    assert!(
        keys.out.contains("laptop") && keys.out.contains("active"),
        "{}",
        keys.out
    );
    assert!(!keys.out.contains(secret), "a key is shown once");

    let key = json(dir, &["keys", "list"]);
    let key = text(&key, "/keys/0/id").to_owned();
    let revoked = json(dir, &["keys", "revoke", &key]);
    assert!(revoked["revoked_ms"].is_u64(), "{revoked}");
    assert!(run(dir, &["keys", "list"]).out.contains("revoked"));

    let shown = run(dir, &["accounts", "show", id]);
    assert_eq!(shown.code, 0);
    let all = run(dir, &["accounts", "show"]);
    assert!(all.out.starts_with("ACCOUNT ") && all.out.contains(id), "{}", all.out);
    let books = json(dir, &["accounts", "books"]);
    assert_eq!(
        (&books["conserved"], &books["totals"]["deposited"]),
        (&Value::Bool(true), &2_500_000_000_u64.into())
    );

    // Nothing in the folder holds the secret.
    for entry in std::fs::read_dir(dir.join("data")).expect("the folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn a_keys_limits_are_set_changed_and_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let account = json(dir, &["accounts", "create", "acme"]);
    let id = text(&account, "/id");
    let words = [
        "--requests-per-min",
        "60",
        "--tokens-per-min",
        "100000",
        "--concurrent",
        "4",
        "--budget",
        "5",
        "--budget-period",
        "month",
        "--model",
        "a",
        "--model",
        "b",
    ];
    let created = json(dir, &[&["keys", "create", "--account", id], &words[..]].concat());
    let key = text(&created, "/record/id");
    assert_eq!(
        created["record"]["limits"],
        serde_json::json!({
            "requests_per_min": 60, "tokens_per_min": 100_000, "concurrent": 4,
            "budget": {"amount": 5_000_000_000_u64, "period": "month"}, "models": ["a", "b"],
        })
    );
    let changes = [
        "--name",
        "app",
        "--budget",
        "10",
        "--tokens-per-min",
        "none",
        "--all-models",
    ];
    let updated = json(dir, &[&["keys", "update", key], &changes[..]].concat());
    assert_eq!(text(&updated, "/name"), "app");
    assert_eq!(
        updated["limits"],
        serde_json::json!({
            "requests_per_min": 60, "concurrent": 4, "budget": {"amount": 10_000_000_000_u64, "period": "month"},
        })
    );
    let shown = json(dir, &["keys", "show", key]);
    assert_eq!((&shown["record"], &shown["use"]["spent"]), (&updated, &0.into()));
    let shown = run(dir, &["keys", "show", key]).out;
    for line in [
        "requests/min  60\n",
        "budget        10.000000000 TON a month\n",
        "this month    0.000000000 TON\n",
        "requests left 60 of 60, all in 0 ms\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let nothing = run(dir, &["keys", "update", key]);
    assert_eq!(
        (nothing.code, nothing.err.as_str()),
        (2, "filature: nothing to change was given\n")
    );
    let period = run(dir, &["keys", "create", "--account", id, "--budget-period", "day"]);
    assert!(
        period.code == 2 && period.err.contains("--budget <TON>"),
        "{}",
        period.err
    );
}

#[test]
fn what_operators_did_and_what_accounts_used_is_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let account = json(dir, &["accounts", "create", "acme"]);
    let id = text(&account, "/id");
    json(dir, &["accounts", "credit", id, "1", "--id", "invoice-7"]);
    let created = json(dir, &["keys", "create", "--account", id]);
    json(dir, &["keys", "revoke", text(&created, "/record/id")]);
    let audit = json(dir, &["audit", "--last", "3"]);
    let actions: Vec<_> = (0..3)
        .map(|at| text(&audit, &format!("/entries/{at}/entry/action")))
        .collect();
    assert_eq!(actions, ["account.credit", "key.create", "key.revoke"]);
    assert!(text(&audit, "/entries/0/entry/actor").starts_with("cli:"), "{audit}");
    let shown = run(dir, &["audit"]).out;
    assert_eq!(shown.lines().count(), 5, "{shown}");
    assert!(
        shown.contains("invoice-7") && !shown.contains(text(&created, "/key")),
        "{shown}"
    );

    let used = json(dir, &["usage", id, "--from", "2026-11-01", "--to", "2026-11-30"]);
    assert_eq!(
        (text(&used, "/from"), &used["usage"]),
        ("2026-11-01", &Value::Array(Vec::new()))
    );
    let csv = run(dir, &["usage", id, "--by", "model", "--csv"]);
    assert!(
        csv.out.starts_with("model,calls,") && csv.out.lines().count() == 1,
        "{}",
        csv.out
    );
    let table = run(dir, &["usage", id]).out;
    assert!(table.starts_with("DAY ") && table.contains("total"), "{table}");
    let backwards = run(dir, &["usage", id, "--from", "2026-11-02", "--to", "2026-11-01"]);
    assert_eq!(backwards.code, 2, "{}", backwards.err);
}

#[test]
fn credit_is_withdrawn_and_given_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let account = json(dir, &["accounts", "create", "acme"]);
    let id = text(&account, "/id");
    json(dir, &["accounts", "credit", id, "5"]);
    let to = format!("0:{}", "09".repeat(32));
    let ask = |amount: &str, to: &str| ["withdrawals", "ask", id, amount, "--to", to, "--id", "w1"].map(str::to_owned);
    fn words(args: &[String]) -> Vec<&str> {
        args.iter().map(String::as_str).collect()
    }
    for _ in 0..2 {
        let asked = json(
            dir,
            &words(&ask("2", "EQAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCdgb")),
        );
        assert_eq!((text(&asked, "/state"), text(&asked, "/to")), ("asked", to.as_str()));
    }
    let shown = json(dir, &["accounts", "show", id]);
    assert_eq!(
        (&shown["available"], &shown["withdrawn"]),
        (&3_000_000_000_u64.into(), &2_000_000_000_u64.into())
    );
    let own = [
        (
            "FILATURE_SETTLEMENT_DEPOSIT_ADDRESS",
            "UQABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAZAm",
        ),
        (
            "FILATURE_SETTLEMENT_CONTRACT",
            "0:0707070707070707070707070707070707070707070707070707070707070707",
        ),
    ];
    for (amount, to, code, why) in [
        ("9", to.as_str(), 1, "nothing was withdrawn"),
        ("2", "kQAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCWOR", 2, "testnet"),
        ("2", "0QAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCT5U", 2, "testnet"),
        ("2", "hello", 2, "48 characters"),
        ("2", "UQAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCYXf", 2, "checksum"),
        (
            "2",
            "IQAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCS2Q",
            2,
            "unknown flags",
        ),
        (
            "2",
            "Ef8zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM0vF",
            2,
            "only workchain 0",
        ),
        (
            "2",
            "UQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJKZ",
            2,
            "zero address",
        ),
        (
            "2",
            "UQABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAZAm",
            2,
            "where deposits arrive",
        ),
        (
            "2",
            "0:0707070707070707070707070707070707070707070707070707070707070707",
            2,
            "account of the operator's",
        ),
        ("0", to.as_str(), 1, "above zero"),
        ("-1", to.as_str(), 2, "-1"),
        ("0.0000000001", to.as_str(), 2, "0.0000000001"),
        ("99999999999999999999", to.as_str(), 2, "99999999999999999999"),
    ] {
        let ran = run_with(dir, &own, &words(&ask(amount, to)));
        assert!(
            ran.code == code && ran.err.contains(why),
            "{to} {}: {}",
            ran.code,
            ran.err
        );
    }
    for list in [vec!["withdrawals", "list"], vec!["withdrawals", "list", id]] {
        let listed = json(dir, &list);
        assert_eq!(listed["withdrawals"].as_array().map(Vec::len), Some(1), "{listed}");
    }
    let back = ["withdrawals", "return", id, "w1", "--why", "a typo"];
    for _ in 0..2 {
        assert_eq!(text(&json(dir, &back), "/state"), "returned");
    }
    let open = json(dir, &["withdrawals", "list"]);
    assert_eq!(open["withdrawals"].as_array().map(Vec::len), Some(0));
    let books = json(dir, &["accounts", "books"]);
    assert_eq!(
        (&books["totals"]["withdrawn"], &books["conserved"]),
        (&0.into(), &true.into())
    );
    let none = run(dir, &["withdrawals", "return", id, "w9", "--why", "x"]);
    assert!(none.code == 1 && none.err.contains("no withdrawal w9"), "{}", none.err);
    let listed = json(dir, &["deposits", "uncredited"]);
    assert_eq!(listed["transfers"].as_array().map(Vec::len), Some(0));
    let trail = run(dir, &["audit"]);
    assert!(trail.out.contains("withdrawal.ask") && trail.out.contains("withdrawal.return"));
}

#[test]
fn providers_are_let_in_and_kept_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    // RFC 8032's first test vector.
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(json(dir, &["providers", "allow", key])["admission"], "allow");
    assert_eq!(json(dir, &["providers", "deny", key])["admission"], "deny");
    let listed = json(dir, &["providers", "list"]);
    assert_eq!(
        listed["providers"],
        serde_json::json!([{ "provider": key, "admission": "deny" }])
    );
    assert!(json(dir, &["providers", "forget", key])["admission"].is_null());
    assert_eq!(json(dir, &["providers", "list"])["providers"], serde_json::json!([]));
    assert_eq!(run(dir, &["providers", "deny", "nobody"]).code, 2);
    let audit = json(dir, &["audit", "--last", "1"]);
    assert_eq!(text(&audit, "/entries/0/entry/action"), "provider.forget");
    assert_eq!(text(&audit, "/entries/0/entry/subject"), key);
}

#[test]
fn a_token_of_the_admin_api_is_shown_once_and_configured_as_a_hash() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let made = json(dir, &["admin", "token", "ada"]);
    let (token, line) = (text(&made, "/token"), text(&made, "/line"));
    assert!(token.starts_with("fil-admin-") && line.starts_with("ada:"), "{made}");
    assert!(!line.contains(token) && std::fs::read_dir(dir).expect("the folder").next().is_none());
    let check = |tokens: &str| {
        let listen = ["config", "check", "--admin-listen", "127.0.0.1:9"];
        run(dir, &[&listen[..], &["--admin-tokens", tokens]].concat())
    };
    assert_eq!(check(line).code, 0);
    // The token itself, put there by mistake, is not printed.
    for (tokens, why) in [
        (token, "admin.tokens: the 1. entry is not NAME:HASH"),
        ("", "admin.listen: nobody could use it"),
    ] {
        let refused = check(tokens);
        assert!(refused.code == 2 && refused.err.contains(why), "{}", refused.err);
        assert!(tokens.is_empty() || !refused.err.contains(token), "{}", refused.err);
    }
    assert_eq!(run(dir, &["admin", "token", "a:b"]).code, 2);
}

#[test]
fn what_cannot_be_done_is_one_line_and_exit_code_1() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let nowhere = run(dir, &["accounts", "show", "--data", "typo"]);
    assert_eq!((nowhere.code, nowhere.out.as_str()), (1, ""));
    assert_eq!(
        nowhere.err,
        "filature: there is no ledger in typo: choose with --data DIR or --redis URL\n"
    );
    assert!(!dir.join("typo").exists(), "looking makes nothing");

    json(dir, &["accounts", "create", "acme"]);
    for (args, err) in [
        (
            &["accounts", "show", "acct_nobody"][..],
            "filature: nothing to show: there is no account acct_nobody\n",
        ),
        (
            &["accounts", "credit", "acct_nobody", "1"],
            "filature: nothing was credited: there is no account acct_nobody\n",
        ),
        (
            &["keys", "create", "--account", "acct_nobody"],
            "filature: no key was made: there is no account acct_nobody\n",
        ),
        (
            &["keys", "list", "--account", "acct_nobody"],
            "filature: nothing to list: there is no account acct_nobody\n",
        ),
        (
            &["keys", "revoke", "key_none"],
            "filature: nothing was revoked: there is no key key_none\n",
        ),
        (
            &["accounts", "create", ""],
            "filature: the account was not made: a name must be printable text\n",
        ),
    ] {
        let ran = run(dir, args);
        assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (1, err, ""), "{args:?}");
    }
    let redis = run(dir, &["accounts", "show", "--redis", "redis://127.0.0.1:1"]);
    assert_eq!(redis.code, 1, "{}", redis.err);
    assert_eq!(redis.err.lines().count(), 1, "{}", redis.err);
}

#[test]
fn what_is_written_wrongly_is_exit_code_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    for (args, err) in [
        (&["serve", "--listem", "x"][..], "a similar argument exists: '--listen'"),
        (&["accounts", "credit", "acct_x", "-1"], "unexpected argument '-1'"),
        (&["accounts", "credit", "acct_x", "1e3"], "is not an amount"),
        (&["accounts", "credit", "acct_x", "0.0000000001"], "at most nine digits"),
        (&["accounts", "show", "x"], "an account id"),
        (&["keys", "revoke", "sk-fil-abc"], "a key id"),
        (
            &["keys", "create", "--account", "acct_x", "--expires", "soon"],
            "neither a time from now",
        ),
        (
            &["accounts", "show", "--redis", "redis://x", "--data", "y"],
            "cannot be used with",
        ),
        (
            &["serve", "--listen", "here", "--ledger-fee-bps", "-1"],
            "the configuration has 2 problems:\n  --listen: server.listen: ",
        ),
        (
            &["serve", "--server-listen", "here"],
            "--listen: server.listen: got \"here\"; allowed: an IP address",
        ),
        (&["serve", "--config", "none.toml"], "--config: cannot read none.toml: "),
        (
            &["accounts", "show", "--redis", "http://x"],
            "--redis: ledger.redis: is no Redis URL",
        ),
    ] {
        let ran = run(dir, args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(err), "{args:?}: {}", ran.err);
    }
    let env = run_with(dir, &[("FILATURE_SERVER_LISTNE", "x")], &["accounts", "show"]);
    assert_eq!(env.code, 2);
    assert!(env.err.contains("did you mean FILATURE_SERVER_LISTEN?"), "{}", env.err);
    assert!(!dir.join("data").exists());
}

#[test]
fn help_is_no_failure_and_has_examples() {
    let dir = tempfile::tempdir().expect("a folder");
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["serve", "-h"],
        &["accounts", "--help"],
        &["keys", "--help"],
        &["config", "--help"],
        &["devnet", "--help"],
        &["contract", "--help"],
        &["claim", "--help"],
        &["contest", "--help"],
    ] {
        let ran = run(dir.path(), args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert!(ran.out.contains("Examples:\n  filature "), "{args:?}: {}", ran.out);
    }
    let all = run(dir.path(), &["serve", "--help"]).out;
    assert!(all.contains("--upstream-gap-timeout-ms <VALUE>"), "{all}");
    let few = run(dir.path(), &["serve", "-h"]).out;
    assert!(
        few.contains("--listen") && !few.contains("--upstream-gap-timeout-ms"),
        "{few}"
    );
    let version = run(dir.path(), &["--version"]);
    assert_eq!(version.out, format!("filature {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(dir.path(), &[]).code, 2, "without a command there is nothing to do");
}

#[test]
fn config_check_shows_what_holds_and_why_and_hides_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    std::fs::write(
        dir.join("f.toml"),
        "[server]\nworkers = 3\npublic_authority = \"gate.example\"\n[ledger]\nredis = \"redis://u:hush@h\"\n",
    )
    .expect("a file");
    let env = [("FILATURE_CONFIG", "f.toml"), ("FILATURE_KEYS_CACHE_MS", "5")];
    let ran = run_with(dir, &env, &["config", "check", "--listen", "[::]:9"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let line = |key: &str| {
        let line = ran
            .out
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("{key} in {}", ran.out));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("server.listen"), ["server.listen", "\"[::]:9\"", "--listen"]);
    assert_eq!(line("server.workers"), ["server.workers", "3", "f.toml:2"]);
    assert_eq!(line("keys.cache_ms"), ["keys.cache_ms", "5", "FILATURE_KEYS_CACHE_MS"]);
    assert_eq!(
        line("ledger.redis"),
        ["ledger.redis", "\"redis://u:***@h\"", "f.toml:5"]
    );
    assert_eq!(line("ledger.fee_bps"), ["ledger.fee_bps", "500", "default"]);

    std::fs::write(
        dir.join("bad.toml"),
        "[server]\nwurkers = 3\n[ledger]\nfee_bps = \"x\"\n",
    )
    .expect("a file");
    let ran = run(dir, &["config", "check", "--config", "bad.toml"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .starts_with("filature: the configuration has 2 problems:\n  bad.toml:2: server.wurkers: "),
        "{}",
        ran.err
    );
    let ran = run(dir, &["config", "check", "--config", "bad.toml", "--json"]);
    let found: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(text(&found, "/problems/1/key"), "ledger.fee_bps");

    let reference = run(dir, &["config", "reference"]);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let committed = std::fs::read_to_string(committed).expect("the committed reference");
    assert!(
        reference.code == 0 && reference.out == committed,
        "docs/config.md is not current"
    );
}

/// A running `filature serve`; killed if a test fails.
struct Gateway(Child);

impl Gateway {
    /// Starts one and waits until its admin socket is there, in place of any that a killed one left behind.
    fn start(dir: &Path) -> Self {
        let socket = |dir: &Path| Some(std::fs::metadata(dir.join("data/admin.sock")).ok()?.ino());
        let stale = socket(dir);
        let mut command = Command::new(env!("CARGO_BIN_EXE_filature"));
        command
            .current_dir(dir)
            .env_clear()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::null());
        let mut gateway = Self(command.spawn().expect("the program starts"));
        let began = Instant::now();
        while socket(dir).is_none_or(|found| Some(found) == stale) {
            assert!(began.elapsed() < Duration::from_secs(10), "no admin socket");
            assert!(gateway.0.try_wait().expect("its state").is_none(), "the gateway ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway
    }

    /// Tells it to stop and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        let id = i32::try_from(self.0.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn commands_go_through_the_gateway_that_holds_the_ledger() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let before = json(dir, &["accounts", "create", "before"]);
    let gateway = Gateway::start(dir);
    assert_eq!(
        json(dir, &["accounts", "show", text(&before, "/id")]),
        before,
        "what was there is served"
    );
    let during = json(dir, &["accounts", "create", "during"]);
    let id = text(&during, "/id");
    json(dir, &["accounts", "credit", id, "1"]);
    json(dir, &["keys", "create", "--account", id]);

    let second = run(dir, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1, "{}", second.err);
    let told = "another gateway runs in the data folder data; give each its own with --data\n";
    assert!(second.err.ends_with(told), "{}", second.err);

    assert_eq!(gateway.stop(), Some(0));
    assert!(!dir.join("data/admin.sock").exists());
    let after = json(dir, &["accounts", "show"]);
    assert_eq!(after["accounts"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        json(dir, &["keys", "list", "--account", id])["keys"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn commands_work_after_a_gateway_was_killed_and_another_took_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    json(dir, &["accounts", "create", "a"]);
    let mut gateway = Gateway::start(dir);
    gateway.0.kill().expect("it runs");
    gateway.0.wait().expect("it ends");
    assert!(
        dir.join("data/admin.sock").exists(),
        "a killed gateway leaves its socket"
    );
    assert_eq!(
        json(dir, &["accounts", "show"])["accounts"].as_array().map(Vec::len),
        Some(1)
    );
    let again = Gateway::start(dir);
    assert_eq!(
        json(dir, &["accounts", "show"])["accounts"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn a_taken_port_is_said_in_one_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let ran = run(dir.path(), &["serve", "--listen", &address, "--telemetry-log", "off"]);
    assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{}", ran.err);
    assert!(
        ran.err.starts_with(&format!("filature: cannot listen on {address}")),
        "{}",
        ran.err
    );
}

#[test]
fn a_bucket_is_not_reached_in_the_open_because_a_variable_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let list = ["epochs", "list", "--store", "s3://bucket/prefix"];
    for name in ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let env = [
            (name, "http://minio.example:9000"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let ran = run_with(dir.path(), &env, &list);
        assert_ne!(ran.code, 0, "{name}");
        assert!(
            ran.err.contains("http://minio.example:9000") && ran.err.contains("AWS_ALLOW_HTTP=true"),
            "{name}: {}",
            ran.err
        );
    }
}

#[test]
fn a_devnet_runs_alone_and_goes_on_where_it_stood() {
    use filature_billing::chain::{Address, Chain, Endpoint, Toncenter, ToncenterSettings};

    let dir = tempfile::tempdir().expect("a folder");
    let address = Address::basechain([9; 32]);
    let faucet = format!("{address}=2.5");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut seqnos = Vec::new();
    for killed in [true, false] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filature"));
        command
            .current_dir(dir.path())
            .env_clear()
            .args([
                "devnet",
                "--listen",
                "127.0.0.1:0",
                "--data",
                "chain",
                "--faucet",
                &faucet,
                "--json",
            ])
            .stdout(Stdio::piped());
        let mut devnet = Gateway(command.spawn().expect("the program starts"));
        let out = devnet.0.stdout.take().expect("its output");
        let mut read = serde_json::Deserializer::from_reader(out).into_iter::<Value>();
        let running = read.next().expect("an answer").expect("JSON");
        assert_eq!(text(&running, "/accounts/0/balance"), "2500000000");
        let endpoint = Endpoint::parse(text(&running, "/endpoint"), None).expect("an endpoint");
        let chain = Toncenter::new(ToncenterSettings::new(vec![endpoint])).expect("a client");
        let (state, head) = runtime.block_on(async { (chain.account(address).await, chain.head().await) });
        assert_eq!(state.expect("an account").balance.get(), 2_500_000_000);
        seqnos.push(head.expect("a head").seqno);
        if !killed {
            assert_eq!(devnet.stop(), Some(0));
        }
    }
    assert!(seqnos[0] <= seqnos[1], "{seqnos:?}");
    let wrong = run(dir.path(), &["devnet", "--faucet", "nobody=1"]);
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    assert!(wrong.err.contains("an address is 48 characters"), "{}", wrong.err);
}
