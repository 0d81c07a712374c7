//! Functions by their names: CEL's own, and those that Kubernetes adds. Those of texts, lists, times and addresses are
//! in modules of their own.

use std::rc::Rc;

use apiclient_core::quantity::Quantity;

use super::eval::{Answer, Evaluator, error, no_overload};
use super::value::Value;
use super::{lists, network, text, times};

/// `member`: called on the first of the arguments.
pub(super) fn call<'a>(
    evaluator: &mut Evaluator<'a>,
    name: &str,
    member: bool,
    args: Vec<Value<'a>>,
) -> Answer<'a> {
    let cost = match name {
        // What looks through its arguments.
        "size" | "type" | "dyn" | "has" => 1,
        _ => args.iter().map(Value::cost).sum(),
    };
    evaluator.charge(cost)?;
    if let Some(answer) = convert(name, &args) {
        return answer;
    }
    if let Some(answer) = optional(name, &args) {
        return answer;
    }
    if let Some(answer) = quantity(name, &args) {
        return answer;
    }
    match args.first() {
        Some(Value::Text(_)) if member => text::call(evaluator, name, &args)
            .or_else(|| network::call(name, &args))
            .unwrap_or_else(no_overload),
        Some(Value::List(_)) if member => lists::call(evaluator, name, &args).unwrap_or_else(no_overload),
        Some(Value::Time(_) | Value::Duration(_)) if member => {
            times::call(name, &args).unwrap_or_else(no_overload)
        }
        _ => {
            let answer = lists::sets(evaluator, name, &args).or_else(|| network::call(name, &args));
            answer.or_else(|| text::call(evaluator, name, &args)).unwrap_or_else(no_overload)
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as was checked")]
fn convert<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let overflow = || error("integer overflow");
    Some(match (name, args) {
        ("size", [Value::Text(text)]) => Ok(count(text.get().chars().count())),
        ("size", [Value::Bytes(bytes)]) => Ok(count(bytes.len())),
        ("size", [Value::List(list)]) => Ok(count(list.len())),
        ("size", [Value::Map(map)]) => Ok(count(map.len())),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Value::Type(value.type_name())),
        ("bool", [Value::Bool(set)]) => Ok(Value::Bool(*set)),
        ("bool", [Value::Text(text)]) => match text.get() {
            "true" | "t" | "1" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "false" | "f" | "0" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => error("type conversion error from 'string' to 'bool'"),
        },
        ("int", [Value::Int(n)]) => Ok(Value::Int(*n)),
        ("int", [Value::Uint(n)]) => i64::try_from(*n).map_or_else(|_| overflow(), |n| Ok(Value::Int(n))),
        ("int", [Value::Double(n)]) if n.abs() < 9.2e18 => Ok(Value::Int(n.trunc() as i64)),
        ("int", [Value::Double(_)]) => overflow(),
        ("int", [Value::Text(text)]) => match text.get().parse() {
            Ok(n) => Ok(Value::Int(n)),
            Err(_) => error("type conversion error from 'string' to 'int'"),
        },
        ("int", [Value::Time(at)]) => Ok(Value::Int(at.div_euclid(1_000_000_000) as i64)),
        ("uint", [Value::Uint(n)]) => Ok(Value::Uint(*n)),
        ("uint", [Value::Int(n)]) => u64::try_from(*n).map_or_else(|_| overflow(), |n| Ok(Value::Uint(n))),
        ("uint", [Value::Double(n)]) if *n >= 0.0 && *n < 1.8e19 => Ok(Value::Uint(n.trunc() as u64)),
        ("uint", [Value::Text(text)]) => match text.get().parse() {
            Ok(n) => Ok(Value::Uint(n)),
            Err(_) => error("type conversion error from 'string' to 'uint'"),
        },
        ("double", [Value::Text(text)]) => match text.get().parse() {
            Ok(n) => Ok(Value::Double(n)),
            Err(_) => error("type conversion error from 'string' to 'double'"),
        },
        ("double", [value]) => value.as_double().map_or_else(no_overload, |n| Ok(Value::Double(n))),
        ("bytes", [Value::Text(text)]) => Ok(Value::Bytes(text.get().as_bytes().into())),
        ("bytes", [Value::Bytes(bytes)]) => Ok(Value::Bytes(Rc::clone(bytes))),
        ("string", [value]) => match text::of(value) {
            Some(text) => Ok(Value::text(text)),
            None => no_overload(),
        },
        ("timestamp", [Value::Text(text)]) => match times::timestamp(text.get()) {
            Some(at) => Ok(Value::Time(at)),
            None => error("type conversion error from 'string' to 'timestamp'"),
        },
        ("timestamp", [Value::Time(at)]) => Ok(Value::Time(*at)),
        ("timestamp", [Value::Int(seconds)]) => Ok(Value::Time(i128::from(*seconds) * 1_000_000_000)),
        ("duration", [Value::Text(text)]) => match times::duration(text.get()) {
            Some(long) => Ok(Value::Duration(long)),
            None => error("type conversion error from 'string' to 'duration'"),
        },
        ("duration", [Value::Duration(long)]) => Ok(Value::Duration(*long)),
        _ => return None,
    })
}

