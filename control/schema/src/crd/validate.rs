//! Whether an object is what its definition's schema says, in the original's words.
//!
//! A schema is made into a tree of [`Node`]s once, with its expressions and rules compiled.

use std::collections::{BTreeMap, BTreeSet};

use apiclient_core::names::quoted;
use apiclient_core::wire::Cause;
use regex::Regex;
use serde_json::{Map, Value};

use super::build::{flag, text};
use super::cel::{Budget, Outcome, Rule};
use super::{formats, regexes};

/// Deeper schemas and objects are not looked into.
const MAX_DEPTH: usize = 100;

/// Checks objects of one version of a kind.
#[derive(Debug)]
pub struct Validator {
    root: Node,
}

/// What is wrong with an object.
#[derive(Debug, Default)]
pub struct Violations {
    /// For the details of a 422. `<nil>` is the field of what concerns no single one.
    pub causes: Vec<Cause>,
    /// Of what was wrong before and has not changed: for `Warning` headers.
    pub warnings: Vec<String>,
}

#[derive(Debug, Default)]
struct Node {
    /// Empty for anything; `integer` and `string` for an int-or-string.
    types: Vec<&'static str>,
    format: String,
    nullable: bool,
    embedded: bool,
    maximum: Option<f64>,
    minimum: Option<f64>,
    exclusive: (bool, bool),
    multiple_of: Option<f64>,
    lengths: Bounds,
    items_counts: Bounds,
    counts: Bounds,
    pattern: Option<(String, Regex)>,
    values: Vec<Value>,
    required: Vec<String>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    not: Option<Box<Node>>,
    /// `Some`: items must differ, in these fields or as a whole.
    unique: Option<Vec<String>>,
    rules: Vec<Rule>,
    /// Of this node or below it.
    has_rules: bool,
    /// For rules, which look at formats and fields.
    schema: Value,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    least: Option<u64>,
    most: Option<u64>,
}

impl Validator {
    pub(super) fn new(open_api: &Value) -> Self {
        Self { root: Node::new(open_api, 0) }
    }

    /// What is wrong with `object`, which is pruned and defaulted. `old` is what it was before an update: what was wrong
    /// then already, and is the same now, is let pass.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Violations {
        let mut out = Violations::default();
        self.root.type_meta(object, "", &mut out.causes);
        self.root.duplicates(object, "", &mut out.causes);
        let mut causes = Vec::new();
        self.root.check(object, old, "", &mut causes, 0);
        out.causes.extend(causes);
        if !self.root.has_rules {
            return out;
        }
        let blocking = |cause: &Cause| {
            matches!(
                cause.reason.as_str(),
                "FieldValueNotSupported"
                    | "FieldValueRequired"
                    | "FieldValueTooLong"
                    | "FieldValueTooMany"
                    | "FieldValueTypeInvalid"
            )
        };
        if out.causes.iter().any(blocking) {
            let what = "some validation rules were not checked because the object was invalid; correct the existing \
                        errors to complete validation";
            out.causes.push(invalid("<nil>", "null", what));
            return out;
        }
        let mut budget = Budget::default();
        // Without budget left there is a cause that says so.
        let _ = self.root.rules(object, old, old == Some(object), "", &mut budget, &mut out, 0);
        out
    }
}

fn cause(reason: &str, path: &str, message: String) -> Cause {
    let field = if path.is_empty() { "<nil>" } else { path };
    Cause { reason: reason.to_owned(), message, field: field.to_owned() }
}

