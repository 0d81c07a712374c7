//! Schemas under `allOf` and its like, which may constrain values and not describe them.

use serde_json::{Map, Value};

use super::super::build::{flag, text};
use super::super::regexes;
use super::{Checker, MAX_DEPTH, is_set, properties, schemas};
use crate::codec::quote::quoted;

impl Checker {
    /// What constrains values: bounds, and schemas under `allOf` and the like.
    pub(super) fn values(&mut self, schema: &Value, path: &str, depth: usize) {
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
            let what = regexes::problem(pattern);
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
    pub(super) fn complete(&mut self, nested: &Value, schema: &Value, at: &str, path: &str, depth: usize) {
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
