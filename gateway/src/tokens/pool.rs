//! When it is counted: on threads of its own, with a bounded queue, and never waited for long.
//!
//! A prompt is handed in when its call is admitted and is counted while the engine works; an answer is handed in when
//! it ends. Where the queue is full, or the count is not there in time, the caller of this module falls back to the bounds by
//! bytes and says so in the record (`counted_by: "bytes"`). A count that nobody waits for any more is given up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::output::{OutputCount, OutputText};
use super::prompt::PromptText;
use super::{Counted, Tokenizer};

/// The most texts that wait to be counted.
const JOBS_MAX: usize = 4096;
/// The most bytes that wait to be counted: about six seconds of work for one thread and a `tokenizer.json` (2.8 MB/s).
const WAITING_BYTES_MAX: usize = 16 << 20;
/// The longest prompt or answer that is counted at all, in bytes: about a million tokens. It takes up to two seconds.
const JOB_BYTES_MAX: usize = 4 << 20;

/// Why there is no count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// Too much is waiting to be counted.
    #[error("too much is waiting to be counted")]
    Full,
    /// It is not counted yet.
    #[error("the count took too long")]
    Late,
    /// Media, a form nobody knows, or a text beyond all bounds.
    #[error("not a text that can be counted")]
    Unclear,
}

/// Threads that count.
#[derive(Debug, Clone)]
pub struct CountingPool {
    queue: SyncSender<Job>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// A count under way. Dropping it gives the count up.
#[derive(Debug)]
pub struct Pending<T>(Result<oneshot::Receiver<Result<T, NotCounted>>, NotCounted>);

type Job = Box<dyn FnOnce() + Send>;

impl CountingPool {
    /// Starts `threads` threads, one at least. They end when the last clone of the pool is gone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize) -> io::Result<Self> {
        Self::with_queue(threads, JOBS_MAX)
    }

    fn with_queue(threads: usize, jobs_max: usize) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(jobs_max);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = jobs.clone();
            thread::Builder::new()
                .name(format!("count-{number}"))
                .spawn(move || work(&jobs))?;
        }
        Ok(Self {
            queue,
            waiting_bytes: Arc::default(),
        })
    }

    /// Counts a prompt.
    #[must_use]
    pub fn prompt(&self, tokenizer: &Arc<Tokenizer>, prompt: PromptText) -> Pending<Counted> {
        let tokenizer = tokenizer.clone();
        self.hand_in(prompt.body.len(), move |wanted| prompt.count(&tokenizer, wanted))
    }

    /// Counts an answer.
    #[must_use]
    pub fn output(&self, tokenizer: &Arc<Tokenizer>, output: OutputText) -> Pending<OutputCount> {
        let tokenizer = tokenizer.clone();
        self.hand_in(output.bytes(), move |wanted| output.opened().count(&tokenizer, wanted))
    }

    fn hand_in<T: Send + 'static>(
        &self,
        bytes: usize,
        count: impl FnOnce(&dyn Fn() -> bool) -> Result<T, NotCounted> + Send + 'static,
    ) -> Pending<T> {
        if bytes > JOB_BYTES_MAX {
            return Pending(Err(NotCounted::Unclear));
        }
        let place = Waiting::new(self.waiting_bytes.clone(), bytes);
        if place.before > WAITING_BYTES_MAX {
            return Pending(Err(NotCounted::Full));
        }
        let (answer, pending) = oneshot::channel();
        let job: Job = Box::new(move || {
            let wanted = || !answer.is_closed();
            if !wanted() {
                return;
            }
            // A tokenizer that panics costs its call the count and nobody anything else.
            let counted = catch_unwind(AssertUnwindSafe(|| count(&wanted)));
            let counted = counted.unwrap_or_else(|_| {
                tracing::error!(bytes, "a tokenizer panicked");
                Err(NotCounted::Unclear)
            });
            drop(place);
            // Nobody may be waiting any more.
            let _ = answer.send(counted);
        });
        match self.queue.try_send(job) {
            Ok(()) => Pending(Ok(pending)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Pending(Err(NotCounted::Full)),
        }
    }
}

impl<T> Pending<T> {
    /// The count, if it is there within `wait_max`.
    ///
    /// # Errors
    /// [`NotCounted`]; then bytes have to do.
    pub async fn within(self, wait_max: Duration) -> Result<T, NotCounted> {
        match tokio::time::timeout(wait_max, self.0?).await {
            Ok(Ok(counted)) => counted,
            Ok(Err(_)) | Err(_) => Err(NotCounted::Late),
        }
    }
}

