//! Withdrawals, and deposits on the same wallet: after whatever fails, what was asked for was paid once or is credit again,
//! and the ledger equals the chain to the nano. On both ledgers.

/// Runs each fact on both ledgers.
macro_rules! on_both {
    ($file:ident: $($fact:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                crate::withdrawals::$file::$fact(crate::home::Home::embedded()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                crate::withdrawals::$file::$fact(crate::home::Home::redis().await).await;
            })*
        }
    };
}

mod crash;
mod faults;
mod history;
mod loss;
mod pays;
pub mod till;
