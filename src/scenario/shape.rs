//! A value of the wrong type, told in the words of a scenario's author, with an example of what stands there.

use serde_json::Value;

use crate::scenario::Scenario;

/// What is wrong, and what would mend it.
pub(super) struct WrongType {
    pub(super) cause: String,
    pub(super) mend: String,
}

/// Takes "invalid type: string "abc", expected u32" apart; `path` is where the value stands.
pub(super) fn wrong_type(said: &str, path: &str) -> Option<WrongType> {
    if said.starts_with("wanted string or table") {
        let mend = "write a table with one key: do = { crash = { … } }".to_owned();
        return Some(WrongType { cause: "this names no kind of fault".to_owned(), mend });
    }
    let said = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "))?;
    let (found, expected) = said.split_once(", expected ")?;
    // A number or a text is quoted as it stands; of a table or list only the kind is known.
    let found = match found.find(['`', '"']) {
        Some(at) => format!("`{}`", found[at..].trim_matches(['`', '"'])),
        None => format!("a {}", found.replace("map", "table").replace("sequence", "list")),
    };
    let key = path.rsplit('.').next().filter(|key| key.parse::<usize>().is_err()).unwrap_or("key");
    let number = || {
        let example = default_at(path).unwrap_or_else(|| "3".to_owned());
        format!("write a number without quotes, for instance {key} = {example}")
    };
    let (kind, mend) = match expected.split(' ').next()? {
        "struct" => ("a table", a_table(path)),
        "u16" => ("a whole number from 0 to 65535", number()),
        "u32" => ("a whole number from 0 to 4294967295", number()),
        "u64" | "usize" => ("a whole number of at least 0", number()),
        "i64" => ("a whole number", number()),
        "f64" => ("a number", number()),
        _ if expected == "a boolean" => ("true or false", format!("write {key} = true or {key} = false")),
        _ if expected == "a string" => ("text", format!("put it into double quotes: {key} = \"…\"")),
        _ if expected == "a sequence" => ("a list", format!("put it into brackets: {key} = [ … ]")),
        _ if expected.starts_with("a value with its unit") => {
            ("a value with its unit", format!("write it in double quotes, for instance {key} = \"5ms\""))
        }
        _ => return None,
    };
    Some(WrongType { cause: format!("{found} is not {kind}"), mend })
}

/// How a table is written, with the first of its keys that has a default.
fn a_table(path: &str) -> String {
    let schema = Scenario::schema().to_value();
    let with_default = properties(&schema, path).into_iter().flatten().find_map(|(key, value)| {
        let default = value.get("default").filter(|default| !default.is_null() && !default.is_array())?;
        Some(format!("{key} = {default}"))
    });
    let key = path.rsplit('.').next().unwrap_or_default();
    let within_a_list = path.split('.').any(|key| key.parse::<usize>().is_ok());
    match with_default {
        Some(example) if within_a_list => format!("write a table: {key} = {{ {example} }}"),
        Some(example) => format!("write a table: a line [{path}], and below it for instance {example}"),
        None if within_a_list => format!("write a table: {key} = {{ … }}"),
        None => format!("write a table: a line [{path}], and its keys below it"),
    }
}

/// The default of the value at a path, as TOML writes it.
fn default_at(path: &str) -> Option<String> {
    let schema = Scenario::schema().to_value();
    let (table, key) = path.rsplit_once('.')?;
    let (_, value) = properties(&schema, table)?.find(|(name, _)| *name == key)?;
    Some(value.get("default")?.to_string())
}

/// The keys of the table at a path, with the schema of each.
fn properties<'schema>(
    schema: &'schema Value,
    path: &str,
) -> Option<impl Iterator<Item = (&'schema String, &'schema Value)>> {
    let mut at = schema;
    for key in path.split('.') {
        let inner = resolved(schema, at);
        at = match key.parse::<usize>() {
            Ok(_) => inner.get("items")?,
            Err(_) => inner.get("properties")?.get(key)?,
        };
    }
    Some(resolved(schema, at).get("properties")?.as_object()?.iter())
}

/// The schema itself, where another one refers to it or allows null beside it.
fn resolved<'schema>(root: &'schema Value, schema: &'schema Value) -> &'schema Value {
    let named = |schema: &'schema Value| {
        let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        root.get("$defs")?.get(name)
    };
    let choices = schema.get("anyOf").and_then(Value::as_array);
    named(schema).or_else(|| choices?.iter().find_map(named)).unwrap_or(schema)
}
