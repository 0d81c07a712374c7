//! Rules when a definition is written: what they are checked with, and what is found.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::types::{self, Declared, Scope, Type};
use crate::crd::build::text as text_of;

/// What rules at one place of a schema may name.
pub struct Place {
    declared: Declared,
    scope: Scope,
    /// Where `oldSelf` is optional.
    optional: Scope,
}

/// What is found of one rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Why it is none.
    pub error: Option<String>,
    /// What running it once costs at most. 0 where there is an error.
    pub cost: u64,
    pub uses_old: bool,
    /// The same of `messageExpression`, where there is one.
    pub message_error: Option<String>,
    pub message_cost: Option<u64>,
}

impl Place {
    /// `None`: rules cannot look into what the schema describes. `root`: a whole object of the API.
    pub fn new(schema: &Value, root: bool) -> Option<Self> {
        // A name that nobody can rely upon.
        let mut hasher = DefaultHasher::new();
        schema.to_string().hash(&mut hasher);
        let name = format!("selfType{}", hasher.finish() % 1_000_000_000);
        let declared = Declared::of_schema(schema, root, &name)?;
        let old = Declared { of: Type::optional(declared.of.clone()), ..declared.clone() };
        Some(Self {
            scope: Scope::new([("self", declared.clone()), ("oldSelf", declared.clone())]),
            optional: Scope::new([("self", declared.clone()), ("oldSelf", old)]),
            declared,
        })
    }

    /// How often a value of this schema may stand in one request.
    pub fn most_in_a_request(&self) -> u64 {
        self.declared.most_in_a_request()
    }

    pub fn check(&self, rule: &Value) -> Report {
        let optional = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        let scope = if optional { &self.optional } else { &self.scope };
        let mut report = Report::default();
        let fail = |error: String| Some(error);
        let checked = match types::compile(text_of(rule, "rule"), scope) {
            Ok(checked) => checked,
            Err(error) => {
                return Report { error: fail(format!("compilation failed: {error}")), ..report };
            }
        };
        if !matches!(checked.of(), Type::Bool) {
            return Report { error: fail("cel expression must evaluate to a bool".to_owned()), ..report };
        }
        report.uses_old = checked.names("oldSelf");
        if let Some(why) = checked.never_runs() {
            return Report { error: fail(format!("program instantiation failed: {why}")), ..report };
        }
        report.cost = checked.cost(&self.declared);
        let source = text_of(rule, "messageExpression");
        if source.is_empty() {
            return report;
        }
        match types::compile(source, scope) {
            Ok(checked) if !matches!(checked.of(), Type::Text) => {
                report.message_error = fail("messageExpression must evaluate to a string".to_owned());
            }
            Ok(checked) => match checked.never_runs() {
                Some(why) => {
                    report.message_error = fail(format!("messageExpression instantiation failed: {why}"))
                }
                None => report.message_cost = Some(checked.cost(&self.declared)),
            },
            Err(error) => {
                report.message_error = fail(format!("messageExpression compilation failed: {error}"))
            }
        }
        report
    }
}
