//! Rules that one value alone cannot show: formats of texts, and settings that contradict each other.

use filature_billing::chain::{Address, BadAddress, WalletKey};
use filature_provider_sdk::PublicKey;
use tracing_subscriber::EnvFilter;

use super::names;
use super::problem::{Origin, Problem};
use super::providers::is_http_url;
use super::settings::Config;
use crate::admin::AdminToken;
use crate::chain;
use crate::epochs::Place;

/// Adds what is wrong; `origin` says where a setting was written.
pub(super) fn rules(config: &Config, origin: &dyn Fn(&str, &str) -> Origin, problems: &mut Vec<Problem>) {
    let mut rules = Rules { origin, problems };
    rules.server(config);
    rules.ledger(config);
    rules.admin(config);
    rules.epochs(config);
    rules.settlement(config);
    rules.upstream(config);
    rules.tunnels(config);
    rules.telemetry(config);
}

struct Rules<'a> {
    origin: &'a dyn Fn(&str, &str) -> Origin,
    problems: &'a mut Vec<Problem>,
}

impl Rules<'_> {
    fn server(&mut self, config: &Config) {
        let authority = &config.server.public_authority;
        let good = authority
            .parse::<http::uri::Authority>()
            .is_ok_and(|parsed| !parsed.host().is_empty() && !authority.contains('@'));
        if !authority.is_empty() && !good {
            self.refuse(
                "server",
                "public_authority",
                format!("got {authority:?}"),
                "allowed: what agents dial, such as gateway.example.org or gateway.example.org:8443, or empty",
            );
        }
        let listen = config.server.listen;
        if authority.is_empty() && !listen.ip().is_loopback() {
            let what = format!(
                "is empty while server.listen is {listen}: another gateway that an agent dials could pass the agent's proof on"
            );
            self.refuse(
                "server",
                "public_authority",
                what,
                "set the name that agents dial, such as gateway.example.org or 203.0.113.7:8080",
            );
        }
    }

    fn ledger(&mut self, config: &Config) {
        let ledger = &config.ledger;
        if let Some(url) = &ledger.redis {
            // The check's own words never repeat the URL, which may hold a password.
            if filature_billing::check_redis_url(url).is_err() {
                self.refuse(
                    "ledger",
                    "redis",
                    "is no Redis URL".to_owned(),
                    "allowed: redis://[user:password@]host[:port][/database], redis+cluster://host,host, \
                     redis+sentinel://host,host/NAME, each with rediss for TLS",
                );
            }
        }
        if ledger.hold_lease_ms < 4 * ledger.deadline_ms {
            let what = format!(
                "{} is too short: a hold would end before its renewal is known",
                ledger.hold_lease_ms
            );
            self.refuse(
                "ledger",
                "hold_lease_ms",
                what,
                "allowed: at least four times ledger.deadline_ms",
            );
        }
        if config.pricing.symbol.is_empty() || config.pricing.symbol.len() > 16 {
            let what = format!("got {:?}", config.pricing.symbol);
            self.refuse("pricing", "symbol", what, "allowed: 1 to 16 bytes");
        }
    }

    fn admin(&mut self, config: &Config) {
        let admin = &config.admin;
        for (number, token) in (1..).zip(&admin.tokens) {
            // Not quoted: it may be the token itself, put there by mistake.
            if let Err(error) = token.parse::<AdminToken>() {
                let what = format!("the {number}. entry {error}");
                self.refuse(
                    "admin",
                    "tokens",
                    what,
                    "allowed: what `filature admin token NAME` prints",
                );
            }
        }
        if admin.listen.is_some() && admin.tokens.is_empty() && admin.tokens_file.is_none() {
            let what = "nobody could use it: admin.tokens and admin.tokens_file are empty".to_owned();
            self.refuse("admin", "listen", what, "make a token with `filature admin token NAME`");
        }
    }

    fn settlement(&mut self, config: &Config) {
        let settlement = &config.settlement;
        for (name, text) in [
            ("deposit_address", &settlement.deposit_address),
            ("contract", &settlement.contract),
        ] {
            if let Some(text) = text
                && let Err(error) = Address::parse(text, settlement.network)
            {
                let what = format!("got {text:?}: {error}");
                self.refuse("settlement", name, what, "allowed: an address on TON");
            }
        }
        self.wallet(config);
        self.withdrawal_wallet(config);
        for (name, payout) in config
            .providers
            .iter()
            .filter_map(|one| Some((&one.name, one.payout.as_ref()?)))
        {
            // What is wrong on any network was told where it stands.
            if let Err(error @ BadAddress::Testnet) = Address::parse(payout, settlement.network) {
                let what = format!("the provider {name:?} is to be paid at {payout:?}: {error}");
                self.refuse("settlement", "network", what, "allowed: the network of the addresses");
            }
        }
        if let Err(error) = chain::endpoints(settlement) {
            let (name, allowed) = error.setting();
            self.refuse("settlement", name, error.to_string(), allowed);
        }
    }

    fn wallet(&mut self, config: &Config) {
        let settlement = &config.settlement;
        let (file, secret) = (&settlement.wallet_key_file, settlement.wallet_key.as_deref());
        self.wallet_key(["wallet_key_file", "wallet_key"], file.as_deref(), secret);
        let name = if file.is_some() {
            "wallet_key_file"
        } else {
            "wallet_key"
        };
        if settlement.contract.is_none() && (file.is_some() || secret.is_some()) {
            let what = "is of no use without settlement.contract".to_owned();
            self.refuse("settlement", name, what, "set the contract that the wallet anchors in");
        }
    }

    fn withdrawal_wallet(&mut self, config: &Config) {
        let settlement = &config.settlement;
        let file = settlement.withdrawal_wallet_key_file.as_deref();
        let secret = settlement.withdrawal_wallet_key.as_deref();
        self.wallet_key(["withdrawal_wallet_key_file", "withdrawal_wallet_key"], file, secret);
    }

    /// A wallet's secret, in a file or as it is: not both. It is never quoted.
    fn wallet_key(&mut self, [file_name, name]: [&'static str; 2], file: Option<&str>, secret: Option<&str>) {
        if file.is_some() && secret.is_some() {
            let what = format!("stands beside settlement.{file_name}");
            return self.refuse("settlement", name, what, "allowed: one of the two");
        }
        if let Some(Err(error)) = secret.map(WalletKey::check) {
            let allowed = "allowed: the 24 words of a wallet, or 64 hexadecimal digits";
            self.refuse("settlement", name, error.to_string(), allowed);
        }
    }

    fn epochs(&mut self, config: &Config) {
        if let Err(what) = Place::of(config) {
            self.refuse("epochs", "store", what, "allowed: a folder, or s3:// and a bucket");
        }
        for key in &config.epochs.keys_before {
            if key.parse::<PublicKey>().is_err() || key.bytes().any(|byte| byte.is_ascii_uppercase()) {
                let what = format!("{key:?} is no public key");
                self.refuse(
                    "epochs",
                    "keys_before",
                    what,
                    "allowed: 64 hexadecimal digits, in lower case",
                );
            }
        }
    }

    fn upstream(&mut self, config: &Config) {
        let upstream = &config.upstream;
        for (name, value) in [
            ("connect_timeout_ms", upstream.connect_timeout_ms),
            ("first_token_timeout_ms", upstream.first_token_timeout_ms),
            ("gap_timeout_ms", upstream.gap_timeout_ms),
        ] {
            if value > upstream.call_timeout_ms {
                let what = format!("{value} is longer than the whole call may take");
                self.refuse("upstream", name, what, "allowed: at most upstream.call_timeout_ms");
            }
        }
    }

    fn tunnels(&mut self, config: &Config) {
        let tunnels = &config.tunnels;
        for key in &tunnels.allow {
            if key.parse::<PublicKey>().is_err() {
                self.refuse(
                    "tunnels",
                    "allow",
                    format!("{key:?} is no public key"),
                    "allowed: 64 hexadecimal digits",
                );
            }
        }
    }

    fn telemetry(&mut self, config: &Config) {
        let telemetry = &config.telemetry;
        if let Err(error) = EnvFilter::builder().parse(&telemetry.log) {
            let what = format!("{:?} is no filter: {error}", telemetry.log);
            self.refuse(
                "telemetry",
                "log",
                what,
                "allowed: a level, or target=level pairs separated by commas",
            );
        }
        if let Some(url) = telemetry.otlp_endpoint.as_ref().filter(|url| !is_http_url(url)) {
            self.refuse(
                "telemetry",
                "otlp_endpoint",
                format!("{url:?} is no URL"),
                "allowed: http:// and a host",
            );
        }
        let headers = telemetry.otlp_headers.as_deref().unwrap_or_default();
        if crate::telemetry::otlp_headers(headers).is_none() {
            self.refuse(
                "telemetry",
                "otlp_headers",
                "cannot be read".to_owned(),
                "allowed: name=value, separated by commas",
            );
        }
        if telemetry.service_name.is_empty() {
            self.refuse("telemetry", "service_name", "is empty".to_owned(), "allowed: any name");
        }
    }

    fn refuse(&mut self, section: &str, name: &str, what: String, allowed: &str) {
        let origin = (self.origin)(section, name);
        self.problems.push(Problem {
            origin,
            key: names::key(section, name),
            what,
            allowed: allowed.to_owned(),
        });
    }
}
