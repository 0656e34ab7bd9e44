//! The agent's TOML file. Decides its keys and says everything that is wrong with it at once; an unknown key is wrong,
//! since a misspelt one would otherwise silently do nothing.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What the file says. `None` and empty mean that it is silent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct File {
    pub(super) gateways: Vec<String>,
    pub(super) engine: Option<String>,
    pub(super) engine_api_key_env: Option<String>,
    pub(super) engine_metrics: Option<bool>,
    pub(super) dialect: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) name: Option<String>,
    pub(super) payout: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) drain_timeout_s: Option<u64>,
    pub(super) offer_lifetime_s: Option<u64>,
    pub(super) models: Vec<FileModel>,
}

/// One `[[models]]` table.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct FileModel {
    pub(super) model: String,
    pub(super) engine_model: Option<String>,
    pub(super) quantization: Option<String>,
    pub(super) context_tokens_max: Option<u32>,
    pub(super) output_tokens_max: Option<u32>,
    pub(super) concurrency_max: Option<u32>,
    pub(super) price: FilePrice,
    pub(super) endpoints: Vec<String>,
    pub(super) capabilities: Vec<String>,
    pub(super) parameters: Option<Vec<String>>,
}

/// A model's `price` table.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct FilePrice {
    pub(super) prompt: Option<u64>,
    pub(super) cached_prompt: Option<u64>,
    pub(super) completion: Option<u64>,
    pub(super) reasoning: Option<u64>,
    pub(super) call: Option<u64>,
}

/// Reads a file's text; what is wrong goes to `problems`, and the rest is still read.
pub(super) fn parse(text: &str, problems: &mut Vec<String>) -> File {
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            problems.push(format!("config file: {}", error.to_string().trim_end()));
            return File::default();
        }
    };
    let mut keys = Keys {
        table,
        path: String::new(),
        problems,
    };
    let file = File {
        gateways: keys.take("gateways").unwrap_or_default(),
        engine: keys.take("engine"),
        engine_api_key_env: keys.take("engine_api_key_env"),
        engine_metrics: keys.take("engine_metrics"),
        dialect: keys.take("dialect"),
        key_file: keys.take("key_file"),
        name: keys.take("name"),
        payout: keys.take("payout"),
        ca_file: keys.take("ca_file"),
        drain_timeout_s: keys.take("drain_timeout_s"),
        offer_lifetime_s: keys.take("offer_lifetime_s"),
        models: models(&mut keys),
    };
    keys.refuse_rest();
    file
}

fn models(keys: &mut Keys<'_>) -> Vec<FileModel> {
    let tables: Vec<Table> = keys.take("models").unwrap_or_default();
    tables
        .into_iter()
        .enumerate()
        .map(|(at, table)| model(keys.below(&format!("models[{at}]"), table)))
        .collect()
}

fn model(mut keys: Keys<'_>) -> FileModel {
    let price = keys.take::<Table>("price").unwrap_or_default();
    let model = FileModel {
        model: keys.take("model").unwrap_or_else(|| keys.missing("model")),
        engine_model: keys.take("engine_model"),
        quantization: keys.take("quantization"),
        context_tokens_max: keys.take("context_tokens_max"),
        output_tokens_max: keys.take("output_tokens_max"),
        concurrency_max: keys.take("concurrency_max"),
        price: self::price(keys.below("price", price)),
        endpoints: keys.take("endpoints").unwrap_or_default(),
        capabilities: keys.take("capabilities").unwrap_or_default(),
        parameters: keys.take("parameters"),
    };
    keys.refuse_rest();
    model
}

fn price(mut keys: Keys<'_>) -> FilePrice {
    let price = FilePrice {
        prompt: keys.take("prompt"),
        cached_prompt: keys.take("cached_prompt"),
        completion: keys.take("completion"),
        reasoning: keys.take("reasoning"),
        call: keys.take("call"),
    };
    keys.refuse_rest();
    price
}

/// A table whose known keys are taken out one by one; what stays is unknown.
struct Keys<'p> {
    table: Table,
    path: String,
    problems: &'p mut Vec<String>,
}

impl Keys<'_> {
    fn below(&mut self, key: &str, table: Table) -> Keys<'_> {
        Keys {
            table,
            path: format!("{}{key}.", self.path),
            problems: self.problems,
        }
    }

    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value: Value = self.table.remove(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                let error = error.to_string();
                self.problems
                    .push(format!("config file: {}{key}: {}", self.path, error.trim_end()));
                None
            }
        }
    }

    fn missing(&mut self, key: &str) -> String {
        let missing = format!("config file: {}{key} is missing", self.path);
        // A key of the wrong type has been complained about already.
        let told = format!("config file: {}{key}:", self.path);
        if !self.problems.iter().any(|problem| problem.starts_with(&told)) {
            self.problems.push(missing);
        }
        "unnamed".to_owned()
    }

    fn refuse_rest(self) {
        let path = &self.path;
        self.problems.extend(
            self.table
                .keys()
                .map(|key| format!("config file: {path}{key} is not a setting")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let text = r#"
            gateways = ["https://a.example", "https://b.example"]
            engine = "http://127.0.0.1:8000"
            drain_timeout_s = 60

            [[models]]
            model = "llama-3.1-8b"
            engine_model = "meta-llama/Llama-3.1-8B-Instruct"
            price = { prompt = 20, completion = 60 }
            capabilities = ["tools"]

            [[models]]
            model = "bge-small"
            endpoints = ["embeddings"]
        "#;
        let mut problems = Vec::new();
        let file = parse(text, &mut problems);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(file.gateways.len(), 2);
        assert_eq!(file.drain_timeout_s, Some(60));
        assert_eq!(
            file.models[0].price,
            FilePrice {
                prompt: Some(20),
                completion: Some(60),
                ..FilePrice::default()
            }
        );
        assert_eq!(file.models[1].endpoints, ["embeddings"]);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = r#"
            gateway = "http://a.example"
            engine = 5
            drain_timeout_s = -1

            [[models]]
            modle = "x"
            price = { prompt = -20, speed = 1 }

            [[models]]
            model = 7
        "#;
        let mut problems = Vec::new();
        parse(text, &mut problems);
        let starts = [
            "config file: engine: ",
            "config file: drain_timeout_s: ",
            "config file: models[0].model is missing",
            "config file: models[0].price.prompt: ",
            "config file: models[0].price.speed is not a setting",
            "config file: models[0].modle is not a setting",
            "config file: models[1].model: ",
            "config file: gateway is not a setting",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for start in starts {
            assert!(
                problems.iter().any(|problem| problem.starts_with(start)),
                "{start} in {problems:#?}"
            );
        }
    }

    #[test]
    fn what_is_no_toml_says_where() {
        let mut problems = Vec::new();
        parse("gateways = [", &mut problems);
        assert!(problems[0].contains("line 1"), "{problems:?}");
    }
}
