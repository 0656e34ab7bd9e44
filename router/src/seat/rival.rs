//! What the baselines of the proof know of a seat, each by its own published lights.

use std::time::Duration;

use crate::event::End;
use crate::time::Time;

/// Peak-EWMA: seconds in which an estimate decays. Source: Finagle's default.
const PEAK_DECAY_S: f64 = 10.0;

/// Peak-EWMA: seconds taken for a provider nobody has tried. Source: tower's documentation.
const PEAK_PRIOR_S: f64 = 1.0;

/// Running × average time: seconds in which a call's weight decays. Source: Cocoon,
/// `ProxyWorkerConnectionInfo`.
const AVERAGE_DECAY_S: f64 = 600.0;

/// Running × average time: weight of calls below which the average is zero. Source: the same.
const AVERAGE_WEIGHT_MIN: f64 = 0.1;

/// 1/price²: how long an outage counts. Source: `OpenRouter`, "outages in the last 30 seconds".
const OUTAGE: Duration = Duration::from_secs(30);

/// 1/price²: share of failures from which on an outage is significant. `OpenRouter` does not say;
/// chosen here as what serves it well.
const OUTAGE_SHARE: f64 = 0.1;

/// What the baselines know of one seat.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rival {
    peak_s: f64,
    peak_at: Time,
    /// Seconds and calls, decaying.
    times: f64,
    calls: f64,
    times_at: Time,
    outage: Outage,
}

impl Rival {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            peak_s: PEAK_PRIOR_S,
            peak_at: now,
            times: 0.0,
            calls: 0.0,
            times_at: now,
            outage: Outage::default(),
        }
    }

    /// A first token came.
    pub(crate) fn answered(&mut self, took_s: f64, now: Time) {
        self.saw_peak(took_s, now);
        self.saw_time(took_s, 0.0, now);
    }

    /// A call ended; `unanswered_s` is what it took where no first token came before. Failures enter
    /// both averages like successes: so do they in tower, whose handle measures until it is
    /// dropped, and in Cocoon, where `forwarded_query_failed` adds its time.
    pub(crate) fn ended(&mut self, unanswered_s: Option<f64>, end: End, now: Time) {
        if let Some(took_s) = unanswered_s {
            self.saw_peak(took_s, now);
        }
        let after_s = match end {
            End::Served { after_first_token, .. } if unanswered_s.is_none() => after_first_token.as_secs_f64(),
            _ => 0.0,
        };
        self.saw_time(unanswered_s.unwrap_or(after_s), 1.0, now);
        match end {
            End::Served { .. } => self.outage.note(false, now),
            End::FailedEarly | End::Broke => self.outage.note(true, now),
            End::Cancelled | End::Refused => {}
        }
    }

    /// Peak-EWMA: the estimate, seconds.
    pub(crate) fn peak(&self, now: Time) -> f64 {
        self.peak_s * decay(self.peak_at, now, PEAK_DECAY_S)
    }

    fn saw_peak(&mut self, took_s: f64, now: Time) {
        let keep = decay(self.peak_at, now, PEAK_DECAY_S);
        self.peak_s = if took_s > self.peak_s {
            took_s
        } else {
            self.peak_s * keep + took_s * (1.0 - keep)
        };
        self.peak_at = self.peak_at.max(now);
    }

    /// Running × average time: the average, seconds.
    pub(crate) fn average(&self, now: Time) -> f64 {
        let keep = decay(self.times_at, now, AVERAGE_DECAY_S);
        if self.calls * keep <= AVERAGE_WEIGHT_MIN {
            0.0
        } else {
            self.times / self.calls
        }
    }

    /// 1/price²: whether there is a significant outage.
    pub(crate) fn has_outage(&self, now: Time) -> bool {
        self.outage.is_significant(now)
    }

    fn saw_time(&mut self, took_s: f64, calls: f64, now: Time) {
        let keep = decay(self.times_at, now, AVERAGE_DECAY_S);
        self.times = self.times * keep + took_s;
        self.calls = self.calls * keep + calls;
        self.times_at = self.times_at.max(now);
    }
}

fn decay(since: Time, now: Time, decay_s: f64) -> f64 {
    (-now.saturating_since(since).as_secs_f64() / decay_s).exp()
}

/// Calls and failures of the last 15 to 30 s, by halves.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Outage {
    /// Served and failed: the half at work, and the one before.
    halves: [(u32, u32); 2],
    half: u64,
}

impl Outage {
    fn turn(&mut self, now: Time) {
        let half = whole_halves(now);
        match half.saturating_sub(self.half) {
            0 => return,
            1 => self.halves = [(0, 0), self.halves[0]],
            _ => self.halves = [(0, 0); 2],
        }
        self.half = half;
    }

    fn note(&mut self, failed: bool, now: Time) {
        self.turn(now);
        let (served, failures) = &mut self.halves[0];
        let count = if failed { failures } else { served };
        *count = count.saturating_add(1);
    }

    fn is_significant(mut self, now: Time) -> bool {
        self.turn(now);
        let [(a, failed), (b, failed_before)] = self.halves;
        let failed = f64::from(failed) + f64::from(failed_before);
        failed > 0.0 && failed >= OUTAGE_SHARE * (failed + f64::from(a) + f64::from(b))
    }
}

fn whole_halves(now: Time) -> u64 {
    let half = u64::try_from(OUTAGE.as_micros() / 2).unwrap_or(u64::MAX);
    now.as_micros() / half
}
