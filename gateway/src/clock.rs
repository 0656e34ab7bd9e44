//! The gateway's two clocks: wall time for records and leases, monotonic time for the router.
//!
//! Everything below the gateway takes time as an argument; this is the only place that reads it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use filature_router::Time;

/// Monotonic time since the gateway started.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now, as the router counts it.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
