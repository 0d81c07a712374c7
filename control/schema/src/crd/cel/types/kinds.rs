//! Types of expressions, and which of them may stand for which: the rules of CEL's type checker.

use std::fmt;
use std::sync::Arc;

use super::declared::Object;

/// Types with more parts than this are not told apart: `{x: x}` in a row doubles a type each time.
const MAX_WEIGHT: u32 = 1_000;

#[derive(Clone, Debug)]
pub enum Type {
    /// Known when it runs.
    Dyn,
    Any,
    /// Of what was refused already, so that it is not refused twice.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Duration,
    /// Stands for a type that is found out on the way.
    Param(usize),
    /// With fields that are known.
    Object(Arc<Object>),
    /// Of a library, without fields: `kubernetes.Quantity`.
    Named(&'static str),
    Parts(Arc<Parts>),
}

#[derive(Debug)]
pub struct Parts {
    pub head: Head,
    pub of: Vec<Type>,
    weight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    List,
    Map,
    /// The type of types.
    Type,
    /// `optional_type`, `net.IP`.
    Opaque(&'static str),
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    pub fn parts(head: Head, of: Vec<Self>) -> Self {
        let weight = of.iter().fold(1_u32, |sum, one| sum.saturating_add(one.weight()));
        if weight > MAX_WEIGHT {
            return Self::Dyn;
        }
        Self::Parts(Arc::new(Parts { head, of, weight }))
    }

    pub fn list(of: Self) -> Self {
        Self::parts(Head::List, vec![of])
    }

    pub fn map(key: Self, value: Self) -> Self {
        Self::parts(Head::Map, vec![key, value])
    }

    pub fn optional(of: Self) -> Self {
        Self::parts(Head::Opaque(OPTIONAL), vec![of])
    }

    /// Its name when it runs, which is another for a few than that in errors of the check.
    pub fn name(&self) -> String {
        match self {
            Self::Null => "null_type".to_owned(),
            Self::Any => "google.protobuf.Any".to_owned(),
            Self::Time => "google.protobuf.Timestamp".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::Parts(parts) if !parts.of.is_empty() => {
                let of: Vec<String> = parts.of.iter().map(Self::name).collect();
                let head = Self::parts(parts.head, Vec::new());
                format!("{head}({})", of.join(", "))
            }
            other => other.to_string(),
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Self::Parts(parts) => parts.weight,
            _ => 1,
        }
    }

    pub fn head(&self) -> Option<(Head, &[Self])> {
        match self {
            Self::Parts(parts) => Some((parts.head, &parts.of)),
            _ => None,
        }
    }

    /// What an optional value is of.
    pub fn unwrapped(&self) -> Option<&Self> {
        match self.head() {
            Some((Head::Opaque(OPTIONAL), [of])) => Some(of),
            _ => None,
        }
    }

    pub fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any)
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error)
    }

    /// Exactly the same type.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Param(a), Self::Param(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a.name == b.name,
            (Self::Named(a), Self::Named(b)) => a == b,
            (Self::Parts(a), Self::Parts(b)) => {
                a.head == b.head && a.of.len() == b.of.len() && a.of.iter().zip(&b.of).all(|(a, b)| a.same(b))
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Null may stand for it.
    fn is_nullable(&self) -> bool {
        match self {
            Self::Object(_) | Self::Named(_) | Self::Any | Self::Null | Self::Time | Self::Duration => true,
            Self::Parts(parts) => matches!(parts.head, Head::Opaque(_)),
            _ => false,
        }
    }

    /// Whether it says no more than the other.
    pub fn says_no_more(&self, other: &Self) -> bool {
        if self.is_dyn() || matches!(self, Self::Param(_)) {
            return true;
        }
        match (self, other) {
            (Self::Parts(a), Self::Parts(b)) => {
                a.head == b.head
                    && (a.head == Head::Type
                        || (a.of.len() == b.of.len()
                            && a.of.iter().zip(&b.of).all(|(a, b)| a.says_no_more(b))))
            }
            _ => self.same(other),
        }
    }

    /// The same with each parameter replaced.
    pub fn with(&self, params: &impl Fn(usize) -> Self) -> Self {
        match self {
            Self::Param(n) => params(*n),
            Self::Parts(parts) => {
                Self::parts(parts.head, parts.of.iter().map(|one| one.with(params)).collect())
            }
            other => other.clone(),
        }
    }
}

