//! How events change the fleet.

use crate::event::{Event, Try};
use crate::fleet::Fleet;
use crate::memory::Memory;
use crate::names::{ModelId, ProviderId};
use crate::offer::OfferedModel;
use crate::policy::Strategy;
use crate::seat::rival::Rival;
use crate::seat::{Seat, Seen};
use crate::time::Time;

/// Models of one provider that count; the rest of its offer is ignored. Offers are bounded to the
/// same number where they are verified (provider-sdk).
const MODELS_MAX: usize = 256;

impl Fleet {
    /// Takes note of what happened at `now`. Events about providers or models nobody offers change
    /// nothing.
    pub fn apply(&mut self, event: Event, now: Time) {
        match event {
            Event::Joined { provider, models } => self.join(provider, models, now),
            Event::Left { provider } => self.leave(&provider, now),
            Event::Heartbeat {
                provider,
                running,
                waiting,
                cache_use,
            } => {
                let calls = u64::from(running) + u64::from(waiting);
                self.heartbeat(&provider, calls, cache_use, now);
                if waiting > 0 {
                    let at_work = f64::from(running) / (f64::from(running) + f64::from(waiting));
                    self.each_seat(&provider, |seat| seat.queues(at_work, now));
                }
            }
            Event::Draining { provider } => self.each_seat(&provider, |seat| seat.draining = true),
            Event::Remembered(memory) => self.remember(&memory, now),
            of_an_attempt => self.note(of_an_attempt, now),
        }
    }

    /// What happened to an attempt. Of a provider that left meanwhile, only its end is news.
    fn note(&mut self, event: Event, now: Time) {
        match event {
            Event::Planned { provider, model } => {
                if let Some(pool) = self.pools.get_mut(&model) {
                    pool.change(provider.as_str(), |seat| {
                        seat.seen.planned = seat.seen.planned.saturating_add(1)
                    });
                }
            }
            Event::Unplanned { provider, model } => {
                self.change_seen(&provider, &model, |seen| seen.planned = seen.planned.saturating_sub(1));
            }
            Event::Started {
                provider,
                model,
                prompt_tokens,
                kind,
            } => {
                if kind == Try::First {
                    self.budget.deposit(now);
                }
                if let Some(pool) = self.pools.get_mut(&model) {
                    pool.choose(provider.as_str(), |seat| seat.seen.started(prompt_tokens, now));
                }
            }
            Event::Unstreamed {
                provider,
                model,
                prompt_tokens,
            } => {
                if let Some(pool) = self.pools.get_mut(&model) {
                    pool.change(provider.as_str(), |seat| seat.seen.waiting.unstreamed(prompt_tokens));
                }
            }
            Event::FirstToken {
                provider,
                model,
                prompt_tokens,
                after,
            } => {
                if let Some(pool) = self.pools.get_mut(&model) {
                    pool.change(provider.as_str(), |seat| {
                        seat.seen.first_token(prompt_tokens, after, now)
                    });
                }
            }
            Event::Ended {
                provider,
                model,
                prompt_tokens,
                first_token_seen,
                end,
            } => self.change_seen(&provider, &model, |seen| {
                seen.ended(prompt_tokens, first_token_seen, end, now)
            }),
            Event::Overclaimed {
                provider,
                model,
                borne_out,
                beyond,
            } => self.change_seen(&provider, &model, |seen| {
                seen.claims.exceeded(borne_out, beyond, seen.served, now)
            }),
            Event::Saw {
                provider,
                model,
                prefix,
                tokens,
            } => {
                if let Some(pool) = self.pools.get_mut(&model) {
                    pool.saw(provider.as_str(), prefix, tokens, now);
                }
            }
            _ => {}
        }
    }

    fn join(&mut self, provider: ProviderId, offers: Vec<OfferedModel>, now: Time) {
        let is_known = self.providers.contains_key(&provider);
        let providers_max = usize::try_from(self.policy.providers_max).unwrap_or(usize::MAX);
        if !is_known && self.providers.len() >= providers_max {
            return;
        }
        let before = self.providers.remove(&provider).unwrap_or_default();
        let mut models: Vec<ModelId> = Vec::with_capacity(offers.len().min(MODELS_MAX));
        for offer in offers {
            if models.len() >= MODELS_MAX {
                break;
            }
            if models.contains(&offer.model) {
                continue;
            }
            models.push(offer.model.clone());
            self.seat_offer(&provider, offer, now);
        }
        for model in before.into_iter().filter(|model| !models.contains(model)) {
            self.give_up(&provider, model, now);
        }
        if !models.is_empty() {
            self.providers.insert(provider, models);
        }
    }

