//! The FlowSchemas and PriorityLevelConfigurations that every cluster has, and what to do where one is missing.
//!
//! The data (`data/fairness-defaults.jsonl`) are those of a fresh kube-apiserver 1.36 without what they have in common.

use serde_json::{Value, json};

use crate::edit::{at, text};

const DATA: &str = include_str!("../../data/fairness-defaults.jsonl");
/// `true`: the object follows this release's defaults; `false`: it is whoever's who set it so.
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const API: &str = "flowcontrol.apiserver.k8s.io/v1";

/// Levels first, for schemas name them.
pub fn objects() -> impl Iterator<Item = Value> {
    DATA.lines().filter_map(|line| serde_json::from_str(line).ok()).map(|short: Value| {
        json!({
            "apiVersion": API,
            "kind": short["kind"],
            "metadata": {"name": short["name"], "annotations": {AUTOUPDATE: "true"}},
            "spec": short["spec"],
        })
    })
}

/// What makes a stored object what it should be: `None` where it is that already, or belongs to somebody else.
pub fn reconcile(wanted: &Value, found: &Value) -> Option<Value> {
    let name = text(wanted, &["metadata", "name"]);
    let is_fixed = matches!(name, super::CATCH_ALL | super::EXEMPT);
    let ours = match text(found, &["metadata", "annotations", AUTOUPDATE]) {
        "true" => true,
        "" => at(found, &["metadata", "generation"]).as_i64().unwrap_or_default() <= 1,
        _ => false,
    };
    if !(ours || is_fixed) || found["spec"] == wanted["spec"] {
        return None;
    }
    let mut new = found.clone();
    new["spec"] = wanted["spec"].clone();
    // How much of `exempt` may be lent is for the administrator to say.
    if name == super::EXEMPT && !ours && !found["spec"]["exempt"].is_null() {
        new["spec"]["exempt"] = found["spec"]["exempt"].clone();
    }
    (new["spec"] != found["spec"]).then_some(new)
}

/// What is to be applied to a schema's status, so that its condition `Dangling` says whether its level is missing. `None`
/// where it says so already.
pub fn condition(schema: &Value, level_is_there: bool, now: &str) -> Option<Value> {
    let level = text(schema, &["spec", "priorityLevelConfiguration", "name"]);
    let (status, reason, end) = match level_is_there {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {} {end}",
        crate::access::quoted(level)
    );
    let known = crate::edit::list(schema, &["status", "conditions"]);
    let dangling = known.iter().find(|condition| condition["type"] == "Dangling");
    if dangling.is_some_and(|known| known["status"] == status && known["message"] == message.as_str()) {
        return None;
    }
    let same = dangling.filter(|known| known["status"] == status);
    let since = same.map_or(now, |known| text(known, &["lastTransitionTime"]));
    let condition = json!({"type": "Dangling", "status": status, "lastTransitionTime": since, "reason": reason,
        "message": message});
    Some(json!({"apiVersion": API, "kind": "FlowSchema", "metadata": {"name": schema["metadata"]["name"]},
        "status": {"conditions": [condition]}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_default_levels_is_an_object() {
        assert_eq!(objects().count(), DATA.lines().count());
        assert!(
            objects()
                .all(|object| object["spec"].is_object() && !text(&object, &["metadata", "name"]).is_empty())
        );
    }

    #[test]
    fn a_changed_default_is_put_right_unless_somebody_keeps_it() {
        let wanted = objects().find(|object| object["metadata"]["name"] == "workload-low").expect("a level");
        assert_eq!(reconcile(&wanted, &wanted), None);
        let mut found = wanted.clone();
        found["spec"]["limited"]["nominalConcurrencyShares"] = 1.into();
        assert_eq!(reconcile(&wanted, &found).expect("a change")["spec"], wanted["spec"]);
        found["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconcile(&wanted, &found), None);
    }

    #[test]
    fn a_schema_says_whether_its_level_is_there() {
        let mut schema = objects().find(|object| object["kind"] == "FlowSchema").expect("a schema");
        let first = condition(&schema, true, "now").expect("a condition");
        let dangling = &first["status"]["conditions"][0];
        assert_eq!((&dangling["status"], &dangling["reason"]), (&json!("False"), &json!("Found")));
        schema["status"] = first["status"].clone();
        assert_eq!(condition(&schema, true, "later"), None);
        let gone = condition(&schema, false, "later").expect("another");
        assert_eq!(gone["status"]["conditions"][0]["status"], "True");
    }
}
