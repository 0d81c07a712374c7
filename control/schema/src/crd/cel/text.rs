//! Functions of texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::regexes;
use super::eval::{Answer, Evaluator, error};
use super::functions::count;
use super::value::Value;
use super::{format, numbers, times};

pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// What `string(x)` is.
pub(super) fn of(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Text(text) => text.get().to_owned(),
        Value::Bool(set) => set.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => numbers::general(*n),
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Value::Time(at) => at.shown(),
        Value::Duration(long) => times::shown_duration(*long),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(net) => net.to_string(),
        _ => return None,
    })
}

fn at(text: &str, n: i64) -> Option<usize> {
    let n = usize::try_from(n).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(n)
}

fn place(text: &str, found: Option<usize>) -> Value<'static> {
    match found {
        Some(at) => count(text.get(..at).unwrap_or_default().chars().count()),
        None => Value::Int(-1),
    }
}

fn texts<'a>(parts: impl Iterator<Item = impl AsRef<str>>) -> Value<'a> {
    Value::list(parts.map(|part| Value::text(part.as_ref())).collect())
}

/// `None`: no function of texts.
pub(super) fn call<'a>(evaluator: &mut Evaluator<'a>, name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let text = args.first()?.as_text()?;
    let range = |n: i64| error(format!("index out of range: {n}"));
    // Calls with one text, besides numbers, are told apart by how many there are.
    let second = args.get(1).and_then(Value::as_text);
    Some(match (name, &args[1..]) {
        ("contains", [Value::Text(_)]) => Ok(Value::Bool(text.contains(second?))),
        ("startsWith", [Value::Text(_)]) => Ok(Value::Bool(text.starts_with(second?))),
        ("endsWith", [Value::Text(_)]) => Ok(Value::Bool(text.ends_with(second?))),
        ("matches" | "find" | "findAll", [Value::Text(pattern), rest @ ..]) => {
            let cost = (pattern.get().len() as u64 / 4 + 1) * (text.len() as u64 / 10 + 1);
            if let Err(fault) = evaluator.charge(cost) {
                return Some(Err(fault));
            }
            let Ok(regex) = regexes::compile(pattern.get()) else {
                return Some(error(format!("error parsing regexp: `{}`", pattern.get())));
            };
            match (name, rest) {
                ("matches", []) => Ok(Value::Bool(regex.is_match(text))),
                ("find", []) => Ok(Value::text(regex.find(text).map_or("", |found| found.as_str()))),
                ("findAll", [] | [Value::Int(_)]) => {
                    let most = match rest {
                        [Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                        _ => usize::MAX,
                    };
                    let found: Vec<&str> =
                        regex.find_iter(text).take(most).map(|found| found.as_str()).collect();
                    match evaluator.charge(found.len() as u64 / 2) {
                        Ok(()) => Ok(texts(found.into_iter())),
                        Err(fault) => Err(fault),
                    }
                }
                _ => return None,
            }
        }
        ("charAt", [Value::Int(n)]) => match at(text, *n) {
            Some(at) => Ok(Value::text(text[at..].chars().next().map(String::from).unwrap_or_default())),
            None => range(*n),
        },
        // Nothing is found at once, wherever that is.
        ("indexOf" | "lastIndexOf", [Value::Text(part), Value::Int(from)]) if part.get().is_empty() => {
            Ok(Value::Int(*from))
        }
        ("indexOf" | "lastIndexOf", [Value::Text(_), Value::Int(from @ ..0)]) => range(*from),
        ("indexOf", [Value::Text(part)]) => Ok(place(text, text.find(part.get()))),
        ("indexOf", [Value::Text(part), Value::Int(from)]) => {
            let from = at(text, *from).unwrap_or(text.len());
            Ok(place(text, text[from..].find(part.get()).map(|at| at + from)))
        }
        ("lastIndexOf", [Value::Text(part)]) => Ok(place(text, text.rfind(part.get()))),
        // The last that begins there or before.
        ("lastIndexOf", [Value::Text(part), Value::Int(from)]) => match at(text, *from) {
            Some(from) if from < text.len() => {
                let end = text.floor_char_boundary(from.saturating_add(part.get().len()));
                Ok(place(text, text[..end].rfind(part.get())))
            }
            _ => Ok(Value::Int(-1)),
        },
        ("lowerAscii", []) => Ok(Value::text(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::text(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::text(text.trim())),
        ("reverse", []) => Ok(Value::text(text.chars().rev().collect::<String>())),
        ("substring", [Value::Int(from)]) => match at(text, *from) {
            Some(from) => Ok(Value::text(&text[from..])),
            None => range(*from),
        },
        ("substring", [Value::Int(from), Value::Int(to)]) if from > to => {
            error(format!("invalid substring range. start: {from}, end: {to}"))
        }
        ("substring", [Value::Int(from), Value::Int(to)]) => match (at(text, *from), at(text, *to)) {
            (Some(a), Some(b)) => Ok(Value::text(&text[a..b])),
            (None, _) => range(*from),
            (_, None) => range(*to),
        },
        ("split", [Value::Text(by)]) => split(evaluator, text, by.get(), None),
        ("split", [Value::Text(by), Value::Int(most)]) => {
            split(evaluator, text, by.get(), usize::try_from(*most).ok())
        }
        ("replace", [Value::Text(from), Value::Text(to), rest @ ..]) => {
            let most = match rest {
                [] => usize::MAX,
                [Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => return None,
            };
            // What it may become is counted before it is made.
            let parts = text.matches(from.get()).count().min(most) as u64;
            let cost = text.len() as u64 / 10 + parts * (to.get().len() as u64 / 10 + 1);
            if let Err(fault) = evaluator.charge(cost) {
                return Some(Err(fault));
            }
            Ok(Value::text(text.replacen(from.get(), to.get(), most)))
        }
        ("format", [Value::List(values)]) => format::format(evaluator, text, values),
        ("strings.quote", []) => Ok(Value::text(quoted(text))),
        _ => return None,
    })
}

/// `None`: into all parts that there are. The parts are paid for before they are made.
fn split<'a>(evaluator: &mut Evaluator<'a>, text: &str, by: &str, most: Option<usize>) -> Answer<'a> {
    let most = most.unwrap_or(usize::MAX);
    let parts = if by.is_empty() { text.chars().count() } else { text.matches(by).count() + 1 };
    evaluator.charge(parts.min(most) as u64 / 2)?;
    match (most, by.is_empty()) {
        (0, _) => Ok(Value::list(Vec::new())),
        (_, false) => Ok(texts(text.splitn(most, by))),
        (_, true) => {
            let end = text.char_indices().nth(most - 1).map_or(text.len(), |(at, _)| at);
            let rest = Some(&text[end..]).filter(|rest| !rest.is_empty());
            Ok(texts(text[..end].chars().map(String::from).chain(rest.map(str::to_owned))))
        }
    }
}

/// In quotation marks, with what a source of CEL would escape.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' | '"' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
