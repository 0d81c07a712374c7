//! Fields of the metadata that are the server's.

use std::time::SystemTime;

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::{edit, refusal};
use serde_json::Value;

use crate::call::Call;
use crate::ids;

/// A client cannot set them; what it gives is ignored.
pub fn wipe(object: &mut Value) {
    let Some(metadata) = edit::child(object, "metadata") else { return };
    for field in [
        "creationTimestamp",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        edit::remove(metadata, field);
    }
}

/// A new object's.
pub fn fill(object: &mut Value, now: SystemTime) {
    let Some(metadata) = edit::child(object, "metadata") else { return };
    edit::set(metadata, "uid", ids::uid());
    edit::set(metadata, "creationTimestamp", time::seconds(now));
}

/// The object is in the namespace of the request.
///
/// # Errors
/// 400 where it says that it is in another.
pub fn check_namespace(call: &Call, object: &mut Value) -> Result<(), Status> {
    let wanted = if call.served.kind.namespaced { call.resource.namespace.as_str() } else { "" };
    let found = edit::text(object, &["metadata", "namespace"]);
    if found == wanted {
        return Ok(());
    }
    if !found.is_empty() && !wanted.is_empty() {
        return Err(refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if let Some(metadata) = edit::child(object, "metadata") {
        if wanted.is_empty() {
            edit::remove(metadata, "namespace");
        } else {
            edit::set(metadata, "namespace", wanted);
        }
    }
    Ok(())
}

/// The object has the name of the path.
///
/// # Errors
/// 400 where it has another.
pub fn check_name(call: &Call, object: &Value) -> Result<(), Status> {
    let (found, wanted) = (edit::text(object, &["metadata", "name"]), call.resource.name.as_str());
    if found.is_empty() {
        return Err(refusal::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )));
    }
    if found != wanted {
        return Err(refusal::bad_request(format!(
            "the name of the object ({found}) does not match the name on the URL ({wanted})"
        )));
    }
    Ok(())
}

/// Takes away owners that stand twice, and says so.
pub fn dedup_owners(object: &mut Value, after_admission: bool) -> Option<String> {
    let owners = object.get_mut("metadata")?.get_mut("ownerReferences")?.as_array_mut()?;
    let (mut kept, mut doubled): (Vec<Value>, Vec<String>) = (Vec::with_capacity(owners.len()), Vec::new());
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            doubled.push(edit::text(&owner, &["uid"]).to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if doubled.is_empty() {
        return None;
    }
    let when = if after_admission { " after mutating admission happens" } else { "" };
    Some(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, \
         and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        doubled.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_owner_that_stands_twice_stands_once_and_the_client_is_told() {
        let owner = |uid: &str| json!({"uid": uid, "kind": "A"});
        let mut object = json!({"metadata": {"ownerReferences": [owner("1"), owner("2"), owner("1")]}});
        let warning = dedup_owners(&mut object, false).expect("a warning");
        assert!(warning.ends_with("duplicate UID(s) observed: 1"), "{warning}");
        assert_eq!(object["metadata"]["ownerReferences"], json!([owner("1"), owner("2")]));
        assert_eq!(dedup_owners(&mut object, false), None);
        assert_eq!(dedup_owners(&mut json!({}), false), None);
    }
}
