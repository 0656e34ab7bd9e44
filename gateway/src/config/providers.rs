//! `[[providers]]`: providers at a URL that the operator vouches for, and the models they serve. File only.

mod declared;

use filature_billing::chain::{Address, Network};
use filature_openapi::call::Parameters;
use filature_provider_sdk::{Dialect, ModelOffer, OfferPrice};
use toml::de::DeValue;

use super::declare::{Refused, Section};
use super::file::{Source, Table, raw};
use super::names;
use super::problem::Problem;
pub(super) use declared::{ModelSettings, PriceSettings, ProviderSettings};

/// A provider reached at a URL, as the gateway uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectProvider {
    /// Its name in records and metrics.
    pub name: String,
    /// Base URL of its OpenAI-compatible API, without `/v1` and without a slash at the end.
    pub url: String,
    /// Environment variable that holds its API key.
    pub api_key_env: Option<String>,
    /// What its engine is.
    pub dialect: Dialect,
    /// The address on TON that its earnings go to.
    pub payout: Option<String>,
    /// What it serves; at least one model.
    pub models: Vec<ModelOffer>,
}

/// Reads the array of providers; what is wrong is added to `problems`.
pub(super) fn read(
    source: &Source<'_>,
    at: usize,
    value: &DeValue<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<DirectProvider> {
    let mut reader = Reader { source, problems };
    let mut providers: Vec<DirectProvider> = Vec::new();
    for (path, at, table) in reader.tables("providers", at, value) {
        let provider = reader.provider(&path, at, &table);
        if !provider.name.is_empty() && providers.iter().any(|earlier| earlier.name == provider.name) {
            reader.problem(
                at,
                format!("{path}.name"),
                format!("{:?} is used twice", provider.name),
                "names are unique",
            );
        }
        providers.push(provider);
    }
    providers
}

/// Reads tables and says what is wrong with them.
pub(super) struct Reader<'a, 'p> {
    pub(super) source: &'a Source<'a>,
    pub(super) problems: &'p mut Vec<Problem>,
}

impl Reader<'_, '_> {
    fn provider(&mut self, path: &str, at: usize, table: &Table<'_>) -> DirectProvider {
        let mut settings = ProviderSettings::default();
        let mut models = Vec::new();
        let rest = self.fill(path, table, &mut settings, &["models"]);
        for (_, at, value) in rest {
            for (path, at, table) in self.tables(&format!("{path}.models"), at, value) {
                models.push(self.model(&path, at, &table));
            }
        }
        self.name(at, &format!("{path}.name"), &settings.name);
        if !is_http_url(&settings.url) {
            self.problem(
                at,
                format!("{path}.url"),
                format!("{:?} is no URL", settings.url),
                "allowed: http:// or https:// and a host",
            );
        }
        if models.is_empty() {
            self.problem(
                at,
                format!("{path}.models"),
                "no model".to_owned(),
                "at least one is needed",
            );
        }
        // Whether it is one of the right network is seen when all settings are known.
        if let Some(payout) = &settings.payout
            && let Err(error) = Address::parse(payout, Network::Testnet)
        {
            self.problem(
                at,
                format!("{path}.payout"),
                format!("got {payout:?}: {error}"),
                "allowed: an address on TON",
            );
        }
        let url = settings.url.trim_end_matches('/');
        let url = url.strip_suffix("/v1").unwrap_or(url).to_owned();
        DirectProvider {
            name: settings.name,
            url,
            api_key_env: settings.api_key_env,
            dialect: settings.dialect,
            payout: settings.payout,
            models,
        }
    }

    fn model(&mut self, path: &str, at: usize, table: &Table<'_>) -> ModelOffer {
        let mut settings = ModelSettings::default();
        let mut price = None;
        for (_, at, value) in self.fill(path, table, &mut settings, &["price"]) {
            price = self.price(&format!("{path}.price"), at, value).or(price);
        }
        self.name(at, &format!("{path}.model"), &settings.model);
        self.words(
            at,
            &format!("{path}.endpoints"),
            &settings.endpoints,
            &["chat", "completions", "embeddings"],
        );
        let capabilities = &["tools", "json_schema", "logprobs", "images", "private"];
        self.words(
            at,
            &format!("{path}.capabilities"),
            &settings.capabilities,
            capabilities,
        );
        let parameters = Parameters::NAMED.map(|(name, _)| name);
        self.words(at, &format!("{path}.parameters"), &settings.parameters, &parameters);
        if settings.endpoints.is_empty() {
            self.problem(
                at,
                format!("{path}.endpoints"),
                "is empty".to_owned(),
                "at least one is needed",
            );
        }
        ModelOffer {
            model: settings.model,
            engine_model: settings.engine_model,
            quantization: settings.quantization,
            context_tokens_max: settings.context_tokens_max,
            output_tokens_max: settings.output_tokens_max,
            concurrency_max: settings.concurrency_max,
            price: price.unwrap_or_default(),
            endpoints: settings.endpoints,
            capabilities: settings.capabilities,
            parameters: Some(settings.parameters).filter(|words| !words.is_empty()),
        }
    }

    fn price(&mut self, path: &str, at: usize, value: &DeValue<'_>) -> Option<OfferPrice> {
        let Some(table) = value.as_table() else {
            self.problem(
                at,
                path.to_owned(),
                format!("got {}", raw(value).quoted()),
                "allowed: a table of prices in nano",
            );
            return None;
        };
        let table = Table::new(table);
        let mut price = PriceSettings::default();
        self.fill(path, &table, &mut price, &[]);
        let says = |key| table.entries().iter().any(|(name, _, _)| *name == key);
        Some(OfferPrice {
            prompt: price.prompt,
            cached_prompt: if says("cached_prompt") {
                price.cached_prompt
            } else {
                price.prompt
            },
            completion: price.completion,
            reasoning: if says("reasoning") {
                price.reasoning
            } else {
                price.completion
            },
            call: price.call,
        })
    }

    /// Fills `settings` from the table and returns the entries named in `apart`; unknown keys become problems.
    pub(super) fn fill<'t>(
        &mut self,
        path: &str,
        table: &Table<'t>,
        settings: &mut dyn Section,
        apart: &[&str],
    ) -> Vec<(&'t str, usize, &'t DeValue<'t>)> {
        let mut rest = Vec::new();
        for (name, at, value) in table.entries() {
            if apart.contains(&name) {
                rest.push((name, at, value.get_ref()));
                continue;
            }
            let value = raw(value.get_ref());
            let key = names::key(path, name);
            match settings.set(name, &value) {
                Ok(()) => {}
                Err(Refused::Invalid { allowed }) => {
                    self.problem(
                        at,
                        key,
                        format!("got {}", value.quoted()),
                        &format!("allowed: {allowed}"),
                    );
                }
                Err(Refused::Unknown) => {
                    let known = settings
                        .fields()
                        .into_iter()
                        .map(|field| field.name)
                        .chain(apart.iter().copied());
                    let hint = names::nearest(name, known.map(str::to_owned))
                        .map_or_else(String::new, |near| format!("did you mean {near}?"));
                    self.problem(at, key, "no such setting".to_owned(), &hint);
                }
            }
        }
        rest
    }

    pub(super) fn tables<'t>(
        &mut self,
        path: &str,
        at: usize,
        value: &'t DeValue<'t>,
    ) -> Vec<(String, usize, Table<'t>)> {
        let Some(items) = value.as_array() else {
            self.problem(
                at,
                path.to_owned(),
                format!("got {}", raw(value).quoted()),
                "allowed: an array of tables",
            );
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.get_ref().as_table() {
                Some(table) => tables.push((path, item.span().start, Table::new(table))),
                None => self.problem(
                    at,
                    path,
                    format!("got {}", raw(item.get_ref()).quoted()),
                    "allowed: a table",
                ),
            }
        }
        tables
    }

    pub(super) fn name(&mut self, at: usize, key: &str, name: &str) {
        if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            self.problem(
                at,
                key.to_owned(),
                format!("{name:?} is no name"),
                "allowed: 1 to 256 bytes of printable text",
            );
        }
    }

    pub(super) fn words(&mut self, at: usize, key: &str, words: &[String], allowed: &[&str]) {
        for word in words.iter().filter(|word| !allowed.contains(&word.as_str())) {
            self.problem(
                at,
                key.to_owned(),
                format!("got {word:?}"),
                &format!("allowed: {}", allowed.join(", ")),
            );
        }
    }

    pub(super) fn problem(&mut self, at: usize, key: String, what: String, allowed: &str) {
        self.problems.push(Problem {
            origin: self.source.origin(at),
            key,
            what,
            allowed: allowed.to_owned(),
        });
    }
}

/// Whether a text is an `http://` or `https://` URL with a host.
pub(super) fn is_http_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}
