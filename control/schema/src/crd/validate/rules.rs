//! Rules in CEL: where they run, and what their outcomes are causes of.

use apiclient_core::names::quoted;
use apiclient_core::wire::Cause;
use serde_json::Value;

use super::super::cel::{Budget, Outcome, Rule};
use super::node::Node;
use super::{MAX_DEPTH, Violations, cause, child, invalid, shown};

impl Node {
    /// Runs the rules here and below. `same`: this, or what it is in, has not changed. `Err`: nothing more is run.
    #[expect(clippy::too_many_arguments, reason = "a walk carries its place")]
    pub(super) fn rules(
        &self,
        value: &Value,
        old: Option<&Value>,
        same: bool,
        path: &str,
        budget: &mut Budget,
        out: &mut Violations,
        depth: usize,
    ) -> Result<(), ()> {
        if !self.has_rules || value.is_null() || depth > MAX_DEPTH {
            return Ok(());
        }
        for rule in &self.rules {
            let outcome = rule.run(&self.schema, value, old, budget);
            let (found, stop) = self.judge(rule, outcome, value, path);
            if let Some(cause) = found {
                if same && !rule.uses_old() && !stop {
                    let field = if cause.field == "<nil>" { "<nil>" } else { cause.field.as_str() };
                    out.warnings.push(format!("{field}: {}", cause.message));
                } else {
                    out.causes.push(cause);
                }
            }
            if stop {
                return Err(());
            }
        }
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let old = old.and_then(|old| old.get(name));
                    let same = same || self.member(name).is_some_and(|node| node.same(value, old, depth));
                    if let Some(node) = self.properties.get(name) {
                        node.rules(value, old, same, &child(path, name), budget, out, depth + 1)?;
                    } else if let Some(node) = &self.additional {
                        node.rules(value, old, same, &format!("{path}[{name}]"), budget, out, depth + 1)?;
                    }
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    let Some(node) = &self.items else { continue };
                    let old = self.old_item(item, old);
                    let same = same || node.same(item, old, depth);
                    node.rules(item, old, same, &format!("{path}[{n}]"), budget, out, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What an outcome is a cause of, and whether no more rules are run.
    fn judge(&self, rule: &Rule, outcome: Outcome, value: &Value, path: &str) -> (Option<Cause>, bool) {
        let of = quoted(self.types.first().map_or("", String::as_str));
        let (message, stop) = match outcome {
            Outcome::Holds => return (None, false),
            Outcome::Fails(detail) => {
                let at = if rule.field_path().is_empty() { path.to_owned() } else { child(path, rule.field_path()) };
                let whole = value.is_object() || value.is_array();
                let found = match rule.reason() {
                    "FieldValueForbidden" => cause("FieldValueForbidden", &at, format!("Forbidden: {detail}")),
                    "FieldValueRequired" => cause("FieldValueRequired", &at, format!("Required value: {detail}")),
                    "FieldValueDuplicate" if whole => cause("FieldValueDuplicate", &at, "Duplicate value".to_owned()),
                    "FieldValueDuplicate" => {
                        cause("FieldValueDuplicate", &at, format!("Duplicate value: {}", shown(value)))
                    }
                    _ if whole => cause("FieldValueInvalid", &at, format!("Invalid value: {detail}")),
                    _ => invalid(&at, &shown(value), &detail),
                };
                return (Some(found), false);
            }
            Outcome::Error(error) if error.starts_with("no such overload") => (
                format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for \
                     rule: {}",
                    rule.name()
                ),
                false,
            ),
            Outcome::Error(error) => (format!("{error} evaluating rule: {}", rule.name()), false),
            Outcome::TooCostly => (
                format!(
                    "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due \
                     to call cost exceeds limit for rule: {}",
                    rule.name()
                ),
                true,
            ),
            Outcome::NoBudget => (
                "validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned(),
                true,
            ),
        };
        (Some(invalid(path, &of, &message)), stop)
    }
}
