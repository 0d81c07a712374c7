//! `binding`: a pod gets its node. The scheduler's last word.
//!
//! Facts: `pkg/registry/core/pod/storage/storage.go` of the original: a second binding is a conflict, and the pod becomes
//! `PodScheduled`.

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::kind::Subresource;
use control_core::{edit, refusal};
use control_schema::{builtin, codec};
use serde_json::{Value, json};

use crate::call::Call;
use crate::encoding::status;
use crate::negotiation::{Encoding, Offer, content_encoding};
use crate::reply::{Body, Response};
use crate::request::options::{self, WriteOptions};
use crate::strategy::managed;
use crate::verbs::store_update::{self, Change, Updated};

/// The old collection `bindings`, which stands for `binding` of the pod that the body names.
///
/// # Errors
/// As [`run`].
pub async fn of_collection(call: &mut Call, body: Body) -> Result<Response, Status> {
    let pods = call.server.registry().table().find("", "v1", "pods").cloned();
    call.served = pods.ok_or_else(|| refusal::internal("pods are not served"))?;
    call.resource.resource = "pods".to_owned();
    run(call, body).await
}

/// # Errors
/// The body is no binding, or the pod has a node already, or is on its way out.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let bytes = call.read(body).await?;
    let encoding = content_encoding(&call.headers, Offer::All)?;
    let options = WriteOptions::decode(&call.query, options::Write::Create)?;
    let Some(schema) = builtin::kind("v1", "Binding") else {
        return Err(refusal::internal("there is no schema of Binding"));
    };
    let decoded = match encoding {
        Encoding::Json => codec::json::decode(&schema, &bytes),
        Encoding::Yaml => codec::yaml::decode(&schema, &bytes),
        Encoding::Protobuf => codec::protobuf::decode(&schema, &bytes),
    };
    let binding = decoded.map_err(|error| refusal::bad_request(error.to_string()))?.value;
    let name = edit::text(&binding, &["metadata", "name"]);
    if call.resource.name.is_empty() {
        // The old collection: the body says which pod.
        call.resource.name = name.to_owned();
    }
    if name.is_empty() || name != call.resource.name {
        return Err(refusal::bad_request("name in URL does not match name in Binding object"));
    }
    check_target(&binding)?;
    let manager = call.manager(&options.manager);
    let uid = edit::text(&binding, &["metadata", "uid"]);
    let uid = (!uid.is_empty()).then(|| uid.to_owned());
    let mut make = |call: &mut Call, old: &Value| {
        let mut new = bound(call, old, &binding)?;
        managed::track(call, old, &mut new, &manager, Some(Subresource::Binding));
        Ok(new)
    };
    let change = Change {
        subresource: Some(Subresource::Binding),
        options: &options,
        uid,
        may_create: false,
        make: &mut make,
    };
    match store_update::run(call, change).await? {
        Updated::Absent => Err(call.not_found()),
        Updated::Written { .. } | Updated::Value(_) => {
            let done = Status { status: "Success".to_owned(), code: 201, ..Status::default() };
            Ok(status::answer(&done, call.media))
        }
    }
}

fn check_target(binding: &Value) -> Result<(), Status> {
    let target = |field| edit::text(binding, &["target", field]);
    match (target("kind"), target("name")) {
        ("" | "Node", "") => Err(refusal::unknown("target.name: Required value")),
        ("" | "Node", _) => Ok(()),
        (other, _) => Err(refusal::unknown(format!(
            "target.kind: Unsupported value: {other:?}: supported values: \"Node\", \"<empty>\""
        ))),
    }
}

/// The pod with its node.
fn bound(call: &Call, pod: &Value, binding: &Value) -> Result<Value, Status> {
    let name = call.resource.name.as_str();
    let refuse = |why: String| {
        let mut named = (*call.served.kind).clone();
        named.plural = "pods/binding".into();
        Err(refusal::conflict(&named, name, &why))
    };
    if !edit::text(pod, &["metadata", "deletionTimestamp"]).is_empty() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let host = edit::text(pod, &["spec", "nodeName"]);
    if !host.is_empty() {
        return refuse(format!("pod {name} is already assigned to node {host:?}"));
    }
    if !edit::list(pod, &["spec", "schedulingGates"]).is_empty() {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut new = pod.clone();
    if let Some(spec) = edit::child(&mut new, "spec") {
        edit::set(spec, "nodeName", edit::text(binding, &["target", "name"]));
    }
    if let Some(metadata) = edit::child(&mut new, "metadata") {
        for field in ["annotations", "labels"] {
            for (key, value) in edit::at(binding, &["metadata", field]).as_object().into_iter().flatten() {
                if let Some(own) = edit::child(metadata, field) {
                    edit::set(own, key, value.clone());
                }
            }
        }
    }
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": time::seconds(call.now),
    });
    if let Some(status) = edit::child(&mut new, "status") {
        edit::remove(status, "nominatedNodeName");
        let mut conditions = edit::list(status, &["conditions"]).to_vec();
        conditions.retain(|own| edit::text(own, &["type"]) != "PodScheduled");
        conditions.push(condition);
        edit::set(status, "conditions", conditions);
    }
    Ok(new)
}
