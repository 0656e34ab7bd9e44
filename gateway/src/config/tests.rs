use std::path::Path;

use super::*;

fn sources(file: &str, env: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Sources {
    Sources {
        file: (!file.is_empty()).then(|| Written {
            path: "f.toml".to_owned(),
            text: file.to_owned(),
        }),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: flags
            .iter()
            .map(|(section, name, value)| Flag {
                flag: format!("--{section}-{name}").replace('_', "-"),
                section: (*section).to_owned(),
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    }
}

fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Config {
    Config::load(&sources(file, env, flags)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems as a person reads them, one per line.
fn problems(file: &str, env: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Vec<String> {
    Config::inspect(&sources(file, env, flags))
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn nothing_written_is_the_default_and_is_right() {
    let config = load("", &[("PATH", "/bin"), ("HOME", "/root")], &[]);
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.ledger.redis, None);
}

#[test]
fn flags_beat_variables_which_beat_the_file() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 1\nbody_bytes_max = 1_048_576\n";
    let env = [
        ("FILATURE_SERVER_LISTEN", "127.0.0.1:2"),
        ("FILATURE_SERVER_WORKERS", "2"),
    ];
    let flags = [("server", "listen", "127.0.0.1:3")];
    let config = load(file, &env, &flags);
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.workers, 2);
    assert_eq!(config.server.body_bytes_max, 1 << 20);
    let shown: Vec<_> = Config::inspect(&sources(file, &env, &flags))
        .settings
        .into_iter()
        .filter(|setting| setting.key.starts_with("server."))
        .take(4)
        .map(|setting| format!("{} = {} ({})", setting.key, setting.value, setting.origin))
        .collect();
    assert_eq!(
        shown,
        [
            "server.listen = \"127.0.0.1:3\" (--server-listen)",
            "server.workers = 2 (FILATURE_SERVER_WORKERS)",
            "server.public_authority = \"\" (default)",
            "server.body_bytes_max = 1048576 (f.toml:4)",
        ]
    );
}

#[test]
fn an_empty_variable_unsets_what_the_file_set() {
    let config = load(
        "[ledger]\nredis = \"redis://a\"\n",
        &[("FILATURE_LEDGER_REDIS", "")],
        &[],
    );
    assert_eq!(config.ledger.redis, None);
}

#[test]
fn every_problem_is_reported_with_its_place_and_what_is_allowed() {
    let file = "\
[server]
listen = \"here\"
lisen = 1
workers = \"two\"

[leger]
redis = \"x\"

[ledger]
fee_bps = 10_001
data = 3
symbol = \"TON\"

[tunnels]
open = \"closed\"
allow = [1]
";
    let env = [
        ("FILATURE_SERVER_WORKERS", "-1"),
        ("FILATURE_SERVER_LISTNE", "127.0.0.1:1"),
        ("FILATURE_ZZZ", "1"),
        ("FILATURE_PROVIDERS_NAME", "x"),
    ];
    let flags = [("telemetry", "trace_sample_ratio", "1.5")];
    assert_eq!(
        problems(file, &env, &flags),
        [
            "f.toml:2: server.listen: got \"here\"; allowed: an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
            "f.toml:3: server.lisen: no such setting; did you mean server.listen?",
            "f.toml:4: server.workers: got \"two\"; allowed: a whole number from 0 to 1024",
            "f.toml:6: leger: no such section; did you mean ledger?",
            "f.toml:10: ledger.fee_bps: got 10001; allowed: a whole number from 0 to 10000",
            "f.toml:11: ledger.data: got 3; allowed: a path",
            "f.toml:12: ledger.symbol: no such setting; did you mean pricing.symbol?",
            "f.toml:15: tunnels.open: got \"closed\"; allowed: `open` or `allow-list`",
            "f.toml:16: tunnels.allow: got a TOML array of other things than texts; allowed: a list of texts (separated by \
             commas outside the file)",
            "FILATURE_PROVIDERS_NAME: no setting has this variable; providers can only be written in the file",
            "FILATURE_SERVER_LISTNE: no setting has this variable; did you mean FILATURE_SERVER_LISTEN?",
            "FILATURE_SERVER_WORKERS: server.workers: got \"-1\"; allowed: a whole number from 0 to 1024",
            "FILATURE_ZZZ: no setting has this variable; `filature config reference` lists all; FILATURE_ is reserved",
            "--telemetry-trace-sample-ratio: telemetry.trace_sample_ratio: got \"1.5\"; allowed: a number from 0.0 to 1.0",
        ]
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused_where_they_were_written() {
    for (file, expected) in [
        (
            "[ledger]\nredis = \"http://x\"",
            "f.toml:2: ledger.redis: is no Redis URL; ",
        ),
        (
            "[ledger]\nredis = \"redis+cluster://x/3\"",
            "f.toml:2: ledger.redis: is no Redis URL; ",
        ),
        (
            "[ledger]\nredis = \"redis://user:pass@\"",
            "f.toml:2: ledger.redis: is no Redis URL; ",
        ),
        (
            "[ledger]\nhold_lease_ms = 3000",
            "f.toml:2: ledger.hold_lease_ms: 3000 is too short",
        ),
        (
            "[upstream]\ncall_timeout_ms = 29_999\nfirst_token_timeout_ms = 10",
            "default: upstream.gap_timeout_ms: 30000 is longer",
        ),
        (
            "[tunnels]\nallow = [\"ab\"]",
            "f.toml:2: tunnels.allow: \"ab\" is no public key; ",
        ),
        (
            "[telemetry]\nlog = \"info,x=loud\"",
            "f.toml:2: telemetry.log: \"info,x=loud\" is no filter",
        ),
        (
            "[telemetry]\notlp_endpoint = \"localhost:4317\"",
            "f.toml:2: telemetry.otlp_endpoint: \"localhost:4317\" is no URL",
        ),
        (
            "[telemetry]\notlp_headers = \"novalue\"",
            "f.toml:2: telemetry.otlp_headers: cannot be read; ",
        ),
        (
            "[server]\npublic_authority = \"http://x\"",
            "f.toml:2: server.public_authority: got \"http://x\"",
        ),
        (
            "[server]\npublic_authority = \"me@x\"",
            "f.toml:2: server.public_authority: got \"me@x\"",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:8080\"",
            "default: server.public_authority: is empty while server.listen is 0.0.0.0:8080",
        ),
        ("[pricing]\nsymbol = \"\"", "f.toml:2: pricing.symbol: got \"\""),
    ] {
        let found = problems(file, &[], &[]);
        assert_eq!(found.len(), 1, "{file}: {found:#?}");
        assert!(found[0].starts_with(expected), "{file}: {found:#?}");
    }
    let good = "\
[server]
public_authority = \"gateway.example.org:443\"
[ledger]
redis = \"redis://:secret@host:6379/2\"
[tunnels]
open = \"allow-list\"
allow = [\"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"]
[telemetry]
log = \"info,filature_gateway::fleet=debug\"
otlp_endpoint = \"https://otel.example.org/base\"
otlp_headers = \"authorization=Bearer x, b=2\"
";
    assert_eq!(problems(good, &[], &[]), [""; 0]);
}

#[test]
fn an_address_for_deposits_is_checked_with_its_network() {
    let check = |lines: &str| problems(&format!("[settlement]\n{lines}"), &[], &[]);
    let testnet = "deposit_address = \"0QA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2anN\"";
    assert_eq!(
        check(&format!("network = \"testnet\"\n{testnet}")),
        Vec::<String>::new()
    );
    for (lines, what) in [
        (testnet, "an address for the testnet"),
        (
            "deposit_address = \"UQA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2ann\"",
            "checksum does not fit",
        ),
        ("deposit_address = \"hello\"", "48 characters"),
        ("network = \"devnet\"", "`mainnet` or `testnet`"),
        ("endpoints = [\"http://example.org\"]", "must be https"),
        ("endpoints = [\"toncenter\"]", "is not a URL"),
    ] {
        let found = check(lines);
        assert!(found.len() == 1 && found[0].contains(what), "{lines}: {found:?}");
    }
    let shown = format!("{:?}", load("[settlement]\napi_key = \"hush\"\n", &[], &[]));
    assert!(!shown.contains("hush"), "{shown}");
    let words = "withdrawal_wallet_key = \"abandon ability zoo\"";
    let both = format!(
        "withdrawal_wallet_key = \"{}\"\nwithdrawal_wallet_key_file = \"key\"",
        "01".repeat(32)
    );
    for (lines, what) in [(words, "this has 3 words"), (&both, "stands beside")] {
        let found = check(lines);
        assert!(found.len() == 1 && found[0].contains(what), "{lines}: {found:?}");
        assert!(!found[0].contains("zoo") && !found[0].contains("0101"), "{found:?}");
    }
    let shown = load(
        "[settlement]\nwithdrawal_wallet_key = \"0101010101010101010101010101010101010101010101010101010101010101\"\n",
        &[],
        &[],
    );
    assert!(!format!("{shown:?}").contains("0101"), "{shown:?}");
    let wrong = check("api_key = \"hu\\nsh\"");
    assert!(wrong.len() == 1 && !wrong[0].contains("hu"), "{wrong:?}");
}

#[test]
fn a_wallets_secret_is_checked_and_not_shown() {
    let check = |lines: &str| problems(&format!("[settlement]\n{lines}"), &[], &[]);
    let seed = "5e".repeat(32);
    let contract = format!("contract = \"0:{}\"\n", "33".repeat(32));
    let key = format!("wallet_key = \"{seed}\"\n");
    assert_eq!(check(&format!("{contract}{key}")), Vec::<String>::new());
    assert_eq!(
        check(&format!("{contract}wallet_key_file = \"w.key\"\n")),
        Vec::<String>::new()
    );
    for (lines, what) in [
        (key.clone(), "is of no use without settlement.contract"),
        (
            format!("{contract}{key}wallet_key_file = \"w.key\"\n"),
            "one of the two",
        ),
        (format!("{contract}wallet_key = \"{seed}5e\"\n"), "this has 1 words"),
        (
            format!("{contract}wallet_key = \"{}\"\n", "5e5e ".repeat(24)),
            "word 1 of",
        ),
    ] {
        let found = check(&lines);
        assert!(found.len() == 1 && found[0].contains(what), "{lines}: {found:?}");
        assert!(!found[0].contains("5e5e"), "{found:?}");
    }
    let shown = format!("{:?}", load(&format!("[settlement]\n{contract}{key}"), &[], &[]));
    assert!(!shown.contains("5e5e"), "{shown}");
}

#[test]
fn a_providers_payout_address_is_checked_with_the_network() {
    let check = |network: &str, payout: &str| {
        let provider = "[[providers]]\nname = \"lab\"\nurl = \"http://x\"\nmodels = [{ model = \"m\" }]";
        let text = format!("[settlement]\nnetwork = \"{network}\"\n{provider}\npayout = \"{payout}\"\n");
        problems(&text, &[], &[])
    };
    let testnet = "0QA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2anN";
    assert_eq!(check("testnet", testnet), Vec::<String>::new());
    for (network, payout, what) in [
        (
            "mainnet",
            testnet,
            "f.toml:2: settlement.network: the provider \"lab\" is to be paid at",
        ),
        (
            "testnet",
            "UQA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2ann",
            "checksum does not fit",
        ),
        ("testnet", "hello", "f.toml:3: providers[0].payout: got \"hello\""),
    ] {
        let found = check(network, payout);
        assert!(found.len() == 1 && found[0].contains(what), "{payout}: {found:?}");
    }
}

#[test]
fn what_is_not_toml_says_where_and_the_rest_is_still_checked() {
    let found = problems(
        "[server]\nlisten = \nworkers = 9999\n[ledger]\nfee_bps = 20_000\n",
        &[],
        &[],
    );
    assert!(found[0].starts_with("f.toml:2: not valid TOML: "), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|problem| problem.starts_with("f.toml:3: server.workers: ")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|problem| problem.starts_with("f.toml:5: ledger.fee_bps: ")),
        "{found:#?}"
    );
}

#[test]
fn a_section_that_is_no_table_and_a_key_outside_of_sections_are_refused() {
    assert_eq!(
        problems("listen = \"127.0.0.1:1\"\nserver = 3\n", &[], &[]),
        [
            "f.toml:1: listen: no such section; did you mean server.listen?",
            "f.toml:2: server: got 3; allowed: a table, [server]",
        ]
    );
}

#[test]
fn direct_providers_are_read_with_sensible_defaults() {
    let config = load(
        "\
[[providers]]
name = \"lab\"
url = \"http://10.0.0.5:8000/v1/\"
api_key_env = \"LAB_KEY\"
[[providers.models]]
model = \"a\"
engine_model = \"org/a\"
price = { prompt = 10, completion = 20 }
[[providers.models]]
model = \"b\"
endpoints = [\"embeddings\"]
concurrency_max = 3
price = { prompt = 10, cached_prompt = 1, reasoning = 2, call = 7 }
",
        &[],
        &[],
    );
    let [provider] = config.providers.as_slice() else {
        panic!("{:?}", config.providers)
    };
    assert_eq!(
        (provider.name.as_str(), provider.url.as_str()),
        ("lab", "http://10.0.0.5:8000")
    );
    assert_eq!(provider.api_key_env.as_deref(), Some("LAB_KEY"));
    let [a, b] = provider.models.as_slice() else {
        panic!("{:?}", provider.models)
    };
    assert_eq!((a.model.as_str(), a.engine_model.as_deref()), ("a", Some("org/a")));
    assert_eq!(
        (a.context_tokens_max, a.output_tokens_max, a.concurrency_max),
        (8192, 4096, 64)
    );
    assert_eq!(
        (
            a.price.prompt,
            a.price.cached_prompt,
            a.price.completion,
            a.price.reasoning
        ),
        (10, 10, 20, 20)
    );
    assert_eq!(
        (
            b.price.cached_prompt,
            b.price.completion,
            b.price.reasoning,
            b.price.call
        ),
        (1, 0, 2, 7)
    );
    assert_eq!(
        (b.endpoints.as_slice(), b.concurrency_max),
        (["embeddings".to_owned()].as_slice(), 3)
    );
}

#[test]
fn problems_of_providers_are_found_all_at_once() {
    let found = problems(
        "\
[[providers]]
name = \"lab\"
url = \"10.0.0.5\"
colour = 1
[[providers.models]]
model = \"\"
endpoint = [\"chat\"]
capabilities = [\"flying\"]
price = { prompt = -1 }
[[providers]]
name = \"lab\"
url = \"http://x\"
models = [{ model = \"m\", concurrency_max = 0 }]
[[providers]]
name = \"empty\"
url = \"http://x\"
",
        &[],
        &[],
    );
    assert_eq!(
        found,
        [
            "f.toml:4: providers[0].colour: no such setting; ",
            "f.toml:7: providers[0].models[0].endpoint: no such setting; did you mean endpoints?",
            "f.toml:9: providers[0].models[0].price.prompt: got -1; allowed: a whole number from 0 to 1000000000000000",
            "f.toml:5: providers[0].models[0].model: \"\" is no name; allowed: 1 to 256 bytes of printable text",
            "f.toml:5: providers[0].models[0].capabilities: got \"flying\"; allowed: tools, json_schema, logprobs, images, private",
            "f.toml:1: providers[0].url: \"10.0.0.5\" is no URL; allowed: http:// or https:// and a host",
            "f.toml:13: providers[1].models[0].concurrency_max: got 0; allowed: a whole number from 1 to 1000000",
            "f.toml:10: providers[1].name: \"lab\" is used twice; names are unique",
            "f.toml:14: providers[2].models: no model; at least one is needed",
        ]
        .map(|line| line.trim_end_matches("; "))
    );
}

#[test]
fn secrets_are_never_shown() {
    let secret = "s3cret";
    let file = format!(
        "[ledger]\nredis = \"redis://u:{secret}@host\"\n[telemetry]\notlp_headers = \"authorization=Bearer {secret}\"\n"
    );
    let bad = format!("[ledger]\nredis = [\"redis://u:{secret}@host\"]\n[telemetry]\notlp_headers = \"{secret}\"\n");
    for file in [file, bad] {
        let inspection = Config::inspect(&sources(
            &file,
            &[("FILATURE_LEDGER_REDIS", &format!("http://u:{secret}@x"))],
            &[],
        ));
        assert!(!format!("{inspection:?}").contains(secret), "{inspection:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let found = Sources::gather(Some(Path::new("/nowhere/f.toml")), Vec::new())
        .expect_err("no such file")
        .to_string();
    assert!(found.contains("--config: cannot read /nowhere/f.toml: "), "{found}");
}

#[test]
fn the_reference_is_current() {
    crate::config::committed::check("config.md", &reference());
}

#[test]
fn a_key_is_told_to_nobody_but_whose_it_is() {
    let check = |endpoints: &str, keys: &str| {
        let text = format!("[settlement]\nendpoints = {endpoints}\napi_key = \"{keys}\"\n");
        problems(&text, &[], &[])
    };
    let (alone, two, alike) = (
        "[\"https://a.b\"]",
        "[\"https://a.b\", \"https://c.d\"]",
        "[\"https://a.b/1\", \"https://a.b/2\"]",
    );
    for (endpoints, keys) in [
        ("[]", "hush"),
        (alone, "hush"),
        (two, "hush,-"),
        (two, "hush, still"),
        (alike, "hush"),
    ] {
        assert_eq!(check(endpoints, keys), Vec::<String>::new(), "{endpoints} {keys}");
    }
    for (endpoints, keys) in [(two, "hush"), (alone, "hush,hush"), (two, "hush,hush,hush")] {
        let found = check(endpoints, keys);
        assert!(
            found.len() == 1 && found[0].contains("settlement.api_key: ") && !found[0].contains("hush"),
            "{endpoints} {keys}: {found:?}"
        );
    }
}

#[test]
fn endpoints_that_must_agree_are_as_many_and_not_the_same() {
    let check = |endpoints: &str, agree: usize| {
        let text = format!("[settlement]\nendpoints = {endpoints}\nendpoints_agree = {agree}\n");
        problems(&text, &[], &[])
    };
    assert_eq!(check("[]", 1), Vec::<String>::new());
    assert_eq!(check("[\"https://a.b\", \"https://c.d\"]", 2), Vec::<String>::new());
    for (endpoints, agree, what) in [
        ("[]", 2, "f.toml:3: settlement.endpoints_agree: is 2, and there are 1"),
        (
            "[\"https://a.b\"]",
            2,
            "f.toml:3: settlement.endpoints_agree: is 2, and there are 1",
        ),
        (
            "[\"https://a.b\", \"https://a.b/\"]",
            2,
            "f.toml:2: settlement.endpoints: names a.b:443 twice",
        ),
        (
            "[\"https://a.b/x\", \"https://c.d\", \"https://A.b:443/y\"]",
            2,
            "f.toml:2: settlement.endpoints: names a.b:443 twice",
        ),
        ("[]", 0, "f.toml:3: settlement.endpoints_agree: "),
    ] {
        let found = check(endpoints, agree);
        assert!(
            found.len() == 1 && found[0].contains(what),
            "{endpoints} {agree}: {found:?}"
        );
    }
}
