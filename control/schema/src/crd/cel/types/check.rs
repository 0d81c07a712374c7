//! Which type each part of an expression is of, and what does not fit.

use super::super::RESERVED;
use super::Scope;
use super::declared::{Declared, Object};
use super::functions::{FUNCTIONS, named_type};
use super::kinds::{Bindings, Head, Type};
use super::tree::{Fold, Literal, Node, Part, Wrong, qualified};

use cel::common::ast::operators as op;

/// What was found out of one part.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub of: Option<Type>,
    /// Which overloads a call may be of, by their ids. Empty for what is no call, or fits none.
    pub overloads: Vec<&'static str>,
    /// The name of what is written as a part of something, and is not: `sets.contains`, `google.protobuf.Duration`.
    pub whole: Option<String>,
}

pub(super) struct Checker<'a> {
    scope: &'a Scope,
    bindings: Bindings,
    /// Of the loops around, innermost last.
    locals: Vec<(String, Type)>,
    found: Vec<Found>,
    wrong: Vec<Wrong>,
}

/// # Errors
/// All that does not fit.
pub(super) fn check(scope: &Scope, root: &Node, count: usize) -> Result<Vec<Found>, Vec<Wrong>> {
    let mut found = Vec::new();
    found.resize_with(count, Found::default);
    let mut checker =
        Checker { scope, bindings: Bindings::default(), locals: Vec::new(), found, wrong: Vec::new() };
    checker.node(root);
    if !checker.wrong.is_empty() {
        return Err(checker.wrong);
    }
    let Checker { bindings, mut found, .. } = checker;
    for one in &mut found {
        one.of = one.of.as_ref().map(|of| bindings.resolve(of, true));
    }
    Ok(found)
}

