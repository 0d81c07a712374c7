//! `text.format(values)`, and how values stand in texts that it makes.

use std::fmt::Write as _;

use crate::codec::quote::quoted;

use super::eval::{Answer, Evaluator, Fault, error};
use super::value::{List, Map, Value};
use super::{numbers, text};

/// What is written so far. All that comes to it is paid for before it is made, for values that are held once may be
/// written many times.
struct Writer<'e, 'a> {
    out: String,
    evaluator: &'e mut Evaluator<'a>,
}

pub(super) fn format<'a>(evaluator: &mut Evaluator<'a>, pattern: &str, values: &List<'a>) -> Answer<'a> {
    let mut writer = Writer { out: String::with_capacity(pattern.len()), evaluator };
    let mut rest = pattern;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        writer.out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            writer.out.push('%');
            rest = after;
            continue;
        }
        let Some(value) = values.get(next) else { return error(format!("index {next} out of range")) };
        if rest.is_empty() {
            return error("unexpected end of string");
        }
        let (precision, after) = match precision(rest) {
            Ok(found) => found,
            Err(what) => {
                return error(format!(
                    "could not parse formatting clause: error while parsing precision: {what}"
                ));
            }
        };
        let letter = after.chars().next().unwrap_or_default();
        rest = after.get(letter.len_utf8()..).unwrap_or_default();
        writer.clause(letter, precision, &value)?;
        next += 1;
    }
    writer.out.push_str(rest);
    Ok(Value::text(writer.out))
}

/// `.3`, and what follows it.
fn precision(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(text) = text.strip_prefix('.') else { return Ok((None, text)) };
    let Some(end) = text.find(|c: char| !c.is_ascii_digit()) else {
        return Err("could not find end of precision specifier".to_owned());
    };
    let (digits, rest) = text.split_at(end);
    match digits.parse() {
        Ok(precision) => Ok((Some(precision), rest)),
        Err(_) => {
            let what = if digits.is_empty() { "invalid syntax" } else { "value out of range" };
            Err(format!(
                "error while converting precision to integer: strconv.Atoi: parsing {}: {what}",
                quoted(digits)
            ))
        }
    }
}

fn wrong<T>(what: &str, value: &Value<'_>) -> Result<T, Fault> {
    error(format!("error during formatting: {what}, was given {}", value.type_name()))
}

