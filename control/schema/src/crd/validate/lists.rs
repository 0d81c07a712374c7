//! What Kubernetes adds: objects that must say their kind, items that must differ.

use std::collections::BTreeSet;

use apiclient_core::wire::Cause;
use serde_json::Value;

use super::node::Node;
use super::{cause, child, shown};

impl Node {
    /// Objects of a kind of their own must say which.
    pub(super) fn type_meta(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
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
    pub(super) fn duplicates(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
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
}