impl Checker<'_> {
    fn wrong(&mut self, place: u64, what: String) -> Type {
        self.wrong.push((place, what));
        Type::Error
    }

    fn undeclared(&mut self, place: u64, name: &str) -> Type {
        self.wrong(place, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn mismatch(&mut self, place: u64, wanted: &Type, have: &Type) -> Type {
        self.wrong(place, format!("expected type '{wanted}' but found '{have}'"))
    }

    fn node(&mut self, node: &Node) -> Type {
        let of = match &node.part {
            Part::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::Text(_) => Type::Text,
                Literal::Bytes(_) => Type::Bytes,
            },
            Part::Name(name) => match self.named(name) {
                Some(of) => of,
                None => self.undeclared(node.place, name),
            },
            Part::Select { of, field, test } => {
                // `google.protobuf.Duration` is one name.
                let name = qualified(node).filter(|_| !test);
                match name.as_ref().and_then(|name| self.named(name)) {
                    Some(of) => {
                        self.found[node.id].whole = name;
                        of
                    }
                    None => {
                        let of = self.field(node.place, of, field, false);
                        if *test { Type::Bool } else { self.bindings.resolve(&of, false) }
                    }
                }
            }
            Part::Call { name, target, args } => self.call(node, name, target.as_deref(), args),
            Part::List(items) => {
                let mut of = None;
                for (item, optional) in items {
                    let have = self.item(item, *optional);
                    of = Some(self.joined(of, have));
                }
                Type::list(of.unwrap_or_else(|| Type::Param(self.bindings.fresh(1))))
            }
            Part::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for (key, value, optional) in entries {
                    let have = self.node(key);
                    keys = Some(self.joined(keys, have));
                    let have = self.item(value, *optional);
                    values = Some(self.joined(values, have));
                }
                let key = keys.unwrap_or_else(|| Type::Param(self.bindings.fresh(1)));
                Type::map(key, values.unwrap_or_else(|| Type::Param(self.bindings.fresh(1))))
            }
            Part::Struct { name, fields } => self.made(node.place, name, fields),
            Part::Fold(fold) => self.fold(fold),
            Part::OptMap { of, name, body, flat } => self.opt_map(node.place, of, name, body, *flat),
        };
        self.found[node.id].of = Some(of.clone());
        of
    }

    fn named(&self, name: &str) -> Option<Type> {
        if let Some((_, of)) = self.locals.iter().rev().find(|(known, _)| known == name) {
            return Some(of.clone());
        }
        if let Some(declared) = self.scope.variables.get(name) {
            return Some(declared.of.clone());
        }
        named_type(name).map(|of| Type::parts(Head::Type, vec![of]))
    }

    /// An item of a list or a value of a map; what is optional is unwrapped.
    fn item(&mut self, node: &Node, optional: bool) -> Type {
        let of = self.node(node);
        if !optional {
            return of;
        }
        match of.unwrapped() {
            Some(of) => of.clone(),
            None if of.is_dyn() => of,
            None => {
                self.mismatch(node.place, &Type::optional(of.clone()), &of);
                of
            }
        }
    }

    /// What both are; what is of several types is refused later, where it matters ([`super::literals`]).
    fn joined(&mut self, before: Option<Type>, have: Type) -> Type {
        let Some(before) = before else { return have };
        if !self.bindings.assign(&before, &have) {
            return Type::Dyn;
        }
        if before.says_no_more(&have) { before } else { have }
    }

    fn field(&mut self, place: u64, of: &Node, field: &str, optional: bool) -> Type {
        let of = self.node(of);
        let of = self.bindings.resolve(&of, false);
        let (inner, was_optional) = match of.unwrapped() {
            Some(inner) => (inner.clone(), true),
            None => (of, false),
        };
        let found = match &inner {
            Type::Object(object) => self.field_of(place, object, field),
            Type::Named(name) => self.wrong(place, format!("unexpected failed resolution of '{name}'")),
            Type::Param(_) => {
                self.bindings.assign(&Type::Dyn, &inner);
                Type::Dyn
            }
            other => match other.head() {
                Some((Head::Map, [_, value])) => value.clone(),
                _ if other.is_dyn() || other.is_error() => Type::Dyn,
                _ => {
                    self.wrong(place, format!("type '{other}' does not support field selection"));
                    Type::Dyn
                }
            },
        };
        if was_optional || optional { Type::optional(found) } else { found }
    }

    fn field_of(&mut self, place: u64, object: &Object, field: &str) -> Type {
        let fields = &object.fields;
        let reserved = || fields.get(&format!("__{field}__")).filter(|_| RESERVED.contains(&field));
        match fields.get(field).or_else(reserved) {
            Some(declared) => declared.of.clone(),
            None if object.open => Type::Dyn,
            None => self.wrong(place, format!("undefined field '{field}'")),
        }
    }

    fn call(&mut self, node: &Node, name: &str, target: Option<&Node>, args: &[Node]) -> Type {
        if name == op::OPT_SELECT {
            return match args {
                [of, Node { part: Part::Literal(Literal::Text(field)), .. }] => {
                    let of = self.field(node.place, of, field, true);
                    self.found[args[1].id].of = Some(Type::Text);
                    self.found[node.id].overloads = vec!["select_optional_field"];
                    self.bindings.resolve(&of, false)
                }
                _ => self.wrong(node.place, "unsupported optional field selection".to_owned()),
            };
        }
        let mut of: Vec<Type> = args.iter().map(|arg| self.node(arg)).collect();
        let mut function = name.to_owned();
        let mut member = false;
        if let Some(target) = target {
            // `sets.contains(a, b)` is a function with two names, where there is such a one.
            let whole = qualified(target).map(|space| format!("{space}.{name}"));
            match whole.filter(|whole| FUNCTIONS.contains_key(whole.as_str())) {
                Some(whole) => {
                    function.clone_from(&whole);
                    self.found[node.id].whole = Some(whole);
                }
                None => {
                    let target = self.node(target);
                    of.insert(0, target);
                    member = true;
                }
            }
        }
        let (result, overloads) = self.resolve(node.place, &function, &of, member, args);
        self.found[node.id].overloads = overloads;
        result
    }

    /// The type of a call, and the overloads that it may be of.
    fn resolve(
        &mut self,
        place: u64,
        function: &str,
        of: &[Type],
        member: bool,
        args: &[Node],
    ) -> (Type, Vec<&'static str>) {
        let Some(overloads) = FUNCTIONS.get(function) else {
            return (self.undeclared(place, function), Vec::new());
        };
        if function == op::LOGICAL_AND || function == op::LOGICAL_OR {
            let mut good = true;
            for (n, one) in of.iter().enumerate() {
                if !self.bindings.assign(one, &Type::Bool) {
                    self.mismatch(args.get(n).map_or(place, |arg| arg.place), &Type::Bool, one);
                    good = false;
                }
            }
            let ids = overloads.iter().map(|overload| overload.id.as_str()).collect();
            return if good { (Type::Bool, ids) } else { (Type::Error, Vec::new()) };
        }
        let mut ids = Vec::new();
        let mut result: Option<Type> = None;
        for overload in overloads.iter().filter(|overload| overload.member == member) {
            let first = self.bindings.fresh(overload.params);
            let own = |of: &Type| of.with(&|n| Type::Param(first + n));
            let wanted: Vec<Type> = overload.args.iter().map(own).collect();
            if !self.bindings.assign_all(of, &wanted) {
                continue;
            }
            ids.push(overload.id.as_str());
            let found = self.bindings.resolve(&own(&overload.result), false);
            result = Some(match result {
                None => found,
                Some(before) if before.is_dyn() || found.same(&before) => before,
                Some(_) => Type::Dyn,
            });
        }
        if let Some(result) = result {
            return (result, ids);
        }
        let of: Vec<String> = of.iter().map(|of| self.bindings.resolve(of, true).to_string()).collect();
        let shown = match of.split_first() {
            Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
            _ => format!("({})", of.join(", ")),
        };
        let what = format!("found no matching overload for '{function}' applied to '{shown}'");
        (self.wrong(place, what), Vec::new())
    }

    fn made(&mut self, place: u64, name: &str, fields: &[(u64, String, Node)]) -> Type {
        let Some(object) = (self.scope.makes)(name) else {
            return self.undeclared(place, name);
        };
        let Type::Object(known) = &object.of else { return Type::Error };
        for (at, field, value) in fields {
            let have = self.node(value);
            let wanted = match known.fields.get(field) {
                Some(declared) => declared.of.clone(),
                None if known.open => continue,
                None => {
                    self.wrong(
                        *at,
                        format!("expected type of field '{field}' is '' but provided type is '{have}'"),
                    );
                    continue;
                }
            };
            if !self.bindings.assign(&wanted, &have) {
                let what =
                    format!("expected type of field '{field}' is '{wanted}' but provided type is '{have}'");
                self.wrong(*at, what);
            }
        }
        object.of
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.node(&fold.range);
        let start = self.node(&fold.start);
        let range = self.bindings.resolve(&range, false);
        let depth = self.locals.len();
        self.locals.push((fold.result.clone(), start.clone()));
        let (item, value) = match range.head() {
            Some((Head::List, [of])) if fold.value.is_some() => (Type::Int, of.clone()),
            Some((Head::List, [of])) => (of.clone(), Type::Error),
            Some((Head::Map, [key, value])) => (key.clone(), value.clone()),
            _ if range.is_dyn() || range.is_error() || matches!(range, Type::Param(_)) => {
                self.bindings.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            _ => {
                let what = format!(
                    "expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.wrong(fold.range.place, what);
                (Type::Error, Type::Error)
            }
        };
        self.locals.push((fold.item.clone(), item));
        self.locals.extend(fold.value.clone().map(|name| (name, value)));
        let goes_on = self.node(&fold.goes_on);
        self.expect(&fold.goes_on, &Type::Bool, &goes_on);
        let step = self.node(&fold.step);
        self.expect(&fold.step, &start, &step);
        self.locals.truncate(depth + 1);
        let end = self.node(&fold.end);
        self.locals.truncate(depth);
        self.bindings.resolve(&end, false)
    }

    fn expect(&mut self, node: &Node, wanted: &Type, have: &Type) {
        if !self.bindings.assign(wanted, have) {
            self.mismatch(node.place, wanted, have);
        }
    }

    /// As the original writes it out: `of.hasValue() ? optional.of(BODY) : optional.none()`.
    fn opt_map(&mut self, place: u64, of: &Node, name: &str, body: &Node, flat: bool) -> Type {
        let of = self.node(of);
        let (has, _) = self.resolve(place, "hasValue", std::slice::from_ref(&of), true, &[]);
        let (value, _) = self.resolve(place, "value", std::slice::from_ref(&of), true, &[]);
        self.locals.push((name.to_owned(), value));
        let mut body = self.node(body);
        self.locals.pop();
        if !flat {
            body = self.resolve(place, "optional.of", &[body], false, &[]).0;
        }
        let (none, _) = self.resolve(place, "optional.none", &[], false, &[]);
        self.resolve(place, op::CONDITIONAL, &[has, body, none], false, &[]).0
    }
}

/// Nothing can be made: where only values are judged.
pub(super) fn makes_nothing(_: &str) -> Option<Declared> {
    None
}
