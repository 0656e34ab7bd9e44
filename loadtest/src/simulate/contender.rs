//! Who competes: Filature at several rates of exchange and with parts of it taken away, the baselines, and the bounds.
//!
//! All of them get the same retries: plans of four attempts, the same deadlines, the same retry budget, and the rescue of
//! broken streams. So the table compares choices, and not what happens after a bad one; the ablations show what rescue
//! and hedging are worth. Whether a plan names a moment to hedge at is the strategy's matter.

use filature_router::Strategy;

/// What a second is worth by default, nanoTON: the gateway's `routing.exchange_nano_per_second`.
pub const EXCHANGE: f64 = 22_000.0;
/// A caller in a hurry.
pub const EXCHANGE_FAST: f64 = 1_000_000.0;
/// The exchange rates of the chart of price against latency.
pub const EXCHANGES: [f64; 8] = [0.0, 2_000.0, 8_000.0, EXCHANGE, 50_000.0, 200_000.0, EXCHANGE_FAST, 1e8];

/// By what a contender decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The router.
    Router(Strategy),
    /// Knows every engine's state and every coming fault: takes the least true cost and time.
    Oracle,
    /// The same by the time to first token alone.
    OracleOfFirstToken,
    /// As the oracle, on the central pool.
    Central,
}

/// One way of routing that is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    /// Its name in tables and JSON.
    pub name: String,
    /// By what it decides.
    pub judge: Judge,
    /// λ, nanoTON per second.
    pub exchange: f64,
    /// Whether slow first attempts are doubled where the plan says so.
    pub hedges: bool,
    /// Whether broken streams are continued elsewhere.
    pub rescues: bool,
    /// Whether the router is told which conversation a call belongs to.
    pub affinity: bool,
}

impl Contender {
    fn new(name: &str, judge: Judge) -> Self {
        Self {
            name: name.to_owned(),
            judge,
            exchange: EXCHANGE,
            hedges: true,
            rescues: true,
            affinity: true,
        }
    }

    /// Filature at λ.
    #[must_use]
    pub fn filature(name: &str, exchange: f64) -> Self {
        Self {
            exchange,
            ..Self::new(name, Judge::Router(Strategy::Filature))
        }
    }

    /// Whether it is a bound rather than a policy.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !matches!(self.judge, Judge::Router(_))
    }

    /// Whether it is one of the other policies.
    #[must_use]
    pub fn is_baseline(&self) -> bool {
        matches!(self.judge, Judge::Router(strategy) if strategy != Strategy::Filature)
    }

    /// The other policies.
    #[must_use]
    pub fn baselines() -> Vec<Self> {
        [
            ("peak_ewma", Strategy::PeakEwma),
            ("least_outstanding", Strategy::LeastOutstanding),
            ("round_robin", Strategy::RoundRobin),
            ("inverse_square_price", Strategy::InverseSquarePrice),
            ("running_times_average", Strategy::RunningTimesAverage),
        ]
        .map(|(name, strategy)| Self::new(name, Judge::Router(strategy)))
        .into()
    }

    /// The bounds. `oracle` judges by the same figure and λ as `filature`, `oracle_ttft` by the time to first token.
    #[must_use]
    pub fn bounds() -> Vec<Self> {
        vec![
            Self::new("oracle", Judge::Oracle),
            Self::new("oracle_ttft", Judge::OracleOfFirstToken),
            Self::new("central", Judge::Central),
        ]
    }

    /// Filature without one of its parts.
    #[must_use]
    pub fn ablations() -> Vec<Self> {
        let filature = |name| Self::filature(name, EXCHANGE);
        vec![
            Self {
                hedges: false,
                ..filature("filature_no_hedge")
            },
            Self {
                rescues: false,
                ..filature("filature_no_rescue")
            },
            Self {
                affinity: false,
                ..filature("filature_no_affinity")
            },
        ]
    }

    /// Filature at other rates of exchange than the default.
    #[must_use]
    pub fn exchanges() -> Vec<Self> {
        let named = |exchange: f64| match exchange {
            0.0 => "filature_floor".to_owned(),
            EXCHANGE => "filature".to_owned(),
            EXCHANGE_FAST => "filature_fast".to_owned(),
            other => format!("filature_at_{other}"),
        };
        EXCHANGES
            .iter()
            .map(|exchange| Self::filature(&named(*exchange), *exchange))
            .collect()
    }
}
