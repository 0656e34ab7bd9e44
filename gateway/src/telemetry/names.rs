//! The table of every metric: name, kind, unit, labels, meaning.
//!
//! Names that begin with `gen_ai.` follow OpenTelemetry's semantic conventions for generative AI; the rest is ours.
//! Instruments and `docs/metrics.md` are made from this table.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Level,
    /// A distribution, with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its OpenTelemetry name; the scrape writes dots as underscores and adds unit and `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Unit in UCUM: `s` for seconds, words in braces count things.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub doc: &'static str,
}

/// Label: what was asked (`chat`, `text_completion`, `embeddings`).
pub const OPERATION: &str = "gen_ai.operation.name";
/// Label: who served.
pub const PROVIDER: &str = "gen_ai.provider.name";
/// Label: the model asked for.
pub const MODEL: &str = "gen_ai.request.model";
/// Label: `input` or `output`.
pub const TOKEN_TYPE: &str = "gen_ai.token.type";
/// Label: how a call failed; absent where it did not.
pub const ERROR_TYPE: &str = "error.type";
/// Label: how an attempt ended.
pub const OUTCOME: &str = "filature.outcome";
/// Label: what a further attempt was for.
pub const KIND: &str = "filature.kind";
/// Label: why a request was turned away.
pub const CODE: &str = "filature.code";
/// Label: why a transfer was credited to nobody.
pub const REASON: &str = "filature.reason";
/// Label: the step of the ledger.
pub const STEP: &str = "filature.step";
/// Label: version of the gateway.
pub const VERSION: &str = "version";

/// Buckets that the conventions give for `gen_ai.server.request.duration`, in seconds.
const REQUEST_S: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Buckets that the conventions give for `gen_ai.server.time_to_first_token`, in seconds.
const FIRST_TOKEN_S: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Buckets that the conventions give for `gen_ai.server.time_per_output_token`, in seconds.
const PER_TOKEN_S: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
/// Buckets that the conventions give for `gen_ai.client.token.usage`.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// From a step in memory to the deadline of a Redis command, in seconds.
const LEDGER_S: &[f64] = &[
    0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0,
];

