//! Rules in CEL (`x-kubernetes-validations`).
//!
//! Owns: checking rules when their definition is written ([`Place`]), and running them, with bounds on what they cost
//! ([`Rule`]). The crate `cel` parses them; the rest is ours, for its interpreter has no types and no bounds, copies the
//! object, and lacks Kubernetes' functions.
//! Never: reads a clock or anything but the values it is given.

mod definition;
mod eval;
mod expression;
mod format;
mod functions;
mod lists;
mod maps;
mod named;
mod network;
mod numbers;
mod operators;
mod optional;
mod quantity;
mod semver;
mod syntax;
mod text;
mod times;
mod types;
mod value;

use serde_json::Value;

pub use self::definition::{Place, Report};
pub use self::expression::Expression;
pub use self::types::{Declared, Refusal, Scope, Type};

use self::eval::{Answer, Evaluator, Fault};
use self::syntax::Expr;
use super::build::text as text_of;

/// Words of the language, which no variable can be called and which names of properties escape.
pub const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// What one rule may cost, as the original counts: about one for each step.
pub const MAX_CALL: u64 = 1_000_000;

/// What all rules of an object may cost together.
pub const MAX_OBJECT: u64 = 10_000_000;

/// Longer sources, in bytes, are refused.
const MAX_SOURCE: usize = 16 << 10;

/// What is left for the rules of an object.
#[derive(Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_OBJECT)
    }
}

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    source: String,
    expr: Expr,
    message: String,
    message_expr: Option<Expr>,
    reason: String,
    field_path: String,
    uses_old: bool,
    optional_old: bool,
}

/// What a rule says of a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds, or is not for this change.
    Holds,
    /// It does not, with the message for the client.
    Fails(String),
    /// It cannot be evaluated: `no such key: a`.
    Error(String),
    /// It costs more than [`MAX_CALL`].
    TooCostly,
    /// Nothing is left of the [`Budget`].
    NoBudget,
}

impl Rule {
    /// Makes a rule ready to run that was checked when its definition was written, here or elsewhere.
    ///
    /// # Errors
    /// No expression.
    pub fn new(rule: &Value) -> Result<Self, String> {
        let source = text_of(rule, "rule");
        let expr = syntax::compile(source)?;
        let message_source = text_of(rule, "messageExpression").trim();
        Ok(Self {
            source: source.trim().to_owned(),
            uses_old: expr.uses("oldSelf"),
            expr,
            message: text_of(rule, "message").trim().to_owned(),
            // A message that cannot be made is replaced by the usual one.
            message_expr: syntax::compile(message_source).ok().filter(|_| !message_source.is_empty()),
            reason: text_of(rule, "reason").to_owned(),
            field_path: text_of(rule, "fieldPath").trim_start_matches('.').to_owned(),
            optional_old: rule.get("optionalOldSelf") == Some(&Value::Bool(true)),
        })
    }

    /// As errors name it: by its message, where it has one.
    pub fn name(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }

    /// `FieldValueForbidden` and its like; empty for the usual one.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Below the value that the rule is of; empty for the value itself.
    pub fn field_path(&self) -> &str {
        &self.field_path
    }

    /// It compares with what was before an update.
    pub fn uses_old(&self) -> bool {
        self.uses_old
    }

    /// Asks the rule about a value of the schema that it was compiled with.
    pub fn run(&self, schema: &Value, value: &Value, old: Option<&Value>, budget: &mut Budget) -> Outcome {
        if self.uses_old && old.is_none() && !self.optional_old {
            return Outcome::Holds;
        }
        match self.ask(&self.expr, schema, value, old, budget) {
            Ok(value::Value::Bool(true)) => return Outcome::Holds,
            Ok(value::Value::Bool(false)) => {}
            Ok(_) => return Outcome::Error("no such overload".to_owned()),
            Err(Fault::Error(error)) => return Outcome::Error(error),
            Err(Fault::Cost) if budget.0 == 0 => return Outcome::NoBudget,
            Err(Fault::Cost) => return Outcome::TooCostly,
        }
        let told =
            self.message_expr.as_ref().and_then(|expr| match self.ask(expr, schema, value, old, budget) {
                Ok(value) => value.as_text().map(|text| text.trim().to_owned()),
                Err(_) => None,
            });
        // A message of several lines would look like several errors.
        let told = told.filter(|text| !text.is_empty() && !text.contains('\n') && text.len() <= 5 << 10);
        Outcome::Fails(told.unwrap_or_else(|| self.default_message()))
    }

    fn ask<'a>(
        &self,
        expr: &'a Expr,
        schema: &'a Value,
        value: &'a Value,
        old: Option<&'a Value>,
        budget: &mut Budget,
    ) -> Answer<'a> {
        let most = budget.0.min(MAX_CALL);
        let mut evaluator = Evaluator::new(schema, value, old, self.optional_old, most);
        let answer = evaluator.answer(expr);
        budget.0 -= most - evaluator.left();
        answer
    }

    fn default_message(&self) -> String {
        if self.message.is_empty() { format!("failed rule: {}", self.source) } else { self.message.clone() }
    }
}

/// A rule as the original's errors show it: its own struct in Go's JSON.
pub(super) fn shown(rule: &Value) -> String {
    let text = |name: &str| {
        let text = Value::from(text_of(rule, name)).to_string();
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    };
    let pointer = |name: &str| match rule.get(name) {
        Some(Value::String(_)) => text(name),
        Some(Value::Bool(set)) => set.to_string(),
        _ => "null".to_owned(),
    };
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        pointer("reason"),
        text("fieldPath"),
        pointer("optionalOldSelf"),
    )
}

#[cfg(test)]
mod tests;
