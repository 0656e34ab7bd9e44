//! Where a test's files are, which ports it takes, and where the programs come from.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of the test's own: logs, keys, ledgers. Kept for a look when the test fails.
pub struct Home(Option<TempDir>);

impl Home {
    pub fn new() -> Self {
        Self(Some(
            tempfile::Builder::new().prefix("faults").tempdir().expect("a folder"),
        ))
    }

    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("there until dropped").path()
    }

    /// Every log by its process' name.
    pub fn logs(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.path())
            .expect("the folder")
            .flatten()
            .map(|entry| entry.path());
        let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (
                name,
                String::from_utf8_lossy(&fs::read(&path).expect("a log")).into_owned(),
            )
        })
        .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take()
            && std::thread::panicking()
        {
            eprintln!("logs and ledger are kept in {}", dir.keep().display());
        }
    }
}

/// A built program of the workspace: the gateway's own, or one beside it.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_filature")).with_file_name(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A port nobody listens on, for a program that will be started on it again and again.
///
/// Below 32,768, where Linux does not take ports for outgoing connections (ip_local_port_range): a caller's connection
/// must not take the port of a gateway that is just being restarted.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(15_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
