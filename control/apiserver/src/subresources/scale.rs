//! `scale`: how many replicas an object wants and has, the same for every kind that counts (`Scale` of `autoscaling/v1`).

use apiclient_core::selector::LabelSelector;
use apiclient_core::wire::Status;
use control_core::field::{FieldError, Path};
use control_core::kind::Subresource;
use control_core::{edit, refusal};
use control_schema::{builtin, codec, patch};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::call::Call;
use crate::encoding::object::decode;
use crate::negotiation::{Encoding, Offer, content_encoding};
use crate::reply::{Body, Response};
use crate::request::options::{self, WriteOptions};
use crate::strategy::managed;
use crate::verbs::get;
use crate::verbs::store_update::{self, Change, Updated};

const API_VERSION: &str = "autoscaling/v1";

/// The scale of an object.
pub fn of(object: &Value) -> Value {
    let metadata = edit::at(object, &["metadata"]);
    let mut own = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        edit::restore(&mut own, metadata, field);
    }
    let count = |part: &str| edit::at(object, &[part, "replicas"]).as_i64().unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": own,
        "spec": {},
        "status": {"replicas": count("status")},
    });
    if count("spec") != 0 {
        scale["spec"]["replicas"] = count("spec").into();
    }
    let selector = selector(edit::at(object, &["spec", "selector"]));
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A selector as text: `a=b,c in (d,e)`. That of a ReplicationController is a map.
fn selector(selector: &Value) -> String {
    let fields = selector.as_object();
    let is_map = fields.is_some_and(|fields| fields.values().all(Value::is_string));
    let wrapped = if is_map { json!({"matchLabels": selector}) } else { selector.clone() };
    let parsed: Result<LabelSelector, _> = serde_json::from_value(wrapped);
    parsed.map(|selector| selector.to_string()).unwrap_or_default()
}

/// # Errors
/// 404, or as a GET of the object.
pub async fn get(call: &Call) -> Result<Response, Status> {
    let stored = get::find(call).await?;
    Ok(answer(call, &decode(&call.served, &stored)?))
}

fn answer(call: &Call, object: &Value) -> Response {
    call.answer_other(200, API_VERSION, "Scale", &of(object))
}

/// # Errors
/// The body is no scale, or the change is not allowed.
pub async fn update(call: &mut Call, body: Body) -> Result<Response, Status> {
    let bytes = call.read(body).await?;
    let options = WriteOptions::decode(&call.query, options::Write::Update)?;
    let encoding = content_encoding(&call.headers, Offer::All)?;
    let wanted = read(&bytes, encoding)?;
    let name = edit::text(&wanted, &["metadata", "name"]);
    if name != call.resource.name {
        return Err(refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.resource.name
        )));
    }
    change(call, &options, |_| Ok(wanted.clone())).await
}

/// # Errors
/// The patch is none, or the change is not allowed.
pub async fn patch(call: &mut Call, body: Body) -> Result<Response, Status> {
    let given = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let way = given.split(';').next().unwrap_or_default().to_owned();
    let bytes = call.read(body).await?;
    let options = WriteOptions::decode(&call.query, options::Write::Patch)?;
    let wanted: Value = serde_json::from_slice(&bytes)
        .map_err(|error| refusal::bad_request(format!("error decoding patch: {error}")))?;
    change(call, &options, |scale| {
        let patched = match way.as_str() {
            "application/json-patch+json" => patch::json::apply(scale, &wanted),
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                patch::merge::apply(scale, &wanted)
            }
            _ => return Err(refusal::unsupported_media_type("application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json")),
        };
        let patched = patched.map_err(|_| refusal::unprocessable())?;
        read(patched.to_string().as_bytes(), Encoding::Json)
    })
    .await
}

fn read(bytes: &[u8], encoding: Encoding) -> Result<Value, Status> {
    let Some(schema) = builtin::kind(API_VERSION, "Scale") else {
        return Err(refusal::internal("there is no schema of Scale"));
    };
    let decoded = match encoding {
        Encoding::Json => codec::json::decode(&schema, bytes),
        Encoding::Yaml => codec::yaml::decode(&schema, bytes),
        Encoding::Protobuf => codec::protobuf::decode(&schema, bytes),
    };
    Ok(decoded.map_err(|error| refusal::bad_request(error.to_string()))?.value)
}

async fn change(
    call: &mut Call,
    options: &WriteOptions,
    make: impl Fn(Value) -> Result<Value, Status> + Send + Sync,
) -> Result<Response, Status> {
    let manager = call.manager(&options.manager);
    let mut make = |call: &mut Call, old: &Value| {
        let wanted = make(of(old))?;
        let replicas = edit::at(&wanted, &["spec", "replicas"]).as_i64().unwrap_or(0);
        if replicas < 0 {
            let why = "must be greater than or equal to 0";
            let fault = FieldError::invalid(&Path::new("spec").child("replicas"), &replicas.into(), why);
            let name = call.resource.name.as_str();
            return Err(refusal::invalid_kind("autoscaling", "Scale", name, &[fault]));
        }
        let mut new = old.clone();
        if let Some(spec) = edit::child(&mut new, "spec") {
            edit::set(spec, "replicas", replicas);
        }
        if let Some(metadata) = edit::child(&mut new, "metadata") {
            edit::restore(metadata, edit::at(&wanted, &["metadata"]), "resourceVersion");
        }
        managed::track(call, old, &mut new, &manager, Some(Subresource::Scale));
        Ok(new)
    };
    let change = Change {
        subresource: Some(Subresource::Scale),
        options,
        uid: None,
        may_create: false,
        make: &mut make,
    };
    match store_update::run(call, change).await? {
        Updated::Written { stored, .. } => Ok(answer(call, &decode(&call.served, &stored)?)),
        Updated::Value(object) => Ok(answer(call, &object)),
        Updated::Absent => Err(call.not_found()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_what_counts_of_an_object() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"b": "c", "a": "d"}}},
            "status": {"replicas": 2},
        });
        let scale = of(&object);
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=d,b=c"}));
        assert_eq!(
            scale["metadata"],
            json!({"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"})
        );
        assert_eq!(of(&json!({"spec": {"selector": {"a": "b"}}}))["status"]["selector"], "a=b");
        assert_eq!(of(&json!({}))["spec"], json!({}));
    }
}
