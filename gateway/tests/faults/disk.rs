//! How long the disk takes to keep its word, measured beside a test: what is not durable yet is lost with its gateway.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(50);

/// A thread that writes and syncs a small file again and again, next to the ledger.
pub struct Disk {
    slowest_us: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts measuring in `folder`.
    pub fn watch(folder: &Path) -> Self {
        let mut file = File::create(folder.join("disk.probe")).expect("a file");
        let (slowest_us, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (slowest, over) = (slowest_us.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_all(b"probe")
                    .and_then(|()| file.sync_data())
                    .expect("written");
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                slowest.fetch_max(took, Ordering::Relaxed);
                std::thread::park_timeout(EVERY);
            }
        });
        Self {
            slowest_us,
            is_over,
            thread: Some(thread),
        }
    }

    /// The slowest write so far.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.load(Ordering::Relaxed))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Whether it panicked is seen on its output.
            let _ = thread.join();
        }
    }
}
