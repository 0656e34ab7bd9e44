//! A real Redis server on a socket in a folder of its own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub struct Server {
    process: Child,
    dir: TempDir,
    options: Vec<String>,
}

impl Server {
    /// Starts a server that writes every command to disk before it answers.
    pub fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        Self {
            process: launch(&dir, &options),
            dir,
            options,
        }
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", socket(&self.dir).display())
    }

    /// Kills the server without a warning and starts it again on the same files.
    pub fn kill_and_restart(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
        self.process = launch(&self.dir, &self.options);
    }

    /// Sends one inline command, which must succeed.
    pub fn command(&self, command: &str) {
        let answer = ask(&socket(&self.dir), command).expect("an answer");
        assert!(answer.starts_with('+'), "{command}: {answer}");
    }

    /// Freezes the server, or lets it go on.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }
}

fn socket(dir: &TempDir) -> PathBuf {
    dir.path().join("redis.sock")
}

fn launch(dir: &TempDir, options: &[String]) -> Child {
    let socket = socket(dir);
    let mut command = Command::new("redis-server");
    command.args([
        "--port",
        "0",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--unixsocket",
    ]);
    command
        .arg(&socket)
        .arg("--dir")
        .arg(dir.path())
        .args(options)
        .stdout(Stdio::null());
    let mut process = command
        .spawn()
        .expect("this test needs redis-server 7 or newer (Debian package redis-server)");
    let started = Instant::now();
    while !answers(&socket) {
        assert!(
            process.try_wait().expect("a state").is_none(),
            "redis-server refused to start"
        );
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "redis-server did not come up"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    process
}

/// Whether the server answers a PING with something other than "still loading".
fn answers(socket: &Path) -> bool {
    ask(socket, "PING").is_ok_and(|answer| answer.starts_with("+PONG"))
}

/// Sends an inline command and reads the first line of the answer.
fn ask(socket: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{command}\r")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
