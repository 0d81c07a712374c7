//! Formats by their names (`format.dns1123Label()`), and what they say of texts.

use super::super::{formats, urls};
use super::eval::Answer;
use super::value::Value;

const NAMES: [&str; 13] = [
    "byte",
    "date",
    "datetime",
    "dns1035Label",
    "dns1035LabelPrefix",
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "labelValue",
    "qualifiedName",
    "uri",
    "uuid",
];

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// `None`: no function of formats.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let named = |name: &str| NAMES.iter().find(|known| **known == name).map(|known| Value::Format(known));
    Some(Ok(match (name, args) {
        ("format.named", [Value::Text(name)]) => Value::Optional(named(name.get()).map(Into::into)),
        (name, []) => named(name.strip_prefix("format.")?)?,
        ("validate", [Value::Format(format), Value::Text(text)]) => {
            let wrong: Vec<_> = check(format, text.get()).into_iter().map(Value::text).collect();
            Value::Optional((!wrong.is_empty()).then(|| Value::list(wrong).into()))
        }
        _ => return None,
    }))
}

/// What is wrong with a text.
fn check(format: &str, text: &str) -> Vec<String> {
    let one = |good: bool, what: &str| if good { Vec::new() } else { vec![what.to_owned()] };
    match format {
        "byte" => one(formats::is("byte", text), "invalid base64"),
        "date" => one(formats::is("date", text), "invalid date"),
        "datetime" => one(formats::is("datetime", text), "invalid datetime"),
        "uuid" => one(formats::is("uuid", text), "does not match the UUID format"),
        "uri" => urls::Url::request(text).err().into_iter().collect(),
        "dns1123Label" => label(text),
        "dns1123LabelPrefix" => label(&completed(text)),
        "dns1035Label" => label_1035(text),
        "dns1035LabelPrefix" => label_1035(&completed(text)),
        "dns1123Subdomain" => subdomain(text),
        "dns1123SubdomainPrefix" => subdomain(&completed(text)),
        "qualifiedName" => qualified_name(text),
        "labelValue" => label_value(text),
        _ => Vec::new(),
    }
}

/// A prefix as the original looks at it: its last two bytes make room for a letter where it ends in `-`.
fn completed(text: &str) -> String {
    match text.as_bytes() {
        [kept @ .., _, b'-'] => String::from_utf8_lossy(kept).into_owned() + "a",
        _ => text.to_owned(),
    }
}

fn expression(rule: &str, expression: &str, examples: &[&str]) -> String {
    let examples = examples.iter().map(|example| format!("'{example}'")).collect::<Vec<_>>().join(",  or ");
    format!("{rule} (e.g. {examples}, regex used for validation is '{expression}')")
}

fn too_long(text: &str, most: usize) -> Vec<String> {
    let long = text.len() > most;
    if long { vec![format!("must be no more than {most} characters")] } else { Vec::new() }
}

/// Of lower-case letters, digits and `-`, which is not at the ends.
fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_between(text, good, |byte| good(byte) || byte == b'-')
}

fn is_key(text: &str) -> bool {
    is_between(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
    )
}

fn is_between(text: &str, ends: impl Fn(u8) -> bool, middle: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| ends(*byte))
        && bytes.last().is_some_and(|byte| ends(*byte))
        && bytes.iter().all(|byte| middle(*byte))
}

fn label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if !is_label(text) {
        let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                    start and end with an alphanumeric character";
        wrong.push(match text.split('.').all(is_label) {
            true => "must not contain dots".to_owned(),
            false => expression(rule, LABEL, &["my-name", "123-abc"]),
        });
    }
    wrong
}

fn label_1035(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if !is_label(text) || text.starts_with(|c: char| c.is_ascii_digit()) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        wrong.push(expression(rule, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    wrong
}

fn subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253);
    if !text.split('.').all(is_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                    and must start and end with an alphanumeric character";
        wrong.push(expression(rule, &format!("{LABEL}(\\.{LABEL})*"), &["example.com"]));
    }
    wrong
}

fn qualified_name(text: &str) -> Vec<String> {
    let rule = expression(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
         character",
        KEY,
        &["MyName", "my.name", "123-abc"],
    );
    let (prefix, name) = match text.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            let more = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {rule} {more}")];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut wrong: Vec<String> = match prefix {
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => subdomain(prefix).into_iter().map(|what| format!("prefix part {what}")).collect(),
        None => Vec::new(),
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(too_long(name, 63).into_iter().map(|what| format!("name part {what}")));
    if !is_key(name) {
        wrong.push(format!("name part {rule}"));
    }
    wrong
}

fn label_value(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if !text.is_empty() && !is_key(text) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                    and must start and end with an alphanumeric character";
        wrong.push(expression(rule, &format!("({KEY})?"), &["MyValue", "my_value", "12345"]));
    }
    wrong
}
