//! What a schema in a CustomResourceDefinition must be: structural, so that every value has one known type.

use super::regexes;
use apiclient_core::names::quoted;
use apiclient_core::wire::Cause;
use serde_json::{Map, Value};

use super::build::{flag, text};
use super::cel;
use super::validate::Validator;

/// Deeper schemas are refused.
const MAX_DEPTH: usize = 100;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is wrong with a schema, at `path` (`spec.validation.openAPIV3Schema`). `status`: the kind has the subresource.
/// Sorted, as the original has it.
pub fn check(path: &str, schema: &Value, status: bool) -> Vec<Cause> {
    let mut checker = Checker { causes: Vec::new() };
    checker.words(schema, path, 0);
    // What is not supported at all is told alone.
    if !checker.causes.is_empty() {
        return sorted(checker.causes);
    }
    if status && !text(schema, "type").is_empty() && text(schema, "type") != "object" {
        let what = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        checker.invalid(&format!("{path}.type"), &quoted(text(schema, "type")), what);
    }
    checker.node(schema, Level::Root, path, 0);
    checker.complete(schema, schema, path, path, 0);
    sorted(checker.causes)
}

fn sorted(mut causes: Vec<Cause>) -> Vec<Cause> {
    causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
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

    /// Words that schemas of definitions may not have, and lists that make no sense.
    fn words(&mut self, schema: &Value, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return self.forbidden(path, "must not be nested deeper");
        }
        let of = text(schema, "type");
        if !of.is_empty() && !TYPES.contains(&of) {
            self.unsupported(&format!("{path}.type"), of, &TYPES);
        }
        if is_set(schema.get("uniqueItems")) {
            let what = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbidden(&format!("{path}.uniqueItems"), what);
        }
        for name in ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id"] {
            if is_set(schema.get(name)) {
                self.forbidden(&format!("{path}.{name}"), &format!("{name} is not supported"));
            }
        }
        let map_type = text(schema, "x-kubernetes-map-type");
        if !matches!(map_type, "" | "atomic" | "granular") {
            self.unsupported(&format!("{path}.x-kubernetes-map-type"), map_type, &["atomic", "granular"]);
        }
        self.lists(schema, path);
        let others = format!("{path}.additionalProperties");
        if is_set(schema.get("additionalProperties")) && properties(schema).next().is_some() {
            self.forbidden(&others, "additionalProperties and properties are mutual exclusive");
        }
        for (name, property) in properties(schema) {
            self.words(property, &format!("{path}.properties[{name}]"), depth + 1);
        }
        for (word, at) in [("items", format!("{path}.items")), ("additionalProperties", others)] {
            if let Some(of) = schema.get(word).filter(|of| of.is_object()) {
                self.words(of, &at, depth + 1);
            }
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

    fn lists(&mut self, schema: &Value, path: &str) {
        let of = text(schema, "x-kubernetes-list-type");
        let at = format!("{path}.x-kubernetes-list-type");
        let keys_at = format!("{path}.x-kubernetes-list-map-keys");
        let keys: Vec<&str> = match schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
            Some(keys) => keys.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        if !matches!(of, "" | "atomic" | "set" | "map") {
            return self.unsupported(&at, of, &["atomic", "set", "map"]);
        }
        if !of.is_empty() && text(schema, "type") != "array" {
            let what = "must be array if x-kubernetes-list-type is specified";
            match text(schema, "type") {
                "" => self.required(&format!("{path}.type"), what),
                other => self.invalid(&format!("{path}.type"), &quoted(other), what),
            }
        }
        if !keys.is_empty() && of != "map" {
            match of {
                "" => self.required(&at, "must be map if x-kubernetes-list-map-keys is non-empty"),
                other => self.invalid(
                    &at,
                    &quoted(other),
                    "must be map if x-kubernetes-list-map-keys is non-empty",
                ),
            }
        }
        let items = schema.get("items").unwrap_or(&Value::Null);
        match of {
            "set" => {
                let whole = match text(items, "type") {
                    "object" => (text(items, "x-kubernetes-map-type"), "x-kubernetes-map-type"),
                    "array" => (text(items, "x-kubernetes-list-type"), "x-kubernetes-list-type"),
                    _ => return,
                };
                if whole.0 != "atomic" && !(whole.1 == "x-kubernetes-list-type" && whole.0.is_empty()) {
                    let shown = if whole.0.is_empty() { "null".to_owned() } else { quoted(whole.0) };
                    let what = "must be atomic as item of a list with x-kubernetes-list-type=set";
                    self.invalid(&format!("{path}.items.{}", whole.1), &shown, what);
                }
            }
            "map" => {
                if keys.is_empty() {
                    return self.required(&keys_at, "must not be empty if x-kubernetes-list-type is map");
                }
                let of_items = |name: &str| items.get("properties").and_then(|all| all.get(name));
                if keys.iter().any(|key| of_items(key).is_none()) {
                    let shown = Value::from(keys.clone()).to_string();
                    return self.invalid(&keys_at, &shown, "entries must all be names of item properties");
                }
                let required = items.get("required").and_then(Value::as_array);
                for key in keys {
                    let must = required.is_some_and(|names| names.iter().any(|name| name == key));
                    if !must && of_items(key).and_then(|of| of.get("default")).is_none() {
                        self.required(
                            &format!("{path}.items.properties[{key}].default"),
                            "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                             required property",
                        );
                    }
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Value, path: &str) {
        for (n, rule) in schemas(schema, "x-kubernetes-validations") {
            let at = format!("{path}.x-kubernetes-validations[{n}]");
            let source = text(rule, "rule");
            if source.trim().is_empty() {
                self.required(&format!("{at}.rule"), "rule is not specified");
            } else if let Err(error) = cel::Rule::new(rule, schema) {
                self.invalid(&format!("{at}.{}", error.field), &error.shown, &error.message);
            }
            let reason = text(rule, "reason");
            let reasons =
                ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
            if !reason.is_empty() && !reasons.contains(&reason) {
                self.unsupported(&format!("{at}.reason"), reason, &reasons);
            }
            let field = text(rule, "fieldPath");
            if !field.is_empty() && !path_exists(field, schema) {
                self.invalid(&format!("{at}.fieldPath"), &quoted(field), "must be a valid path");
            }
        }
    }

    /// What constrains values: bounds, and schemas under `allOf` and the like.
    fn values(&mut self, schema: &Value, path: &str, depth: usize) {
        let alternatives = |schemas: Option<&Value>| {
            let types: Vec<&str> = match schemas.and_then(Value::as_array) {
                Some(all) if all.iter().all(|one| one.as_object().is_some_and(|one| one.len() == 1)) => {
                    all.iter().map(|one| text(one, "type")).collect()
                }
                _ => Vec::new(),
            };
            types == ["integer", "string"]
        };
        let int_or_string = flag(schema, "x-kubernetes-int-or-string");
        for word in ["anyOf", "allOf", "oneOf"] {
            if word == "anyOf" && int_or_string && alternatives(schema.get("anyOf")) {
                continue;
            }
            for (n, nested) in schemas(schema, word) {
                let excused = word == "allOf" && n == 0 && int_or_string && alternatives(nested.get("anyOf"));
                if !excused {
                    self.nested(nested, &format!("{path}.{word}[{n}]"), depth + 1);
                }
            }
        }
        if let Some(not) = schema.get("not") {
            self.nested(not, &format!("{path}.not"), depth + 1);
        }
        let pattern = text(schema, "pattern");
        if !pattern.is_empty() && regexes::compile(pattern).is_err() {
            let what = match pattern {
                "(" => "error parsing regexp: missing closing ): `(`".to_owned(),
                other => format!("error parsing regexp: invalid or unsupported Perl syntax: `{other}`"),
            };
            self.invalid(
                &format!("{path}.pattern"),
                &quoted(pattern),
                &format!("must be a valid regular expression, but isn't: {what}"),
            );
        }
    }

    fn nested(&mut self, schema: &Value, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return self.forbidden(path, "must not be nested deeper");
        }
        self.values(schema, path, depth);
        if let Some(items) = schema.get("items") {
            self.nested(items, &format!("{path}.items"), depth + 1);
        }
        for (name, property) in properties(schema) {
            self.nested(property, &format!("{path}.properties[{name}]"), depth + 1);
        }
        let words: &[(&str, &str)] = &[
            ("type", "must be empty to be structural"),
            ("additionalProperties", "must be undefined to be structural"),
            ("default", "must be undefined to be structural"),
            ("title", "must be empty to be structural"),
            ("description", "must be empty to be structural"),
            ("nullable", "must be false to be structural"),
            ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
            ("x-kubernetes-embedded-resource", "must be false to be structural"),
            ("x-kubernetes-int-or-string", "must be false to be structural"),
            ("x-kubernetes-list-map-keys", "must be empty to be structural"),
            ("x-kubernetes-list-type", "must be undefined to be structural"),
            ("x-kubernetes-map-type", "must be undefined to be structural"),
            ("x-kubernetes-validations", "must be empty to be structural"),
        ];
        for (word, what) in words {
            if is_set(schema.get(*word)) {
                self.forbidden(&format!("{path}.{word}"), what);
            }
        }
        if schema.get("properties").and_then(|all| all.get("metadata")).is_some() {
            self.forbidden(
                &format!("{path}.properties[metadata]"),
                "must not be specified in a nested context",
            );
        }
    }

    /// What nested schemas speak of must be described by the structural one.
    fn complete(&mut self, nested: &Value, schema: &Value, at: &str, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            for (n, one) in schemas(nested, word) {
                self.complete_part(one, schema, at, &format!("{path}.{word}[{n}]"), depth + 1);
            }
        }
        if let Some(not) = nested.get("not") {
            self.complete_part(not, schema, at, &format!("{path}.not"), depth + 1);
        }
    }

    fn complete_part(&mut self, nested: &Value, schema: &Value, at: &str, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        self.complete(nested, schema, at, path, depth);
        let mut part = |word: String, nested: &Value, schema: Option<&Value>| match schema {
            None => {
                self.required(&format!("{at}.{word}"), &format!("because it is defined in {path}.{word}"))
            }
            Some(schema) => {
                self.complete_part(
                    nested,
                    schema,
                    &format!("{at}.{word}"),
                    &format!("{path}.{word}"),
                    depth + 1,
                );
            }
        };
        if let Some(items) = nested.get("items") {
            part("items".to_owned(), items, schema.get("items"));
        }
        let all: Option<&Map<String, Value>> = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties(nested) {
            part(format!("properties[{name}]"), property, all.and_then(|all| all.get(name)));
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
