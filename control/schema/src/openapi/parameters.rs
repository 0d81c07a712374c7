//! The parameters that requests take.

use serde_json::{Value, json};

use super::Resource;

const PAGE: &[(&str, &str)] = &[
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"),
    ("timeoutSeconds", "integer"),
];

const DELETION: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

const WRITE: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];

const LOG: &[(&str, &str)] = &[
    ("container", "string"),
    ("follow", "boolean"),
    ("insecureSkipTLSVerifyBackend", "boolean"),
    ("limitBytes", "integer"),
    ("previous", "boolean"),
    ("sinceSeconds", "integer"),
    ("stream", "string"),
    ("tailLines", "integer"),
    ("timestamps", "boolean"),
];

const ATTACH: &[(&str, &str)] = &[
    ("container", "string"),
    ("stderr", "boolean"),
    ("stdin", "boolean"),
    ("stdout", "boolean"),
    ("tty", "boolean"),
];

fn queries(names: &[(&str, &str)]) -> Vec<Value> {
    names.iter().map(|(name, of)| query(name, of)).collect()
}

fn query(name: &str, of: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": of, "uniqueItems": true}})
}

pub(super) fn path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

pub(super) fn write() -> Vec<Value> {
    queries(WRITE)
}

pub(super) fn patch() -> Vec<Value> {
    let mut parameters = write();
    parameters.push(query("force", "boolean"));
    parameters
}

pub(super) fn delete() -> Vec<Value> {
    queries(DELETION)
}

pub(super) fn delete_collection() -> Vec<Value> {
    let mut parameters = queries(PAGE);
    parameters.extend(queries(DELETION));
    parameters
}

pub(super) fn list() -> Vec<Value> {
    let mut parameters = queries(PAGE);
    parameters.extend([query("allowWatchBookmarks", "boolean"), query("watch", "boolean")]);
    parameters
}

/// Parameters of `pods/log` and of connections, by what is asked for.
pub(super) fn options(resource: &Resource<'_>, subresource: &str) -> Vec<Value> {
    match subresource {
        "log" => queries(LOG),
        "attach" => queries(ATTACH),
        "exec" => {
            let mut parameters = queries(ATTACH);
            parameters.push(query("command", "string"));
            parameters
        }
        "portforward" if resource.plural == "pods" => vec![query("ports", "integer")],
        "proxy" => vec![query("path", "string")],
        _ => Vec::new(),
    }
}

pub(super) fn resource_version() -> Value {
    query("resourceVersion", "string")
}

/// Every path has this one, but those of connections.
pub(super) fn pretty() -> Value {
    query("pretty", "string")
}

/// Those of the path, in order: what all its operations take stands there once.
pub(super) fn sorted(mut parameters: Vec<Value>) -> Vec<Value> {
    let key = |parameter: &Value| {
        let text = |name: &str| parameter[name].as_str().unwrap_or_default().to_owned();
        (text("name"), text("in"))
    };
    parameters.sort_by_key(key);
    parameters.dedup();
    parameters
}
