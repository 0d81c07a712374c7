//! What a schema in a CustomResourceDefinition must be: structural, so that every value has one known type.

mod expressions;
mod nested;
mod words;

use apiclient_core::wire::Cause;
use serde_json::Value;

use super::build::{flag, text};
use super::validate::Validator;
use crate::codec::quote::quoted;

/// Deeper schemas are refused.
const MAX_DEPTH: usize = 100;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is wrong with a schema, at `path` (`spec.validation.openAPIV3Schema`). `status`: the kind has the subresource.
/// `unchanged`: the definition had this schema before, so that what its rules cost is not asked. In the original's
/// order: sorted, but for expressions.
pub fn check(path: &str, schema: &Value, status: bool, unchanged: bool) -> Vec<Cause> {
    let mut checker = Checker::new();
    checker.words(schema, path, 0);
    // What is not supported at all is told alone; where only types are wrong, more can be said.
    if checker.causes.iter().any(|cause| !cause.field.ends_with(".type")) {
        return sorted(checker.causes);
    }
    let types = std::mem::take(&mut checker.causes);
    let mut causes = Vec::new();
    if status && !text(schema, "type").is_empty() && text(schema, "type") != "object" {
        let what = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        checker.invalid(&format!("{path}.type"), &quoted(text(schema, "type")), what);
        causes.append(&mut checker.causes);
    }
    checker.node(schema, Level::Root, path, 0);
    checker.complete(schema, schema, path, path, 0);
    // Expressions are looked at where all else is good, but for other rules.
    if types.is_empty()
        && causes.is_empty()
        && checker.causes.iter().all(|cause| cause.field.contains(".x-kubernetes-validations["))
    {
        checker.expressions(schema, path, unchanged);
    }
    causes.extend(sorted(checker.causes));
    causes.extend(types);
    causes.extend(checker.expression_causes);
    causes
}

