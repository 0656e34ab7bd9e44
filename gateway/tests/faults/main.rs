//! Kill tests (`make faults`): real processes are killed under load, and afterwards money adds up to the nano.
//!
//! [`stack`] is a gateway with its ledger and providers, each a process; [`caller`] makes calls and says how they ended;
//! [`load`] keeps many of them going; [`killer`] ends processes at moments drawn from a seed; [`verdict`] says which
//! endings a caller may meet and [`books`] what the ledger must then say. The tests are in [`chaos`], [`failover`] and
//! [`drain`]; those in which the ledger itself is taken away, or its journal, or its sealer, are in [`money`].
//!
//! They take minutes and need the workspace's programs and redis-server, so a plain run leaves them out:
//! `cargo build --workspace --bins && cargo nextest run --profile faults -p filature-gateway --run-ignored only`.
//! `FILATURE_SEED` repeats a run's choices; every run prints its seed.

mod attraction;
mod books;
mod caller;
mod cancel;
mod chaos;
#[path = "../epochs/contract_chain.rs"]
mod contract_chain;
mod crowd;
mod disk;
mod drain;
mod failover;
mod killer;
mod load;
mod money;
#[path = "../../../billing/tests/ledger/nodes.rs"]
#[expect(dead_code, reason = "the ledger's own tests use more of it")]
mod nodes;
mod operator;
mod overload;
mod process;
mod real;
mod rescue;
mod seed;
mod stack;
mod verdict;
mod wait;
#[path = "../epochs/wallets.rs"]
mod wallets;
