//! Rules of a schema: whether they mean something, and whether they can be afforded.

use serde_json::Value;

use super::super::build::{flag, text};
use super::super::cel::{self, Place};
use super::{Checker, MAX_DEPTH, properties, schemas};
use crate::codec::quote::quoted;

/// What one expression may cost at most, over all the places where it may run in one object.
const MAX_EXPRESSION: u64 = 10_000_000;

/// What all of a schema may cost together.
const MAX_SCHEMA: u64 = 100_000_000;

/// So many of the most expensive are named where all together are too expensive.
const NAMED: usize = 4;

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Above<'a> {
    root: bool,
    /// How often a value of it may be there. `None`: nobody bounds that.
    count: Option<u64>,
    /// The schema within which values cannot be told to be the old ones.
    uncorrelatable: Option<&'a str>,
    depth: usize,
}

#[derive(Default)]
struct Costs {
    total: u64,
    largest: Vec<(u64, String)>,
}

impl Checker {
    /// Checks the rules here and below. `unchanged`: of a definition that had this schema before, with what it cost.
    pub(super) fn expressions(&mut self, schema: &Value, path: &str, unchanged: bool) {
        let mut costs = Costs::default();
        let above = Above { root: true, count: Some(1), uncorrelatable: None, depth: 0 };
        self.expressions_below(schema, path, above, unchanged, &mut costs);
        if costs.total > MAX_SCHEMA {
            let mut found = Self::new();
            for (_, path) in &costs.largest {
                let what = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
                found.forbidden(path, what);
            }
            let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            found.forbidden(path, &exceeds(what, costs.total, MAX_SCHEMA));
            self.expression_causes.extend(found.causes);
        }
    }

    fn expressions_below(
        &mut self,
        schema: &Value,
        path: &str,
        above: Above<'_>,
        unchanged: bool,
        costs: &mut Costs,
    ) {
        if above.depth > MAX_DEPTH {
            return;
        }
        let bound = |word: &str| {
            let bound = schema.get(word).and_then(Value::as_i64);
            bound.map(|bound| u64::try_from(bound).unwrap_or(0))
        };
        let values = schema.get("additionalProperties").filter(|of| of.is_object());
        let each = match text(schema, "type") {
            "object" if values.is_some() => bound("maxProperties"),
            "array" => bound("maxItems"),
            _ => Some(1),
        };
        let count = above.count.zip(each).map(|(count, each)| count.saturating_mul(each));
        let below =
            Above { root: false, count, uncorrelatable: above.uncorrelatable, depth: above.depth + 1 };
        if let Some(values) = values {
            self.expressions_below(values, &format!("{path}.additionalProperties"), below, unchanged, costs);
        }
        for (name, property) in properties(schema) {
            self.expressions_below(property, &format!("{path}.properties[{name}]"), below, unchanged, costs);
        }
        let by_key = text(schema, "x-kubernetes-list-type") == "map";
        let within = Above { uncorrelatable: below.uncorrelatable.or((!by_key).then_some(path)), ..below };
        if let Some(items) = schema.get("items") {
            self.expressions_below(items, &format!("{path}.items"), within, unchanged, costs);
        }
        self.expressions_of(schema, path, above, unchanged, costs);
    }

    fn expressions_of(
        &mut self,
        schema: &Value,
        path: &str,
        above: Above<'_>,
        unchanged: bool,
        costs: &mut Costs,
    ) {
        let mut rules = schemas(schema, "x-kubernetes-validations").peekable();
        // Where the rules themselves are refused, here or below, their expressions are not looked at.
        if rules.peek().is_none() || self.causes.iter().any(|cause| cause.field.starts_with(path)) {
            return;
        }
        let root = above.root || flag(schema, "x-kubernetes-embedded-resource");
        let Some(place) = Place::new(schema, root) else { return };
        let count = above.count.unwrap_or_else(|| place.most_in_a_request());
        let mut found = Self::new();
        for (n, rule) in rules {
            let at = |word: &str| format!("{path}.x-kubernetes-validations[{n}].{word}");
            let report = place.check(rule);
            let cost = report.cost.saturating_mul(count);
            if cost > MAX_EXPRESSION && !unchanged {
                found.forbidden(&at("rule"), &exceeds("estimated rule cost", cost, MAX_EXPRESSION));
            }
            costs.add(&at("rule"), cost);
            if let Some(error) = report.error {
                found.invalid(&at("rule"), &cel::shown(rule), &error);
            }
            if let Some(error) = report.message_error {
                found.invalid(&at("messageExpression"), &cel::shown(rule), &error);
            }
            if let Some(cost) = report.message_cost {
                if cost > MAX_EXPRESSION && !unchanged {
                    let what = exceeds("estimated messageExpression cost", cost, MAX_EXPRESSION);
                    found.forbidden(&at("messageExpression"), &what);
                }
                costs.add(&at("messageExpression"), cost);
            }
            match (report.uses_old, above.uncorrelatable, rule.get("optionalOldSelf")) {
                (true, Some(within), _) => {
                    let what = format!(
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
                    );
                    found.invalid(&at("rule"), &quoted(text(rule, "rule")), &what);
                }
                (false, _, Some(Value::Bool(set))) => {
                    let what = "may not be set if oldSelf is not used in rule";
                    found.invalid(&at("optionalOldSelf"), &set.to_string(), what);
                }
                _ => {}
            }
        }
        self.expression_causes.extend(found.causes);
    }
}

impl Costs {
    fn add(&mut self, path: &str, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost >= MAX_SCHEMA / 100 {
            self.largest.push((cost, path.to_owned()));
            self.largest.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.largest.truncate(NAMED);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a factor is told roughly")]
fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
