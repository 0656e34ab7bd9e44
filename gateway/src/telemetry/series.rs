//! Keeps label sets bounded, and bound to their instruments, so that a record neither looks up nor allocates labels.
//!
//! Models and providers come from outside: beyond a fixed number of distinct ones they are counted as `other`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter};
use opentelemetry::{KeyValue, StringValue};
use parking_lot::RwLock;

use super::metrics::{CallSample, counter, histogram};
use super::names;

/// Distinct models, and distinct providers, with series of their own.
pub(super) const LABELS_MAX: usize = 512;
/// Combinations of operation, model, provider and error with series of their own. Below the SDK's own limit of 2000
/// per instrument, above which it would drop the labels altogether; token usage takes two each.
pub(super) const SERIES_MAX: usize = 900;
/// What the rest is counted as.
pub(super) const OTHER: &str = "other";

/// The instruments of one combination of labels.
pub(super) struct CallSeries {
    duration: BoundHistogram<f64>,
    first_token: BoundHistogram<f64>,
    per_output_token: BoundHistogram<f64>,
    prompt_tokens: BoundHistogram<f64>,
    completion_tokens: BoundHistogram<f64>,
    cost: BoundCounter<u64>,
    earned: BoundCounter<u64>,
}

impl CallSeries {
    pub(super) fn record(&self, sample: &CallSample<'_>) {
        self.duration.record(sample.duration.as_secs_f64());
        if let Some(first_token) = sample.first_token {
            self.first_token.record(first_token.as_secs_f64());
        }
        if let Some(per_output_token) = sample.per_output_token {
            self.per_output_token.record(per_output_token.as_secs_f64());
        }
        if sample.prompt_tokens > 0 || sample.completion_tokens > 0 {
            self.prompt_tokens.record(sample.prompt_tokens as f64);
            self.completion_tokens.record(sample.completion_tokens as f64);
        }
        if sample.cost_nano > 0 {
            self.cost.add(sample.cost_nano);
            self.earned.add(sample.cost_nano.saturating_sub(sample.fee_nano));
        }
    }
}

/// Models, then providers, then the few combinations of operation and error.
type Known = HashMap<Box<str>, HashMap<Box<str>, Vec<(&'static str, Option<&'static str>, Arc<CallSeries>)>>>;

/// All series of calls.
pub(super) struct Series {
    duration: Histogram<f64>,
    first_token: Histogram<f64>,
    per_output_token: Histogram<f64>,
    tokens: Histogram<f64>,
    cost: Counter<u64>,
    earned: Counter<u64>,
    known: RwLock<Known>,
    providers: RwLock<HashSet<Arc<str>>>,
}

impl Series {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            duration: histogram(meter, &names::REQUEST_DURATION),
            first_token: histogram(meter, &names::FIRST_TOKEN),
            per_output_token: histogram(meter, &names::PER_OUTPUT_TOKEN),
            tokens: histogram(meter, &names::TOKEN_USAGE),
            cost: counter(meter, &names::COST),
            earned: counter(meter, &names::EARNED),
            known: RwLock::default(),
            providers: RwLock::default(),
        }
    }

    /// The series of a combination of labels, made when it is first seen.
    pub(super) fn get(
        &self,
        operation: &'static str,
        model: &str,
        provider: Option<&str>,
        error: Option<&'static str>,
    ) -> Arc<CallSeries> {
        let found = find(
            &self.known.read(),
            operation,
            model,
            provider.unwrap_or_default(),
            error,
        );
        found.unwrap_or_else(|| self.add(operation, model, provider, error))
    }

    fn add(
        &self,
        operation: &'static str,
        model: &str,
        provider: Option<&str>,
        error: Option<&'static str>,
    ) -> Arc<CallSeries> {
        let provider = provider.map(|provider| self.provider_label(provider));
        let mut known = self.known.write();
        let full = known.values().flat_map(HashMap::values).map(Vec::len).sum::<usize>() >= SERIES_MAX;
        let model = if known.contains_key(model) || (!full && known.len() < LABELS_MAX) {
            model
        } else {
            OTHER
        };
        let provider = if full {
            provider.map(|_| StringValue::from(OTHER))
        } else {
            provider
        };
        let label = provider.as_ref().map_or("", StringValue::as_str);
        if let Some(series) = find(&known, operation, model, label, error) {
            return series;
        }
        let series = Arc::new(self.bind(operation, model, provider.clone(), error));
        let by_provider = known.entry(model.into()).or_default();
        by_provider
            .entry(label.into())
            .or_default()
            .push((operation, error, Arc::clone(&series)));
        series
    }

    fn bind(
        &self,
        operation: &'static str,
        model: &str,
        provider: Option<StringValue>,
        error: Option<&'static str>,
    ) -> CallSeries {
        let mut who = vec![KeyValue::new(names::MODEL, model.to_owned())];
        who.extend(provider.map(|provider| KeyValue::new(names::PROVIDER, provider)));
        let labels = |extra: Option<KeyValue>| {
            let mut labels = who.clone();
            labels.push(KeyValue::new(names::OPERATION, operation));
            labels.extend(extra);
            labels
        };
        CallSeries {
            duration: self
                .duration
                .bind(&labels(error.map(|error| KeyValue::new(names::ERROR_TYPE, error)))),
            first_token: self.first_token.bind(&labels(None)),
            per_output_token: self.per_output_token.bind(&labels(None)),
            prompt_tokens: self
                .tokens
                .bind(&labels(Some(KeyValue::new(names::TOKEN_TYPE, "input")))),
            completion_tokens: self
                .tokens
                .bind(&labels(Some(KeyValue::new(names::TOKEN_TYPE, "output")))),
            cost: self.cost.bind(&who),
            earned: self.earned.bind(&who),
        }
    }

    /// A provider's label: its name while there is room, else `other`.
    fn provider_label(&self, provider: &str) -> StringValue {
        if let Some(known) = self.providers.read().get(provider) {
            return StringValue::from(Arc::clone(known));
        }
        let mut providers = self.providers.write();
        if providers.len() >= LABELS_MAX {
            return StringValue::from(OTHER);
        }
        let label = Arc::<str>::from(provider);
        providers.insert(Arc::clone(&label));
        StringValue::from(label)
    }
}

