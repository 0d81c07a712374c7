//! Optional values.

use std::rc::Rc;

use super::eval::{Answer, error, no_overload};
use super::value::Value;

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

/// `None`: no function of optional values.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    Some(match (name, args) {
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.of", [value]) => Ok(Value::Optional(Some(Rc::new(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(Value::Optional((!is_zero(value)).then(|| Rc::new(value.clone()))))
        }
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => {
            let mut out = Vec::with_capacity(list.len());
            for item in list.iter() {
                match item {
                    Value::Optional(value) => out.extend(value.map(|value| (*value).clone())),
                    _ => return Some(no_overload()),
                }
            }
            Ok(Value::list(out))
        }
        ("first", [Value::List(list)]) => Ok(Value::Optional(list.get(0).map(Rc::new))),
        ("last", [Value::List(list)]) => {
            Ok(Value::Optional(list.len().checked_sub(1).and_then(|n| list.get(n)).map(Rc::new)))
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
