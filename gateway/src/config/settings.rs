//! The table of every setting: section, key, type, default, bounds, meaning.
//!
//! The struct [`Config`], the flags, the variables and `docs/config.md` all come from here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use filature_billing::chain::Network;

use super::declare::{Section, section};
use super::providers::DirectProvider;
use super::tokenizers::TokenizerSettings;
use super::value::{LogFormat, Registration};

/// The longest any duration may be set to: a day.
const DAY_MS: u64 = 86_400_000;
/// The largest body, answer or event that may be allowed: 1 GiB.
const BYTES_MAX: usize = 1 << 30;

/// Declares the sections and the [`Config`] that holds them.
macro_rules! settings {
    ( $( $(#[doc = $about:literal])+ pub struct $Section:ident as $key:ident { $($body:tt)+ } )+ ) => {
        $( section! { $(#[doc = $about])+ pub struct $Section { $($body)+ } } )+

        /// Everything an operator decides. `Debug` masks what is secret.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Config {
            $( $(#[doc = $about])+ pub $key: $Section, )+
            /// Providers the operator vouches for, reached at a URL instead of through a tunnel.
            pub providers: Vec<DirectProvider>,
            /// How the tokens of models are counted.
            pub tokenizers: Vec<TokenizerSettings>,
        }

        impl Config {
            /// The sections' names and what they are about, in the order of declaration.
            pub(crate) const SECTIONS: &'static [(&'static str, &'static [&'static str])] =
                &[$((stringify!($key), &[$($about),+])),+];

            /// A section by its name.
            pub(crate) fn section(&self, name: &str) -> Option<&dyn Section> {
                match name { $( stringify!($key) => Some(&self.$key), )+ _ => None }
            }

            /// A section by its name, to be filled.
            pub(crate) fn section_mut(&mut self, name: &str) -> Option<&mut dyn Section> {
                match name { $( stringify!($key) => Some(&mut self.$key), )+ _ => None }
            }
        }
    };
}

settings! {
    /// Where the gateway listens and how much it bears.
    pub struct ServerSettings as server {
        /// Address and port callers and provider agents connect to. Port 0 picks a free one.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        /// Worker threads that serve connections; 0 takes one per core.
        workers: u16 = 0, 0..=1024;
        /// The name under which provider agents dial this gateway, with its port where they give one; they sign it when they
        /// open a tunnel. Empty lets in only who dials a name of this machine itself (`localhost`, `127.0.0.1`): otherwise
        /// another gateway that an agent dials could pass the agent's proof on to this one.
        public_authority: String = String::new();
        /// Largest request body, in bytes.
        body_bytes_max: u64 = 8 << 20, 1024..=1 << 30;
        /// Largest request head (request line and headers), in bytes.
        header_bytes_max: u32 = 32 << 10, 8192..=1 << 20;
        /// Time a caller has to send the whole body, in milliseconds.
        body_read_timeout_ms: u64 = 30_000, 1..=DAY_MS;
        /// Time a connection may stay open without a whole request head, in milliseconds.
        idle_timeout_ms: u64 = 75_000, 1..=DAY_MS;
        /// Time a connection may go without taking any of what is sent to it, in milliseconds; then it is closed.
        write_timeout_ms: u64 = 60_000, 1..=DAY_MS;
        /// Calls served at the same time; one more is answered 503 with `Retry-After`.
        concurrent_calls_max: usize = 4096, 1..=1_000_000;
        /// Bytes of requests' bodies kept at the same time; one more is answered 503 with `Retry-After`. A body counts from
        /// when its length is known until its call is settled.
        bodies_bytes_max: u64 = 512 << 20, 1024..=1 << 40;
        /// How much of the places and bytes that other accounts leave one account may take, in percent; beyond that it is
        /// answered 429 with `Retry-After`. With 50 an account alone has up to half, and each of two up to a third. 100 lets
        /// one account take everything.
        account_share_percent: u32 = 50, 1..=100;
        /// Threads that count tokens by models' own tokenizers (`[[tokenizers]]`); 0 takes one per four cores, and one at
        /// least. Accounts take turns at them. A count that is not there two seconds after its answer has ended is given up:
        /// the call is billed by the bounds of bytes, as without a tokenizer.
        counting_threads: u16 = 0, 0..=256;
        /// Connections open at the same time; one more waits in the listen queue.
        connections_max: usize = 16_384, 1..=1_000_000;
        /// Time between SIGTERM and the end of new connections, in milliseconds. `/readyz` says `stopping` from the first
        /// moment, so that a load balancer has this long to look elsewhere.
        shutdown_announce_ms: u64 = 0, 0..=DAY_MS;
        /// Time running calls have to finish after that, in milliseconds.
        shutdown_grace_ms: u64 = 30_000, 0..=DAY_MS;
    }

    /// Where the money is kept and how it is handled.
    pub struct LedgerSettings as ledger {
        /// URL of the ledger in Redis: `redis://`, `redis+sentinel://` or `redis+cluster://`, with TLS `rediss`; see
        /// docs/redis.md. None keeps the ledger in `data`, for one gateway on one machine.
        #[secret(masked)]
        redis: Option<String> = None;
        /// File with the authorities that may have signed Redis' certificate, PEM; none takes the system's.
        redis_ca_file: Option<String> = None;
        /// File with the gateway's own certificate for Redis, PEM, where Redis asks for one.
        redis_cert_file: Option<String> = None;
        /// File with that certificate's private key, PEM.
        redis_key_file: Option<String> = None;
        /// Replicas that must have a post, a deposit or a change of a key before it is answered. As many as each
        /// master has let it survive a failover; 0 waits for none.
        redis_wait_replicas: u32 = 0, 0..=100;
        /// Folder of the embedded ledger and of the key that signs receipts.
        data: PathBuf = PathBuf::from("data");
        /// How long the embedded ledger gathers posts before it writes them to disk together while they are few, in
        /// milliseconds.
        commit_delay_ms: u64 = 2, 0..=1000;
        /// The same while they are many, in milliseconds: a commit costs about as much as a hundred posts.
        commit_delay_max_ms: u64 = 20, 0..=1000;
        /// Time one command to Redis may take, in milliseconds. A call whose money cannot be reserved in it fails.
        deadline_ms: u64 = 1000, 1..=60_000;
        /// How long a hold lives without being renewed, in milliseconds. Running calls renew theirs.
        hold_lease_ms: u64 = 120_000, 1000..=DAY_MS;
        /// How often expired holds are given back, in milliseconds.
        sweep_every_ms: u64 = 15_000, 100..=DAY_MS;
        /// How long a call is remembered to have been posted once its record is sealed, in seconds. A post that is
        /// repeated later charges again.
        posted_kept_s: u64 = 604_800, 3600..=3_153_600_000;
        /// How long Redis keeps what accounts used on a day, in days. The embedded ledger keeps all.
        usage_kept_days: u64 = 400, 1..=36_500;
        /// Entries of the audit trail; above that the oldest goes.
        audit_max: u64 = 1_000_000, 1..=1_000_000_000;
        /// The operator's share of each call's cost, in basis points (100 = 1 %).
        fee_bps: u32 = 500, 0..=10_000;
    }

    /// The operator's API over HTTP. The command line needs none of it.
    pub struct AdminSettings as admin {
        /// Address and port of the admin API (`/admin/v1/…`). It speaks plain HTTP: reach it from other machines through a
        /// proxy with TLS. None serves none.
        listen: Option<SocketAddr> = None;
        /// Who may use it: `NAME:HASH` each, as `filature admin token NAME` prints them. The audit trail names them.
        tokens: Vec<String> = Vec::new();
        /// File with more of them, one a line. Empty lines and those with `#` in front do not count. A change counts within a
        /// second; while the file cannot be read, none of its tokens is good.
        tokens_file: Option<String> = None;
    }

    /// How receipts are sealed into epochs, so that anybody can check them.
    pub struct EpochsSettings as epochs {
        /// Whether this gateway takes its turn at sealing. Of several on one ledger one seals at a time.
        seal: bool = true;
        /// Where epochs are kept: a folder, or `s3://bucket/prefix` with the usual `AWS_…` variables for region, endpoint
        /// and credentials. An endpoint with `http://` on another machine is refused unless `AWS_ALLOW_HTTP=true`. None takes the folder `epochs` in `ledger.data`. Gateways on one ledger share one store.
        store: Option<String> = None;
        /// An epoch is closed so long after the one before, in milliseconds, if there is anything to seal.
        age_ms: u64 = 600_000, 50..=DAY_MS;
        /// An epoch is closed with so many receipts even if it is younger. About 1,200 bytes each, in memory and in the
        /// store.
        receipts_max: usize = 16_384, 1..=100_000;
        /// Public keys (64 hexadecimal digits) that signed receipts before the present `receipts.key`: epochs they signed
        /// are gone on with.
        keys_before: Vec<String> = Vec::new();
    }

    /// TON: paying in and out, offered where there is an address for deposits, and paying providers, where there are a
    /// contract and its wallet's key.
    pub struct SettlementSettings as settlement {
        /// Which chain it is. Addresses of the testnet are refused on the mainnet.
        network: Network = Network::Mainnet;
        /// Where deposits arrive: an address on TON whose key the operator has. Every account pays in there, with a comment of
        /// its own. None takes no deposits.
        deposit_address: Option<String> = None;
        /// The least that is credited, in nano. A transfer below it is dust: it is written down and credits nobody.
        deposit_min_nano: u64 = 100_000_000, 1..=1_000_000_000_000_000;
        /// The least that a caller withdraws at a time, in nano. An operator may withdraw less for them.
        withdrawal_min_nano: u64 = 1_000_000_000, 1..=1_000_000_000_000_000;
        /// Ids of the API keys that may withdraw their account's credit. With none, only the operator can.
        withdrawal_keys: Vec<String> = Vec::new();
        /// The file with the key of the wallet that pays withdrawals: its 24 words, or a seed of 64 hexadecimal digits. Only
        /// its owner may read it. The wallet (v5r1) may be the one at `deposit_address`, and must not be the one that settles.
        /// With neither a file nor `withdrawal_wallet_key` this gateway pays no withdrawals.
        withdrawal_wallet_key_file: Option<String> = None;
        /// The same key itself; a variable suits it better than a file that others read.
        #[secret(masked)]
        withdrawal_wallet_key: Option<String> = None;
        /// Whether withdrawals wait: nothing is taken, signed or sent. What was sent before is followed.
        withdrawals_paused: bool = false;
        /// The settlement contract's address. None: providers are not paid by this gateway, no root is anchored, and nobody
        /// asks where providers are paid.
        contract: Option<String> = None;
        /// File with the secret of the wallet that anchors and pays, its 24 words or a seed of 64 hexadecimal digits. Only
        /// its owner may read it. With neither a file nor `wallet_key` this gateway pays nobody; `filature settle` can
        /// elsewhere.
        wallet_key_file: Option<String> = None;
        /// That secret itself, for an environment variable. A file is safer.
        #[secret(masked)]
        wallet_key: Option<String> = None;
        /// The least that a provider is paid, in nano. Less waits until there is more.
        payout_min_nano: u64 = 1_000_000_000, 1..=1_000_000_000_000_000;
        /// From one round of payouts to the next, in seconds. Each round anchors its roots.
        payout_every_s: u32 = 3600, 0..=2_592_000;
        /// How long a message that the wallet signed is good, in seconds of the chain. After it another takes its place.
        payout_valid_s: u32 = 300, 30..=86_400;
        /// How long a provider's change of its payout address waits, in seconds. The first address counts at once.
        payout_delay_s: u64 = 86_400, 0..=2_592_000;
        /// Whether no payout is planned, signed or sent, and no contest answered. What was sent is still followed.
        payouts_paused: bool = false;
        /// Who is asked about the chain: base URLs that speak toncenter's API, the first first. Empty takes
        /// `https://toncenter.com`, or `https://testnet.toncenter.com` on the testnet.
        endpoints: Vec<String> = Vec::new();
        /// How many of them must say the same before it counts. With 1 the first that answers is believed, and the others
        /// stand in for it; with 2 or more no single one can invent a deposit, or that somebody was not paid.
        endpoints_agree: usize = 1, 1..=16;
        /// The API key for them: one, or one for each in their order, with commas between and `-` for one without. Without a key
        /// toncenter answers once a second.
        #[secret(masked)]
        api_key: Option<String> = None;
        /// How often it is asked for new deposits and for what became of payouts, and the ledger for withdrawals, in
        /// milliseconds.
        poll_every_ms: u64 = 5000, 100..=3_600_000;
    }

    /// How prices are shown.
    pub struct PricingSettings as pricing {
        /// Symbol of the coin beside displayed amounts. Money itself is counted in nano, a billionth of it.
        symbol: String = "TON".to_owned();
    }

    /// How API keys are looked up.
    pub struct KeysSettings as keys {
        /// How long a key's record is remembered, in milliseconds. The ledger checks revocation again when it reserves.
        cache_ms: u64 = 2000, 0..=3_600_000;
        /// Key records remembered at the same time.
        cache_entries_max: usize = 100_000, 1..=10_000_000;
    }

    /// How patient the gateway is with providers.
    pub struct UpstreamSettings as upstream {
        /// Time to open a connection to a direct provider, in milliseconds.
        connect_timeout_ms: u64 = 5000, 1..=DAY_MS;
        /// Longest wait for the first token of an attempt, in milliseconds. The router usually sets a shorter one.
        first_token_timeout_ms: u64 = 60_000, 1..=DAY_MS;
        /// Longest silence between two parts of a stream, in milliseconds.
        gap_timeout_ms: u64 = 30_000, 1..=DAY_MS;
        /// Longest time a whole call may take, in milliseconds.
        call_timeout_ms: u64 = 600_000, 1..=DAY_MS;
        /// Largest answer that is not streamed, in bytes.
        answer_bytes_max: usize = 16 << 20, 1024..=BYTES_MAX;
        /// Largest single event of a stream, in bytes.
        event_bytes_max: usize = 1 << 20, 1024..=BYTES_MAX;
        /// Idle connections kept open to each direct provider.
        idle_connections_max: usize = 256, 0..=100_000;
    }

    /// How a provider is chosen.
    pub struct RoutingSettings as routing {
        /// What a second of waiting is worth against price, in nano. 0 looks at the price alone.
        exchange_nano_per_second: u64 = 22_000, 0..=1_000_000_000_000_000;
        /// Providers tried for one call, the first included.
        attempts_max: usize = 4, 1..=4;
        /// Calls that may wait at the same time while every provider of their model is full; one more is answered 429.
        queue_max: usize = 1024, 0..=1_000_000;
        /// Longest such wait, in milliseconds; then the call is answered 429.
        queue_wait_ms: u64 = 10_000, 0..=DAY_MS;
        /// The same once calls have been waiting for half a second without a pause and far more come than are served, or for
        /// two and as many come, in milliseconds: under lasting overload a long queue delays every call and serves no more
        /// of them.
        standing_wait_ms: u64 = 200, 0..=DAY_MS;
        /// Ids of the API keys whose calls may ask for `service_tier: "priority"`; with other keys it counts as `default`.
        priority_keys: Vec<String> = Vec::new();
        /// Whether an answer that breaks off in mid-stream is continued by another provider, where that is sound.
        rescue: bool = true;
        /// Gateways that route to the same providers: trying out newcomers is shared among them.
        replicas: u32 = 1, 1..=10_000;
    }

    /// Who may connect as a provider, and how tunnels are watched.
    pub struct TunnelsSettings as tunnels {
        /// Who may open a tunnel: any provider with a valid offer, or only those in `allow`. What `filature providers` says
        /// of one counts before either.
        open: Registration = Registration::Open;
        /// Public keys (64 hexadecimal digits) of the providers admitted when `open` is `allow-list`.
        allow: Vec<String> = Vec::new();
        /// Tunnels open at the same time.
        tunnels_max: usize = 4096, 1..=1_000_000;
        /// How often an agent is asked for its status, in milliseconds.
        status_every_ms: u64 = 2000, 10..=3_600_000;
        /// Whether agents are asked to sign what they served, for the receipts. Checking a signature costs the gateway about
        /// 60 µs of processor for each call, none of it before the answer is out.
        cosign: bool = true;
        /// Time an agent has to present its offer after the upgrade, in milliseconds.
        hello_timeout_ms: u64 = 5000, 1..=DAY_MS;
    }

    /// What the gateway tells about itself. Prompts, completions and keys are never part of it.
    pub struct TelemetrySettings as telemetry {
        /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or a filter by module such as
        /// `info,filature_gateway::fleet=debug`.
        log: String = "info".to_owned();
        /// How log lines look; `auto` is text on a terminal and JSON otherwise.
        log_format: LogFormat = LogFormat::Auto;
        /// Base URL of an OTLP collector (HTTP, protobuf), such as `http://localhost:4318`. None exports nothing and
        /// makes calls pay for no traces; metrics can always be scraped at `/metrics`.
        otlp_endpoint: Option<String> = None;
        /// Headers sent to the collector: `name=value`, separated by commas.
        #[secret(masked)]
        otlp_headers: Option<String> = None;
        /// How often metrics are sent to the collector, in milliseconds.
        otlp_every_ms: u64 = 10_000, 100..=DAY_MS;
        /// Name of this service in traces and metrics.
        service_name: String = "filature".to_owned();
        /// Share of the calls that are traced, where the caller's `traceparent` does not decide.
        trace_sample_ratio: f64 = 1.0, 0.0..=1.0;
    }
}
