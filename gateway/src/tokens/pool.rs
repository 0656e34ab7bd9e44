//! When it is counted: on threads of its own, with a bounded queue, and never waited for long.
//!
//! A prompt is handed in when its call is admitted and is counted while the engine works; an answer is handed in when
//! it ends. Where the account has its share of the queue, or the count is not there in time, the caller of this module
//! falls back to the bounds by bytes and says so in the record (`counted_by: "bytes"`). A count that nobody waits for any
//! more is given up. Whose turn it is, is `line`'s business.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use filature_billing::AccountId;
use tokio::sync::oneshot;

use super::line::{Job, Queue};
use super::output::{OutputCount, OutputText};
use super::prompt::PromptText;
use super::{Counted, Tokenizer};

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

/// Threads that count. They end when the last clone is gone.
#[derive(Debug, Clone)]
pub struct CountingPool(Arc<Open>);

#[derive(Debug)]
struct Open(Arc<Queue>);

/// A count under way. Dropping it gives the count up.
#[derive(Debug)]
pub struct Pending<T>(Result<oneshot::Receiver<Result<T, NotCounted>>, NotCounted>);

impl CountingPool {
    /// Starts `threads` threads, one at least.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let pool = Self(Arc::new(Open(queue.clone())));
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            thread::Builder::new()
                .name(format!("count-{number}"))
                .spawn(move || while queue.work() {})?;
        }
        Ok(pool)
    }

    /// Counts a prompt of this account.
    #[must_use]
    pub fn prompt(&self, account: &AccountId, tokenizer: &Arc<Tokenizer>, prompt: PromptText) -> Pending<Counted> {
        let tokenizer = tokenizer.clone();
        self.hand_in(account, prompt.body.len(), move |wanted| {
            prompt.count(&tokenizer, wanted)
        })
    }

    /// Counts an answer for this account.
    #[must_use]
    pub fn output(&self, account: &AccountId, tokenizer: &Arc<Tokenizer>, output: OutputText) -> Pending<OutputCount> {
        let tokenizer = tokenizer.clone();
        self.hand_in(account, output.bytes(), move |wanted| {
            output.opened().count(&tokenizer, wanted)
        })
    }

    fn hand_in<T: Send + 'static>(
        &self,
        account: &AccountId,
        bytes: usize,
        count: impl FnOnce(&dyn Fn() -> bool) -> Result<T, NotCounted> + Send + 'static,
    ) -> Pending<T> {
        if bytes > JOB_BYTES_MAX {
            return Pending(Err(NotCounted::Unclear));
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
            // Nobody may be waiting any more.
            let _ = answer.send(counted);
        });
        match self.0.0.hand_in(account, bytes, job) {
            true => Pending(Ok(pending)),
            false => Pending(Err(NotCounted::Full)),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
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

    fn account(name: &str) -> AccountId {
        AccountId::parse(&format!("acct_{name}")).expect("an id")
    }

    /// A job that runs until the returned sender is dropped.
    fn block(pool: &CountingPool) -> (std::sync::mpsc::Sender<()>, Pending<()>) {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (began, begun) = std::sync::mpsc::channel();
        let pending = pool.hand_in(&account("blocker"), 0, move |_| {
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
        let (tokenizer, ada) = (Arc::new(samples::new_o200k()), account("ada"));
        let answer = OutputText::whole(1, Bytes::from_static(br#"{"choices":[{"text":"hello world"}]}"#));
        let (asked, said) = tokio::join!(
            pool.prompt(&ada, &tokenizer, prompt("hello world")).within(LONG),
            pool.output(&ada, &tokenizer, answer).within(LONG)
        );
        assert_eq!(asked.map(|counted| counted.tokens), Ok(2));
        assert_eq!(said.map(|counted| counted.completion.tokens), Ok(2));
    }

    #[tokio::test]
    async fn settlement_never_waits_longer_than_it_wants_to() {
        let pool = CountingPool::start(1).expect("starts");
        let (tokenizer, ada) = (Arc::new(samples::new_o200k()), account("ada"));
        let (release, _running) = block(&pool);
        let late = pool
            .prompt(&ada, &tokenizer, prompt("hello"))
            .within(Duration::from_millis(20));
        assert_eq!(late.await, Err(NotCounted::Late));
        drop(release);
        assert!(
            pool.prompt(&ada, &tokenizer, prompt("hello"))
                .within(LONG)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn who_fills_the_queue_bounds_their_own_calls_by_bytes_and_nobody_elses() {
        let pool = CountingPool::start(1).expect("starts");
        let tokenizer = Arc::new(samples::new_o200k());
        let (greedy, other) = (account("greedy"), account("other"));
        let huge = prompt(&"x".repeat(JOB_BYTES_MAX));
        assert_eq!(
            pool.prompt(&greedy, &tokenizer, huge).within(LONG).await,
            Err(NotCounted::Unclear)
        );
        let (release, _running) = block(&pool);
        let big = prompt(&"x".repeat(JOB_BYTES_MAX - 100));
        let waiting: Vec<_> = (0..20).map(|_| pool.prompt(&greedy, &tokenizer, big.clone())).collect();
        let refused = waiting
            .iter()
            .filter(|pending| matches!(pending.0, Err(NotCounted::Full)))
            .count();
        assert_eq!(refused, 20 - 2, "half of all bytes");
        let others = pool.prompt(&other, &tokenizer, prompt("hello"));
        // Counting them would take long, and nobody wants it any more.
        drop(waiting);
        drop(release);
        assert!(others.within(LONG).await.is_ok());
    }

    #[tokio::test]
    async fn a_tokenizer_that_panics_stops_no_thread() {
        let pool = CountingPool::start(1).expect("starts");
        let ada = account("ada");
        let panics = pool.hand_in(&ada, 1, |_| -> Result<(), _> { panic!("a defect") });
        assert_eq!(panics.within(LONG).await, Err(NotCounted::Unclear));
        let tokenizer = Arc::new(samples::new_o200k());
        assert!(
            pool.prompt(&ada, &tokenizer, prompt("hello"))
                .within(LONG)
                .await
                .is_ok()
        );
    }
}
