//! One suite for all ledgers: the embedded one in a fresh folder, a real Redis server of its own, and a real Redis
//! Cluster of three masters, which takes so long to start that all facts of a file share one; and once more over TLS with
//! no more rights than needed.

/// Runs each fact of the suite on all ledgers.
macro_rules! on_all {
    ($file:ident: $($fact:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                let home = crate::home::Home::embedded();
                crate::$file::$fact(&mut crate::world::World::new(home.ledger())).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                let home = crate::home::Home::redis().await;
                crate::$file::$fact(&mut crate::world::World::new(home.ledger())).await;
            })*
        }
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn all_in_a_cluster() {
            let cluster = crate::nodes::Cluster::start(0);
            let ledger = crate::cluster::ledger(&cluster).await;
            $(
                println!(stringify!($fact));
                cluster.flush();
                crate::$file::$fact(&mut crate::world::World::new(std::sync::Arc::clone(&ledger))).await;
            )*
        }
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn all_over_tls_with_least_rights() {
            let server = crate::guarded::Guarded::start();
            let ledger = server.ledger().await;
            $(
                println!(stringify!($fact));
                server.node.ask::<()>("FLUSHALL");
                crate::$file::$fact(&mut crate::world::World::new(std::sync::Arc::clone(&ledger))).await;
            )*
        }
    };
}

mod books;
mod cluster;
mod cost;
mod facts;
mod guarded;
mod history;
mod home;
mod limits;
mod load;
mod model;
mod nodes;
mod posts;
mod restart;
mod sentinel;
mod server;
mod transfers;
mod upgrade;
mod world;

on_all!(facts:
    a_reserve_moves_available_to_held,
    a_reserve_takes_what_there_is_down_to_the_minimum,
    a_reserve_beyond_the_balance_is_refused,
    a_call_reserves_once,
    only_a_live_key_of_the_account_reserves,
    a_post_charges_and_gives_the_rest_back,
    a_post_charges_once,
    a_post_above_its_hold_moves_nothing,
    a_record_that_does_not_add_up_moves_nothing,
    a_post_for_an_unknown_account_is_refused,
    a_free_call_is_recorded,
    a_void_gives_back_once,
    a_void_of_another_account_gives_nothing,
    a_sweep_gives_back_what_expired,
    a_large_sweep_leaves_nothing_behind,
    a_renewed_hold_outlives_the_sweep,
    a_hold_renewed_during_a_sweep_stays,
    a_late_post_still_charges,
    a_post_after_a_void_still_charges,
    a_deposit_counts_once,
    a_deposit_beyond_the_maximum_is_refused,
    accounts_are_made_once_and_listed,
    keys_are_found_by_hash_and_by_account,
    a_key_is_revoked_once_and_for_all,
    a_taken_key_is_a_conflict,
    what_is_too_long_is_refused,
    what_is_unknown_is_none,
    a_thousand_reserves_at_once_never_overspend,
    many_posts_of_one_call_charge_once,
    posts_and_voids_of_one_call_settle_it_once,
    earnings_add_up_over_accounts_and_providers,
    a_ledger_in_use_answers_a_ping,
);
