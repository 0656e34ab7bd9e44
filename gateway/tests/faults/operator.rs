//! What an operator does by hand: accounts, credit, keys and the books, through the command line.

use std::path::PathBuf;
use std::process::Command;

use filature_billing::{Account, AccountId};
use filature_gateway::admin::{Books, CreatedKey, Credited};
use serde::de::DeserializeOwned;

use crate::process::without_settings;

/// The program `filature` against one ledger.
pub struct Operator {
    pub program: PathBuf,
    /// `--data DIR` or `--redis URL`.
    pub ledger: Vec<String>,
}

impl Operator {
    /// An account with `ton` of credit, an API key of it, and that key's id.
    pub fn customer(&self, ton: &str) -> (AccountId, String, String) {
        let account: Account = self.run(&["accounts", "create", "under fire"]);
        let id = account.id.to_string();
        let credited: Credited = self.run(&["accounts", "credit", &id, ton, "--id", "once"]);
        assert!(credited.fresh);
        let again: Credited = self.run(&["accounts", "credit", &id, ton, "--id", "once"]);
        assert!(
            !again.fresh && again.account.deposited == credited.account.deposited,
            "a credit counts once"
        );
        let key: CreatedKey = self.run(&["keys", "create", "--account", &id, "--name", "faults"]);
        (account.id, key.key, key.record.id.to_string())
    }

    /// One account's balances.
    pub fn account(&self, id: &AccountId) -> Account {
        self.run(&["accounts", "show", &id.to_string()])
    }

    /// The sums over everything.
    pub fn books(&self) -> Books {
        self.run(&["accounts", "books"])
    }

    fn run<A: DeserializeOwned>(&self, words: &[&str]) -> A {
        let mut command = Command::new(&self.program);
        command.args(words).args(&self.ledger).arg("--json");
        without_settings(&mut command);
        let done = command.output().expect("filature runs");
        let (out, error) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        assert!(done.status.success(), "filature {words:?} failed: {error}");
        serde_json::from_str(&out).unwrap_or_else(|wrong| panic!("filature {words:?} printed {out}: {wrong}"))
    }
}
