//! Functions of lists, and of lists as sets.

use std::cmp::Ordering;

use super::eval::{Answer, Evaluator, Fault, error, no_overload};
use super::functions::count;
use super::operators;
use super::syntax::op;
use super::value::{List, Value};

/// `None`: no function of lists.
pub(super) fn call<'a>(evaluator: &mut Evaluator<'a>, name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let Some(Value::List(list)) = args.first() else { return None };
    Some(match (name, &args[1..]) {
        ("isSorted", []) => {
            let items: Vec<Value<'a>> = list.iter().collect();
            let mut sorted = true;
            for pair in items.windows(2) {
                match pair[0].order(&pair[1]) {
                    Some(order) => sorted &= order != Ordering::Greater,
                    None => return Some(no_overload()),
                }
            }
            Ok(Value::Bool(sorted))
        }
        ("sum", []) => {
            let mut items = list.iter();
            let Some(first) = items.next() else { return Some(Ok(Value::Int(0))) };
            items.try_fold(first, |sum, item| operators::call(evaluator, op::ADD, vec![sum, item]))
        }
        ("min" | "max", []) => {
            let want = if name == "min" { Ordering::Less } else { Ordering::Greater };
            let mut items = list.iter();
            let Some(first) = items.next() else {
                return Some(error(format!("{name} called on empty list")));
            };
            items.try_fold(first, |best, item| match item.order(&best) {
                Some(order) => Ok(if order == want { item } else { best }),
                None => no_overload(),
            })
        }
        ("indexOf", [item]) => Ok(place(list.iter().position(|have| have.same(item)))),
        ("lastIndexOf", [item]) => {
            let items: Vec<Value<'a>> = list.iter().collect();
            Ok(place(items.iter().rposition(|have| have.same(item))))
        }
        ("join", rest @ ([] | [Value::Text(_)])) => {
            let by = rest.first().and_then(Value::as_text).unwrap_or_default();
            let mut out = String::new();
            for (n, item) in list.iter().enumerate() {
                let Some(part) = item.as_text() else { return Some(no_overload()) };
                if let Err(fault) = evaluator.charge((part.len() + by.len()) as u64 / 10 + 1) {
                    return Some(Err(fault));
                }
                if n > 0 {
                    out.push_str(by);
                }
                out.push_str(part);
            }
            Ok(Value::text(out))
        }
        ("reverse", []) => {
            let mut items: Vec<Value<'a>> = list.iter().collect();
            items.reverse();
            Ok(Value::list(items))
        }
        ("slice", [Value::Int(from), Value::Int(to)]) => {
            match (usize::try_from(*from), usize::try_from(*to)) {
                (Ok(from), Ok(to)) if from <= to && to <= list.len() => {
                    Ok(Value::list((from..to).filter_map(|n| list.get(n)).collect()))
                }
                _ => error(format!("cannot slice({from}, {to}), list is length {}", list.len())),
            }
        }
        ("distinct", []) => distinct(evaluator, list).map(Value::list),
        ("sort", []) => {
            let mut items: Vec<Value<'a>> = list.iter().collect();
            if items.windows(2).any(|pair| pair[0].order(&pair[1]).is_none()) {
                return Some(no_overload());
            }
            items.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
            Ok(Value::list(items))
        }
        ("flatten", []) => {
            let mut items = Vec::new();
            for item in list.iter() {
                match item {
                    Value::List(inner) => items.extend(inner.iter()),
                    other => items.push(other),
                }
            }
            match evaluator.charge(items.len() as u64) {
                Ok(()) => Ok(Value::list(items)),
                Err(fault) => Err(fault),
            }
        }
        _ => return None,
    })
}

fn place(found: Option<usize>) -> Value<'static> {
    found.map_or(Value::Int(-1), count)
}

fn distinct<'a>(evaluator: &mut Evaluator<'a>, list: &List<'a>) -> Result<Vec<Value<'a>>, Fault> {
    let mut items: Vec<Value<'a>> = Vec::new();
    for item in list.iter() {
        evaluator.charge(items.len() as u64)?;
        if !items.iter().any(|have| have.same(&item)) {
            items.push(item);
        }
    }
    Ok(items)
}

/// `sets.contains` and its like. `None`: none of them.
pub(super) fn sets<'a>(evaluator: &mut Evaluator<'a>, name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let name = name.strip_prefix("sets.")?;
    let [Value::List(a), Value::List(b)] = args else { return Some(no_overload()) };
    if let Err(fault) = evaluator.charge((a.len() as u64).saturating_mul(b.len() as u64)) {
        return Some(Err(fault));
    }
    let within = |a: &List<'a>, b: &List<'a>| a.iter().all(|item| b.iter().any(|have| have.same(&item)));
    Some(Ok(Value::Bool(match name {
        "contains" => within(b, a),
        "equivalent" => within(a, b) && within(b, a),
        "intersects" => a.iter().any(|item| b.iter().any(|have| have.same(&item))),
        _ => return None,
    })))
}
