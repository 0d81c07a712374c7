//! Functions by their names: CEL's own, and those that Kubernetes adds. Those of texts, lists, times, addresses
//! and the like are in modules of their own.

use std::rc::Rc;

use super::eval::{Answer, Evaluator, error, no_overload};
use super::value::Value;
use super::{lists, named, network, optional, quantity, semver, text, times};

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
    let answer = convert(name, &args)
        .or_else(|| optional::call(name, &args))
        .or_else(|| quantity::call(name, &args))
        .or_else(|| semver::call(name, &args))
        .or_else(|| named::call(name, &args));
    if let Some(answer) = answer {
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
            let answer = lists::space(evaluator, name, &args).or_else(|| network::call(name, &args));
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
            "true" | "t" | "T" | "1" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "false" | "f" | "F" | "0" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => error("type conversion error from 'string' to 'bool'"),
        },
        ("int", [Value::Int(n)]) => Ok(Value::Int(*n)),
        ("int", [Value::Uint(n)]) => i64::try_from(*n).map_or_else(|_| overflow(), |n| Ok(Value::Int(n))),
        ("int", [Value::Double(n)]) if n.abs() < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(n.trunc() as i64))
        }
        ("int", [Value::Double(_)]) => overflow(),
        ("int", [Value::Text(text)]) => match text.get().parse() {
            Ok(n) => Ok(Value::Int(n)),
            Err(_) => error("type conversion error from 'string' to 'int'"),
        },
        ("int", [Value::Time(at)]) => Ok(Value::Int(at.seconds())),
        ("int", [Value::Duration(long)]) => Ok(Value::Int(*long)),
        ("uint", [Value::Uint(n)]) => Ok(Value::Uint(*n)),
        ("uint", [Value::Int(n)]) => match u64::try_from(*n) {
            Ok(n) => Ok(Value::Uint(n)),
            Err(_) => error("unsigned integer overflow"),
        },
        ("uint", [Value::Double(n)]) if *n >= 0.0 && *n < 18_446_744_073_709_551_616.0 => {
            Ok(Value::Uint(n.trunc() as u64))
        }
        ("uint", [Value::Double(_)]) => error("unsigned integer overflow"),
        ("uint", [Value::Text(text)]) => match text.get().parse() {
            Ok(n) if !text.get().starts_with('+') => Ok(Value::Uint(n)),
            _ => error("type conversion error from 'string' to 'uint'"),
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
        ("timestamp", [Value::Int(seconds)]) => match times::Time::of_seconds(*seconds) {
            Some(at) => Ok(Value::Time(at)),
            None => error("timestamp overflow"),
        },
        ("duration", [Value::Text(text)]) => match times::duration(text.get()) {
            Some(long) => Ok(Value::Duration(long)),
            None => error("type conversion error from 'string' to 'duration'"),
        },
        ("duration", [Value::Duration(long)]) => Ok(Value::Duration(*long)),
        ("duration", [Value::Int(_)]) => {
            error("type conversion error from 'int' to 'google.protobuf.Duration'")
        }
        _ => return None,
    })
}

pub(super) fn count<'a>(n: usize) -> Value<'a> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}