/// As errors name it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Dyn => "dyn",
            Self::Any => "any",
            Self::Error => "!error!",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Time => "timestamp",
            Self::Duration => "duration",
            Self::Param(n) => return write!(f, "_var{n}"),
            Self::Object(object) => &object.name,
            Self::Named(name) => name,
            Self::Parts(parts) => {
                f.write_str(match parts.head {
                    Head::List => "list",
                    Head::Map => "map",
                    Head::Type => "type",
                    Head::Opaque(name) => name,
                })?;
                for (n, one) in parts.of.iter().enumerate() {
                    write!(f, "{}{one}", if n == 0 { "(" } else { ", " })?;
                }
                return f.write_str(if parts.of.is_empty() { "" } else { ")" });
            }
        };
        f.write_str(name)
    }
}

/// What is found out of parameters.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    of: Vec<Option<Type>>,
    /// What was there before each change, so that a try that fails leaves nothing.
    trail: Vec<(usize, Option<Type>)>,
}

impl Bindings {
    /// The first of `count` new parameters.
    pub fn fresh(&mut self, count: usize) -> usize {
        let first = self.of.len();
        self.of.resize(first + count, None);
        first
    }

    fn bind(&mut self, param: usize, to: Type) {
        self.trail.push((param, self.of[param].replace(to)));
    }

    /// With all that is known put in. `open`: what becomes of parameters of which nothing is known.
    pub fn resolve(&self, of: &Type, open: bool) -> Type {
        of.with(&|n| match &self.of[n] {
            Some(bound) => self.resolve(bound, open),
            None if open => Type::Dyn,
            None => Type::Param(n),
        })
    }

    pub fn assign_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        let mark = self.trail.len();
        let fits = from.len() == to.len() && from.iter().zip(to).all(|(from, to)| self.fits(from, to));
        while !fits && self.trail.len() > mark {
            if let Some((param, before)) = self.trail.pop() {
                self.of[param] = before;
            }
        }
        fits
    }

    /// Whether one may stand for the other; what follows for parameters is kept.
    pub fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(n) = b {
            match self.stands_for(a, b, *n) {
                (true, _) => return true,
                (false, true) => return false,
                _ => {}
            }
        }
        if let Type::Param(n) = a {
            return self.stands_for(b, a, *n).0;
        }
        if a.is_dyn() || a.is_error() || b.is_dyn() || b.is_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => other.is_nullable(),
            (Type::Parts(a), Type::Parts(b)) => {
                a.head == b.head
                    && (a.head == Head::Type
                        || (a.of.len() == b.of.len() && a.of.iter().zip(&b.of).all(|(a, b)| self.fits(a, b))))
            }
            _ => a.same(b),
        }
    }

    /// Whether a parameter can be this type, and whether it was known already what it is.
    fn stands_for(&mut self, of: &Type, param: &Type, n: usize) -> (bool, bool) {
        if of.same(param) {
            return (true, true);
        }
        let Some(bound) = self.of[n].clone() else {
            let free = self.is_free_of(of, n);
            if free {
                self.bind(n, of.clone());
            }
            return (free, false);
        };
        if of.same(&bound) {
            return (true, true);
        }
        if !self.fits(of, &bound) {
            return (false, true);
        }
        let general = if of.says_no_more(&bound) { of.clone() } else { bound };
        if self.is_free_of(&general, n) {
            self.bind(n, general);
        }
        (true, true)
    }

    /// Whether the parameter does not occur in the type.
    fn is_free_of(&self, of: &Type, param: usize) -> bool {
        match of {
            Type::Param(n) if *n == param => false,
            Type::Param(n) => self.of[*n].as_ref().is_none_or(|bound| self.is_free_of(bound, param)),
            Type::Parts(parts) => parts.of.iter().all(|one| self.is_free_of(one, param)),
            _ => true,
        }
    }
}
