//! The ledger of one machine: balances and holds in memory, everything that must outlive the process on disk.
//!
//! Reserve, void, renew and sweep touch memory only, behind one short lock. Posts, deposits, accounts and keys go
//! through one writer thread, which commits what has gathered in one transaction; memory follows the disk, never leads
//! it. Holds are not on disk: a crash gives them all back.

mod answer;
mod entry;
mod holds;
mod keys;
mod leases;
mod outside;
mod reading;
mod settings;
mod state;
mod store;
mod tables;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;

use self::entry::{Done, Entry};
pub use self::settings::EmbeddedSettings;
use self::store::Store;
use self::writer::Shared;
use crate::calendar::Day;
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::ledger::{
    Account, Admission, AuditEntry, Cursor, Deposit, Deposited, Earnings, KeyUse, Ledger, LedgerError, LedgerShard,
    Posted, Reserve, ReserveError, Reserved, Swept, Totals, Uncredited, Usage, Withdraw, Withdrawal, WithdrawalStep,
    Withdrawn, check_text, days,
};
use crate::money::Nano;
use crate::record::UsageRecord;

/// All of it is one shard.
const SHARD: LedgerShard = LedgerShard(0);

/// Opens the ledger in `dir` with the default settings; see [`EmbeddedLedger::open`].
///
/// # Errors
/// Those of [`EmbeddedLedger::open`].
pub fn open_embedded(dir: &Path) -> Result<EmbeddedLedger, LedgerError> {
    EmbeddedLedger::open(dir, EmbeddedSettings::default())
}

/// The ledger of one machine, durable in a folder.
///
/// Dropping it writes what still waits and closes the folder.
pub struct EmbeddedLedger {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// One withdrawal at a time, so that one asked for twice is not weighed against what is left behind itself.
    withdrawing: tokio::sync::Mutex<()>,
}

impl EmbeddedLedger {
    /// Opens the ledger in `dir`, making the folder where there is none. It is locked until the ledger is dropped.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] if another process has it open, [`LedgerError::Unavailable`] if the disk refuses, and
    /// [`LedgerError::Damaged`] if what is there is no ledger, or one that does not add up.
    pub fn open(dir: &Path, settings: EmbeddedSettings) -> Result<Self, LedgerError> {
        Self::start(Arc::new(Shared::open(dir, settings)?))
    }

    fn start(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let writer = std::thread::Builder::new().name("ledger-writer".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_until_closed()
        });
        let writer = writer.map_err(|error| LedgerError::Unavailable(format!("no thread to write with: {error}")))?;
        Ok(Self {
            shared,
            writer: Some(writer),
            withdrawing: tokio::sync::Mutex::default(),
        })
    }
}

impl EmbeddedLedger {
    /// Takes the money for a withdrawal and writes it down. False if it was there before.
    async fn take(&self, ask: &Withdraw) -> Result<bool, LedgerError> {
        let _turn = self.withdrawing.lock().await;
        if self.withdrawal(&ask.account, &ask.id).await?.is_some() {
            return Ok(false);
        }
        self.shared.check()?;
        self.shared.state().begin_withdraw(&ask.account, ask.amount)?;
        match self.shared.enqueue(Entry::Withdraw(ask.clone())) {
            Ok(answer) => Ok(answer.wait().await?.fresh),
            Err(error) => {
                self.shared.state().finish_withdraw(&ask.account, ask.amount, false);
                Err(error)
            }
        }
    }

    /// Reads what is not in memory: from disk, which may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || read(shared.store())).await;
        done.map_err(|error| LedgerError::Unavailable(format!("the reader stopped: {error}")))?
    }
}

impl Drop for EmbeddedLedger {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the ledger's writer had panicked");
        }
    }
}

#[async_trait]
impl Ledger for EmbeddedLedger {
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, ReserveError> {
        self.shared.check()?;
        self.shared.state().reserve(reserve)
    }

    async fn post(&self, record: &UsageRecord, now_ms: u64) -> Result<Posted, LedgerError> {
        record.check()?;
        let entry = Entry::post(record, now_ms)?;
        self.shared.state().begin_post(record)?;
        let Done {
            fresh,
            charged,
            released,
        } = match self.shared.enqueue(entry) {
            Ok(answer) => answer.wait().await?,
            Err(error) => {
                self.shared.state().abandon_post(&record.account, &record.call);
                return Err(error);
            }
        };
        Ok(Posted {
            fresh,
            charged,
            released,
        })
    }

