//! Step 1, who: from the `Authorization` header to the caller.
//!
//! A key's hash names its account for ever, so a known key costs no look-up on a call's path: whether the key is
//! still good is checked by the ledger in the same step that reserves the money. The models it may use are the
//! gateway's to check: a record older than `keys.cache_ms` is read anew while the ledger reserves. Read-only routes
//! look at the key itself, at most that old.

use std::collections::HashMap;
use std::time::Duration;

use filature_billing::{KeyHash, KeyRecord, LedgerError};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::RwLock;
use std::sync::Arc;

use crate::app::App;
use crate::clock::now_ms;
use crate::reject::Reject;

const MISSING: &str = "No API key was given.";
const MALFORMED: &str = "The Authorization header is not `Bearer` and a key.";
const UNKNOWN: &str = "This API key is not known.";
/// Told when the ledger or the cache says that the key was revoked.
pub const REVOKED: &str = "This API key has been revoked.";
/// Told when the ledger or the cache says that the key has expired.
pub const EXPIRED: &str = "This API key has expired.";

/// Keys seen lately, good and bad. Bounded: when full, what is stale goes first, then everything.
pub struct KeyCache {
    entries: RwLock<HashMap<KeyHash, Entry>>,
    entries_max: usize,
    fresh_for: Duration,
}

#[derive(Clone)]
struct Entry {
    key: Option<Arc<KeyRecord>>,
    looked_up_ms: u64,
}

impl KeyCache {
    /// A cache of at most `entries_max` keys, each fresh for `fresh_for`.
    #[must_use]
    pub fn new(entries_max: usize, fresh_for: Duration) -> Self {
        Self {
            entries: RwLock::new(HashMap::new()),
            entries_max,
            fresh_for,
        }
    }

    fn get(&self, hash: &KeyHash) -> Option<Entry> {
        self.entries.read().get(hash).cloned()
    }

    fn is_fresh(&self, looked_up_ms: u64, now_ms: u64) -> bool {
        u128::from(now_ms.saturating_sub(looked_up_ms)) < self.fresh_for.as_millis()
    }

    fn put(&self, hash: KeyHash, entry: Entry) {
        let mut entries = self.entries.write();
        if entries.len() >= self.entries_max {
            let now_ms = entry.looked_up_ms;
            entries.retain(|_, kept| self.is_fresh(kept.looked_up_ms, now_ms));
            if entries.len() >= self.entries_max {
                entries.clear();
            }
        }
        entries.insert(hash, entry);
    }
}

/// Who makes a call.
pub struct Caller {
    /// What is known of the key.
    pub key: Arc<KeyRecord>,
    /// The key's hash, where that is older than `keys.cache_ms`.
    pub stale: Option<KeyHash>,
}

/// The caller of a billable call: its key may have been revoked meanwhile, which the reservation will tell.
///
/// # Errors
/// [`Reject::Unauthorized`] without a known key that is good, as far as is known; [`Reject::LedgerUnavailable`] if the ledger
/// cannot be asked.
pub async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, Reject> {
    let hash = KeyHash::of(bearer(headers)?);
    let now_ms = now_ms();
    if let Some(Entry {
        key: Some(key),
        looked_up_ms,
    }) = app.keys.get(&hash)
    {
        let stale = (!app.keys.is_fresh(looked_up_ms, now_ms)).then_some(hash);
        return is_good(&key, stale.is_some(), now_ms).map(|()| Caller { key, stale });
    }
    let key = identify(app, hash, now_ms).await?;
    is_good(&key, false, now_ms).map(|()| Caller { key, stale: None })
}

/// What is known now of a caller's key; `None` where it was known well enough.
///
/// # Errors
/// [`Reject::LedgerUnavailable`] if the ledger cannot be asked.
pub async fn renewed(app: &App, key: &KeyRecord, stale: Option<KeyHash>) -> Result<Option<Arc<KeyRecord>>, Reject> {
    let Some(hash) = stale else { return Ok(None) };
    let looked_up_ms = now_ms();
    let found = app.ledger.key(&key.id, Some(&key.account)).await;
    let key = found.map_err(unavailable)?.map(Arc::new);
    app.keys.put(
        hash,
        Entry {
            key: key.clone(),
            looked_up_ms,
        },
    );
    Ok(key)
}

/// The holder of a key that is good now, at most `keys.cache_ms` old.
///
/// # Errors
/// As [`caller`], and [`Reject::Unauthorized`] for a revoked or expired key.
pub async fn holder(app: &App, headers: &HeaderMap) -> Result<Arc<KeyRecord>, Reject> {
    let key = identify(app, KeyHash::of(bearer(headers)?), now_ms()).await?;
    is_good(&key, false, now_ms()).map(|()| key)
}

/// Whether a key may be used, as far as is known: one that is not takes up no room. A key stays revoked, but the end of one
/// that is known from long ago may have been put off since.
fn is_good(key: &KeyRecord, is_stale: bool, now_ms: u64) -> Result<(), Reject> {
    if key.revoked_ms.is_some() {
        return Err(Reject::Unauthorized(REVOKED));
    }
    if !is_stale && key.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(Reject::Unauthorized(EXPIRED));
    }
    Ok(())
}

/// The key with this hash, from the cache while what that knows is fresh.
async fn identify(app: &App, hash: KeyHash, now_ms: u64) -> Result<Arc<KeyRecord>, Reject> {
    let cached = app.keys.get(&hash);
    let entry = match cached.filter(|entry| app.keys.is_fresh(entry.looked_up_ms, now_ms)) {
        Some(entry) => entry,
        None => look_up(app, hash, now_ms).await?,
    };
    entry.key.ok_or(Reject::Unauthorized(UNKNOWN))
}

async fn look_up(app: &App, hash: KeyHash, now_ms: u64) -> Result<Entry, Reject> {
    let key = app.ledger.key_by_hash(&hash).await.map_err(unavailable)?;
    let entry = Entry {
        key: key.map(Arc::new),
        looked_up_ms: now_ms,
    };
    app.keys.put(hash, entry.clone());
    Ok(entry)
}

fn unavailable(error: LedgerError) -> Reject {
    tracing::warn!(%error, "a key could not be looked up");
    Reject::LedgerUnavailable
}

fn bearer(headers: &HeaderMap) -> Result<&str, Reject> {
    let value = headers.get(AUTHORIZATION).ok_or(Reject::Unauthorized(MISSING))?;
    let text = value.to_str().map_err(|_| Reject::Unauthorized(MALFORMED))?;
    let (scheme, key) = text.split_once(' ').ok_or(Reject::Unauthorized(MALFORMED))?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() {
        return Err(Reject::Unauthorized(MALFORMED));
    }
    Ok(key)
}
