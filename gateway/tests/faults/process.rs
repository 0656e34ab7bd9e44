//! One program that runs: started with its output in a file, killed or asked to end, and never left behind.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How long a program may take to say that it is ready. Long, since builds may keep the machine busy beside the tests.
const READY_MAX: Duration = Duration::from_secs(30);

/// Takes every setting of the house out of what `command` inherits from the environment, this test's seed included.
pub fn without_settings(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("FILATURE_") {
            command.env_remove(variable);
        }
    }
}

/// A running program. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where this run's lines begin in the log.
    begins: u64,
}

impl Process {
    /// Starts `program`; its output is added to `NAME.log` in `home`.
    ///
    /// The kernel kills it when the thread that started it ends, so even a killed test leaves nothing behind: start
    /// programs on the test's own thread. No setting of the gateway or the agent is inherited from the environment.
    pub fn start(home: &Path, name: &str, program: &Path, args: &[String]) -> Self {
        let path = home.join(format!("{name}.log"));
        let log = OpenOptions::new().create(true).append(true).open(&path).expect("a log");
        let begins = log.metadata().expect("a length").len();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .current_dir(home);
        without_settings(&mut command);
        if let Some(folder) = std::env::var_os("FILATURE_REPLAYS") {
            command.env("FILATURE_REPLAYS", folder);
        }
        let also = log.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(log).stderr(also);
        let child = command
            .spawn()
            .expect("setpriv of util-linux is needed to start programs that end with the test");
        Self {
            name: name.to_owned(),
            child,
            log: path,
            begins,
        }
    }

    /// What this run printed so far.
    pub fn printed(&self) -> String {
        let mut bytes = Vec::new();
        let mut log = File::open(&self.log).expect("the log");
        log.seek(SeekFrom::Start(self.begins)).expect("a place in the log");
        log.read_to_end(&mut bytes).expect("what was printed");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has printed `text`, and returns the line.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let what = format!("{} to print `{text}`", self.name);
        wait::until(&what, READY_MAX, || {
            let ended = self.child.try_wait().expect("a state");
            let printed = self.printed();
            let line = printed.lines().find(|line| line.contains(text)).map(str::to_owned);
            assert!(
                line.is_some() || ended.is_none(),
                "{} ended before it printed `{text}`:\n{printed}",
                self.name
            );
            line
        })
    }

    /// Waits until `ready` holds; fails at once if the program ends before.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        wait::until_true(&format!("{} to be {what}", self.name), READY_MAX, || {
            if let Some(status) = self.child.try_wait().expect("a state") {
                panic!(
                    "{} ended with {status} before it was {what}:\n{}",
                    self.name,
                    self.printed()
                );
            }
            ready()
        });
    }

    /// Ends it as a crash would: SIGKILL, no word to it.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Asks it to end: SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a signal can be sent to a child");
    }

    /// Its number among the system's processes.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it to end by itself.
    pub fn wait_for_exit(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait::until(&what, patience, || self.child.try_wait().expect("a state"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let printed = self.printed();
            let lines: Vec<_> = printed.lines().collect();
            let last = &lines[lines.len().saturating_sub(12)..];
            eprintln!("--- last lines of {} ---\n{}", self.name, last.join("\n"));
        }
    }
}