pub(super) fn count<'a>(n: usize) -> Value<'a> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => true,
        Value::Double(n) => *n == 0.0,
        Value::Text(text) => text.get().is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.len() == 0,
        Value::Map(map) => map.len() == 0,
        _ => false,
    }
}

fn optional<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    Some(match (name, args) {
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.of", [value]) => Ok(Value::Optional(Some(Rc::new(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(Value::Optional((!is_zero(value)).then(|| Rc::new(value.clone()))))
        }
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("value", [Value::Optional(Some(value))]) => Ok((**value).clone()),
        ("value", [Value::Optional(None)]) => error("optional.none() dereference"),
        ("orValue", [Value::Optional(value), other]) => {
            Ok(value.as_ref().map_or_else(|| other.clone(), |value| (**value).clone()))
        }
        ("or", [Value::Optional(value), other @ Value::Optional(_)]) => {
            Ok(if value.is_some() { args[0].clone() } else { other.clone() })
        }
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "an approximation is what is asked for")]
fn quantity<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let parsed = |text: &str| text.parse::<Quantity>();
    // A whole number stands for a quantity in arithmetic.
    let amount = |value: &Value<'a>| match value {
        Value::Quantity(amount) => Some(*amount),
        Value::Int(n) => parsed(&n.to_string()).ok(),
        _ => None,
    };
    Some(match (name, args) {
        ("quantity", [Value::Text(text)]) => match parsed(text.get()) {
            Ok(amount) => Ok(Value::Quantity(amount)),
            Err(_) => error(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
        },
        ("isQuantity", [Value::Text(text)]) => Ok(Value::Bool(parsed(text.get()).is_ok())),
        ("add", [Value::Quantity(a), b]) => {
            amount(b).map_or_else(no_overload, |b| Ok(Value::Quantity(a.plus(b))))
        }
        ("sub", [Value::Quantity(a), b]) => {
            amount(b).map_or_else(no_overload, |b| Ok(Value::Quantity(a.minus(b))))
        }
        ("isLessThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a < b)),
        ("isGreaterThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a > b)),
        ("compareTo", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Int(a.cmp(b) as i64)),
        ("sign", [Value::Quantity(a)]) => Ok(Value::Int(a.milli_value().signum())),
        ("isInteger", [Value::Quantity(a)]) => {
            Ok(Value::Bool(a.milli_value() == a.value().saturating_mul(1000)))
        }
        ("asInteger", [Value::Quantity(a)]) => Ok(Value::Int(a.value())),
        ("asApproximateFloat", [Value::Quantity(a)]) => Ok(Value::Double(a.milli_value() as f64 / 1000.0)),
        _ => return None,
    })
}
