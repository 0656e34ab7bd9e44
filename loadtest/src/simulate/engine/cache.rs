//! What an engine has prefilled before and need not prefill again.

use std::collections::HashMap;

use super::Job;

/// Openings that are remembered.
const OPENINGS: usize = 512;

/// An engine's prefix cache: by opening, the tokens it holds and when it was used.
#[derive(Debug, Default)]
pub(super) struct Cache {
    openings: HashMap<u64, (u32, u64)>,
    uses: u64,
}

impl Cache {
    /// Prompt tokens of `job` that are not held; at least one is always computed.
    pub(super) fn uncached(&self, job: &Job) -> f64 {
        let held = job.opening.and_then(|opening| self.openings.get(&opening));
        let held = held.map_or(0, |(tokens, _)| *tokens);
        let hit = held.min(job.shared).min(job.prompt.saturating_sub(1));
        f64::from(job.prompt - hit)
    }

    /// It now holds the prompt; what was used longest ago gives way.
    pub(super) fn remember(&mut self, job: &Job) {
        let Some(opening) = job.opening else {
            return;
        };
        self.uses += 1;
        self.openings.insert(opening, (job.prompt, self.uses));
        if self.openings.len() > OPENINGS {
            let forgotten = self.uses.saturating_sub(OPENINGS as u64 / 2);
            self.openings.retain(|_, (_, used)| *used > forgotten);
        }
    }
}
