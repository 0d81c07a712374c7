//! How the text of a flag and the value of a field are read: one set of kinds for both.
//!
//! A value is kept as JSON in one canonical form per kind, so that flags, file, log and /configz show the same.

use serde_json::{Map, Value, json};

use crate::words::boolean;
use crate::{duration, words};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text; a flag that may be given several times, each time with one element.
    Repeated,
    /// `--x`, `--x=true`, `--x=false` (Go's truth words); true or false in the file.
    Switch,
    /// A whole number of 32 bits; in flags also in Go's base-0 form.
    Int32,
    /// The same of 64 bits.
    Int64,
    Float,
    /// `30s`, `1h2m`.
    Duration,
    /// As [`Kind::Duration`]; the file may also give nanoseconds as a number.
    DurationOrNanos,
    /// Comma-separated in a flag, which may be repeated.
    List,
    /// `key=value,other=value`, which may be repeated.
    Map,
    /// `Name=true,Other=false`.
    Gates,
    /// `pattern=N,...`.
    Modules,
    /// Bytes with a unit: `512`, `1K`, `4Ki`.
    Size,
}

impl Kind {
    /// What a user should have written.
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Text | Kind::Repeated => "want text",
            Kind::Switch => "want true or false (in a flag also 1, t, 0 and f)",
            Kind::Int32 | Kind::Int64 => "want a whole number (in a flag also with 0x, 0o or 0b)",
            Kind::Float => "want a number",
            Kind::Duration | Kind::DurationOrNanos => {
                "want a duration such as 30s, 1m30s or 2h, not negative"
            }
            Kind::List => "want a list of texts",
            Kind::Map => "want key=value, separated by commas (in a file: a map of texts)",
            Kind::Gates => {
                "want Name=true or Name=false, separated by commas (in a file: a map of true and false)"
            }
            Kind::Modules => {
                "want pattern=N, separated by commas (in a file: a list of filePattern and verbosity)"
            }
            Kind::Size => "want a number of bytes such as 512, 1K or 4Ki",
        }
    }

    /// What stands for the value in the help.
    pub const fn metavar(self) -> &'static str {
        match self {
            Kind::Text | Kind::Repeated => "TEXT",
            Kind::Switch => "",
            Kind::Int32 | Kind::Int64 | Kind::Float => "N",
            Kind::Duration | Kind::DurationOrNanos => "TIME",
            Kind::List => "A,B,...",
            Kind::Map => "KEY=VALUE,...",
            Kind::Gates => "NAME=BOOL,...",
            Kind::Modules => "PATTERN=N,...",
            Kind::Size => "BYTES",
        }
    }

    /// The value that nobody chose.
    pub fn empty(self) -> Value {
        match self {
            Kind::Text => json!(""),
            Kind::Switch => json!(false),
            Kind::Int32 | Kind::Int64 | Kind::Float => json!(0),
            Kind::Duration | Kind::DurationOrNanos => json!("0s"),
            Kind::List | Kind::Repeated | Kind::Modules => json!([]),
            Kind::Gates | Kind::Map => json!({}),
            Kind::Size => json!("0"),
        }
    }

    /// Reads the text of a flag, or a default of the table.
    pub fn from_text(self, text: &str) -> Option<Value> {
        match self {
            Kind::Text => Some(json!(text)),
            Kind::Switch => boolean(text).map(Value::from),
            Kind::Repeated => Some(json!([text])),
            Kind::Int32 => integer(text).map(Value::from),
            Kind::Int64 => words::integer(text).map(Value::from),
            Kind::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(shortest),
            Kind::Duration | Kind::DurationOrNanos => time(text),
            Kind::List => Some(json!(split(text).collect::<Vec<_>>())),
            Kind::Map => {
                let entry = |part: &str| {
                    let (key, value) = part.split_once('=')?;
                    Some((key.trim().to_owned(), Value::from(value)))
                };
                split(text).map(entry).collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            Kind::Gates => {
                let gate = |part: &str| {
                    let (name, on) = part.split_once('=')?;
                    Some((name.trim().to_owned(), Value::from(boolean(on.trim())?)))
                };
                split(text).map(gate).collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            Kind::Modules => {
                let module = |part: &str| {
                    let (pattern, level) = part.split_once('=')?;
                    Some(json!({"filePattern": pattern, "verbosity": level.parse::<u32>().ok()?}))
                };
                split(text).map(module).collect::<Option<Vec<_>>>().map(Value::Array)
            }
            Kind::Size => size(text).then(|| json!(text)),
        }
    }

    /// Reads the value of a field. A text where a number should be is an error, as in the original.
    pub fn from_file(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Kind::Text, Value::String(_)) | (Kind::Switch, Value::Bool(_)) => Some(value.clone()),
            (Kind::Int32, Value::Number(number)) => {
                number.as_i64().filter(|number| i32::try_from(*number).is_ok()).map(Value::from)
            }
            (Kind::Int64, Value::Number(number)) => number.as_i64().map(Value::from),
            (Kind::Float, Value::Number(number)) => number.as_f64().map(shortest),
            (Kind::Duration | Kind::DurationOrNanos, Value::String(text)) => time(text),
            (Kind::DurationOrNanos, Value::Number(number)) => {
                number.as_u64().map(|nanos| json!(duration::format(std::time::Duration::from_nanos(nanos))))
            }
            (Kind::List | Kind::Repeated, Value::Array(items)) => {
                items.iter().all(Value::is_string).then(|| value.clone())
            }
            (Kind::Map, Value::Object(map)) => map.values().all(Value::is_string).then(|| value.clone()),
            (Kind::Gates, Value::Object(gates)) => {
                gates.values().all(Value::is_boolean).then(|| value.clone())
            }
            (Kind::Modules, Value::Array(items)) => items.iter().all(is_module).then(|| value.clone()),
            (Kind::Size, Value::String(text)) => size(text).then(|| value.clone()),
            (Kind::Size, Value::Number(number)) => number.as_u64().map(|bytes| json!(bytes.to_string())),
            _ => None,
        }
    }

    /// One more use of a flag: lists and maps grow, everything else is replaced.
    pub fn join(self, earlier: Value, later: Value) -> Value {
        match (earlier, later) {
            (Value::Array(mut earlier), Value::Array(later)) => {
                earlier.extend(later);
                Value::Array(earlier)
            }
            (Value::Object(mut earlier), Value::Object(later)) => {
                earlier.extend(later);
                Value::Object(earlier)
            }
            (_, later) => later,
        }
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

fn time(text: &str) -> Option<Value> {
    duration::parse(text).map(|time| json!(duration::format(time)))
}

/// 5, not 5.0; and not the digits that an f32 gains as an f64.
fn shortest(number: f64) -> Value {
    let whole = number as i64;
    if whole as f64 == number { json!(whole) } else { json!(number) }
}

fn is_module(item: &Value) -> bool {
    let Value::Object(fields) = item else { return false };
    fields.len() == 2
        && fields.get("filePattern").is_some_and(Value::is_string)
        && fields.get("verbosity").is_some_and(Value::is_u64)
}

fn size(text: &str) -> bool {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    digits.parse::<u64>().is_ok() && matches!(unit, "" | "k" | "K" | "M" | "G" | "Ki" | "Mi" | "Gi")
}

/// A number of 32 bits.
fn integer(text: &str) -> Option<i32> {
    words::integer(text)?.try_into().ok()
}

/// A value as it would be written in a flag.
pub(crate) fn shown(value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(text).collect::<Vec<_>>().join(",")
        }
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(",")
        }
        other => text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_fields_give_the_same_value() {
        for (kind, text, value) in [
            (Kind::Int32, "14", json!(14)),
            (Kind::Float, "5", json!(5)),
            (Kind::Duration, "90s", json!("1m30s")),
            (Kind::List, "10.0.0.0/8,fd00::/8", json!(["10.0.0.0/8", "fd00::/8"])),
            (Kind::Int64, "-3000000000", json!(-3_000_000_000_i64)),
            (Kind::Map, "a=b,c=d=e", json!({"a": "b", "c": "d=e"})),
            (Kind::Gates, "A=true,B=false", json!({"A": true, "B": false})),
            (Kind::Modules, "proxier=4", json!([{"filePattern": "proxier", "verbosity": 4}])),
            (Kind::Size, "4Ki", json!("4Ki")),
        ] {
            assert_eq!(kind.from_text(text), Some(value.clone()), "{text}");
            assert!(kind.from_file(&value).is_some(), "{value}");
        }
    }

    #[test]
    fn wrong_types_are_refused_in_a_file() {
        for (kind, value) in [
            (Kind::Text, json!(5)),
            (Kind::Switch, json!("true")),
            (Kind::Int32, json!("14")),
            (Kind::Int32, json!(1.5)),
            (Kind::Int32, json!(3_000_000_000_u64)),
            (Kind::Duration, json!(30)),
            (Kind::List, json!("a")),
            (Kind::List, json!([1])),
            (Kind::Gates, json!({"A": "true"})),
            (Kind::Modules, json!([{"filePattern": "x"}])),
        ] {
            assert_eq!(kind.from_file(&value), None, "{kind:?} {value}");
        }
    }

    #[test]
    fn a_whole_number_has_32_bits() {
        assert_eq!(Kind::Int32.from_text("0x7fffffff"), Some(json!(i32::MAX)));
        assert_eq!(Kind::Int32.from_text("2147483648"), None);
        assert_eq!(Kind::Int32.from_text("-999"), Some(json!(-999)));
    }
}
