//! Words that schemas of definitions may not have, and lists that make no sense.

use serde_json::Value;

use super::super::build::text;
use super::{Checker, MAX_DEPTH, TYPES, is_set, properties};
use crate::codec::quote::quoted;

impl Checker {
    /// Words that schemas of definitions may not have, and lists that make no sense.
    pub(super) fn words(&mut self, schema: &Value, path: &str, depth: usize) {
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
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let at = format!("{path}.x-kubernetes-preserve-unknown-fields");
            self.invalid(&at, "false", "must be true or undefined");
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

    fn lists(&mut self, schema: &Value, path: &str) {
        let of = text(schema, "x-kubernetes-list-type");
        let at = format!("{path}.x-kubernetes-list-type");
        let keys_at = format!("{path}.x-kubernetes-list-map-keys");
        let keys: Vec<&str> = match schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
            Some(keys) => keys.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let is_empty = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("");
        if is_empty || !matches!(of, "" | "atomic" | "set" | "map") {
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
}