/// Takes jobs until there is nobody left to hand one in.
fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().recv();
        let Ok(job) = job else { return };
        job();
    }
}

/// Bytes that wait or are being counted, until this is dropped.
struct Waiting {
    all: Arc<AtomicUsize>,
    bytes: usize,
    /// How many waited before.
    before: usize,
}

impl Waiting {
    fn new(all: Arc<AtomicUsize>, bytes: usize) -> Self {
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        Self { all, bytes, before }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use filature_openapi::call::Endpoint;

    use super::super::samples;
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn prompt(text: &str) -> PromptText {
        PromptText {
            endpoint: Endpoint::Completions,
            body: Bytes::from(format!(r#"{{"prompt":"{text}"}}"#)),
        }
    }

    /// A job that runs until the returned sender is dropped.
    fn block(pool: &CountingPool) -> (std::sync::mpsc::Sender<()>, Pending<()>) {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (began, begun) = std::sync::mpsc::channel();
        let pending = pool.hand_in(0, move |_| {
            let _ = began.send(());
            let _ = released.recv();
            Ok(())
        });
        begun.recv().expect("it begins");
        (release, pending)
    }

    #[tokio::test]
    async fn prompts_and_answers_are_counted() {
        let pool = CountingPool::start(2).expect("starts");
        let tokenizer = Arc::new(samples::new_o200k());
        let answer = OutputText::whole(1, Bytes::from_static(br#"{"choices":[{"text":"hello world"}]}"#));
        let (asked, said) = tokio::join!(
            pool.prompt(&tokenizer, prompt("hello world")).within(LONG),
            pool.output(&tokenizer, answer).within(LONG)
        );
        assert_eq!(asked.map(|counted| counted.tokens), Ok(2));
        assert_eq!(said.map(|counted| counted.completion.tokens), Ok(2));
        assert_eq!(pool.waiting_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_full_queue_says_so_at_once() {
        let pool = CountingPool::with_queue(1, 1).expect("starts");
        let tokenizer = Arc::new(samples::new_o200k());
        let (release, _running) = block(&pool);
        let waits = pool.prompt(&tokenizer, prompt("hello"));
        let refused = pool.prompt(&tokenizer, prompt("hello"));
        assert_eq!(refused.within(LONG).await, Err(NotCounted::Full));
        drop(release);
        assert!(waits.within(LONG).await.is_ok());
    }

    #[tokio::test]
    async fn settlement_never_waits_longer_than_it_wants_to() {
        let pool = CountingPool::start(1).expect("starts");
        let tokenizer = Arc::new(samples::new_o200k());
        let (release, _running) = block(&pool);
        let late = pool
            .prompt(&tokenizer, prompt("hello"))
            .within(Duration::from_millis(20));
        assert_eq!(late.await, Err(NotCounted::Late));
        drop(release);
        assert!(pool.prompt(&tokenizer, prompt("hello")).within(LONG).await.is_ok());
        assert_eq!(pool.waiting_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn bytes_that_wait_are_bounded_too() {
        let pool = CountingPool::start(1).expect("starts");
        let tokenizer = Arc::new(samples::new_o200k());
        let huge = prompt(&"x".repeat(JOB_BYTES_MAX));
        assert_eq!(
            pool.prompt(&tokenizer, huge).within(LONG).await,
            Err(NotCounted::Unclear)
        );
        let (release, _running) = block(&pool);
        let big = prompt(&"x".repeat(JOB_BYTES_MAX - 100));
        let waiting: Vec<_> = (0..20).map(|_| pool.prompt(&tokenizer, big.clone())).collect();
        let refused = waiting
            .iter()
            .filter(|pending| matches!(pending.0, Err(NotCounted::Full)))
            .count();
        assert_eq!(refused, 20 - 5);
        drop(waiting);
        drop(release);
    }

    #[tokio::test]
    async fn a_tokenizer_that_panics_stops_no_thread() {
        let pool = CountingPool::start(1).expect("starts");
        let panics = pool.hand_in(1, |_| -> Result<(), _> { panic!("a defect") });
        assert_eq!(panics.within(LONG).await, Err(NotCounted::Unclear));
        let tokenizer = Arc::new(samples::new_o200k());
        assert!(pool.prompt(&tokenizer, prompt("hello")).within(LONG).await.is_ok());
    }
}
