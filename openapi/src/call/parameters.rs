//! The sampling parameters a call gives that not every engine honours.

/// A set of sampling parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Parameters(u16);

impl Parameters {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// `seed`.
    pub const SEED: Self = Self(1);
    /// `top_k`.
    pub const TOP_K: Self = Self(1 << 1);
    /// `min_p`.
    pub const MIN_P: Self = Self(1 << 2);
    /// `top_a`.
    pub const TOP_A: Self = Self(1 << 3);
    /// `repetition_penalty`.
    pub const REPETITION_PENALTY: Self = Self(1 << 4);
    /// `frequency_penalty`.
    pub const FREQUENCY_PENALTY: Self = Self(1 << 5);
    /// `presence_penalty`.
    pub const PRESENCE_PENALTY: Self = Self(1 << 6);
    /// `logit_bias`.
    pub const LOGIT_BIAS: Self = Self(1 << 7);
    /// `stop`.
    pub const STOP: Self = Self(1 << 8);

    /// Every parameter by its name in requests and in offers.
    pub const NAMED: [(&'static str, Self); 9] = [
        ("seed", Self::SEED),
        ("top_k", Self::TOP_K),
        ("min_p", Self::MIN_P),
        ("top_a", Self::TOP_A),
        ("repetition_penalty", Self::REPETITION_PENALTY),
        ("frequency_penalty", Self::FREQUENCY_PENALTY),
        ("presence_penalty", Self::PRESENCE_PENALTY),
        ("logit_bias", Self::LOGIT_BIAS),
        ("stop", Self::STOP),
    ];

    /// Those of OpenAI's own API: what an offer that lists none is taken to honour.
    pub const STANDARD: Self = Self::SEED
        .union(Self::FREQUENCY_PENALTY)
        .union(Self::PRESENCE_PENALTY)
        .union(Self::LOGIT_BIAS)
        .union(Self::STOP);

    /// Whether all of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds `other` to this set.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits, in the order of [`Parameters::NAMED`] from 1.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}
