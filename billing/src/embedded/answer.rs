//! How the writer's answers get back to those who wait.
//!
//! Waking a task from a foreign thread costs a system call each. So the writer hands all answers of a batch to whoever
//! waits first, and that one passes the others on from inside the runtime, where waking costs next to nothing.

use tokio::sync::oneshot;

use super::entry::Done;
use crate::ledger::LedgerError;

/// What came of an entry, or why nothing did.
pub(super) type Outcome = Result<Done, LedgerError>;

/// Where an answer goes.
pub(super) struct Asker(oneshot::Sender<(Outcome, Batch)>);

/// The writer's answer, when it comes.
pub(super) struct Answer(oneshot::Receiver<(Outcome, Batch)>);

/// Answers on their way. They are delivered when this is dropped, so that none is lost when somebody on the way is gone.
#[derive(Default)]
pub(super) struct Batch(Vec<(Asker, Outcome)>);

/// A question and its answer.
pub(super) fn pair() -> (Asker, Answer) {
    let (asker, answer) = oneshot::channel();
    (Asker(asker), Answer(answer))
}

impl Answer {
    /// Waits for the answer.
    pub(super) async fn wait(self) -> Outcome {
        match self.0.await {
            // Dropping the others' answers delivers them.
            Ok((outcome, _others)) => outcome,
            Err(_) => Err(LedgerError::Unavailable("the ledger's writer stopped".into())),
        }
    }
}

impl Batch {
    pub(super) fn push(&mut self, asker: Asker, outcome: Outcome) {
        self.0.push((asker, outcome));
    }

    /// Gives all to the first who still waits.
    pub(super) fn pass_on(mut self) {
        while let Some((asker, outcome)) = self.0.pop() {
            let others = std::mem::take(&mut self);
            match asker.0.send((outcome, others)) {
                Ok(()) => return,
                // Whoever asked is gone; what was asked is done all the same, and the others still wait.
                Err((_, others)) => self = others,
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (asker, outcome) in self.0.drain(..) {
            let _ = asker.0.send((outcome, Self::default()));
        }
    }
}
