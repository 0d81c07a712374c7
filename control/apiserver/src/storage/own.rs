//! Objects that the server writes by itself, in the midst of another request.

use std::time::SystemTime;

use apiclient_core::time;
use bytes::Bytes;
use control_core::edit;
use control_schema::apply::{self, NOTHING_RESET};
use serde_json::Value;

use crate::encoding::object::for_storage;
use crate::ids;
use crate::registry::Served;

/// Who the server is among managers of fields.
const MANAGER: &str = "kube-apiserver";

/// A new object for storage, with all that an object gets which a client creates.
pub fn new_object(served: &Served, mut object: Value, now: SystemTime, json: bool) -> Bytes {
    if let Some(metadata) = edit::child(&mut object, "metadata") {
        edit::set(metadata, "uid", ids::uid());
        edit::set(metadata, "creationTimestamp", time::seconds(now));
    }
    let write = apply::Write {
        schema: &served.of().schema,
        api_version: &served.api_version,
        kind: &served.kind.kind,
        subresource: "",
        manager: MANAGER,
        reset: &NOTHING_RESET,
        now,
        // There is no older version of it.
        convert: &|_, _| None,
    };
    for_storage(served, &apply::update(&write, &Value::Null, object), json)
}
