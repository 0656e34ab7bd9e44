use super::super::Endpoint::{ChatCompletions, Completions, Embeddings};
use super::super::tests::view;
use super::*;

/// The specification's own function: published values, and every length up to two stripes differs.
#[test]
fn the_hash_is_xxh64() {
    for (text, expected) in [
        ("", 0xEF46_DB37_51D8_E999),
        ("a", 0xD24E_C4F1_A98C_6E5B),
        ("abc", 0x44BC_2CF5_AD77_0999),
        ("Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
    ] {
        assert_eq!(hash(text.as_bytes()), expected, "{text:?}");
    }
    let zeroes = [0; 80];
    let hashes: std::collections::BTreeSet<u64> = (0..80).map(|length| hash(&zeroes[..length])).collect();
    assert_eq!(hashes.len(), 80);
}

fn message(role: &str, text: &str) -> String {
    format!(r#"{{"role":"{role}","content":"{text}"}}"#)
}

fn opening(messages: &[String]) -> Option<u64> {
    let body = format!(r#"{{"model":"m","messages":[{}],"seed":7}}"#, messages.join(","));
    view(ChatCompletions, &body).opening
}

#[test]
fn a_chat_keeps_its_opening_as_it_goes_on() {
    let (system, user) = (message("system", &"s".repeat(300)), message("user", "Hello there."));
    let mut chat = vec![system.clone(), user];
    let first = opening(&chat);
    assert!(first.is_some());
    for turn in 0..5 {
        chat.push(message("assistant", &format!("answer {turn}")));
        assert_eq!(opening(&chat), first, "an answer says nothing new");
        chat.push(message("user", &format!("question {turn}")));
        assert_eq!(opening(&chat), first);
    }
    assert_ne!(
        opening(&[system, message("user", "Hello where.")]),
        first,
        "another question"
    );
    let other = message("system", &"t".repeat(300));
    assert_ne!(
        opening(&[other, message("user", "Hello there.")]),
        first,
        "another system prompt"
    );
}

#[test]
fn a_short_beginning_is_no_opening_until_the_chat_is_long_enough() {
    let mut chat = vec![message("user", "Hi.")];
    assert_eq!(opening(&chat), None);
    chat.push(message("assistant", &"a".repeat(400)));
    assert_eq!(opening(&chat), None, "it ends with a user");
    chat.push(message("user", "And then?"));
    let found = opening(&chat);
    assert!(found.is_some());
    chat.push(message("assistant", "Well."));
    chat.push(message("user", "I see."));
    assert_eq!(opening(&chat), found);
}

#[test]
fn white_space_and_where_the_messages_stand_do_not_matter_to_it() {
    let messages = format!(
        "[{},{}]",
        message("system", &"s".repeat(300)),
        message("user", "Hello.")
    );
    let bodies = [
        format!(r#"{{"model":"m","messages":{messages}}}"#),
        format!("{{ \"messages\" :\n {messages} , \"stream\":true, \"model\":\"other\" }}"),
        format!(r#"{{"me\u0073sages":{messages},"model":"m"}}"#),
    ];
    let found = bodies.map(|body| view(ChatCompletions, &body).opening);
    assert!(
        found[0].is_some() && found.iter().all(|opening| *opening == found[0]),
        "{found:?}"
    );
}

#[test]
fn what_lies_beyond_the_bound_does_not_count() {
    let long = |tail: &str| {
        opening(&[
            message("system", &("s".repeat(20_000) + tail)),
            message("user", "Hello."),
        ])
    };
    assert_eq!(long("a"), long("b"));
    let prompt = |text: &str| view(Completions, &format!(r#"{{"model":"m","prompt":"{text}"}}"#)).opening;
    assert_eq!(prompt(&("p".repeat(2000) + "a")), prompt(&("p".repeat(2000) + "b")));
    assert_ne!(
        prompt(&("a".to_owned() + &"p".repeat(2000))),
        prompt(&("b".to_owned() + &"p".repeat(2000)))
    );
    assert_eq!(prompt("short"), None);
}

#[test]
fn embeddings_have_no_opening() {
    let body = format!(r#"{{"model":"m","input":"{}"}}"#, "i".repeat(1000));
    assert_eq!(view(Embeddings, &body).opening, None);
}

/// Replicas of different versions must agree.
#[test]
fn the_opening_of_a_given_chat_is_fixed() {
    let chat = [
        message("system", &"You are brief. ".repeat(20)),
        message("user", "Hello."),
    ];
    assert_eq!(opening(&chat), Some(FIXED));
}

const FIXED: u64 = 6_065_174_114_140_728_478;

#[test]
fn a_users_role_may_be_written_with_escapes() {
    let body = |role: &str| {
        let text = "s".repeat(300);
        format!(r#"{{"model":"m","messages":[{{"role":"{role}","content":"{text}"}}]}}"#)
    };
    for (role, expected) in [
        ("user", true),
        ("\\u0075ser", true),
        ("use\\u0072", true),
        ("\\u0075sed", false),
    ] {
        let found = view(ChatCompletions, &body(role)).opening;
        assert_eq!(found.is_some(), expected, "{role}");
    }
}