    fn seat_offer(&mut self, provider: &ProviderId, offer: OfferedModel, now: Time) {
        let pool = self.pools.entry(offer.model.clone()).or_default();
        if pool.get(provider.as_str()).is_some() {
            pool.change(provider.as_str(), |seat| {
                seat.offer = offer;
                seat.draining = false;
            });
            return;
        }
        let known = self.departed.take(provider.as_str(), offer.model.as_str(), now);
        let seen = known.unwrap_or_else(|| self.unseen(now));
        if let Some(pool) = self.pools.get_mut(&offer.model) {
            pool.insert(Seat::new(provider.clone(), offer, seen));
        }
    }

    fn leave(&mut self, provider: &ProviderId, now: Time) {
        for model in self.providers.remove(provider).unwrap_or_default() {
            self.give_up(provider, model, now);
        }
    }

    fn give_up(&mut self, provider: &ProviderId, model: ModelId, now: Time) {
        let Some(pool) = self.pools.get_mut(&model) else {
            return;
        };
        let seat = pool.remove(provider.as_str());
        if pool.seats().is_empty() {
            self.pools.remove(&model);
        }
        if let Some(seat) = seat {
            self.departed.put(provider, model, seat.seen, MODELS_MAX, now);
        }
    }

    /// What the engine has to do beyond what this router sent is shared among the provider's
    /// models as it offered them.
    fn heartbeat(&mut self, provider: &ProviderId, claimed: u64, cache_use: f32, now: Time) {
        let (mut sent, mut offered) = (0_u64, 0_u64);
        self.each_seat(provider, |seat| {
            sent += u64::from(seat.seen.in_flight);
            offered += u64::from(seat.offer.concurrency_max);
        });
        // Two u32 went into the claim; beyond u32 the exact figure says nothing more.
        let foreign = u32::try_from(claimed.saturating_sub(sent)).unwrap_or(u32::MAX);
        let offered = u32::try_from(offered.max(1)).unwrap_or(u32::MAX);
        self.each_seat(provider, |seat| {
            let share = f64::from(seat.offer.concurrency_max) / f64::from(offered);
            seat.claimed(f64::from(foreign) * share, cache_use, now);
        });
    }

    fn each_seat(&mut self, provider: &ProviderId, mut act: impl FnMut(&mut Seat)) {
        for model in self.providers.get(provider).into_iter().flatten() {
            if let Some(pool) = self.pools.get_mut(model) {
                pool.change(provider.as_str(), &mut act);
            }
        }
    }

    /// What was seen of a seat, be its provider here or gone for a moment.
    fn change_seen(&mut self, provider: &ProviderId, model: &ModelId, change: impl FnOnce(&mut Seen)) {
        match self.pools.get_mut(model) {
            Some(pool) if pool.get(provider.as_str()).is_some() => {
                pool.change(provider.as_str(), |seat| change(&mut seat.seen));
            }
            _ => {
                if let Some(seen) = self.departed.get_mut(provider.as_str(), model.as_str()) {
                    change(seen);
                }
            }
        }
    }

    /// A sibling's averages, for a seat here or for one whose provider is still to come.
    fn remember(&mut self, memory: &Memory, now: Time) {
        let (provider, model) = (&memory.provider, &memory.model);
        let is_here = self
            .pools
            .get(model)
            .is_some_and(|pool| pool.get(provider.as_str()).is_some());
        if !is_here && self.departed.get_mut(provider.as_str(), model.as_str()).is_none() {
            let seen = self.unseen(now);
            self.departed.put(provider, model.clone(), seen, MODELS_MAX, now);
        }
        self.change_seen(provider, model, |seen| seen.adopt(memory, now));
    }

    fn unseen(&self, now: Time) -> Seen {
        Seen {
            rival: (self.policy.strategy != Strategy::Filature).then(|| Box::new(Rival::new(now))),
            ..Seen::default()
        }
    }
}
