//! Operators on values that are known.

use std::cmp::Ordering;
use std::rc::Rc;

use super::eval::{Answer, Evaluator, error, no_overload};
use super::syntax::op;
use super::times::Time;
use super::value::{List, Value};

pub(super) fn call<'a>(evaluator: &mut Evaluator<'a>, name: &str, args: Vec<Value<'a>>) -> Answer<'a> {
    let cost: u64 = match name {
        op::EQUALS | op::NOT_EQUALS | op::ADD | op::IN => {
            args.iter().map(|arg| arg.whole_cost(evaluator.left())).sum()
        }
        _ => 1,
    };
    evaluator.charge(cost)?;
    match (name, &args[..]) {
        (op::EQUALS, [a, b]) => Ok(Value::Bool(a.same(b))),
        (op::NOT_EQUALS, [a, b]) => Ok(Value::Bool(!a.same(b))),
        (op::LOGICAL_NOT, [Value::Bool(set)]) => Ok(Value::Bool(!set)),
        (op::NEGATE, [Value::Int(n)]) => checked(n.checked_neg()),
        (op::NEGATE, [Value::Double(n)]) => Ok(Value::Double(-n)),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => match a.order(b) {
            Some(order) => Ok(Value::Bool(match name {
                op::LESS => order == Ordering::Less,
                op::LESS_EQUALS => order != Ordering::Greater,
                op::GREATER => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })),
            None if a.as_double().is_some() && b.as_double().is_some() => Ok(Value::Bool(false)),
            None => no_overload(),
        },
        (op::IN, [item, Value::List(list)]) => Ok(Value::Bool(list.iter().any(|have| have.same(item)))),
        (op::IN, [key, Value::Map(map)]) => Ok(Value::Bool(map.get(key).is_some())),
        (op::INDEX, [Value::List(list), Value::Int(n)]) => {
            match usize::try_from(*n).ok().and_then(|n| list.get(n)) {
                Some(value) => Ok(value),
                None => error(format!("index out of bounds: {n}")),
            }
        }
        (op::INDEX, [Value::Map(map), key]) => match map.get(key) {
            Some(value) => Ok(value),
            None => error(format!("no such key: {}", key.as_text().unwrap_or_default())),
        },
        (op::ADD, [a, b]) => add(a, b),
        (op::SUBSTRACT, [a, b]) => match (a, b) {
            (Value::Int(a), Value::Int(b)) => checked(a.checked_sub(*b)),
            (Value::Uint(a), Value::Uint(b)) => checked_unsigned(a.checked_sub(*b)),
            (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
            (Value::Time(a), Value::Time(b)) => checked_duration(i64::try_from(a.nanos - b.nanos).ok()),
            (Value::Time(a), Value::Duration(b)) => checked_time(a.plus(-i128::from(*b))),
            (Value::Duration(a), Value::Duration(b)) => checked_duration(a.checked_sub(*b)),
            _ => no_overload(),
        },
        (op::MULTIPLY, [a, b]) => match (a, b) {
            (Value::Int(a), Value::Int(b)) => checked(a.checked_mul(*b)),
            (Value::Uint(a), Value::Uint(b)) => checked_unsigned(a.checked_mul(*b)),
            (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
            _ => no_overload(),
        },
        (op::DIVIDE, [a, b]) => match (a, b) {
            (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => error("division by zero"),
            (Value::Int(a), Value::Int(b)) => checked(a.checked_div(*b)),
            (Value::Uint(a), Value::Uint(b)) => checked_unsigned(a.checked_div(*b)),
            (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
            _ => no_overload(),
        },
        (op::MODULO, [a, b]) => match (a, b) {
            (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => error("modulus by zero"),
            (Value::Int(a), Value::Int(b)) => checked(a.checked_rem(*b)),
            (Value::Uint(a), Value::Uint(b)) => checked_unsigned(a.checked_rem(*b)),
            _ => no_overload(),
        },
        _ => no_overload(),
    }
}

fn checked<'a>(value: Option<i64>) -> Answer<'a> {
    value.map_or_else(|| error("integer overflow"), |value| Ok(Value::Int(value)))
}

fn checked_unsigned<'a>(value: Option<u64>) -> Answer<'a> {
    value.map_or_else(|| error("unsigned integer overflow"), |value| Ok(Value::Uint(value)))
}

fn checked_duration<'a>(value: Option<i64>) -> Answer<'a> {
    value.map_or_else(|| error("duration overflow"), |value| Ok(Value::Duration(value)))
}

fn checked_time<'a>(value: Option<Time>) -> Answer<'a> {
    value.map_or_else(|| error("timestamp overflow"), |value| Ok(Value::Time(value)))
}

fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Answer<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => checked(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => checked_unsigned(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::Text(a), Value::Text(b)) => Ok(Value::text([a.get(), b.get()].concat())),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&a[..], &b[..]].concat().into())),
        (Value::List(a), Value::List(b)) => {
            let items: Vec<Value<'a>> = a.iter().chain(b.iter()).collect();
            Ok(Value::List(List::Own(Rc::new(items))))
        }
        (Value::Time(a), Value::Duration(b)) | (Value::Duration(b), Value::Time(a)) => {
            checked_time(a.plus(i128::from(*b)))
        }
        (Value::Duration(a), Value::Duration(b)) => checked_duration(a.checked_add(*b)),
        _ => no_overload(),
    }
}
