//! A schema as it is asked: its expressions and rules compiled, what is below it by name.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::super::build::{flag, text};
use super::super::cel::Rule;
use super::super::regexes;
use super::MAX_DEPTH;

#[derive(Debug, Default)]
pub(super) struct Node {
    /// Empty for anything; `integer` and `string` for an int-or-string.
    pub types: Vec<String>,
    pub format: String,
    pub nullable: bool,
    pub embedded: bool,
    pub maximum: Option<f64>,
    pub minimum: Option<f64>,
    pub exclusive: (bool, bool),
    pub multiple_of: Option<f64>,
    pub lengths: Bounds,
    pub items_counts: Bounds,
    pub counts: Bounds,
    pub pattern: Option<(String, Regex)>,
    pub values: Vec<Value>,
    pub required: Vec<String>,
    pub properties: BTreeMap<String, Node>,
    pub additional: Option<Box<Node>>,
    pub items: Option<Box<Node>>,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
    /// `Some`: items must differ, in these fields or as a whole.
    pub unique: Option<Vec<String>>,
    pub rules: Vec<Rule>,
    /// Of this node or below it.
    pub has_rules: bool,
    /// For rules, which look at formats and fields.
    pub schema: Value,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub least: Option<u64>,
    pub most: Option<u64>,
}

impl Node {
    pub(super) fn new(schema: &Value, depth: usize) -> Self {
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
            _ if flag(schema, "x-kubernetes-int-or-string") => {
                vec!["integer".to_owned(), "string".to_owned()]
            }
            "" => Vec::new(),
            // Nothing is of a type that there is not; the definition is refused for it, and its defaults with it.
            one => vec![one.to_owned()],
        };
        let rules: Vec<Rule> = schema
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|rule| Rule::new(rule).ok())
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
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    pub(super) fn keeps_null(&self, name: &str) -> bool {
        self.member(name).is_none_or(|node| node.nullable || node.types.is_empty())
    }

    pub(super) fn identity(&self, item: &Value, keys: &[String]) -> Value {
        match item {
            Value::Object(members) if !keys.is_empty() => {
                let key = |key: &String| Some((key.clone(), members.get(key)?.clone()));
                Value::Object(keys.iter().filter_map(key).collect())
            }
            other => other.clone(),
        }
    }

    /// Whether a value is what it was: items of lists with keys may stand in another order.
    pub(super) fn same(&self, value: &Value, old: Option<&Value>, depth: usize) -> bool {
        let Some(old) = old else { return false };
        if value == old {
            return true;
        }
        if depth > MAX_DEPTH {
            return false;
        }
        match (value, old) {
            (Value::Object(members), Value::Object(before)) => {
                members.len() == before.len()
                    && members.iter().all(|(name, value)| match self.member(name) {
                        Some(node) => node.same(value, before.get(name), depth + 1),
                        None => before.get(name) == Some(value),
                    })
            }
            (Value::Array(items), Value::Array(before)) if items.len() == before.len() => {
                let (Some(keys), Some(node)) = (&self.unique, &self.items) else { return false };
                let by_key = |items: &'_ [Value]| -> BTreeMap<String, usize> {
                    let keyed = items.iter().enumerate();
                    keyed.map(|(n, item)| (self.identity(item, keys).to_string(), n)).collect()
                };
                let (now, then) = (by_key(items), by_key(before));
                !keys.is_empty()
                    && now.len() == items.len()
                    && now.iter().all(|(key, n)| {
                        then.get(key).is_some_and(|old| node.same(&items[*n], before.get(*old), depth + 1))
                    })
            }
            _ => false,
        }
    }

    /// What the item was before: known for lists with keys only.
    pub(super) fn old_item<'v>(&self, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
        let keys = self.unique.as_ref().filter(|keys| !keys.is_empty())?;
        let id = self.identity(item, keys);
        old?.as_array()?.iter().find(|old| self.identity(old, keys) == id)
    }
}
