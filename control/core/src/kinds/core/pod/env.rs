//! Environment variables, and where their values come from.

use serde_json::Value;

use super::paths;
use crate::at::{At, Errors};
use crate::field::{FieldError, quote};
use crate::kind::NameRule;
use crate::kinds::core::resources;
use crate::names;

/// `env` of a container.
pub fn variables(env: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for variable in env.items() {
        let name = variable.get("name");
        if name.text().is_empty() {
            errors.push(name.required(""));
        } else {
            errors.extend(name.invalid_each(names::env_var_name(name.text())));
        }
        errors.extend(value_from(&variable));
    }
    errors
}

const IN_ENV: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What a file of a volume may show of its pod.
pub const IN_VOLUME: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

type Check = fn(&At<'_>) -> Errors;

fn value_from(variable: &At<'_>) -> Errors {
    let from = variable.get("valueFrom");
    let mut errors = Errors::new();
    if from.is_absent() {
        return errors;
    }
    let mut sources = 0;
    let checks: [(&str, Check); 5] = [
        ("fieldRef", |field| field_ref(field, &IN_ENV)),
        ("resourceFieldRef", |field| resource_field_ref(field, false)),
        ("configMapKeyRef", key_ref),
        ("secretKeyRef", key_ref),
        ("fileKeyRef", file_key_ref),
    ];
    for (source, check) in checks {
        if from.has(source) {
            sources += 1;
            errors.extend(check(&from.get(source)));
        }
    }
    let refuse = |detail: &str| FieldError::invalid(&from.path, &Value::from(""), detail);
    if sources == 0 {
        errors.push(refuse("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
    } else if !variable.get("value").text().is_empty() {
        errors.push(refuse("may not be specified when `value` is not empty"));
    } else if sources > 1 {
        errors.push(refuse("may not have more than one field specified at a time"));
    }
    errors
}

/// A field of the pod itself; `known` are those without a subscript, sorted.
pub fn field_ref(field: &At<'_>, known: &[&str]) -> Errors {
    let (version, path) = (field.get("apiVersion"), field.get("fieldPath"));
    if version.text().is_empty() {
        return vec![version.required("")];
    }
    if path.text().is_empty() {
        return vec![path.required("")];
    }
    let unreadable = |detail: String| vec![path.invalid(&format!("error converting fieldPath: {detail}"))];
    if version.text() != "v1" {
        return unreadable(format!("unsupported pod version: {}", version.text()));
    }
    let subscripted = path.text().strip_suffix("']").and_then(|text| text.split_once("['"));
    match subscripted.filter(|(name, _)| !name.is_empty()) {
        Some(("metadata.annotations", key)) => qualified(field, &key.to_lowercase()),
        Some(("metadata.labels", key)) => qualified(field, key),
        Some(_) => unreadable(format!("field label does not support subscript: {}", path.text())),
        None => {
            let other = [
                "metadata.annotations",
                "metadata.labels",
                "spec.restartPolicy",
                "spec.schedulerName",
                "status.phase",
            ];
            // The name of a field of long ago.
            let name = if path.text() == "spec.host" { "spec.nodeName" } else { path.text() };
            if !IN_ENV.contains(&name) && !other.contains(&name) {
                return unreadable(format!("field label not supported: {name}"));
            }
            let unknown = || FieldError::not_supported(&path.path, &Value::from(name), known);
            if known.contains(&name) { Errors::new() } else { vec![unknown()] }
        }
    }
}

fn qualified(field: &At<'_>, key: &str) -> Errors {
    let of = |detail: String| FieldError::invalid(&field.path, &Value::from(key), &detail);
    names::qualified(key).into_iter().map(of).collect()
}

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A resource of a container, which a volume must name.
pub fn resource_field_ref(field: &At<'_>, volume: bool) -> Errors {
    let (container, resource) = (field.get("containerName"), field.get("resource"));
    let name = resource.text();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    let mut errors = Errors::new();
    if volume && container.text().is_empty() {
        errors.push(container.required(""));
    } else if name.is_empty() {
        errors.push(resource.required(""));
    } else if !RESOURCES.contains(&name) && !huge {
        errors.push(resource.not_supported(&RESOURCES));
    }
    errors.extend(divisor(field, name));
    errors
}

fn divisor(field: &At<'_>, resource: &str) -> Option<FieldError> {
    let divisor = resources::quantity(field.get("divisor").value).filter(|divisor| !divisor.is_zero())?;
    const UNITS: [&str; 13] =
        ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let kind = resource.split_once('.').map_or("", |(_, kind)| kind);
    let (allowed, what): (&[&str], _) = match kind {
        "cpu" => (&["1m", "1"], "cpu"),
        "memory" => (&UNITS, "memory"),
        "ephemeral-storage" => (&UNITS, "local ephemeral storage"),
        kind if kind.starts_with("hugepages-") => (&UNITS, "hugepages"),
        _ => return None,
    };
    let list = if what == "cpu" { "1m and 1".to_owned() } else { UNITS.join(", ") };
    (!allowed.contains(&divisor.to_string().as_str())).then(|| {
        let detail = format!("only divisor's values {list} are supported with the {what} resource");
        FieldError::invalid(&field.path.child("divisor"), &Value::from(resource), &detail)
    })
}

/// A key of a ConfigMap or of a Secret.
fn key_ref(field: &At<'_>) -> Errors {
    let (name, key) = (field.get("name"), field.get("key"));
    let mut errors: Errors = name.invalid_each(names::dns1123_subdomain(name.text())).collect();
    if key.text().is_empty() {
        errors.push(key.required(""));
    } else {
        errors.extend(key.invalid_each(names::config_map_key(key.text())));
    }
    errors
}

fn file_key_ref(field: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for name in ["key", "volumeName", "path"] {
        let value = field.get(name);
        if value.text().is_empty() {
            errors.push(value.required(""));
            continue;
        }
        errors.extend(match name {
            "key" => value.invalid_each(names::env_var_name(value.text())).collect(),
            "volumeName" => value.invalid_each(names::dns1123_label(value.text())).collect(),
            _ => paths::no_backsteps(value.text(), &value.path),
        });
    }
    errors
}

/// `envFrom` of a container: all keys of an object.
pub fn from_objects(list: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for from in list.items() {
        let prefix = from.get("prefix");
        if !prefix.text().is_empty() {
            errors.extend(prefix.invalid_each(names::env_var_name(prefix.text())));
        }
        let mut sources = 0;
        for source in ["configMapRef", "secretRef"] {
            if from.has(source) {
                sources += 1;
                let name = from.get(source).get("name");
                if name.text().is_empty() {
                    errors.push(name.required(""));
                } else {
                    errors.extend(name.invalid_each(NameRule::Subdomain.check(name.text(), true)));
                }
            }
        }
        // The original's path here is that of the list.
        let refuse = |detail: &str| FieldError::invalid(&list.path, &Value::from(""), detail);
        match sources {
            0 => errors.push(refuse("must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(refuse("may not have more than one field specified at a time")),
        }
    }
    errors
}

/// Files that variables are read from are in an `emptyDir` of the pod.
pub fn file_volumes(spec: &At<'_>, container: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for variable in container.get("env").items() {
        let file = variable.get("valueFrom").get("fileKeyRef");
        if file.is_absent() {
            continue;
        }
        let name = file.get("volumeName");
        match spec.get("volumes").items().filter(|volume| volume.get("name").text() == name.text()).last() {
            None => {
                let mut missing = name.not_found();
                missing.message = format!("Not found: {}", quote(name.text()));
                errors.push(missing);
            }
            Some(volume) if !volume.has("emptyDir") => {
                errors.push(name.invalid_text("referenced volume must be of type emptyDir"));
            }
            Some(_) => {}
        }
    }
    errors
}