fn sorted(mut causes: Vec<Cause>) -> Vec<Cause> {
    causes.sort_by(|a, b| a.field.cmp(&b.field));
    causes
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

struct Checker {
    causes: Vec<Cause>,
    /// What is wrong with expressions, which does not keep others from being looked at.
    expression_causes: Vec<Cause>,
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn schemas<'v>(schema: &'v Value, name: &str) -> impl Iterator<Item = (usize, &'v Value)> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn is_set(value: Option<&Value>) -> bool {
    !matches!(value, None | Some(Value::Null | Value::Bool(false)))
}

impl Checker {
    fn new() -> Self {
        Self { causes: Vec::new(), expression_causes: Vec::new() }
    }

    fn add(&mut self, reason: &str, field: &str, message: String) {
        self.causes.push(Cause { reason: reason.to_owned(), message, field: field.to_owned() });
    }

    fn required(&mut self, path: &str, what: &str) {
        self.add("FieldValueRequired", path, format!("Required value: {what}"));
    }

    fn forbidden(&mut self, path: &str, what: &str) {
        self.add("FieldValueForbidden", path, format!("Forbidden: {what}"));
    }

    fn invalid(&mut self, path: &str, shown: &str, what: &str) {
        self.add("FieldValueInvalid", path, format!("Invalid value: {shown}: {what}"));
    }

    fn unsupported(&mut self, path: &str, value: &str, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|name| quoted(name)).collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", quoted(value), supported.join(", "));
        self.add("FieldValueNotSupported", path, message);
    }

    fn node(&mut self, schema: &Value, level: Level, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return self.forbidden(path, "must not be nested deeper");
        }
        let of = text(schema, "type");
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
        let int_or_string = flag(schema, "x-kubernetes-int-or-string");
        match schema.get("items") {
            Some(items) => self.node(items, Level::Item, &format!("{path}.items"), depth + 1),
            None if of == "array" => self.required(&format!("{path}.items"), "must be specified"),
            None => {}
        }
        for (name, property) in properties(schema) {
            self.node(property, Level::Field, &format!("{path}.properties[{name}]"), depth + 1);
        }
        let others = format!("{path}.additionalProperties");
        if let Some(additional) = schema.get("additionalProperties") {
            if level == Level::Root && *additional != Value::Bool(false) {
                self.forbidden(&others, "must not be used at the root");
            }
            if embedded {
                self.forbidden(&others, "must not be used if x-kubernetes-embedded-resource is set");
            }
            if additional.is_object() {
                self.node(additional, Level::Field, &others, depth + 1);
            }
        }
        if int_or_string && preserve {
            self.invalid(
                &format!("{path}.x-kubernetes-preserve-unknown-fields"),
                "true",
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
        if int_or_string && embedded {
            self.invalid(
                &format!("{path}.x-kubernetes-embedded-resource"),
                "true",
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
        self.values(schema, path, depth);
        if embedded && of != "object" {
            let what = "must be object if x-kubernetes-embedded-resource is true";
            match of {
                "" => self.required(&format!("{path}.type"), what),
                other => self.invalid(&format!("{path}.type"), &quoted(other), what),
            }
        } else if of.is_empty() && !int_or_string && !preserve {
            let what = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.required(&format!("{path}.type"), what);
        }
        if level == Level::Root && !of.is_empty() && of != "object" {
            self.invalid(&format!("{path}.type"), &quoted(of), "must be object at the root");
        }
        if embedded && !preserve && properties(schema).next().is_none() {
            self.required(
                &format!("{path}.properties"),
                "must not be empty if x-kubernetes-embedded-resource is true without \
                 x-kubernetes-preserve-unknown-fields",
            );
        }
        if level == Level::Root || embedded {
            self.type_meta(schema, level, path);
        }
        self.rules(schema, path);
        self.default(schema, path);
    }

    /// A default must be what the schema asks of values.
    fn default(&mut self, schema: &Value, path: &str) {
        let Some(default) = schema.get("default").filter(|default| !default.is_null()) else { return };
        let at = format!("{path}.default");
        if has_unknown(default, schema, 0) {
            self.invalid(&at, &default.to_string(), "must not have unknown fields");
            return;
        }
        for mut cause in Validator::new(schema).validate(default, None).causes {
            cause.field = if cause.field == "<nil>" { at.clone() } else { format!("{at}.{}", cause.field) };
            self.causes.push(cause);
        }
    }

    fn type_meta(&mut self, schema: &Value, level: Level, path: &str) {
        let property = |name: &str| schema.get("properties").and_then(|all| all.get(name));
        for name in ["kind", "apiVersion"] {
            if let Some(of) = property(name).map(|of| text(of, "type")).filter(|of| *of != "string") {
                self.invalid(&format!("{path}.properties[{name}].type"), &quoted(of), "must be string");
            }
        }
        let Some(metadata) = property("metadata") else { return };
        let at = format!("{path}.properties[metadata]");
        if text(metadata, "type") != "object" {
            self.invalid(&format!("{at}.type"), &quoted(text(metadata, "type")), "must be object");
        }
        if level == Level::Root {
            let named = |name: &str| matches!(name, "name" | "generateName");
            let only_names = properties(metadata).all(|(name, _)| named(name));
            let known =
                |name: &String| matches!(name.as_str(), "type" | "properties" | "description" | "default");
            let nothing_else = metadata.as_object().is_none_or(|members| members.keys().all(known));
            if !only_names || !nothing_else {
                let what = "must not specify anything other than name and generateName, but metadata is implicitly \
                            specified";
                self.forbidden(&at, what);
            }
        }
    }

    /// Rules, but for what their expressions mean.
    fn rules(&mut self, schema: &Value, path: &str) {
        let has_lines = |text: &str| text.contains(['\n', '\r']);
        for (n, rule) in schemas(schema, "x-kubernetes-validations") {
            let at = |word: &str| format!("{path}.x-kubernetes-validations[{n}].{word}");
            let (source, message) = (text(rule, "rule").trim(), text(rule, "message"));
            if source.is_empty() {
                self.required(&at("rule"), "rule is not specified");
            } else if !message.is_empty() && message.trim().is_empty() {
                self.invalid(&at("message"), &quoted(message), "must be non-empty if specified");
            } else if has_lines(message.trim()) {
                self.invalid(&at("message"), &quoted(message), "must not contain line breaks");
            } else if has_lines(source) && message.trim().is_empty() {
                self.required(&at("message"), "message must be specified if rule contains line breaks");
            }
            let expression = text(rule, "messageExpression");
            if !expression.is_empty() && expression.trim().is_empty() {
                self.required(&at("messageExpression"), "messageExpression must be non-empty if specified");
            }
            let reason = text(rule, "reason");
            let reasons =
                ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
            if rule.get("reason").is_some() && !reasons.contains(&reason) {
                self.unsupported(&at("reason"), reason, &reasons);
            }
            let field = text(rule, "fieldPath");
            if !field.is_empty() && field.trim().is_empty() {
                self.invalid(&at("fieldPath"), &quoted(field), "must be non-empty if specified");
            }
            if has_lines(field) {
                self.invalid(&at("fieldPath"), &quoted(field), "must not contain line breaks");
            }
            if !field.is_empty() && !path_exists(field, schema) {
                self.invalid(&at("fieldPath"), &quoted(field), "must be a valid path");
            }
        }
    }
}

/// Whether pruning would take something out of a value.
fn has_unknown(value: &Value, schema: &Value, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let property = schema.get("properties").and_then(|all| all.get(name));
            match property.or_else(|| schema.get("additionalProperties")) {
                Some(of) => has_unknown(value, of, depth + 1),
                None => !flag(schema, "x-kubernetes-preserve-unknown-fields"),
            }
        }),
        Value::Array(items) => {
            let of = schema.get("items").unwrap_or(&Value::Null);
            items.iter().any(|item| has_unknown(item, of, depth + 1))
        }
        _ => false,
    }
}

/// Whether `.a.b['c']` names a field that the schema describes.
fn path_exists(path: &str, schema: &Value) -> bool {
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix("['") {
            match quoted.split_once("']") {
                Some(found) => found,
                None => return false,
            }
        } else if let Some(plain) = rest.strip_prefix('.') {
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            plain.split_at(end)
        } else {
            return false;
        };
        let next = match at.get("properties") {
            Some(all) => all.get(name),
            None => at.get("additionalProperties").filter(|of| of.is_object()),
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
        rest = after;
    }
    true
}
