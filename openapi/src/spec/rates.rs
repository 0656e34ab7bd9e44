//! The headers of every answered call that say what is left of its key's limits, in OpenAI's words.

use utoipa::openapi::{Header, HeaderBuilder, KnownFormat, ObjectBuilder, Paths, RefOr, SchemaFormat, Type};

/// The tag of the routes that call a model.
const CALLS: &str = "calls";

/// Adds them to what the calls of models answer.
pub(super) fn describe(paths: &mut Paths) {
    let calls = paths.paths.values_mut().filter_map(|item| item.post.as_mut());
    let calls = calls.filter(|call| call.tags.iter().flatten().any(|tag| tag == CALLS));
    for call in calls {
        if let Some(RefOr::T(answered)) = call.responses.responses.get_mut("200") {
            answered.headers.extend(headers());
        }
    }
}

fn headers() -> impl Iterator<Item = (String, RefOr<Header>)> {
    let number = || {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
    };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    [
        (
            "limit-requests",
            number(),
            "The key's requests per minute; as the five others, only where it has the limit.",
        ),
        ("remaining-requests", number(), "What is left of them."),
        ("reset-requests", text(), "When all are back, such as `6m0s`."),
        ("limit-tokens", number(), "The key's tokens per minute."),
        ("remaining-tokens", number(), "What is left of them."),
        ("reset-tokens", text(), "When all are back."),
    ]
    .into_iter()
    .map(|(name, schema, meaning)| {
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(meaning))
            .build();
        (format!("x-ratelimit-{name}"), RefOr::T(header))
    })
}