fn invalid(path: &str, shown: &str, what: &str) -> Cause {
    cause("FieldValueInvalid", path, format!("Invalid value: {shown}: {what}"))
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Node {
    fn new(schema: &Value, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            return Self::default();
        }
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let bounds = |least: &str, most: &str| Bounds { least: count(least), most: count(most) };
        let nodes = |name: &str| -> Vec<Self> {
            let all = schema.get(name).and_then(Value::as_array).into_iter().flatten();
            all.map(|one| Self::new(one, depth + 1)).collect()
        };
        let node = |name: &str| {
            let of = schema.get(name).filter(|of| of.is_object());
            of.map(|of| Box::new(Self::new(of, depth + 1)))
        };
        let texts = |name: &str| -> Vec<String> {
            let all = schema.get(name).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        };
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let types = match text(schema, "type") {
            _ if flag(schema, "x-kubernetes-int-or-string") => vec!["integer", "string"],
            "object" => vec!["object"],
            "array" => vec!["array"],
            "string" => vec!["string"],
            "integer" => vec!["integer"],
            "number" => vec!["number"],
            "boolean" => vec!["boolean"],
            _ => Vec::new(),
        };
        let rules: Vec<Rule> = schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|rule| Rule::new(rule, schema).ok())
            .collect();
        let pattern = text(schema, "pattern");
        let pattern = (!pattern.is_empty())
            .then(|| regexes::compile(pattern).ok().map(|regex| (pattern.to_owned(), regex)));
        let mut node = Self {
            types,
            format: text(schema, "format").to_owned(),
            nullable: flag(schema, "nullable"),
            embedded: flag(schema, "x-kubernetes-embedded-resource"),
            maximum: number("maximum"),
            minimum: number("minimum"),
            exclusive: (flag(schema, "exclusiveMinimum"), flag(schema, "exclusiveMaximum")),
            multiple_of: number("multipleOf"),
            lengths: bounds("minLength", "maxLength"),
            items_counts: bounds("minItems", "maxItems"),
            counts: bounds("minProperties", "maxProperties"),
            pattern: pattern.flatten(),
            values: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            required: texts("required"),
            properties: properties.map(|(name, of)| (name.clone(), Self::new(of, depth + 1))).collect(),
            additional: node("additionalProperties"),
            items: node("items"),
            all_of: nodes("allOf"),
            any_of: nodes("anyOf"),
            one_of: nodes("oneOf"),
            not: node("not"),
            unique: match text(schema, "x-kubernetes-list-type") {
                "set" => Some(Vec::new()),
                "map" => Some(texts("x-kubernetes-list-map-keys")),
                _ => None,
            },
            has_rules: false,
            schema: if rules.is_empty() { Value::Null } else { schema.clone() },
            rules,
        };
        let below = node.properties.values().chain(node.additional.as_deref()).chain(node.items.as_deref());
        node.has_rules = !node.rules.is_empty() || below.into_iter().any(|node| node.has_rules);
        node
    }

    /// The node of a member of an object.
    fn member(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// Objects of a kind of their own must say which.
    fn type_meta(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        match value {
            Value::Object(members) => {
                if self.embedded {
                    for name in ["apiVersion", "kind"] {
                        if members.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                            causes.push(cause(
                                "FieldValueRequired",
                                &child(path, name),
                                "Required value".to_owned(),
                            ));
                        }
                    }
                }
                for (name, value) in members {
                    if let Some(node) = self.member(name) {
                        node.type_meta(value, &child(path, name), causes);
                    }
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    if let Some(node) = &self.items {
                        node.type_meta(item, &format!("{path}[{n}]"), causes);
                    }
                }
            }
            _ => {}
        }
    }

    /// Items of sets and of lists with keys must differ.
    fn duplicates(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if let Some(node) = self.properties.get(name) {
                        node.duplicates(value, &child(path, name), causes);
                    } else if let Some(node) = &self.additional {
                        node.duplicates(value, &format!("{path}[{name}]"), causes);
                    }
                }
            }
            Value::Array(items) => {
                let mut seen = BTreeSet::new();
                for (n, item) in items.iter().enumerate() {
                    let path = format!("{path}[{n}]");
                    if let Some(keys) = &self.unique {
                        let id = self.identity(item, keys);
                        if !seen.insert(id.to_string()) {
                            causes.push(cause(
                                "FieldValueDuplicate",
                                &path,
                                format!("Duplicate value: {}", shown(&id)),
                            ));
                        }
                    }
                    if let Some(node) = &self.items {
                        node.duplicates(item, &path, causes);
                    }
                }
            }
            _ => {}
        }
    }

    fn identity(&self, item: &Value, keys: &[String]) -> Value {
        match item {
            Value::Object(members) if !keys.is_empty() => {
                let key = |key: &String| Some((key.clone(), members.get(key)?.clone()));
                Value::Object(keys.iter().filter_map(key).collect())
            }
            other => other.clone(),
        }
    }

    /// What the item was before: known for lists with keys only.
    fn old_item<'v>(&self, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
        let keys = self.unique.as_ref().filter(|keys| !keys.is_empty())?;
        let id = self.identity(item, keys);
        old?.as_array()?.iter().find(|old| self.identity(old, keys) == id)
    }

    fn check(&self, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>, depth: usize) {
        // What is as it was may stay, whatever has become of the schema.
        if depth > MAX_DEPTH || old == Some(value) {
            return;
        }
        self.check_type(value, path, causes);
        self.check_alternatives(value, path, causes, depth);
        match value {
            Value::String(text) => self.check_text(text, path, causes),
            Value::Number(number) => self.check_number(number, value, path, causes),
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    if let Some(node) = &self.items {
                        let old = self.old_item(item, old);
                        node.check(item, old, &format!("{path}[{n}]"), causes, depth + 1);
                    }
                }
                self.items_counts.check(items.len(), "items", path, causes);
            }
            _ => {}
        }
        self.check_values(value, path, causes);
        if let Value::Object(members) = value {
            self.counts.check(members.len(), "properties", path, causes);
            for name in &self.required {
                if members.get(name).is_none_or(|value| value.is_null() && !self.keeps_null(name)) {
                    causes.push(cause("FieldValueRequired", &child(path, name), "Required value".to_owned()));
                }
            }
            self.check_members(members, old, path, causes, depth);
        }
    }

    fn keeps_null(&self, name: &str) -> bool {
        self.member(name).is_none_or(|node| node.nullable || node.types.is_empty())
    }

    fn check_members(
        &self,
        members: &Map<String, Value>,
        old: Option<&Value>,
        path: &str,
        causes: &mut Vec<Cause>,
        depth: usize,
    ) {
        for (name, value) in members {
            // Null where it is no value is as good as absent.
            if value.is_null() && !self.keeps_null(name) {
                continue;
            }
            if let Some(node) = self.member(name) {
                node.check(value, old.and_then(|old| old.get(name)), &child(path, name), causes, depth + 1);
            }
        }
    }

    fn check_type(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        if self.types.is_empty() || (value.is_null() && self.nullable) {
            return;
        }
        let have = type_of(value);
        let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        let fits = |want: &str| {
            want == have
                || (want == "number" && have == "integer")
                || (want == "integer" && have == "number" && whole)
        };
        if !self.types.iter().any(|want| fits(want)) {
            let want = self.types.join(",");
            let what = format!("{path} in body must be of type {want}: {}", quoted(have));
            causes.push(cause(
                "FieldValueTypeInvalid",
                path,
                format!("Invalid value: {}: {what}", quoted(have)),
            ));
        }
    }

    fn check_text(&self, text: &str, path: &str, causes: &mut Vec<Cause>) {
        let length = text.chars().count() as u64;
        if let Some(most) = self.lengths.most.filter(|most| length > *most) {
            let message = format!("Too long: may not be more than {most} bytes");
            causes.push(cause("FieldValueTooLong", path, message));
        }
        if let Some(least) = self.lengths.least.filter(|least| length < *least) {
            let what = format!("{path} in body should be at least {least} chars long");
            causes.push(invalid(path, &quoted(text), &what));
        }
        if let Some((pattern, _)) = self.pattern.as_ref().filter(|(_, regex)| !regex.is_match(text)) {
            let what = format!("{path} in body should match '{pattern}'");
            causes.push(invalid(path, &quoted(text), &what));
        }
        if !self.format.is_empty() && !formats::is(&self.format, text) {
            let text = quoted(text);
            let what = format!("{path} in body must be of type {}: {text}", self.format);
            causes.push(cause("FieldValueTypeInvalid", path, format!("Invalid value: {text}: {what}")));
        }
    }

    fn check_number(&self, number: &serde_json::Number, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let Some(have) = number.as_f64() else { return };
        let integer = number.is_i64() || number.is_u64();
        let wrong_format = if !integer && self.types == ["integer"] && have.fract() != 0.0 {
            Some("(default format)".to_owned())
        } else if self.format == "int32" && (have > f64::from(i32::MAX) || have < f64::from(i32::MIN)) {
            Some("with format int32".to_owned())
        } else {
            None
        };
        if let Some(format) = wrong_format {
            let what = format!("Checked value must be of type integer {format} in {path}");
            causes.push(invalid("<nil>", "\"\"", &what));
            return;
        }
        // Whole numbers are compared with the whole parts of the bounds.
        let bound = |bound: f64| if integer { bound.trunc() } else { bound };
        if let Some(factor) = self.multiple_of {
            if bound(factor) <= 0.0 {
                let what =
                    format!("factor MultipleOf declared for {path} must be positive: {}", bound(factor));
                causes.push(invalid(path, &bound(factor).to_string(), &what));
            } else if ((have / factor) - (have / factor).round()).abs() > f64::EPSILON {
                let what = format!("{path} in body should be a multiple of {factor}");
                causes.push(invalid(path, &shown(value), &what));
            }
        }
        if let Some(most) = self.maximum {
            let (over, what) = match self.exclusive.1 {
                true => (have >= bound(most), "less than"),
                false => (have > bound(most), "less than or equal to"),
            };
            if over {
                causes.push(invalid(path, &shown(value), &format!("{path} in body should be {what} {most}")));
            }
        }
        if let Some(least) = self.minimum {
            let (under, what) = match self.exclusive.0 {
                true => (have <= bound(least), "greater than"),
                false => (have < bound(least), "greater than or equal to"),
            };
            if under {
                causes.push(invalid(
                    path,
                    &shown(value),
                    &format!("{path} in body should be {what} {least}"),
                ));
            }
        }
    }

    fn check_values(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        if self.values.is_empty() || self.values.contains(value) || (value.is_null() && self.nullable) {
            return;
        }
        let names = self.values.iter().map(|value| match value {
            Value::String(text) => quoted(text),
            other => quoted(&other.to_string()),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {}: supported values: {names}", shown(value));
        causes.push(cause("FieldValueNotSupported", path, message));
    }

    fn check_alternatives(&self, value: &Value, path: &str, causes: &mut Vec<Cause>, depth: usize) {
        let failures = |nodes: &[Self]| -> Vec<Vec<Cause>> {
            let of = nodes.iter().map(|node| {
                let mut causes = Vec::new();
                node.check(value, None, path, &mut causes, depth + 1);
                causes
            });
            of.collect()
        };
        let fail = |what: String, causes: &mut Vec<Cause>| {
            causes.push(invalid("<nil>", "\"\"", &format!("{} {what}", quoted(path))));
        };
        if !self.any_of.is_empty() {
            let failed = failures(&self.any_of);
            if failed.iter().all(|causes| !causes.is_empty()) {
                fail("must validate at least one schema (anyOf)".to_owned(), causes);
                causes.extend(failed.into_iter().next().unwrap_or_default());
            }
        }
        if !self.one_of.is_empty() {
            let failed = failures(&self.one_of);
            let what = "must validate one and only one schema (oneOf)";
            match failed.iter().filter(|causes| causes.is_empty()).count() {
                1 => {}
                0 => {
                    fail(format!("{what}. Found none valid"), causes);
                    causes.extend(failed.into_iter().next().unwrap_or_default());
                }
                several => fail(format!("{what}. Found {several} valid alternatives"), causes),
            }
        }
        if !self.all_of.is_empty() {
            let failed = failures(&self.all_of);
            let valid = failed.iter().filter(|causes| causes.is_empty()).count();
            if valid < self.all_of.len() {
                causes.extend(failed.into_iter().flatten());
                let none = if valid == 0 { ". None validated" } else { "" };
                fail(format!("must validate all the schemas (allOf){none}"), causes);
            }
        }
        if let Some(not) = &self.not
            && failures(std::slice::from_ref(&**not)).iter().all(Vec::is_empty)
        {
            fail("must not validate the schema (not)".to_owned(), causes);
        }
    }

    /// Runs the rules here and below. `same`: this, or what it is in, has not changed. `Err`: nothing more is run.
    #[expect(clippy::too_many_arguments, reason = "a walk carries its place")]
    fn rules(
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
                    let same = same || old == Some(value);
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
                    let same = same || old == Some(item);
                    node.rules(item, old, same, &format!("{path}[{n}]"), budget, out, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What an outcome is a cause of, and whether no more rules are run.
    fn judge(&self, rule: &Rule, outcome: Outcome, value: &Value, path: &str) -> (Option<Cause>, bool) {
        let of = quoted(self.types.first().copied().unwrap_or_default());
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

impl Bounds {
    fn check(self, have: usize, of: &str, path: &str, causes: &mut Vec<Cause>) {
        let count = have as u64;
        if let Some(least) = self.least.filter(|least| count < *least) {
            let what = format!("{path} in body should have at least {least} {of}");
            causes.push(invalid(path, &have.to_string(), &what));
        }
        if let Some(most) = self.most.filter(|most| count > *most) {
            let message = format!("Too many: {have}: must have at most {most} items");
            causes.push(cause("FieldValueTooMany", path, message));
        }
    }
}
