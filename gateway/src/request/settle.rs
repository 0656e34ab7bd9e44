//! Step 9, the bill: posts what was served or voids the hold, once, and tells the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{CallOutcome, FeeBps, LedgerError, Leg, Nano, Price, Tokens, UsageRecord};
use filature_router::Event;

use super::Call;
use super::admit::Admitted;
use super::cosigned;
use super::count::{self, Count};
use super::dispatch::{Outcome, Served};
use super::hashes::{self, Given};
use super::meter::{Metered, Terms};
use crate::app::App;
use crate::clock::now_ms;
use crate::telemetry::{CallSample, trace};
use crate::tokens::BYTES;

/// A ledger that does not answer is asked again after this long, then twice as long, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A ledger that has been away for this long may stay away; a record that could not be journalled then goes to the log.
const GIVE_UP: Duration = Duration::from_secs(600);
/// A hold that could not be given back for this long is left to expire.
const VOID_GIVE_UP: Duration = Duration::from_secs(10);

/// Ends a call's hold: posts what was delivered, or gives all of it back.
pub async fn settle(app: &Arc<App>, call: Call, mut admitted: Admitted, mut outcome: Outcome) {
    let (ended_ms, duration) = (now_ms(), call.started.elapsed());
    let record = if delivered(&outcome) {
        Some(proven(app, &call, &mut admitted, &mut outcome, ended_ms).await)
    } else {
        None
    };
    if let Some(record) = &record
        && outcome.end == CallOutcome::Completed
    {
        // By the model that was asked for, whichever of those named answered: it is what the next call is expected by.
        app.lengths.saw(&record.key, &call.view.model, record.billed.completion);
    }
    sample(app, &call, &outcome, record.as_ref(), duration);
    tracing::debug!(
        call = %call.id,
        model = %call.view.model,
        provider = outcome.parts.last().map(|served| served.provider.id.as_str()),
        cost_nano = record.as_ref().map_or(0, |record| record.cost.get()),
        error = outcome.error,
        "a call ended"
    );
    step(app, &call, record).await;
}

/// The usage record, with what proves it: the count of its tokens, the hashes of its words, the provider's signature.
async fn proven(
    app: &Arc<App>,
    call: &Call,
    admitted: &mut Admitted,
    outcome: &mut Outcome,
    ended_ms: u64,
) -> UsageRecord {
    let is_finished = outcome.end != CallOutcome::Broken;
    let counts = count::collect(app, call, admitted.prompt.take(), &mut outcome.parts, is_finished).await;
    let mut record = record(app, call, admitted, outcome, &counts, ended_ms);
    let given = std::mem::replace(&mut outcome.given, Given::Nothing);
    if let Some(hashes) = hashes::of(app, call, given).await {
        hashes.enter(&mut record);
    }
    cosigned::enter(app, call, &mut record, outcome).await;
    record
}

/// Whether there is anything to pay for: an answer without any output is free.
fn delivered(outcome: &Outcome) -> bool {
    outcome.parts.iter().any(|served| served.meter.output_bytes > 0)
}