fn find(
    known: &Known,
    operation: &'static str,
    model: &str,
    provider: &str,
    error: Option<&'static str>,
) -> Option<Arc<CallSeries>> {
    let entries = known.get(model)?.get(provider)?;
    entries
        .iter()
        .find(|(o, e, _)| (*o, *e) == (operation, error))
        .map(|(_, _, series)| Arc::clone(series))
}

/// What is bound to each word of a short, closed list.
type ByWord<T> = Vec<(&'static str, T)>;

/// A counter by provider and one word of a closed list.
pub(super) struct ByProvider {
    counter: Counter<u64>,
    label: &'static str,
    known: RwLock<HashMap<Box<str>, ByWord<BoundCounter<u64>>>>,
}

impl ByProvider {
    pub(super) fn new(counter: Counter<u64>, label: &'static str) -> Self {
        Self {
            counter,
            label,
            known: RwLock::default(),
        }
    }

    pub(super) fn add(&self, provider: &str, word: &'static str, count: u64) {
        let of = |bound: &ByWord<BoundCounter<u64>>| {
            bound
                .iter()
                .find(|(known, _)| *known == word)
                .map(|(_, counter)| counter.add(count))
        };
        if self.known.read().get(provider).and_then(of).is_some() {
            return;
        }
        let mut known = self.known.write();
        let full = known.values().map(Vec::len).sum::<usize>() >= SERIES_MAX;
        let provider = if full || (!known.contains_key(provider) && known.len() >= LABELS_MAX) {
            OTHER
        } else {
            provider
        };
        let bound = known.entry(provider.into()).or_default();
        if of(bound).is_none() {
            let labels = [
                KeyValue::new(names::PROVIDER, provider.to_owned()),
                KeyValue::new(self.label, word),
            ];
            let counter = self.counter.bind(&labels);
            counter.add(count);
            bound.push((word, counter));
        }
    }
}

/// An instrument with one label whose values are a closed list of the program.
pub(super) struct Closed<I: Bindable> {
    instrument: I,
    label: &'static str,
    bound: RwLock<ByWord<I::Bound>>,
}

/// An instrument that can be bound to its labels.
pub(super) trait Bindable {
    type Bound;
    fn bind_to(&self, labels: &[KeyValue]) -> Self::Bound;
}

impl Bindable for Counter<u64> {
    type Bound = BoundCounter<u64>;
    fn bind_to(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
}

impl Bindable for Histogram<f64> {
    type Bound = BoundHistogram<f64>;
    fn bind_to(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
}

impl<I: Bindable> Closed<I> {
    pub(super) fn new(instrument: I, label: &'static str) -> Self {
        Self {
            instrument,
            label,
            bound: RwLock::default(),
        }
    }

    /// Records through the instrument bound to `value`.
    pub(super) fn with(&self, value: &'static str, record: impl FnOnce(&I::Bound)) {
        if let Some((_, bound)) = self.bound.read().iter().find(|(known, _)| *known == value) {
            return record(bound);
        }
        let bound = self.instrument.bind_to(&[KeyValue::new(self.label, value)]);
        record(&bound);
        let mut all = self.bound.write();
        if !all.iter().any(|(known, _)| *known == value) {
            all.push((value, bound));
        }
    }
}