    async fn void(&self, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError> {
        Ok(self.shared.state().void(account, call))
    }

    async fn renew(&self, account: &AccountId, call: &CallId, expires_ms: u64) -> Result<bool, LedgerError> {
        Ok(self.shared.state().renew(account, call, expires_ms))
    }

    async fn sweep(&self, now_ms: u64) -> Result<Swept, LedgerError> {
        let mut swept = Swept::default();
        // A batch per turn, so that a reserve never waits for the whole of a large sweep.
        while self.shared.state().sweep_batch(now_ms, &mut swept) {
            tokio::task::yield_now().await;
        }
        Ok(swept)
    }

    async fn deposit(&self, deposit: &Deposit) -> Result<Deposited, LedgerError> {
        check_text(&deposit.id, "the id of a deposit")?;
        check_text(&deposit.note, "the note of a deposit")?;
        let done = self.shared.enqueue(Entry::Deposit(deposit.clone()))?.wait().await?;
        let account = self.shared.state().account(&deposit.account);
        let account = account.ok_or_else(|| LedgerError::UnknownAccount(deposit.account.clone()))?;
        Ok(Deposited {
            fresh: done.fresh,
            account,
        })
    }

    async fn deposits(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Deposit)>, LedgerError> {
        let account = account.clone();
        self.read(move |store| store.deposits(&account, after, max)).await
    }

    async fn withdraw(&self, ask: &Withdraw) -> Result<Withdrawn, LedgerError> {
        ask.check()?;
        let fresh = self.take(ask).await?;
        let gone = || LedgerError::UnknownAccount(ask.account.clone());
        let withdrawal = self.withdrawal(&ask.account, &ask.id).await?.ok_or_else(gone)?;
        ask.is(&withdrawal)?;
        let account = self.shared.state().account(&ask.account).ok_or_else(gone)?;
        Ok(Withdrawn {
            fresh,
            withdrawal,
            account,
        })
    }

    async fn step_withdrawal(
        &self,
        account: &AccountId,
        id: &str,
        step: &WithdrawalStep,
        now_ms: u64,
    ) -> Result<Option<Withdrawal>, LedgerError> {
        step.check()?;
        let entry = Entry::WithdrawalStep {
            account: account.clone(),
            id: id.to_owned(),
            step: step.clone(),
            now_ms,
        };
        self.shared.enqueue(entry)?.wait().await?;
        self.withdrawal(account, id).await
    }

    async fn withdrawal(&self, account: &AccountId, id: &str) -> Result<Option<Withdrawal>, LedgerError> {
        let (account, id) = (account.clone(), id.to_owned());
        self.read(move |store| store.withdrawal(&account, &id)).await
    }

    async fn withdrawals(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Withdrawal)>, LedgerError> {
        let account = account.clone();
        self.read(move |store| store.withdrawals(&account, after, max)).await
    }

    async fn open_withdrawals(&self, shard: LedgerShard, max: usize) -> Result<Vec<Withdrawal>, LedgerError> {
        if shard != SHARD {
            return Ok(vec![]);
        }
        self.read(move |store| store.open_withdrawals(max)).await
    }

    async fn bookmark(&self, reader: &str) -> Result<Option<String>, LedgerError> {
        let reader = reader.to_owned();
        self.read(move |store| store.bookmark(&reader)).await
    }

    async fn move_bookmark(
        &self,
        reader: &str,
        from: Option<&str>,
        to: &str,
        uncredited: &[Uncredited],
    ) -> Result<bool, LedgerError> {
        check_text(reader, "the name of a reader")?;
        check_text(to, "a bookmark")?;
        let entry = Entry::Bookmark {
            reader: reader.to_owned(),
            from: from.map(ToOwned::to_owned),
            to: to.to_owned(),
            uncredited: uncredited
                .iter()
                .map(|transfer| Ok((transfer.account.clone(), transfer.write()?)))
                .collect::<Result<_, LedgerError>>()?,
        };
        Ok(self.shared.enqueue(entry)?.wait().await?.fresh)
    }

    async fn uncredited(&self, after: Option<Cursor>, max: usize) -> Result<Vec<(Cursor, Uncredited)>, LedgerError> {
        self.read(move |store| store.uncredited(after, max)).await
    }

    async fn uncredited_of(&self, account: &AccountId) -> Result<Vec<Uncredited>, LedgerError> {
        let account = account.clone();
        self.read(move |store| store.uncredited_of(&account)).await
    }

    async fn create_account(&self, id: &AccountId, name: &str, now_ms: u64) -> Result<Account, LedgerError> {
        check_text(name, "the name of an account")?;
        let entry = Entry::Account {
            id: id.clone(),
            name: name.to_owned(),
            created_ms: now_ms,
        };
        self.shared.enqueue(entry)?.wait().await?;
        self.shared
            .state()
            .account(id)
            .ok_or_else(|| LedgerError::UnknownAccount(id.clone()))
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, LedgerError> {
        Ok(self.shared.state().account(id))
    }

    async fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        Ok(self.shared.state().accounts())
    }

    async fn create_key(&self, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError> {
        check_text(&key.name, "the name of a key")?;
        check_text(&key.hint, "the hint of a key")?;
        key.limits.check()?;
        self.shared
            .enqueue(Entry::Key {
                record: key.clone(),
                hash: *hash,
            })?
            .wait()
            .await?;
        Ok(())
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError> {
        Ok(self.shared.state().key_by_hash(hash))
    }

    async fn key(&self, key: &KeyId, account: Option<&AccountId>) -> Result<Option<KeyRecord>, LedgerError> {
        let found = self.shared.state().key(key);
        Ok(found.filter(|found| account.is_none_or(|account| found.account == *account)))
    }

    async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<KeyRecord>, LedgerError> {
        Ok(self.shared.state().keys(account))
    }

    async fn revoke_key(&self, key: &KeyId, now_ms: u64) -> Result<Option<KeyRecord>, LedgerError> {
        if self.shared.state().key(key).is_none() {
            return Ok(None);
        }
        self.shared
            .enqueue(Entry::Revoke {
                key: key.clone(),
                revoked_ms: now_ms,
            })?
            .wait()
            .await?;
        Ok(self.shared.state().key(key))
    }

    async fn update_key(&self, key: &KeyId, change: &KeyChange) -> Result<Option<KeyRecord>, LedgerError> {
        change.check()?;
        if self.shared.state().key(key).is_none() {
            return Ok(None);
        }
        let (key, change) = (key.clone(), change.clone());
        let update = Entry::Update {
            key: key.clone(),
            change,
        };
        self.shared.enqueue(update)?.wait().await?;
        Ok(self.shared.state().key(&key))
    }

    async fn key_use(&self, account: &AccountId, key: &KeyId, now_ms: u64) -> Result<Option<KeyUse>, LedgerError> {
        Ok(self.shared.state().key_use(account, key, now_ms))
    }

    async fn key_spent(&self, account: &AccountId, key: &KeyId) -> Result<Option<Nano>, LedgerError> {
        Ok(self.shared.state().key_spent(account, key))
    }

    async fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError> {
        let (account, call) = (account.clone(), *call);
        self.read(move |store| store.record(&account, &call)).await
    }

    fn shards(&self) -> Vec<LedgerShard> {
        vec![SHARD]
    }

    async fn unsealed(
        &self,
        shard: LedgerShard,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, UsageRecord)>, LedgerError> {
        if shard != SHARD {
            return Ok(vec![]);
        }
        self.read(move |store| store.unsealed(after, max)).await
    }

    async fn trim(&self, shard: LedgerShard, up_to: Cursor, now_ms: u64) -> Result<(), LedgerError> {
        let kept_ms = u64::try_from(self.shared.settings().posted_kept.as_millis()).unwrap_or(u64::MAX);
        let forget_before_ms = now_ms.saturating_sub(kept_ms);
        let trim = || Entry::Trim {
            up_to,
            forget_before_ms,
        };
        while shard == SHARD && self.shared.enqueue(trim())?.wait().await?.fresh {}
        Ok(())
    }

    async fn usage(&self, account: &AccountId, from: Day, to: Day) -> Result<Vec<Usage>, LedgerError> {
        let _span = days(from, to)?;
        let account = account.clone();
        self.read(move |store| store.usage(&account, from, to)).await
    }

    async fn lease(&self, name: &str, holder: &str, ttl_ms: u64, now_ms: u64) -> Result<bool, LedgerError> {
        check_text(name, "the name of a lease")?;
        check_text(holder, "the holder of a lease")?;
        self.shared.check()?;
        self.shared.state().leases.take(name, holder, ttl_ms, now_ms)
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), LedgerError> {
        entry.check()?;
        let json = serde_json::to_vec(entry).map_err(|_| LedgerError::Damaged("the entry cannot be written".into()))?;
        let entries_max = self.shared.settings().audit_max;
        self.shared.enqueue(Entry::Audit { json, entries_max })?.wait().await?;
        Ok(())
    }

    async fn audit_log(&self, after: Option<Cursor>, max: usize) -> Result<Vec<(Cursor, AuditEntry)>, LedgerError> {
        self.read(move |store| store.audit_log(after, max)).await
    }

    async fn admit(&self, provider: &ProviderId, admission: Option<Admission>) -> Result<(), LedgerError> {
        let provider = provider.clone();
        self.shared
            .enqueue(Entry::Admit { provider, admission })?
            .wait()
            .await?;
        Ok(())
    }

    async fn admission(&self, provider: &ProviderId) -> Result<Option<Admission>, LedgerError> {
        let provider = provider.clone();
        self.read(move |store| store.admission(&provider)).await
    }

    async fn admissions(&self) -> Result<Vec<(ProviderId, Admission)>, LedgerError> {
        self.read(|store| store.admissions()).await
    }

    async fn name_payout(&self, provider: &ProviderId, from: Option<&str>, to: &str) -> Result<bool, LedgerError> {
        check_text(to, "where a provider is paid")?;
        let entry = Entry::NamePayout {
            provider: provider.clone(),
            from: from.map(ToOwned::to_owned),
            to: to.to_owned(),
        };
        Ok(self.shared.enqueue(entry)?.wait().await?.fresh)
    }

    async fn payout_names(&self, providers: &[ProviderId]) -> Result<Vec<Option<String>>, LedgerError> {
        let providers = providers.to_vec();
        self.read(move |store| store.payout_names(&providers)).await
    }

    async fn earnings(&self) -> Result<Vec<Earnings>, LedgerError> {
        Ok(self.shared.state().earnings())
    }

    async fn totals(&self) -> Result<Totals, LedgerError> {
        Ok(self.shared.state().totals())
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.shared.check()
    }
}