impl<'a> Writer<'_, 'a> {
    fn pay(&mut self, size: usize) -> Result<(), Fault> {
        self.evaluator.charge(size as u64 / 10 + 1)
    }

    fn put(&mut self, text: &str) -> Result<(), Fault> {
        self.pay(text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    fn put_quoted(&mut self, before: &str, text: &str) -> Result<(), Fault> {
        self.pay(text.len())?;
        let text = quoted(text);
        self.put(before)?;
        self.put(&text)
    }

    fn clause(&mut self, letter: char, precision: Option<usize>, value: &Value<'a>) -> Result<(), Fault> {
        match letter {
            's' => self.shown(value),
            'd' => match value {
                Value::Int(n) => self.put(&n.to_string()),
                Value::Uint(n) => self.put(&n.to_string()),
                _ => wrong("decimal clause can only be used on integers", value),
            },
            'f' => match number(value) {
                Some(number) => {
                    let precision = precision.unwrap_or(6);
                    self.pay(precision)?;
                    self.put(&numbers::fixed(number, precision))
                }
                None => wrong("fixed-point clause can only be used on doubles", value),
            },
            'e' => match number(value) {
                // The original takes the precision for a width.
                Some(number) => {
                    let width = precision.unwrap_or(6);
                    self.pay(width)?;
                    self.put(&numbers::scientific(number, width))
                }
                None => wrong("scientific clause can only be used on doubles", value),
            },
            'b' => match value {
                Value::Bool(set) => self.put(if *set { "1" } else { "0" }),
                Value::Int(n) => self.signed(*n < 0, &format!("{:b}", n.unsigned_abs())),
                Value::Uint(n) => self.put(&format!("{n:b}")),
                _ => wrong("only integers and bools can be formatted as binary", value),
            },
            'o' => match value {
                Value::Int(n) => self.signed(*n < 0, &format!("{:o}", n.unsigned_abs())),
                Value::Uint(n) => self.put(&format!("{n:o}")),
                _ => wrong("octal clause can only be used on integers", value),
            },
            'x' | 'X' => self.hex(letter == 'X', value),
            other => error(format!(
                "could not parse formatting clause: unrecognized formatting clause {}",
                quoted(other.encode_utf8(&mut [0; 4]))
            )),
        }
    }

    fn signed(&mut self, negative: bool, digits: &str) -> Result<(), Fault> {
        self.out.push_str(if negative { "-" } else { "" });
        self.put(digits)
    }

    fn hex(&mut self, upper: bool, value: &Value<'a>) -> Result<(), Fault> {
        let (negative, digits) = match value {
            Value::Int(n) => (*n < 0, format!("{:x}", n.unsigned_abs())),
            Value::Uint(n) => (false, format!("{n:x}")),
            Value::Text(text) => (false, self.hex_of(text.get().as_bytes())?),
            Value::Bytes(bytes) => (false, self.hex_of(bytes)?),
            _ => return wrong("only integers, byte buffers, and strings can be formatted as hex", value),
        };
        let digits = if upper { digits.to_ascii_uppercase() } else { digits };
        self.signed(negative, &digits)
    }

    fn hex_of(&mut self, bytes: &[u8]) -> Result<String, Fault> {
        self.pay(bytes.len() * 2)?;
        Ok(bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to memory does not fail.
            let _ = write!(out, "{byte:02x}");
            out
        }))
    }

    /// `%s`.
    fn shown(&mut self, value: &Value<'a>) -> Result<(), Fault> {
        match value {
            Value::List(list) => self.list(list),
            Value::Map(map) => self.map(map),
            Value::Null => self.put("null"),
            Value::Type(name) => self.put(name),
            Value::Text(text) => self.put(text.get()),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.put(text),
                Err(_) => error("error during formatting: could not convert argument to string"),
            },
            Value::Ip(_) | Value::Cidr(_) => Self::not_shown(value),
            value => match text::of(value) {
                Some(text) => self.put(&text),
                None => Self::not_shown(value),
            },
        }
    }

    fn not_shown<T>(value: &Value<'_>) -> Result<T, Fault> {
        wrong(
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, \
             and timestamps",
            value,
        )
    }

    /// In a list or a map, as a source would have it.
    fn literal(&mut self, value: &Value<'a>) -> Result<(), Fault> {
        match value {
            Value::Text(text) => self.put_quoted("", text.get()),
            Value::Bytes(bytes) => self.put_quoted("b", &String::from_utf8_lossy(bytes)),
            Value::Double(n) if n.is_finite() => self.put(&format!("{n:.6}")),
            Value::Double(n) => self.put_quoted("", &numbers::general(*n)),
            Value::Time(at) => self.put(&format!("timestamp({})", quoted(&at.shown()))),
            Value::Duration(long) => {
                self.put(&format!("duration({})", quoted(&super::times::shown_duration(*long))))
            }
            Value::Optional(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Url(_)
            | Value::Quantity(_)
            | Value::Semver(_)
            | Value::Format(_) => {
                let of = value.type_name();
                error(format!("error during formatting: no formatting function for {of}"))
            }
            value => self.shown(value),
        }
    }

    fn list(&mut self, list: &List<'a>) -> Result<(), Fault> {
        self.out.push('[');
        for (n, item) in list.iter().enumerate() {
            self.out.push_str(if n > 0 { ", " } else { "" });
            self.literal(&item)?;
        }
        self.put("]")
    }

    fn map(&mut self, map: &Map<'a>) -> Result<(), Fault> {
        // Each is written behind what stands, and taken from there to be put in order.
        let start = self.out.len();
        let mut entries = Vec::with_capacity(map.len());
        for key in map.keys() {
            match key {
                Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_) => self.literal(&key)?,
                _ => {
                    let of = key.type_name();
                    return error(format!(
                        "error during formatting: no formatting function for map key of type {of}"
                    ));
                }
            }
            let name = self.out.split_off(start);
            if let Some(value) = map.get(&key) {
                self.literal(&value)?;
            }
            entries.push((name, self.out.split_off(start)));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.out.push('{');
        for (n, (name, value)) in entries.iter().enumerate() {
            self.out.push_str(if n > 0 { ", " } else { "" });
            self.put(name)?;
            self.out.push(':');
            self.put(value)?;
        }
        self.put("}")
    }
}

/// What `%f` and `%e` take: a double, or its name where it has no digits.
fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::Text(text) => match text.get() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}
