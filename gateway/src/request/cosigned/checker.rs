//! Where signatures are checked: on one thread, those together that come within a moment. A check takes some 40 µs, too
//! long for a thread that serves calls, and changing threads for each would take as much again.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// How long the first waits for others.
const GATHER: Duration = Duration::from_millis(1);
/// The most that wait; whoever comes then waits to get in line.
const WAITING_MAX: usize = 4096;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that checks. It ends when the last clone is gone.
#[derive(Clone)]
pub struct Checker(mpsc::Sender<Job>);

impl Checker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        thread::Builder::new()
            .name("signatures".to_owned())
            .spawn(move || work(waiting))?;
        Ok(Self(jobs))
    }

    /// What `check` says. `None` if it panicked, as it never should.
    pub async fn check<T: Send + 'static>(&self, check: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Who gave up does not care.
            let _ = tell.send(check());
        });
        self.0.send(job).await.ok()?;
        told.await.ok()
    }
}

fn work(mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        thread::sleep(GATHER);
        run(first);
        while let Ok(next) = waiting.try_recv() {
            run(next);
        }
    }
}

fn run(job: Job) {
    // One that panics takes its own answer with it and no other's.
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        tracing::error!("the check of a signature panicked");
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn each_gets_its_own_answer() {
        let checker = Checker::start().expect("starts");
        let answers = join_all((0..100_u32).map(|number| checker.check(move || number * 2))).await;
        assert_eq!(answers, (0..100).map(|number| Some(number * 2)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn one_that_panics_takes_no_other_with_it() {
        let checker = Checker::start().expect("starts");
        let (broken, whole) = tokio::join!(checker.check(|| panic!("a defect")), checker.check(|| 1));
        let broken: Option<()> = broken;
        assert_eq!((broken, whole), (None, Some(1)));
    }
}