/// Posts or voids. A post that the ledger cannot take now is journalled and replayed when it can; a void is asked for
/// again while that may help: a hold nobody gives back expires.
async fn step(app: &Arc<App>, call: &Call, record: Option<UsageRecord>) {
    let first = Instant::now();
    let mut pause = RETRY_FIRST;
    let (name, give_up) = match record {
        Some(_) => ("post", GIVE_UP),
        None => ("void", VOID_GIVE_UP),
    };
    loop {
        let began = Instant::now();
        let done = match &record {
            Some(record) => app.ledger.post(record, now_ms()).await.map(|_posted| ()),
            None => app.ledger.void(&call.key.account, &call.id).await.map(|_released| ()),
        };
        app.metrics.ledger_step(name, began.elapsed(), done.is_err());
        let Err(error) = done else { return };
        // What the ledger refuses it refuses for good; what it could not do is asked for again, and so is what it could not
        // read: an operator may mend that.
        let may_pass = matches!(error, LedgerError::Unavailable(_) | LedgerError::Damaged(_));
        if may_pass && journalled(app, call, record.as_ref()).await {
            return;
        }
        if !may_pass || first.elapsed() > give_up || app.stop.ended.is_cancelled() {
            // The record holds no words of the call, only ids, counts and amounts.
            let record = record.and_then(|record| serde_json::to_string(&record).ok());
            tracing::error!(call = %call.id, step = name, %error, record, "a call could not be settled; its hold will expire");
            return;
        }
        tracing::warn!(call = %call.id, step = name, %error, "the ledger does not answer; asking again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Whether the record is on disk now, to be posted later.
async fn journalled(app: &Arc<App>, call: &Call, record: Option<&UsageRecord>) -> bool {
    let Some(record) = record.cloned() else { return false };
    let journal = app.clone();
    let written = tokio::task::spawn_blocking(move || journal.journal.append(&record)).await;
    match written {
        Ok(Ok(())) => {
            tracing::warn!(call = %call.id, "the ledger does not answer; the post is journalled");
            true
        }
        Ok(Err(error)) => {
            tracing::error!(call = %call.id, error = format!("{error:#}"), "a post could not be journalled");
            false
        }
        Err(_stopped) => false,
    }
}

/// The usage record of a call that delivered something.
fn record(
    app: &App,
    call: &Call,
    admitted: &Admitted,
    outcome: &Outcome,
    counts: &[Option<Count>],
    ended_ms: u64,
) -> UsageRecord {
    let fee_bps = FeeBps::new(app.config.ledger.fee_bps).unwrap_or(FeeBps::ZERO);
    let mut bill = Bill::new(admitted, fee_bps);
    for (at, (served, count)) in outcome.parts.iter().zip(counts).enumerate() {
        // A provider that breaks off keeps what it delivered and forfeits the prompt and the price of the call; the one
        // that finishes is paid them.
        let finishes = at + 1 == outcome.parts.len() && outcome.end != CallOutcome::Broken;
        let overclaimed = bill.add(call, served, finishes, count.as_ref());
        app.metrics
            .overclaimed(served.provider.id.as_str(), overclaimed.prompt, overclaimed.completion);
        // Who can choose the provider could choose calls that make its claims look wrong, and one that breaks off could do it
        // to the one that goes on.
        let is_chosen = call.preferences.as_ref().is_some_and(|wishes| wishes.name_providers());
        if outcome.parts.len() == 1 && !is_chosen {
            tell_overclaimed(app, served, bill.legs.last(), &overclaimed);
        }
    }
    let model = outcome.parts.last().map(|served| served.attempt.model.as_str());
    UsageRecord {
        version: UsageRecord::VERSION,
        call: call.id,
        account: call.key.account.clone(),
        key: call.key.id.clone(),
        endpoint: call.view.endpoint.path().to_owned(),
        model: model.unwrap_or(&call.view.model).to_owned(),
        stream: call.view.stream,
        created_ms: call.created_ms,
        ended_ms,
        first_token_ms: u64::try_from(outcome.first_token.as_millis()).ok(),
        outcome: outcome.end,
        finish_reason: outcome.finish_reason.as_deref().map(shortened),
        legs: bill.legs,
        claimed: bill.claimed,
        counted: bill.counted,
        billed: bill.billed,
        counted_by: bill.counted_by.map_or_else(|| BYTES.to_owned(), String::from),
        fee_bps,
        quote: admitted.held,
        cost: bill.cost,
        fee: bill.fee,
        request_hash: None,
        response_hash: None,
        nonce_hash: None,
    }
}

/// Tells the router of a claim beyond what passed. Of a right one there is nothing to tell.
fn tell_overclaimed(app: &App, served: &Served, leg: Option<&Leg>, overclaimed: &Tokens) {
    let both = |tokens: &Tokens| tokens.prompt.saturating_add(tokens.completion);
    let beyond = both(overclaimed);
    if beyond == 0 {
        return;
    }
    let event = Event::Overclaimed {
        provider: served.attempt.provider.clone(),
        model: served.attempt.model.clone(),
        borne_out: leg.map_or(0, |leg| both(&leg.tokens)),
        beyond,
    };
    app.fleet.tell(event, app.clock.now());
}

/// What a call comes to, provider by provider.
struct Bill {
    fee_bps: FeeBps,
    held: Nano,
    /// The most tokens of prompt that may be paid for.
    prompt_tokens_max: u64,
    /// Tokens of output per choice that may still be paid for.
    output_tokens_left: u32,
    /// Who counted all of it so far.
    counted_by: Option<Box<str>>,
    legs: Vec<Leg>,
    claimed: Option<Tokens>,
    counted: Tokens,
    billed: Tokens,
    cost: Nano,
    fee: Nano,
}

impl Bill {
    fn new(admitted: &Admitted, fee_bps: FeeBps) -> Self {
        Self {
            fee_bps,
            held: admitted.held,
            prompt_tokens_max: admitted.prompt_tokens_max,
            output_tokens_left: admitted.output_tokens_max,
            counted_by: None,
            legs: Vec::new(),
            claimed: None,
            counted: Tokens::default(),
            billed: Tokens::default(),
            cost: Nano::default(),
            fee: Nano::default(),
        }
    }

    /// Adds one provider's part. Returns what it claimed beyond that.
    fn add(&mut self, call: &Call, served: &Served, finishes: bool, count: Option<&Count>) -> Tokens {
        if served.meter.output_bytes == 0 && !finishes {
            return Tokens::default();
        }
        let mut price = price(&served.attempt.price);
        if !finishes {
            price.call = Nano::default();
        }
        let terms = Terms {
            prompt: finishes,
            prompt_tokens_max: self.prompt_tokens_max,
            output_tokens_max: self.output_tokens_left,
            price: &price,
            count,
        };
        let Metered {
            claimed,
            counted,
            counted_by,
            billed,
            overclaimed,
        } = served.meter.bill(&call.view, &terms);
        let spent = u32::try_from(billed.completion).unwrap_or(u32::MAX);
        // Only a call of one choice is ever continued.
        self.output_tokens_left = self.output_tokens_left.saturating_sub(spent);
        let cost = self.within_hold(call, price.cost(&billed).unwrap_or(self.held));
        let (fee, earned) = self.fee_bps.split(cost);
        let quantization = served.attempt.quantization.as_ref();
        self.legs.push(Leg {
            provider: served.provider.payee.clone(),
            from_byte: served.from_byte,
            quantization: quantization.map(|label| label.as_str().to_owned()),
            price,
            tokens: billed,
            cost,
            fee,
            earned,
            served: None,
        });
        self.counted.prompt = counted.prompt;
        self.counted.completion = self.counted.completion.saturating_add(counted.completion);
        self.counted_by = Some(match self.counted_by.take() {
            Some(before) if before != counted_by => BYTES.into(),
            _ => counted_by,
        });
        self.billed = self.billed.plus(&billed);
        self.cost = self.cost.plus(cost).unwrap_or(self.held);
        self.fee = self.fee.plus(fee).unwrap_or(self.fee);
        self.claimed = match (self.claimed, claimed) {
            // What the one before wrote stands in the next one's prompt.
            (Some(before), Some(claimed)) => Some(Tokens {
                completion: before.completion.saturating_add(claimed.completion),
                reasoning: before.reasoning.saturating_add(claimed.reasoning),
                ..claimed
            }),
            (before, claimed) => claimed.or(before),
        };
        overclaimed
    }

    /// A part's cost, cut to what is left of the hold. Each part is rounded up, so several may exceed it by a nano each;
    /// anything beyond that is a defect.
    fn within_hold(&self, call: &Call, cost: Nano) -> Nano {
        let left = self.held.minus(self.cost).unwrap_or_default();
        if cost <= left {
            return cost;
        }
        if cost.get() - left.get() > self.legs.len() as u64 {
            tracing::error!(call = %call.id, %cost, held = %self.held, "a cost above its quote was cut to the quote");
        }
        left
    }
}

/// The router's price as money. Offers are bounded far below what [`Nano`] holds.
pub fn price(price: &filature_router::Price) -> Price {
    Price {
        prompt: Nano::saturating(price.prompt),
        cached_prompt: Nano::saturating(price.cached_prompt),
        completion: Nano::saturating(price.completion),
        reasoning: Nano::saturating(price.reasoning),
        call: Nano::saturating(price.call),
    }
}

fn sample(app: &App, call: &Call, outcome: &Outcome, record: Option<&UsageRecord>, duration: Duration) {
    let served = outcome.parts.last();
    let tokens = record.map(|record| record.billed).unwrap_or_default();
    let first_token = served.filter(|_| call.view.stream).map(|_| outcome.first_token);
    let after_first = |first_token: Duration| {
        let gaps = u32::try_from(tokens.completion).unwrap_or(u32::MAX).saturating_sub(1);
        (gaps > 0).then(|| duration.saturating_sub(first_token) / gaps)
    };
    let sample = CallSample {
        operation: call.view.endpoint.operation(),
        model: served.map_or(&*call.view.model, |served| served.attempt.model.as_str()),
        provider: served.map(|served| served.provider.id.as_str()),
        error_type: outcome.error,
        duration,
        first_token,
        per_output_token: first_token.and_then(after_first),
        prompt_tokens: tokens.prompt,
        completion_tokens: tokens.completion,
        cost_nano: record.map_or(0, |record| record.cost.get()),
        fee_nano: record.map_or(0, |record| record.fee.get()),
    };
    app.metrics.call_ended(&sample);
    trace::call_ended(&call.span, &sample);
}

/// An engine's word for why it stopped, short enough for a record: a provider may send anything.
fn shortened(finish_reason: &str) -> String {
    const CHARS_MAX: usize = 32;
    finish_reason.chars().take(CHARS_MAX).collect()
}
