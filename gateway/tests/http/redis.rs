//! A Redis server of a test's own.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::free_ports;

/// A running server. It ends with the test.
pub struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// Starts one with its files in `dir`.
    pub fn start(dir: &Path) -> Self {
        let [port] = free_ports();
        let mut process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs redis-server 7 or newer (Debian package redis-server)");
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(
                process.try_wait().expect("a state").is_none(),
                "redis-server refused to start"
            );
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "redis-server did not come up"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { process, port }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
