//! The Scale subresource: how many pods an object wants and has, in one form for all kinds that have some
//! (`autoscaling/v1` Scale).
//!
//! Begin at [`of`]; what a client writes goes through [`validate`], then [`apply`].

use serde_json::{Map, Value, json};

use crate::at::{At, Errors};
use crate::edit::{at, child, remove, set, text};
use crate::kind::NameRule;
use crate::metadata;
use crate::selectors::Selector;

/// The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController.
pub fn of(object: &Value) -> Value {
    let mut own = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        let value = at(object, &["metadata", field]);
        if !value.is_null() {
            own.insert(field.to_owned(), value.clone());
        }
    }
    let replicas = |part: &str| at(object, &[part, "replicas"]).as_i64().unwrap_or_default();
    let mut scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": own});
    // Zeros are absent, as in all objects at work.
    for (part, name, value) in [
        ("spec", "replicas", Value::from(replicas("spec"))),
        ("status", "replicas", Value::from(replicas("status"))),
        ("status", "selector", Value::from(selector(at(object, &["spec", "selector"])))),
    ] {
        if value != json!(0)
            && value != json!("")
            && let Some(part) = child(&mut scale, part)
        {
            set(part, name, value);
        }
    }
    scale
}

/// A selector as a text. That of a ReplicationController is a map of labels.
fn selector(selector: &Value) -> String {
    let known = |name: &String| matches!(name.as_str(), "matchLabels" | "matchExpressions");
    let fields = selector.as_object();
    if fields.is_none_or(|fields| fields.keys().all(known)) {
        return Selector::of(selector).map_or_else(String::new, |selector| selector.to_string());
    }
    let labels = fields.into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    labels.join(",")
}

/// What a Scale that a client writes must be. Errors are about the kind `Scale` of `autoscaling`.
pub fn validate(scale: &Value) -> Errors {
    let scale = At::object(scale);
    let mut errors = metadata::validate(&scale.get("metadata"), true, NameRule::Subdomain);
    errors.extend(metadata::not_negative(&scale.get("spec").get("replicas")));
    errors
}

/// The object wants as many pods as the Scale says. Its resource version and uid become those of the Scale, so that a
/// later check finds out whether it is still the same object; an absent one asks for no check.
pub fn apply(scale: &Value, object: &mut Value) {
    let replicas = at(scale, &["spec", "replicas"]).as_i64().unwrap_or_default();
    if let Some(spec) = child(object, "spec") {
        set(spec, "replicas", replicas);
    }
    let Some(metadata) = child(object, "metadata") else {
        return;
    };
    match text(scale, &["metadata", "resourceVersion"]) {
        "" => remove(metadata, "resourceVersion"),
        version => set(metadata, "resourceVersion", version),
    }
    let uid = text(scale, &["metadata", "uid"]);
    if !uid.is_empty() {
        set(metadata, "uid", uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({"metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}},
            "status": {"replicas": 1}})
    }

    #[test]
    fn a_scale_has_the_counts_and_the_selector_but_no_labels() {
        let wanted = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "7"},
            "spec": {"replicas": 2}, "status": {"replicas": 1, "selector": "a=b,c in (d)"}});
        assert_eq!(of(&deployment()), wanted);
        let controller = json!({"metadata": {"name": "r"}, "spec": {"selector": {"c": "d", "a": "b"}}});
        assert_eq!(of(&controller)["status"], json!({"selector": "a=b,c=d"}));
        assert_eq!(of(&controller).get("spec"), None);
    }

    #[test]
    fn a_scale_changes_the_count_and_names_the_version_that_it_is_of() {
        let mut object = deployment();
        apply(&json!({"metadata": {"name": "d", "resourceVersion": "6"}, "spec": {}}), &mut object);
        assert_eq!(object["spec"]["replicas"], 0);
        assert_eq!(object["metadata"]["resourceVersion"], "6");
        assert_eq!(object["metadata"]["uid"], "u");
        assert_eq!(object["metadata"]["labels"], json!({"x": "y"}));
    }

    #[test]
    fn a_negative_count_is_refused() {
        let scale = json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"replicas": -1}});
        let errors: Vec<String> = validate(&scale).iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]);
    }
}
