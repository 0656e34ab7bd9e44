//! Opens the ledger that the settings name.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use filature_billing::{EmbeddedLedger, EmbeddedSettings, Ledger, LedgerError, RedisLedger, RedisSettings, RedisTls};

use crate::config::LedgerSettings;

/// How long a command, or a gateway that stops, may keep the embedded ledger from one that starts.
pub const HANDOVER_MAX: Duration = Duration::from_secs(3);

/// [`open`], waiting for whoever has the embedded ledger open to be done with it.
///
/// # Errors
/// As [`open`]; another process has the ledger open for longer than [`HANDOVER_MAX`].
pub async fn open_when_free(settings: &LedgerSettings) -> anyhow::Result<Arc<dyn Ledger>> {
    let began = Instant::now();
    loop {
        match open(settings).await {
            Err(error) if is_in_use(&error) && began.elapsed() < HANDOVER_MAX => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

/// Makes a data folder this process's own for as long as the file is kept: two gateways in one would each replay and delete
/// what the other journals. Waits for one that stops.
///
/// # Errors
/// When the folder cannot be written, or another gateway has it for longer than `patience`.
pub async fn own_folder(data: &Path, patience: Duration) -> anyhow::Result<File> {
    let path = data.join("gateway.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("{} could not be opened", path.display()))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < patience => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another gateway runs in the data folder {}; give each its own with --data",
                data.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).context(path.display().to_string()),
        }
    }
}

/// Whether another process has the ledger open.
#[must_use]
pub fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LedgerError::InUse(_)))
}

/// The ledger at `ledger.redis`, or the embedded one in `ledger.data`, which then belongs to this process.
///
/// # Errors
/// When Redis cannot be reached, a certificate cannot be read, or another process has the embedded ledger open.
pub async fn open(settings: &LedgerSettings) -> anyhow::Result<Arc<dyn Ledger>> {
    match &settings.redis {
        Some(url) => {
            let ledger = RedisLedger::open(url, redis_settings(settings)?).await;
            Ok(Arc::new(ledger.context("the ledger in Redis could not be opened")?))
        }
        None => {
            let ledger = EmbeddedLedger::open(&settings.data, embedded_settings(settings));
            let folder = settings.data.display();
            Ok(Arc::new(ledger.with_context(|| {
                format!("the ledger in {folder} could not be opened")
            })?))
        }
    }
}

fn embedded_settings(settings: &LedgerSettings) -> EmbeddedSettings {
    let gather_min = Duration::from_millis(settings.commit_delay_ms);
    EmbeddedSettings {
        gather_min,
        gather_max: Duration::from_millis(settings.commit_delay_max_ms).max(gather_min),
        posted_kept: Duration::from_secs(settings.posted_kept_s),
        audit_max: settings.audit_max,
        ..EmbeddedSettings::default()
    }
}

/// How the settings say that Redis is reached.
///
/// # Errors
/// When a certificate cannot be read.
pub fn redis_settings(settings: &LedgerSettings) -> anyhow::Result<RedisSettings> {
    let read = |file: &Option<String>, what: &str| {
        let read = |file: &String| std::fs::read(file).with_context(|| format!("{what} in {file} could not be read"));
        file.as_ref().map(read).transpose()
    };
    let ca = read(&settings.redis_ca_file, "the authorities of Redis' certificate")?;
    let certificate = read(&settings.redis_cert_file, "the certificate for Redis")?;
    let key = read(&settings.redis_key_file, "the key of the certificate for Redis")?;
    if certificate.is_some() != key.is_some() {
        anyhow::bail!("ledger.redis_cert_file and ledger.redis_key_file go together");
    }
    Ok(RedisSettings {
        deadline: Duration::from_millis(settings.deadline_ms),
        posted_kept: Duration::from_secs(settings.posted_kept_s),
        usage_kept: Duration::from_secs(settings.usage_kept_days.saturating_mul(86_400)),
        audit_max: settings.audit_max,
        wait_replicas: settings.redis_wait_replicas,
        tls: RedisTls {
            ca,
            client: certificate.zip(key),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_data_folder_belongs_to_one_gateway() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = own_folder(dir.path(), Duration::ZERO).await.expect("its own");
        let error = own_folder(dir.path(), Duration::ZERO)
            .await
            .expect_err("it is the first one's")
            .to_string();
        assert!(error.contains("another gateway") && error.contains("--data"), "{error}");
        drop(first);
        own_folder(dir.path(), Duration::ZERO).await.expect("free again");
    }

    #[test]
    fn certificates_are_read_from_their_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).expect("written");
            Some(path.display().to_string())
        };
        let mut settings = LedgerSettings {
            redis_ca_file: file("ca"),
            redis_cert_file: file("cert"),
            redis_wait_replicas: 2,
            ..LedgerSettings::default()
        };
        let error = redis_settings(&settings).expect_err("a key is missing").to_string();
        assert!(error.contains("redis_key_file"), "{error}");
        settings.redis_key_file = file("key");
        let found = redis_settings(&settings).expect("settings");
        assert_eq!(found.tls.ca, Some(b"ca".to_vec()));
        assert_eq!(found.tls.client, Some((b"cert".to_vec(), b"key".to_vec())));
        assert_eq!(found.wait_replicas, 2);
        settings.redis_ca_file = Some(dir.path().join("none").display().to_string());
        let error = redis_settings(&settings)
            .expect_err("there is no such file")
            .to_string();
        assert!(error.contains("none could not be read"), "{error}");
    }

    #[test]
    fn what_is_not_set_is_what_the_ledgers_do_by_themselves() {
        let settings = LedgerSettings::default();
        assert_eq!(redis_settings(&settings).expect("settings"), RedisSettings::default());
        let embedded = embedded_settings(&settings);
        let default = EmbeddedSettings::default();
        assert_eq!(
            (embedded.posted_kept, embedded.audit_max),
            (default.posted_kept, default.audit_max)
        );
    }
}
