//! Steps that go to a server together: while one group is on its way, those that come gather for the next. Alone, a
//! step waits for nobody.

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Where steps of type `T` gather, each to be answered with an `A`.
pub(super) struct Together<T, A> {
    waiting: Mutex<Vec<(T, oneshot::Sender<A>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl<T, A> Default for Together<T, A> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<T, A> Together<T, A> {
    /// Has `step` carried out with those that wait, `max` at a time. Whoever's turn it is calls `carry`, which answers
    /// each of its steps, in their order. `None` if whoever had the turn gave up on the way.
    pub(super) async fn join<F, Answers>(&self, step: T, max: usize, carry: F) -> Option<A>
    where
        F: Fn(Vec<T>) -> Answers,
        Answers: Future<Output = Vec<A>>,
    {
        let (tell, mut told) = oneshot::channel();
        self.waiting.lock().push((step, tell));
        loop {
            tokio::select! {
                biased;
                answer = &mut told => return answer.ok(),
                _turn = self.turn.lock() => {
                    let (steps, tells) = self.take(max);
                    for (tell, answer) in tells.into_iter().zip(carry(steps).await) {
                        // Who gave up does not care.
                        let _ = tell.send(answer);
                    }
                }
            }
        }
    }

    fn take(&self, max: usize) -> (Vec<T>, Vec<oneshot::Sender<A>>) {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(max);
        waiting.drain(..count).unzip()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_a_group_is_away_goes_with_the_next() {
        let (together, gate, groups) = (Together::default(), Semaphore::new(0), Mutex::new(vec![]));
        let calls = (0..7_u32).map(|step| {
            together.join(step, 4, async |steps: Vec<u32>| {
                gate.acquire().await.expect("open").forget();
                groups.lock().push(steps.len());
                steps.iter().map(|step| step * 10).collect()
            })
        });
        let (answers, ()) = tokio::join!(join_all(calls), async { gate.add_permits(9) });
        assert_eq!(answers, (0..7).map(|step| Some(step * 10)).collect::<Vec<_>>());
        assert_eq!(*groups.lock(), [1, 4, 2], "the first was alone when its turn came");
    }

    #[tokio::test]
    async fn who_gives_up_with_the_turn_takes_nobodys_turn_away() {
        let (together, calls) = (Together::default(), AtomicUsize::new(0));
        let carry = async |steps: Vec<u8>| {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                std::future::pending::<()>().await;
            }
            steps
        };
        let mut first = Box::pin(together.join(1, 9, carry));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(together.join(2, 9, carry));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await, Some(2));
    }
}
