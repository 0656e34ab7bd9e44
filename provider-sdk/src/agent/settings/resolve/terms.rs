//! The models and their terms. Decides what holds for a model that does not say so itself, and refuses words nobody
//! knows.

use filature_openapi::Parameters;

use super::{first_given, given, number};
use crate::agent::settings::file::FileModel;
use crate::agent::settings::flags::ModelFlags;
use crate::offer::{ModelOffer, OfferPrice, PRIVATE};

const CONCURRENCY: u32 = 16;
const CONTEXT_TOKENS: u32 = 8192;
const ENDPOINTS: [&str; 3] = ["chat", "completions", "embeddings"];
const CAPABILITIES: [&str; 5] = ["tools", "json_schema", "logprobs", "images", PRIVATE];

/// What is for sale: the models of `--model`, else those of the file.
pub(super) fn models(flags: &ModelFlags, from_file: &[FileModel], problems: &mut Vec<String>) -> Vec<ModelOffer> {
    let terms = Terms::read(flags, problems);
    let named: Vec<FileModel> = flags
        .models
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| named(text))
        .collect();
    let models = if named.is_empty() { from_file } else { &named };
    if models.is_empty() {
        problems.push("no model is given: --model PUBLIC[=ENGINE], or [[models]] in the file".to_owned());
    }
    models.iter().map(|model| terms.offer(model, problems)).collect()
}

fn named(text: &str) -> FileModel {
    let (model, engine_model) = match text.split_once('=') {
        Some((model, engine)) => (model, Some(engine.to_owned())),
        None => (text, None),
    };
    FileModel {
        model: model.to_owned(),
        engine_model,
        ..FileModel::default()
    }
}

/// What holds for a model that does not say otherwise.
struct Terms {
    prompt: Option<u64>,
    cached_prompt: Option<u64>,
    completion: Option<u64>,
    reasoning: Option<u64>,
    call: Option<u64>,
    concurrency_max: Option<u32>,
    context_tokens_max: Option<u32>,
    output_tokens_max: Option<u32>,
    quantization: Option<String>,
    endpoints: Vec<String>,
    capabilities: Vec<String>,
    parameters: Option<Vec<String>>,
}

impl Terms {
    fn read(flags: &ModelFlags, problems: &mut Vec<String>) -> Self {
        Self {
            prompt: number("--price-prompt", flags.price_prompt.as_deref(), problems),
            cached_prompt: number("--price-cached-prompt", flags.price_cached_prompt.as_deref(), problems),
            completion: number("--price-completion", flags.price_completion.as_deref(), problems),
            reasoning: number("--price-reasoning", flags.price_reasoning.as_deref(), problems),
            call: number("--price-call", flags.price_call.as_deref(), problems),
            concurrency_max: number("--concurrency", flags.concurrency.as_deref(), problems),
            context_tokens_max: number("--context-tokens", flags.context_tokens.as_deref(), problems),
            output_tokens_max: number("--output-tokens", flags.output_tokens.as_deref(), problems),
            quantization: given(flags.quantization.as_deref()).map(str::to_owned),
            endpoints: first_given(&flags.endpoints, &[]),
            capabilities: first_given(&flags.capabilities, &[]),
            parameters: Some(first_given(&flags.parameters, &[])).filter(|words| !words.is_empty()),
        }
    }

    fn offer(&self, own: &FileModel, problems: &mut Vec<String>) -> ModelOffer {
        let mut price = |own: Option<u64>, general: Option<u64>, what: &str, model: &str| {
            own.or(general).unwrap_or_else(|| {
                problems.push(format!(
                    "model {model:?} has no {what} price; 0 gives it away, and has to be said"
                ));
                0
            })
        };
        let prompt = price(own.price.prompt, self.prompt, "prompt", &own.model);
        let completion = price(own.price.completion, self.completion, "completion", &own.model);
        let context_tokens_max = own
            .context_tokens_max
            .or(self.context_tokens_max)
            .unwrap_or(CONTEXT_TOKENS);
        let offer = ModelOffer {
            model: own.model.clone(),
            engine_model: own.engine_model.clone(),
            quantization: own.quantization.clone().or_else(|| self.quantization.clone()),
            context_tokens_max,
            output_tokens_max: own
                .output_tokens_max
                .or(self.output_tokens_max)
                .unwrap_or(context_tokens_max / 2),
            concurrency_max: own.concurrency_max.or(self.concurrency_max).unwrap_or(CONCURRENCY),
            price: OfferPrice {
                prompt,
                cached_prompt: own.price.cached_prompt.or(self.cached_prompt).unwrap_or(prompt),
                completion,
                reasoning: own.price.reasoning.or(self.reasoning).unwrap_or(completion),
                call: own.price.call.or(self.call).unwrap_or(0),
            },
            endpoints: match first_given(&own.endpoints, &self.endpoints) {
                none if none.is_empty() => ENDPOINTS[..2].iter().map(|&word| word.to_owned()).collect(),
                endpoints => endpoints,
            },
            capabilities: first_given(&own.capabilities, &self.capabilities),
            parameters: own.parameters.clone().or_else(|| self.parameters.clone()),
        };
        let parameters = offer.parameters.as_deref().unwrap_or_default();
        let known = Parameters::NAMED.map(|(name, _)| name);
        check_words(&offer.model, "parameter", parameters, &known, problems);
        check_words(&offer.model, "endpoint", &offer.endpoints, &ENDPOINTS, problems);
        check_words(&offer.model, "capability", &offer.capabilities, &CAPABILITIES, problems);
        offer
    }
}

/// A gateway passes over words it does not know, so a misspelt one is refused here, where somebody can correct it.
fn check_words(model: &str, what: &str, words: &[String], known: &[&str], problems: &mut Vec<String>) {
    for word in words.iter().filter(|word| !known.contains(&word.as_str())) {
        problems.push(format!(
            "model {model:?}: {word:?} is not a known {what}; known are {}",
            known.join(", ")
        ));
    }
}
