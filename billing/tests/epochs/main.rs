//! The sealer over real ledgers and real stores: what is posted is sealed once, whatever is killed and whoever else
//! seals. Every test over ledgers runs on the embedded one and on a Redis server of its own.

mod bucket;
mod crash;
mod faulty;
mod find;
mod guard;
#[path = "../ledger/home.rs"]
#[expect(dead_code, reason = "the ledger's own suite uses more of it")]
mod home;
mod page;
mod seal;
#[path = "../ledger/server.rs"]
#[expect(dead_code, reason = "the ledger's own suite uses more of it")]
mod server;
mod stores;
mod world;

use std::sync::Arc;

use filature_billing::EpochStore;
use tempfile::TempDir;

use self::home::Home;
use self::world::World;

/// A ledger, a folder of epochs, and both for as long as the test needs them.
struct Scene {
    world: World,
    folder: TempDir,
    _home: Home,
}

impl Scene {
    async fn new(home: Home, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = EpochStore::folder(folder.path()).expect("a store");
        let world = World::new(Arc::clone(&home.ledger()), store, seed).await;
        Self {
            world,
            folder,
            _home: home,
        }
    }
}

/// Runs a test on both ledgers.
macro_rules! on_both_ledgers {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::Scene::new(crate::home::Home::embedded(), 1).await).await;
            })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::Scene::new(crate::home::Home::redis().await, 1).await).await;
            })+
        }
    };
}
use on_both_ledgers;
