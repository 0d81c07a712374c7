//! Whether an expression means something, before it runs: names, fields and types, and what it may cost at most.
//!
//! Owns: the types of CEL and of Kubernetes' libraries ([`functions`]), the check of an expression by them ([`check`]), and
//! the estimate of its cost ([`cost`]). Each gives the original's words and numbers.
//! Never: runs an expression. Begin at [`compile`].

mod check;
mod cost;
mod declared;
mod functions;
mod functions_cost;
mod kinds;
mod literals;
mod report;
mod sizes;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cel::common::ast::IdedExpr;

pub use self::declared::Declared;
pub use self::kinds::Type;

use self::check::Found;
pub(super) use self::report::one;
use self::tree::Builder;
pub(super) use self::tree::{Literal, Node, Part};
use super::syntax;

/// What expressions may name.
#[derive(Clone, Debug)]
pub struct Scope {
    pub variables: BTreeMap<String, Declared>,
    /// Which objects they may make, by the names of their types.
    pub makes: fn(&str) -> Option<Declared>,
    /// `cel.bind(name, value, expression)` is a macro.
    pub binds: bool,
}

/// Why an expression is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It means nothing.
    Invalid(String),
    /// It can never run, which the original takes for its own fault.
    Internal(String),
}

impl Scope {
    pub fn new(variables: impl IntoIterator<Item = (&'static str, Declared)>) -> Self {
        let variables = variables.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
        Self { variables, makes: check::makes_nothing, binds: false }
    }

    /// The type of what an expression gives.
    ///
    /// # Errors
    /// In the original's words, with the line and a mark at the place.
    pub fn check(&self, source: &str) -> Result<Type, Refusal> {
        let checked = compile(source, self)
            .map_err(|error| Refusal::Invalid(format!("compilation failed: {error}")))?;
        match checked.never_runs() {
            Some(why) => Err(Refusal::Internal(format!("program instantiation failed: {why}"))),
            None => Ok(checked.of().clone()),
        }
    }
}

/// An expression that means something.
pub(crate) struct Checked {
    root: Node,
    found: Vec<Found>,
}

/// # Errors
/// What is wrong, as the original tells it: `ERROR: <input>:1:5: undefined field 'x'`, with the place shown.
pub(crate) fn compile(source: &str, scope: &Scope) -> Result<Checked, String> {
    let parsed = syntax::parse(source)?;
    check_parsed(source, &parsed, scope)
}

/// An expression with all macros written out, unchecked.
///
/// # Errors
/// No expression, or a macro that is used wrongly.
pub(super) fn written_out(source: &str) -> Result<Node, String> {
    let parsed = syntax::parse(source)?;
    let (root, _) = Builder::build(&parsed, false).map_err(|wrong| report::show(source, vec![wrong]))?;
    Ok(root)
}

fn check_parsed(source: &str, parsed: &IdedExpr, scope: &Scope) -> Result<Checked, String> {
    let told = |wrong: Vec<tree::Wrong>| report::show(source, wrong);
    let (root, count) = Builder::build(parsed, scope.binds).map_err(|wrong| told(vec![wrong]))?;
    let found = check::check(scope, &root, count).map_err(told)?;
    let mut wrong = Vec::new();
    literals::check(&root, &found, &mut wrong);
    if wrong.is_empty() { Ok(Checked { root, found }) } else { Err(told(wrong)) }
}

impl Checked {
    /// What it gives.
    pub fn of(&self) -> &Type {
        self.found[self.root.id].of.as_ref().unwrap_or(&Type::Dyn)
    }

    /// What running it costs at most. `root`: what is known of its variables.
    pub fn cost(&self, root: &Declared) -> u64 {
        cost::estimate(&self.found, root, &self.root)
    }

    /// Whether it names a variable.
    pub fn names(&self, variable: &str) -> bool {
        self.root.names(variable)
    }

    /// Why it fails whenever it runs: `int('x')`. As the original makes it ready to run.
    pub fn never_runs(&self) -> Option<String> {
        literals::never_runs(&self.root)
    }
}
