//! Static defaults: what the original sets where nothing was given.
//!
//! Owns: defaults that depend on nothing else in the object. Those that do are the strategies' of the kinds.

use serde_json::{Map, Value};

use crate::library::{Library, Presence, Schema, Shape, StructId, Type};

/// Sets every default of the schema whose field is absent: in structs that are there, in items of lists, and in absent
/// structs of built-in kinds that are no pointers, for these are there to Go.
pub fn apply(schema: &Schema, object: &mut Value) {
    if let Value::Object(map) = object {
        structure(&schema.library, schema.root, map);
    }
}

fn structure(library: &Library, id: StructId, map: &mut Map<String, Value>) {
    let of = library.get(id);
    for (place, field) in of.fields.iter().enumerate() {
        if field.inline {
            if let Shape::Struct { id, .. } = field.of.shape {
                structure(library, id, map);
            }
            continue;
        }
        let below = library.has_defaults(&field.of);
        let default = of.default_at(place);
        if !below && default.is_none() {
            continue;
        }
        match map.get_mut(&*field.name) {
            Some(value) if !value.is_null() || field.of.nullable => {
                if below {
                    self::value(library, &field.of, value);
                }
            }
            _ => {
                let plain = matches!(field.presence, Presence::Always | Presence::OmitEmpty);
                let mut new = match default {
                    Some(default) => default.clone(),
                    None if plain && matches!(field.of.shape, Shape::Struct { .. }) => {
                        Value::Object(Map::new())
                    }
                    None => continue,
                };
                if below {
                    value(library, &field.of, &mut new);
                }
                if default.is_some() || new.as_object().is_some_and(|map| !map.is_empty()) {
                    map.insert(field.name.to_string(), new);
                }
            }
        }
    }
}

fn value(library: &Library, of: &Type, value: &mut Value) {
    match (&of.shape, value) {
        (Shape::Struct { id, .. }, Value::Object(map)) => structure(library, *id, map),
        (Shape::List { items, .. }, Value::Array(all)) => {
            for item in all {
                self::item(library, items, item);
            }
        }
        (Shape::Map { values, .. }, Value::Object(map)) => {
            for item in map.values_mut() {
                self::item(library, values, item);
            }
        }
        _ => {}
    }
}

/// An item of a list or a value of a map: `null` becomes the default too, where it is no value.
fn item(library: &Library, of: &Type, item: &mut Value) {
    if let Some(default) = of.default.as_ref().filter(|_| item.is_null() && !of.nullable) {
        *item = default.clone();
    }
    value(library, of, item);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin;

    fn with_defaults(api_version: &str, kind: &str, mut object: Value) -> Value {
        apply(&builtin::kind(api_version, kind).expect("a built-in kind"), &mut object);
        object
    }

    #[test]
    fn what_is_absent_is_set_and_what_is_there_is_kept() {
        let pod = json!({"spec": {"restartPolicy": "Never", "containers": [
            {"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 2, "protocol": "UDP"}],
             "livenessProbe": {"httpGet": {"port": 1}, "periodSeconds": 5}},
        ], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}});
        let want = json!({"spec": {"restartPolicy": "Never", "dnsPolicy": "ClusterFirst", "securityContext": {},
            "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30, "containers": [
            {"name": "a", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
             "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2, "protocol": "UDP"}],
             "livenessProbe": {"httpGet": {"port": 1, "path": "/", "scheme": "HTTP"}, "periodSeconds": 5,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}},
        ], "volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}]}});
        assert_eq!(with_defaults("v1", "Pod", pod), want);
    }

    #[test]
    fn structs_that_are_no_pointers_are_there_to_be_filled() {
        assert_eq!(with_defaults("v1", "Namespace", json!({})), json!({"status": {"phase": "Active"}}));
        assert_eq!(with_defaults("v1", "ConfigMap", json!({})), json!({}));
        // A default that is zero, for a pointer.
        let probe = json!({"spec": {"containers": [{"livenessProbe": {"grpc": {"port": 1}}}]}});
        let pod = with_defaults("v1", "Pod", probe);
        assert_eq!(pod["spec"]["containers"][0]["livenessProbe"]["grpc"], json!({"port": 1, "service": ""}));
        let set = with_defaults("apps/v1", "StatefulSet", json!({}));
        assert_eq!(
            set["spec"]["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
        assert_eq!(set["spec"]["template"]["spec"]["restartPolicy"], "Always");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        for (api_version, kind) in
            [("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Service"), ("batch/v1", "CronJob")]
        {
            let once = with_defaults(api_version, kind, json!({"spec": {"ports": [{}], "containers": [{}]}}));
            assert_eq!(with_defaults(api_version, kind, once.clone()), once, "{kind}");
        }
    }
}
