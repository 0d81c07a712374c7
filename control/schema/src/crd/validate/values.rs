//! Types, bounds, patterns, alternatives: what OpenAPI itself says of values.

use apiclient_core::names::quoted;
use apiclient_core::wire::Cause;
use serde_json::{Map, Value};

use super::super::formats;
use super::node::{Bounds, Node};
use super::{MAX_DEPTH, cause, child, invalid, shown, type_of};

impl Node {
    pub(super) fn check(
        &self,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        causes: &mut Vec<Cause>,
        depth: usize,
    ) {
        // What is as it was may stay, whatever has become of the schema.
        if depth > MAX_DEPTH || self.same(value, old, depth) {
            return;
        }
        self.check_type(value, path, causes);
        self.check_alternatives(value, path, causes, depth);
        match value {
            Value::String(text) => self.check_text(text, path, causes),
            Value::Number(number) => self.check_number(number, path, causes),
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
            let message = format!("Too long: may not be more than {most} byte{}", plural(most));
            causes.push(cause("FieldValueTooLong", path, message));
        } else if let Some(least) = self.lengths.least.filter(|least| length < *least) {
            let what = format!("{path} in body should be at least {least} chars long");
            causes.push(invalid(path, &quoted(text), &what));
        } else if let Some((pattern, _)) = self.pattern.as_ref().filter(|(_, regex)| !regex.is_match(text)) {
            let what = format!("{path} in body should match '{pattern}'");
            causes.push(invalid(path, &quoted(text), &what));
        }
        if !self.format.is_empty() && !formats::is(&self.format, text) {
            let text = quoted(text);
            let what = format!("{path} in body must be of type {}: {text}", self.format);
            causes.push(cause("FieldValueTypeInvalid", path, format!("Invalid value: {text}: {what}")));
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
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Bounds {
    fn check(self, have: usize, of: &str, path: &str, causes: &mut Vec<Cause>) {
        let count = have as u64;
        if let Some(least) = self.least.filter(|least| count < *least) {
            let what = format!("{path} in body should have at least {least} {of}");
            causes.push(invalid(path, &have.to_string(), &what));
        }
        if let Some(most) = self.most.filter(|most| count > *most) {
            let message = format!("Too many: {have}: must have at most {most} item{}", plural(most));
            causes.push(cause("FieldValueTooMany", path, message));
        }
    }
}
