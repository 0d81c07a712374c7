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
        ("isSorted" | "min" | "max", []) if charge_texts(evaluator, list).is_err() => Err(Fault::Cost),
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
        ("indexOf" | "lastIndexOf", [item]) if compare(evaluator, item, list.len()).is_err() => {
            Err(Fault::Cost)
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
        ("slice", [Value::Int(from), Value::Int(to)]) => slice(list, *from, *to),
        ("distinct", []) => distinct(evaluator, list).map(Value::list),
        ("sort", []) => sorted(evaluator, list, list),
        ("@sortByAssociatedKeys", [Value::List(keys)]) => sorted(evaluator, list, keys),
        ("flatten", []) => flattened(evaluator, list, 1),
        ("flatten", [Value::Int(..0)]) => error("level must be non-negative"),
        ("flatten", [Value::Int(depth)]) => flattened(evaluator, list, *depth),
        _ => return None,
    })
}

/// Charges for comparing a value with so many: one each, and more where it is large.
fn compare(evaluator: &mut Evaluator<'_>, value: &Value<'_>, times: usize) -> Result<(), Fault> {
    let whole = value.whole_cost(evaluator.left());
    let each = if whole > evaluator.left() { whole } else { 1 + whole / 10 };
    evaluator.charge(each.saturating_mul(times as u64))
}

/// Charges for looking at all items, whose number is paid for, once.
fn charge_texts(evaluator: &mut Evaluator<'_>, list: &List<'_>) -> Result<(), Fault> {
    let texts: u64 = list.iter().map(|item| item.cost() - 1).sum();
    evaluator.charge(texts)
}

fn place(found: Option<usize>) -> Value<'static> {
    found.map_or(Value::Int(-1), count)
}

fn distinct<'a>(evaluator: &mut Evaluator<'a>, list: &List<'a>) -> Result<Vec<Value<'a>>, Fault> {
    let mut items: Vec<Value<'a>> = Vec::new();
    for item in list.iter() {
        compare(evaluator, &item, items.len())?;
        if !items.iter().any(|have| have.same(&item)) {
            items.push(item);
        }
    }
    Ok(items)
}

fn slice<'a>(list: &List<'a>, from: i64, to: i64) -> Answer<'a> {
    let what = match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from > to => "start index must be less than or equal to end index".to_owned(),
        (Ok(_), Ok(to)) if to > list.len() => format!("list is length {}", list.len()),
        (Ok(from), Ok(to)) => return Ok(Value::list((from..to).filter_map(|n| list.get(n)).collect())),
        _ => "negative indexes not supported".to_owned(),
    };
    error(format!("cannot slice({from}, {to}), {what}"))
}

/// Items in the order of the keys that go with them, which are of one type.
fn sorted<'a>(evaluator: &mut Evaluator<'a>, list: &List<'a>, keys: &List<'a>) -> Answer<'a> {
    // Each is looked at about as often as its number has digits, whole.
    let whole: u64 = keys.iter().map(|key| key.cost()).sum();
    evaluator.charge(whole.saturating_mul(u64::from(u64::BITS - (keys.len() as u64).leading_zeros())))?;
    let mut items: Vec<(Value<'a>, Value<'a>)> = keys.iter().zip(list.iter()).collect();
    if items.windows(2).any(|pair| pair[0].0.type_name() != pair[1].0.type_name()) {
        return error("list elements must have the same type");
    }
    if items.windows(2).any(|pair| pair[0].0.order(&pair[1].0).is_none()) {
        return no_overload();
    }
    items.sort_by(|(a, _), (b, _)| a.order(b).unwrap_or(Ordering::Equal));
    Ok(Value::list(items.into_iter().map(|(_, item)| item).collect()))
}

/// The items of lists in a list, down to a depth.
fn flattened<'a>(evaluator: &mut Evaluator<'a>, list: &List<'a>, depth: i64) -> Answer<'a> {
    let mut out = Vec::new();
    let mut open = vec![(list.clone(), 0)];
    while let Some((list, next)) = open.pop() {
        let Some(item) = list.get(next) else { continue };
        evaluator.charge(1)?;
        open.push((list, next + 1));
        match item {
            Value::List(inner) if i64::try_from(open.len()).is_ok_and(|deep| deep <= depth) => {
                open.push((inner, 0));
            }
            other => out.push(other),
        }
    }
    Ok(Value::list(out))
}

/// `sets.contains`, `lists.range` and their like. `None`: none of them.
pub(super) fn space<'a>(evaluator: &mut Evaluator<'a>, name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    match (name, args) {
        ("lists.range", [Value::Int(end)]) => {
            let end = (*end).max(0);
            let paid = evaluator.charge(end.unsigned_abs());
            Some(paid.map(|()| Value::list((0..end).map(Value::Int).collect())))
        }
        _ => sets(evaluator, name, args),
    }
}

fn sets<'a>(evaluator: &mut Evaluator<'a>, name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let name = name.strip_prefix("sets.")?;
    let [Value::List(a), Value::List(b)] = args else { return Some(no_overload()) };
    if a.iter().any(|item| compare(evaluator, &item, b.len()).is_err()) {
        return Some(Err(Fault::Cost));
    }
    let within = |a: &List<'a>, b: &List<'a>| a.iter().all(|item| b.iter().any(|have| have.same(&item)));
    Some(Ok(Value::Bool(match name {
        "contains" => within(b, a),
        "equivalent" => within(a, b) && within(b, a),
        "intersects" => a.iter().any(|item| b.iter().any(|have| have.same(&item))),
        _ => return None,
    })))
}
