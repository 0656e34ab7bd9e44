use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::super::{AccountStatus, PAGE_MAX};
use super::*;
use crate::money::Nano;

/// The chain's time from block to block.
const BLOCK: Duration = Duration::from_millis(60);

/// What a member does.
#[derive(Clone, Default)]
struct Says {
    head: Option<Head>,
    /// Its account is as it was so long ago, and changes with each [`BLOCK`]; of another chain where it is `false`.
    lag: Option<(Duration, bool)>,
    takes: Option<Result<(), ChainError>>,
    tells: Option<ChainError>,
    /// Before it answers.
    after: Duration,
}

struct Member {
    says: Says,
    began: Instant,
    sent: AtomicUsize,
}

impl Member {
    async fn answer<T>(&self, answer: Option<T>) -> Result<T, ChainError> {
        sleep(self.says.after).await;
        answer.ok_or_else(down)
    }
}

fn down() -> ChainError {
    ChainError::Unavailable("down".into())
}

fn damaged() -> ChainError {
    ChainError::Damaged("a gap".into())
}

fn refused(exit_code: i32) -> ChainError {
    ChainError::Refused {
        exit_code: Some(exit_code),
        reason: "no".into(),
    }
}

#[async_trait::async_trait]
impl Chain for Member {
    async fn head(&self) -> Result<Head, ChainError> {
        self.answer(self.says.head).await
    }

    async fn send(&self, _message: &[u8]) -> Result<Hash, ChainError> {
        let taken = self.answer(self.says.takes.clone()).await?;
        self.sent.fetch_add(1, Ordering::SeqCst);
        taken.map(|()| Hash::of(b"taken"))
    }

    async fn account(&self, address: Address) -> Result<AccountState, ChainError> {
        let state = self.says.lag.map(|(lag, true_one)| {
            let now = self.began.elapsed() + 100 * BLOCK - lag;
            let blocks = u64::try_from(now.as_millis() / BLOCK.as_millis()).expect("blocks");
            AccountState {
                address,
                balance: Nano::saturating(blocks).into(),
                status: AccountStatus::Active,
                code_hash: None,
                data: None,
                last: Position {
                    lt: blocks,
                    hash: Hash::of(&[u8::from(true_one)]),
                },
            }
        });
        self.answer(state).await
    }

    async fn transactions(&self, _: Address, _: Position, _: usize) -> Result<Vec<Transaction>, ChainError> {
        match &self.says.tells {
            Some(error) => Err(error.clone()),
            None => Ok(Vec::new()),
        }
    }

    async fn get(&self, _: Address, _: &str, _: &[Value]) -> Result<Vec<Value>, ChainError> {
        Err(down())
    }
}

fn quorum(needed: usize, members: &[Says]) -> (Quorum, Vec<Arc<Member>>) {
    let members = members.iter().map(|says| {
        Arc::new(Member {
            says: says.clone(),
            began: Instant::now(),
            sent: AtomicUsize::new(0),
        })
    });
    let members: Vec<_> = members.collect();
    let asked = members.iter().map(|one| Arc::clone(one) as Arc<dyn Chain>).collect();
    let mut quorum = Quorum::new(asked, needed);
    (quorum.again, quorum.patience) = (BLOCK / 12, 10 * BLOCK);
    (quorum, members)
}

fn at(seqno: u32, time: u32, after_ms: u64) -> Says {
    Says {
        head: Some(Head { seqno, time }),
        after: Duration::from_millis(after_ms),
        ..Says::default()
    }
}

fn account() -> Address {
    Address::basechain([7; 32])
}

