//! Literals that no function can take: `duration('x')`.

use std::collections::HashSet;

use super::check::Found;
use super::kinds::Type;
use super::tree::{Literal, Node, Part, Wrong};
use crate::crd::cel::times;
use crate::crd::regexes;

/// Times, durations and regular expressions that are none, and lists and maps of several types.
pub(super) fn check(root: &Node, found: &[Found], wrong: &mut Vec<Wrong>) {
    // What is formatted may be of any types.
    let mut mixed = HashSet::new();
    root.each(&mut |node| match &node.part {
        Part::Call { name, args, .. } if !found[node.id].overloads.is_empty() => {
            if name == "format" {
                args.iter().for_each(|arg| {
                    arg.each(&mut |part| {
                        mixed.insert(part.id);
                    });
                });
            }
            let Some(Node { place, part: Part::Literal(Literal::Text(text)), .. }) = args.first() else {
                return;
            };
            let good = match name.as_str() {
                "duration" => times::duration(text).is_some(),
                "timestamp" => times::timestamp(text).is_some(),
                "matches" => regexes::compile(text).is_ok(),
                _ => true,
            };
            if !good {
                wrong.push((*place, format!("invalid {name} argument")));
            }
        }
        Part::List(items) if !mixed.contains(&node.id) => {
            wrong.extend(unlike(found, items.iter().map(|(item, optional)| (item, *optional))).next());
        }
        Part::Map(entries) if !mixed.contains(&node.id) => {
            wrong.extend(unlike(found, entries.iter().map(|(key, ..)| (key, false))));
            wrong.extend(unlike(found, entries.iter().map(|(_, value, optional)| (value, *optional))));
        }
        _ => {}
    });
}

/// Those that are of another type than the first.
fn unlike<'n>(
    found: &'n [Found],
    nodes: impl Iterator<Item = (&'n Node, bool)> + 'n,
) -> impl Iterator<Item = Wrong> + 'n {
    let mut first: Option<&Type> = None;
    nodes.filter_map(move |(node, optional)| {
        let of = found[node.id].of.as_ref()?;
        let of = if optional { of.unwrapped().unwrap_or(of) } else { of };
        let wanted = *first.get_or_insert(of);
        (!wanted.same(of)).then(|| (node.place, format!("expected type '{wanted}' but found '{of}'")))
    })
}

/// Conversions of literals that fail, and patterns that are none.
pub(super) fn never_runs(root: &Node) -> Option<String> {
    let mut why = None;
    root.each(&mut |node| {
        let Part::Call { name, target, args } = &node.part else { return };
        let text = match args.first().map(|arg| &arg.part) {
            Some(Part::Literal(Literal::Text(text))) => text,
            Some(Part::Literal(Literal::Int(number))) if name == "uint" && *number < 0 => {
                why.get_or_insert_with(|| "unsigned integer overflow".to_owned());
                return;
            }
            _ => return,
        };
        let good = match (name.as_str(), target) {
            ("int", None) => text.parse::<i64>().is_ok(),
            ("uint", None) => text.parse::<u64>().is_ok(),
            ("double", None) => text.parse::<f64>().is_ok(),
            ("bool", None) => matches!(
                text.as_str(),
                "true" | "t" | "1" | "TRUE" | "True" | "false" | "f" | "0" | "F" | "T" | "FALSE" | "False"
            ),
            ("find" | "findAll", Some(_)) if regexes::compile(text).is_err() => {
                why.get_or_insert_with(|| regexes::problem(text));
                true
            }
            _ => true,
        };
        if !good {
            why.get_or_insert_with(|| format!("type conversion error from 'string' to '{name}'"));
        }
    });
    why
}

impl Node {
    pub fn names(&self, variable: &str) -> bool {
        let mut found = false;
        self.each(&mut |node| found |= matches!(&node.part, Part::Name(name) if name == variable));
        found
    }

    /// Visits it and all below it.
    fn each(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match &self.part {
            Part::Literal(_) | Part::Name(_) => {}
            Part::Select { of, .. } => of.each(visit),
            Part::Call { target, args, .. } => {
                target.iter().for_each(|target| target.each(visit));
                args.iter().for_each(|arg| arg.each(visit));
            }
            Part::List(items) => items.iter().for_each(|(item, _)| item.each(visit)),
            Part::Map(entries) => entries.iter().for_each(|(key, value, _)| {
                key.each(visit);
                value.each(visit);
            }),
            Part::Struct { fields, .. } => fields.iter().for_each(|(_, _, value)| value.each(visit)),
            Part::Fold(fold) => {
                let parts = [&fold.range, &fold.start, &fold.goes_on, &fold.step, &fold.end];
                parts.into_iter().for_each(|part| part.each(visit));
            }
            Part::OptMap { of, body, .. } => {
                of.each(visit);
                body.each(visit);
            }
        }
    }
}
