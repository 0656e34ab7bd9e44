//! Step 9, the bill: posts what was served or voids the hold, once, and tells the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{CallOutcome, FeeBps, LedgerError, Leg, Nano, Price, UsageRecord};

use super::Call;
use super::admit::Admitted;
use super::dispatch::{Outcome, Served};
use super::meter::Metered;
use crate::app::App;
use crate::clock::now_ms;
use crate::telemetry::{CallSample, trace};

/// A ledger that does not answer is asked again after this long, then twice as long, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A ledger that has been away for this long may stay away; the record then goes to the log.
const GIVE_UP: Duration = Duration::from_secs(600);

/// Ends a call's hold: posts what was delivered, or gives all of it back.
pub async fn settle(app: &Arc<App>, call: Call, admitted: Admitted, outcome: Outcome) {
    // An answer without any output is free.
    let delivered = outcome.served.as_ref().filter(|served| served.meter.output_bytes > 0);
    let record = delivered.map(|served| record(app, &call, &admitted, served));
    step(app, &call, record.as_ref()).await;
    sample(app, &call, &outcome, record.as_ref());
    tracing::debug!(
        call = %call.id,
        model = %call.view.model,
        provider = outcome.served.as_ref().map(|served| served.provider.id.as_str()),
        cost_nano = record.as_ref().map_or(0, |record| record.cost.get()),
        error = outcome.error,
        "a call was settled"
    );
}

/// Posts or voids, asking again for as long as [`GIVE_UP`]: both are idempotent, and the hold is renewed meanwhile.
async fn step(app: &App, call: &Call, record: Option<&UsageRecord>) {
    let first = Instant::now();
    let mut pause = RETRY_FIRST;
    let name = if record.is_some() { "post" } else { "void" };
    loop {
        let began = Instant::now();
        let done = match record {
            Some(record) => app.ledger.post(record, now_ms()).await.map(|_posted| ()),
            None => app.ledger.void(&call.key.account, &call.id).await.map(|_released| ()),
        };
        app.metrics.ledger_step(name, began.elapsed(), done.is_err());
        let Err(error) = done else { return };
        // What the ledger refuses it refuses for good; only what it could not do is asked for again.
        let may_pass = matches!(error, LedgerError::Unavailable(_));
        if !may_pass || first.elapsed() > GIVE_UP || app.stop.ended.is_cancelled() {
            // The record holds no words of the call, only ids, counts and amounts.
            let record = record.and_then(|record| serde_json::to_string(record).ok());
            tracing::error!(call = %call.id, step = name, %error, record, "a call could not be settled; its hold will expire");
            return;
        }
        tracing::warn!(call = %call.id, step = name, %error, "the ledger does not answer; asking again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// The usage record of a call that delivered something.
fn record(app: &App, call: &Call, admitted: &Admitted, served: &Served) -> UsageRecord {
    // A provider that breaks off keeps what it delivered and forfeits the prompt and the price of the call.
    let prompt = served.end != CallOutcome::Broken;
    let Metered {
        claimed,
        counted,
        billed,
        counted_by,
    } = served.meter.bill(&call.view, prompt, admitted.output_tokens_max);
    let mut price = price(&served.attempt.price);
    if !prompt {
        price.call = Nano::default();
    }
    let mut cost = price.cost(&billed).unwrap_or(admitted.held);
    if cost > admitted.held {
        tracing::error!(call = %call.id, %cost, held = %admitted.held, "a cost above its quote was cut to the quote");
        cost = admitted.held;
    }
    let fee_bps = FeeBps::new(app.config.ledger.fee_bps).unwrap_or(FeeBps::ZERO);
    let (fee, earned) = fee_bps.split(cost);
    let offer = served.provider.model(&call.view.model);
    let leg = Leg {
        provider: served.provider.payee.clone(),
        quantization: offer.and_then(|offer| offer.quantization.clone()),
        price,
        tokens: billed,
        cost,
        fee,
        earned,
    };
    UsageRecord {
        version: 1,
        call: call.id,
        account: call.key.account.clone(),
        key: call.key.id.clone(),
        endpoint: call.view.endpoint.path().to_owned(),
        model: call.view.model.to_string(),
        stream: call.view.stream,
        created_ms: call.created_ms,
        ended_ms: now_ms(),
        first_token_ms: u64::try_from(served.first_token.as_millis()).ok(),
        outcome: served.end,
        finish_reason: served.finish_reason.as_deref().map(shortened),
        legs: vec![leg],
        claimed,
        counted,
        billed,
        counted_by: counted_by.to_owned(),
        fee_bps,
        quote: admitted.held,
        cost,
        fee,
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

fn sample(app: &App, call: &Call, outcome: &Outcome, record: Option<&UsageRecord>) {
    let duration = call.started.elapsed();
    let served = outcome.served.as_ref();
    let tokens = record.map(|record| record.billed).unwrap_or_default();
    let streamed = served.filter(|_| call.view.stream);
    let first_token = streamed.map(|served| served.first_token);
    let after_first = |served: &Served| {
        let gaps = u32::try_from(tokens.completion).unwrap_or(u32::MAX).saturating_sub(1);
        (gaps > 0).then(|| duration.saturating_sub(served.first_token) / gaps)
    };
    let sample = CallSample {
        operation: call.view.endpoint.operation(),
        model: &call.view.model,
        provider: served.map(|served| served.provider.id.as_str()),
        error_type: outcome.error,
        duration,
        first_token,
        per_output_token: streamed.and_then(after_first),
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