#[tokio::test]
async fn no_single_clock_counts_that_stands_still_or_runs_ahead() {
    let honest = |after_ms| at(100, 50_000, after_ms);
    let behind = |after_ms| at(99, 49_990, after_ms);
    let (ahead, late) = (at(1, u32::MAX, 0), at(1, 10, 0));
    for (members, needed, told) in [
        (vec![ahead.clone(), honest(5)], 2, (1, 50_000)),
        (vec![ahead.clone(), honest(5), behind(9)], 2, (99, 50_000)),
        (vec![late.clone(), honest(5), behind(9)], 2, (99, 49_990)),
        // Two that are at about the same time are believed before a third has answered.
        (vec![honest(5), behind(9), at(100, 50_000, 3_600_000)], 2, (99, 49_990)),
        // One that is down is not waited for in vain.
        (vec![late.clone(), honest(5), Says::default()], 2, (1, 10)),
        (vec![honest(0), at(1, u32::MAX, 3_600_000)], 1, (100, 50_000)),
    ] {
        let head = quorum(needed, &members).0.head().await.expect("a head");
        assert_eq!((head.seqno, head.time), told, "{needed} of {}", members.len());
    }
    let (alone, _) = quorum(2, &[honest(5), Says::default()]);
    assert_eq!(alone.head().await, Err(down()));
}

#[tokio::test]
async fn an_account_that_changes_with_each_block_is_agreed_on() {
    let lags = |blocks: u32| Says {
        lag: Some((blocks * BLOCK + BLOCK / 2, true)),
        ..Says::default()
    };
    let liar = Says {
        lag: Some((Duration::ZERO, false)),
        ..Says::default()
    };
    for members in [[lags(0), lags(2)], [lags(4), lags(1)]] {
        let state = quorum(2, &members).0.account(account()).await.expect("a state");
        assert_eq!(state.last.hash, Hash::of(&[1]));
    }
    let (quorum, _) = quorum(2, &[liar.clone(), lags(2), lags(0)]);
    assert_eq!(
        quorum.account(account()).await.expect("a state").last.hash,
        Hash::of(&[1])
    );
    let (quorum, _) = super::tests::quorum(2, &[liar, lags(0)]);
    let told = quorum.account(account()).await;
    assert!(matches!(told, Err(ChainError::Unavailable(_))), "{told:?}");
    let (quorum, _) = super::tests::quorum(2, &[lags(0), Says::default()]);
    assert_eq!(
        quorum.account(account()).await,
        Err(down()),
        "who is down does not come to it later"
    );
}

#[tokio::test]
async fn what_is_sent_reaches_the_slow_too() {
    let takes = |after_ms| Says {
        takes: Some(Ok(())),
        after: Duration::from_millis(after_ms),
        ..Says::default()
    };
    let (quorum, members) = quorum(1, &[takes(0), takes(50)]);
    quorum.send(b"message").await.expect("taken");
    let sent = || members.iter().map(|one| one.sent.load(Ordering::SeqCst)).sum::<usize>();
    assert_eq!(sent(), 1);
    let both = async {
        while sent() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), both)
        .await
        .expect("it reaches the slow one");
}

#[tokio::test]
async fn enough_who_refuse_a_message_count_before_one_who_cannot_say() {
    let refuses = Says {
        takes: Some(Err(refused(133))),
        ..Says::default()
    };
    let (enough, _) = quorum(2, &[Says::default(), refuses.clone(), refuses.clone()]);
    assert_eq!(enough.send(b"message").await, Err(refused(133)));
    let (too_few, _) = quorum(2, &[Says::default(), refuses]);
    assert_eq!(too_few.send(b"message").await, Err(down()));
}

#[tokio::test]
async fn that_a_history_cannot_be_right_is_said_by_enough() {
    let tells = |error: Option<ChainError>| Says {
        tells: error,
        ..Says::default()
    };
    let told = async |members: &[Says]| {
        let (quorum, _) = quorum(2, members);
        quorum.transactions(account(), Position::START, PAGE_MAX).await.err()
    };
    let [wrong, down, well] = [Some(damaged()), Some(down()), None].map(tells);
    assert_eq!(
        told(&[wrong.clone(), wrong.clone(), down.clone()]).await,
        Some(damaged())
    );
    assert_eq!(told(&[wrong.clone(), well.clone(), well.clone()]).await, None);
    for members in [[wrong.clone(), well], [wrong, down]] {
        let error = told(&members).await;
        assert!(matches!(error, Some(ChainError::Unavailable(_))), "{error:?}");
    }
}