macro_rules! metrics {
    ($( $(#[doc = $doc:literal])+ $CONST:ident = $name:literal, $kind:expr, $unit:literal, [$($label:ident),*]; )+) => {
        $( $(#[doc = $doc])+ pub const $CONST: Metric = Metric {
            name: $name, kind: $kind, unit: $unit, labels: &[$($label),*], doc: concat!($($doc),+),
        }; )+
        /// Every metric, in the order of the reference.
        pub const ALL: &[Metric] = &[$($CONST),+];
    };
}

metrics! {
    /// Time from a call's admission to the end of its answer.
    REQUEST_DURATION = "gen_ai.server.request.duration", Kind::Histogram(REQUEST_S), "s",
        [OPERATION, MODEL, PROVIDER, ERROR_TYPE];
    /// Time from a call's admission to its first token.
    FIRST_TOKEN = "gen_ai.server.time_to_first_token", Kind::Histogram(FIRST_TOKEN_S), "s", [OPERATION, MODEL, PROVIDER];
    /// Time per token after the first.
    PER_OUTPUT_TOKEN = "gen_ai.server.time_per_output_token", Kind::Histogram(PER_TOKEN_S), "s",
        [OPERATION, MODEL, PROVIDER];
    /// Tokens billed per call.
    TOKEN_USAGE = "gen_ai.client.token.usage", Kind::Histogram(TOKENS), "{token}", [OPERATION, MODEL, PROVIDER, TOKEN_TYPE];
    /// Tokens that providers claimed beyond what passed, so that nobody paid for them. A claim can be off by a template or
    /// two; one that keeps growing is a provider that measures wrong, or cheats. What a provider forfeits because it broke
    /// off is not in it.
    OVERCLAIMED = "filature.tokens.overclaimed", Kind::Counter, "{token}", [PROVIDER, TOKEN_TYPE];
    /// Calls that are being served.
    CALLS_ACTIVE = "filature.calls.active", Kind::Level, "{call}", [];
    /// Attempts at providers by how they ended.
    ATTEMPTS = "filature.attempts", Kind::Counter, "{attempt}", [PROVIDER, OUTCOME];
    /// Attempts beyond a call's first, by what they were for: `retry` after a failure, `hedge` beside a slow provider,
    /// `rescue` of a stream that broke.
    FURTHER_ATTEMPTS = "filature.attempts.further", Kind::Counter, "{attempt}", [KIND];
    /// Requests turned away, by the code the caller was told.
    REJECTIONS = "filature.rejections", Kind::Counter, "{request}", [CODE];
    /// What calls cost, in nano.
    COST = "filature.cost.nano", Kind::Counter, "{nano}", [MODEL, PROVIDER];
    /// What providers earned of it, in nano.
    EARNED = "filature.earned.nano", Kind::Counter, "{nano}", [MODEL, PROVIDER];
    /// Time one step of the ledger took.
    LEDGER_STEP = "filature.ledger.step.duration", Kind::Histogram(LEDGER_S), "s", [STEP];
    /// Steps of the ledger that failed for want of the ledger.
    LEDGER_FAILURES = "filature.ledger.step.failures", Kind::Counter, "{step}", [STEP];
    /// Epochs this gateway has sealed.
    EPOCHS_SEALED = "filature.epochs.sealed", Kind::Counter, "{epoch}", [];
    /// Records in them.
    RECEIPTS_SEALED = "filature.epochs.receipts", Kind::Counter, "{receipt}", [];
    /// Records that wait for the next epoch, on the gateway whose turn it is to seal; of one epoch's worth at most.
    RECORDS_WAITING = "filature.epochs.waiting", Kind::Level, "{record}", [];
    /// Age of the oldest of them. Well above `epochs.age_ms`, nothing is being sealed.
    OLDEST_WAITING = "filature.epochs.waiting.age", Kind::Level, "s", [];
    /// Times that sealing failed: ledger or store did not answer, or do not belong together. The log says which.
    SEALING_FAILURES = "filature.epochs.failures", Kind::Counter, "{failure}", [];
    /// Withdrawals that this gateway has paid on TON.
    WITHDRAWALS = "filature.withdrawals.paid", Kind::Counter, "{withdrawal}", [];
    /// What they came to, in nano.
    WITHDRAWN = "filature.withdrawals.nano", Kind::Counter, "{nano}", [];
    /// Withdrawals that came back from their payees or could not be paid: credit again.
    WITHDRAWALS_RETURNED = "filature.withdrawals.returned", Kind::Counter, "{withdrawal}", [];
    /// What the wallet lacks to pay the next withdrawals, in nano, on the gateway whose turn it is to pay. Above 0, they wait.
    WITHDRAWALS_LACK = "filature.withdrawals.lack", Kind::Level, "{nano}", [];
    /// Times that withdrawals could not be paid: chain, ledger or store did not answer, or do not belong together. The log
    /// says which.
    WITHDRAWAL_FAILURES = "filature.withdrawals.failures", Kind::Counter, "{failure}", [];
    /// Deposits on TON that this gateway has credited.
    DEPOSITS = "filature.deposits.credited", Kind::Counter, "{deposit}", [];
    /// What they came to, in nano.
    DEPOSITED = "filature.deposits.nano", Kind::Counter, "{nano}", [];
    /// Those of them that were credited more than ten minutes after the chain took them.
    DEPOSITS_LATE = "filature.deposits.late", Kind::Counter, "{deposit}", [];
    /// Transfers to the address for deposits that were credited to nobody, by why.
    UNCREDITED = "filature.deposits.uncredited", Kind::Counter, "{transfer}", [REASON];
    /// Times that deposits could not be read: the chain or the ledger did not answer. The log says which.
    DEPOSIT_FAILURES = "filature.deposits.failures", Kind::Counter, "{failure}", [];
    /// Rounds of payouts that this process has planned.
    SETTLEMENT_ROUNDS = "filature.settlement.rounds", Kind::Counter, "{round}", [];
    /// Payments that it found to have reached their providers.
    SETTLEMENT_PAYOUTS = "filature.settlement.payouts", Kind::Counter, "{payout}", [];
    /// What they came to, in nano.
    SETTLEMENT_PAID = "filature.settlement.paid.nano", Kind::Counter, "{nano}", [];
    /// What the last anchor leaves unpaid and was not claimed since, in nano, as this settler last saw it.
    SETTLEMENT_OWED = "filature.settlement.owed.nano", Kind::Level, "{nano}", [];
    /// What is in the wallet that pays, in nano, as it last saw it.
    SETTLEMENT_WALLET = "filature.settlement.wallet.nano", Kind::Level, "{nano}", [];
    /// The last epoch whose roots are in the contract, as it last saw it.
    SETTLEMENT_ANCHORED = "filature.settlement.anchored", Kind::Level, "{epoch}", [];
    /// Contests that ask for what was paid, to which settlement has not objected yet, as it last saw it. It objects by itself;
    /// what is still here when a contest's deadline is over is lost.
    SETTLEMENT_UNANSWERED = "filature.settlement.contests.unanswered", Kind::Level, "{contest}", [];
    /// Looks at which settlement could not go on, by why: `chain`, `store`, `ledger` did not answer or not as they should;
    /// `epochs`, `books`, `plan`, `message` are wrong; `short`: the wallet needs coins; `contract`: there is none, or it is
    /// not this wallet's; `stranger`: its last anchor is not in the books; `wallet`: another one pays the last round, or
    /// there is none at the address; `refused`: the chain does not take the message. The log says more.
    SETTLEMENT_FAILURES = "filature.settlement.failures", Kind::Counter, "{failure}", [KIND];
    /// Payout addresses in offers: `named` for the first time, `changed` (the change waits for `settlement.payout_delay_s`),
    /// or `refused` since nobody can be paid there.
    PAYOUT_ADDRESSES = "filature.settlement.addresses", Kind::Counter, "{address}", [OUTCOME];
    /// Answers through tunnels by what their providers signed about them: `taken` into the record, `absent`, `wrong` (it
    /// does not fit what passed; the log says why), `short` (fewer tokens than are billed).
    COSIGNED = "filature.tunnels.signatures", Kind::Counter, "{signature}", [OUTCOME];
    /// Tunnels that are open.
    TUNNELS = "filature.tunnels.open", Kind::Level, "{tunnel}", [];
    /// Connections that are open.
    CONNECTIONS = "filature.connections.open", Kind::Level, "{connection}", [];
    /// Always 1; its label is the version that runs.
    BUILD = "filature.build.info", Kind::Level, "{build}", [VERSION];
}
