//! Facts about how file, environment and flags add up.

use super::*;
use crate::agent::settings::flags::ModelFlags;
use crate::offer::OfferPrice;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        ProviderKey::generate(&mut rand::rng())
            .store(&folder.path("provider.key"))
            .unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The least that works.
    fn flags(&self) -> Flags {
        Flags {
            gateways: vec!["http://127.0.0.1:8080".to_owned()],
            engine: Some("http://127.0.0.1:9001/v1".to_owned()),
            key_file: Some(self.path("provider.key")),
            name: Some("mill".to_owned()),
            model: ModelFlags {
                models: vec!["small=org/small".to_owned()],
                price_prompt: Some("20".to_owned()),
                price_completion: Some("60".to_owned()),
                ..ModelFlags::default()
            },
            ..Flags::default()
        }
    }

    fn config(&self, text: &str) -> PathBuf {
        let path = self.path("provider.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn a_few_flags_are_enough() {
    let folder = Folder::new();
    let settings = resolve(&folder.flags()).unwrap();
    let model = &settings.models[0];
    assert_eq!(
        (model.model.as_str(), model.engine_model.as_deref()),
        ("small", Some("org/small"))
    );
    assert_eq!(
        model.price,
        OfferPrice {
            prompt: 20,
            cached_prompt: 20,
            completion: 60,
            reasoning: 60,
            call: 0
        }
    );
    assert_eq!(model.endpoints, ["chat", "completions"]);
    assert_eq!(
        (model.context_tokens_max, model.output_tokens_max, model.concurrency_max),
        (8192, 4096, 16)
    );
    assert_eq!(settings.engine.to_string(), "http://127.0.0.1:9001");
    assert_eq!(settings.drain_deadline, DRAIN_DEADLINE);
}

#[test]
fn flags_count_above_the_file_and_a_model_speaks_for_itself() {
    let folder = Folder::new();
    let mut flags = folder.flags();
    flags.model.models.clear();
    flags.name = Some(String::new());
    flags.drain_timeout = Some("5".to_owned());
    flags.config = Some(folder.config(
        r#"
        name = "from the file"
        engine = "http://other.example"
        drain_timeout_s = 60
        offer_lifetime_s = 7200

        [[models]]
        model = "a"
        price = { prompt = 1, reasoning = 9 }
        concurrency_max = 3

        [[models]]
        model = "b"
        "#,
    ));
    let settings = resolve(&flags).unwrap();
    assert_eq!(settings.name, "from the file", "an empty variable counts as unset");
    assert_eq!(settings.engine.to_string(), "http://127.0.0.1:9001");
    assert_eq!(settings.drain_deadline, Duration::from_secs(5));
    assert_eq!(settings.offer_lifetime, Duration::from_secs(7200));
    let price = |prompt, reasoning| OfferPrice {
        prompt,
        cached_prompt: prompt,
        completion: 60,
        reasoning,
        call: 0,
    };
    assert_eq!(
        (settings.models[0].price, settings.models[0].concurrency_max),
        (price(1, 9), 3)
    );
    assert_eq!(
        (settings.models[1].price, settings.models[1].concurrency_max),
        (price(20, 60), 16)
    );
    assert_eq!(settings.calls_max(), 19);
}

#[test]
fn a_model_flag_replaces_the_models_of_the_file() {
    let folder = Folder::new();
    let mut flags = folder.flags();
    flags.config = Some(folder.config("[[models]]\nmodel = \"a\""));
    assert_eq!(
        resolve(&flags)
            .unwrap()
            .models
            .iter()
            .map(|model| model.model.as_str())
            .collect::<Vec<_>>(),
        ["small"]
    );
}

#[test]
fn what_can_be_no_address_is_told_before_any_gateway_does() {
    let folder = Folder::new();
    let with = |payout: &str| {
        let mut flags = folder.flags();
        flags.payout = Some(payout.to_owned());
        resolve(&flags)
    };
    let raw = format!("0:{}", "5e".repeat(32));
    for payout in ["UQAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCYXe", &raw] {
        assert_eq!(with(payout).unwrap().payout.as_deref(), Some(payout));
    }
    for payout in ["abc", "0:5e", "UQAJ CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCYXe"] {
        let problems = with(payout).unwrap_err().join("\n");
        assert!(problems.contains("--payout"), "{problems}");
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let folder = Folder::new();
    let mut flags = folder.flags();
    flags.gateways = vec!["localhost:8080".to_owned()];
    flags.engine = None;
    flags.key_file = Some(folder.path("absent.key"));
    flags.engine_api_key_env = Some("FILATURE_TEST_VARIABLE_THAT_IS_NOT_SET".to_owned());
    flags.drain_timeout = Some("soon".to_owned());
    flags.model.price_prompt = Some("-1".to_owned());
    flags.model.capabilities = vec!["tolls".to_owned()];
    flags.config = Some(folder.config("nmae = \"x\""));
    let problems = resolve(&flags).unwrap_err().join("\n");
    for word in [
        "localhost:8080",
        "--engine",
        "key new --key-file",
        "FILATURE_TEST_VARIABLE",
        "--drain-timeout soon",
        "--price-prompt -1",
        "\"tolls\"",
        "nmae is not a setting",
    ] {
        assert!(problems.contains(word), "{word} in:\n{problems}");
    }
}

#[test]
fn a_price_has_to_be_said() {
    let folder = Folder::new();
    let mut flags = folder.flags();
    flags.model.price_completion = None;
    let problems = resolve(&flags).unwrap_err();
    assert!(
        problems.len() == 1 && problems[0].contains("completion price"),
        "{problems:?}"
    );
}

#[test]
fn bounds_of_the_offer_are_checked_before_it_is_signed() {
    let folder = Folder::new();
    let mut flags = folder.flags();
    flags.model.concurrency = Some("0".to_owned());
    flags.model.price_call = Some("1000000000000001".to_owned());
    let problems = resolve(&flags).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn an_offer_needs_no_gateway() {
    let folder = Folder::new();
    let flags = Flags {
        gateways: Vec::new(),
        engine: None,
        ..folder.flags()
    };
    assert!(resolve_offer(&flags).is_ok());
    assert!(resolve(&flags).is_err());
}

#[test]
fn a_misspelt_variable_is_found_and_those_of_kubernetes_are_not() {
    let known = ["FILATURE_PROVIDER_NAME".to_owned()];
    let set = [
        "HOME",
        "FILATURE_PROVIDER_NAME",
        "FILATURE_PROVIDER_NAEM",
        "FILATURE_PROVIDER_PORT_80_TCP",
        "FILATURE_PROVIDER_SERVICE_HOST",
    ];
    let unknown = unknown_environment(set, &known);
    assert!(
        unknown.len() == 1 && unknown[0].contains("FILATURE_PROVIDER_NAEM"),
        "{unknown:?}"
    );
}

#[test]
fn a_dialect_comes_from_the_flag_or_the_file_and_auto_asks_the_engine() {
    let folder = Folder::new();
    let dialect = |flag: Option<&str>, text: &str| {
        let mut flags = folder.flags();
        flags.dialect = flag.map(str::to_owned);
        flags.config = Some(folder.config(text));
        resolve(&flags).map(|settings| settings.dialect)
    };
    assert_eq!(dialect(None, ""), Ok(None));
    assert_eq!(dialect(None, "dialect = \"sglang\""), Ok(Some(Dialect::Sglang)));
    assert_eq!(
        dialect(Some("llama.cpp"), "dialect = \"sglang\""),
        Ok(Some(Dialect::LlamaCpp))
    );
    assert_eq!(dialect(Some("auto"), "dialect = \"sglang\""), Ok(None));
    assert_eq!(dialect(Some(""), "dialect = \"auto\""), Ok(None));
    let problems = dialect(Some("tgi"), "").unwrap_err();
    assert!(
        problems.len() == 1 && problems[0].contains("\"tgi\" is no dialect"),
        "{problems:?}"
    );
}

#[test]
fn a_dialect_that_continues_shows_in_the_offer() {
    let folder = Folder::new();
    let capabilities = |dialect: &str| {
        let mut flags = folder.flags();
        flags.dialect = Some(dialect.to_owned());
        resolve(&flags).unwrap().offer(1, 2).models[0].capabilities.clone()
    };
    assert_eq!(capabilities("vllm"), ["continue"]);
    assert_eq!(capabilities("openai"), Vec::<String>::new());
    assert_eq!(
        capabilities("auto"),
        Vec::<String>::new(),
        "not before the engine was asked"
    );
}

#[test]
fn parameters_are_those_of_the_model_or_of_the_flag() {
    let folder = Folder::new();
    let mut flags = folder.flags();
    assert_eq!(resolve(&flags).unwrap().models[0].parameters, None);
    flags.model.models.clear();
    flags.model.parameters = vec!["top_k".to_owned(), "min_p".to_owned()];
    flags.config = Some(folder.config(
        "[[models]]\nmodel = \"a\"\nparameters = []\ncapabilities = [\"private\"]\n[[models]]\nmodel = \"b\"\n",
    ));
    let models = resolve(&flags).unwrap().models;
    assert_eq!(models[0].parameters, Some(Vec::new()), "a model may honour none");
    assert_eq!(models[1].parameters, Some(vec!["top_k".to_owned(), "min_p".to_owned()]));
    flags.model.parameters = vec!["topk".to_owned()];
    let problems = resolve(&flags).unwrap_err();
    assert!(
        problems.len() == 1 && problems[0].contains("\"topk\" is not a known parameter"),
        "{problems:?}"
    );
}
