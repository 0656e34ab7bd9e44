//! Makes an example of a JSON Schema: the least that guided output and tool arguments need.

use serde_json::{Map, Value, json};

/// Deeper schemas (and those that refer to themselves) end in null.
const DEPTH_MAX: u32 = 16;

/// A value that fits the schema, as far as types, properties, enums, constants, bounds and references go.
pub(super) fn example(schema: &Value) -> Value {
    match example_at(schema, schema, DEPTH_MAX) {
        Value::Null if schema.get("type").is_none() => json!({}),
        value => value,
    }
}

fn example_at(schema: &Value, root: &Value, depth: u32) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    if let Some(target) = schema["$ref"].as_str() {
        let target = target
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer))
            .unwrap_or(&Value::Null);
        return example_at(target, root, depth);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    for list in ["enum", "anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[list].as_array().and_then(|items| items.first()) {
            return if list == "enum" {
                first.clone()
            } else {
                example_at(first, root, depth)
            };
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") => json!("silk"),
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(7)),
        Some("number") => schema.get("minimum").cloned().unwrap_or(json!(1.5)),
        Some("boolean") => json!(true),
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(1).min(64);
            (0..count).map(|_| example_at(&schema["items"], root, depth)).collect()
        }
        _ => schema["properties"].as_object().map_or(Value::Null, |properties| {
            let fields = properties
                .iter()
                .map(|(name, field)| (name.clone(), example_at(field, root, depth)));
            Value::Object(fields.collect::<Map<_, _>>())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_follows_properties_references_and_enums() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"}, "days": {"type": "integer", "minimum": 3},
                "unit": {"enum": ["celsius", "kelvin"]}, "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}},
                "note": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}
            },
            "$defs": {"Tag": {"type": "object", "properties": {"weight": {"type": "number"}}}}
        });
        let expected = json!({"city": "silk", "days": 3, "unit": "celsius", "tags": [{"weight": 1.5}], "note": true});
        assert_eq!(example(&schema), expected);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(example(&schema).is_object());
    }

    #[test]
    fn no_schema_gives_an_empty_object() {
        assert_eq!(example(&Value::Null), json!({}));
    }
}
