//! Small sets as bits: what a provider can do, where, and how precisely.

macro_rules! bits {
    ($(#[$doc:meta])* $name:ident: $width:ty { $($(#[$bit_doc:meta])* $bit:ident = $at:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
        pub struct $name($width);

        impl $name {
            /// The empty set.
            pub const NONE: Self = Self(0);
            $($(#[$bit_doc])* pub const $bit: Self = Self(1 << $at);)*

            /// Both sets together.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether everything in `other` is in this set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether the sets have something in common.
            #[must_use]
            pub const fn overlaps(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// Whether nothing is in this set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }
    };
}

bits! {
    /// What a provider can do for a model, or what a call needs.
    Capabilities: u32 {
        /// Tool (function) calls.
        TOOLS = 0,
        /// Guided output: JSON mode or a JSON schema.
        JSON_SCHEMA = 1,
        /// Log probabilities.
        LOGPROBS = 2,
        /// Images in the prompt.
        IMAGES = 3,
        /// Going on with a partial answer, as the rescue of a broken stream needs it.
        CONTINUE = 4,
        /// Keeping no prompts: no training on them, no storage.
        PRIVATE = 5,
        /// The parameter `seed`. This and the following are asked for only by calls that set
        /// `provider.require_parameters`.
        SEED = 6,
        /// The parameter `top_k`.
        TOP_K = 7,
        /// The parameter `min_p`.
        MIN_P = 8,
        /// The parameter `top_a`.
        TOP_A = 9,
        /// The parameter `repetition_penalty`.
        REPETITION_PENALTY = 10,
        /// The parameter `frequency_penalty`.
        FREQUENCY_PENALTY = 11,
        /// The parameter `presence_penalty`.
        PRESENCE_PENALTY = 12,
        /// The parameter `logit_bias`.
        LOGIT_BIAS = 13,
        /// The parameter `stop`.
        STOP = 14,
    }
}

bits! {
    /// The endpoints a provider serves for a model, or the one a call came to.
    Endpoints: u8 {
        /// `/v1/chat/completions`.
        CHAT = 0,
        /// `/v1/completions`.
        COMPLETIONS = 1,
        /// `/v1/embeddings`.
        EMBEDDINGS = 2,
    }
}

bits! {
    /// Classes of quantisation. Source: OpenRouter, `provider.quantizations`.
    Precisions: u16 {
        /// Integers of 4 bits.
        INT4 = 0,
        /// Integers of 8 bits.
        INT8 = 1,
        /// Floats of 4 bits.
        FP4 = 2,
        /// Floats of 6 bits.
        FP6 = 3,
        /// Floats of 8 bits.
        FP8 = 4,
        /// Floats of 16 bits.
        FP16 = 5,
        /// "Brain" floats of 16 bits.
        BF16 = 6,
        /// Floats of 32 bits.
        FP32 = 7,
        /// Not stated, or none of these.
        UNKNOWN = 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_contain_what_was_put_in() {
        let both = Capabilities::TOOLS.with(Capabilities::IMAGES);
        assert!(both.contains(Capabilities::TOOLS) && both.contains(both));
        assert!(!both.contains(Capabilities::LOGPROBS));
        assert!(both.contains(Capabilities::NONE) && Capabilities::NONE.is_empty());
    }
}
