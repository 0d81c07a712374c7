use std::time::SystemTime;

use apiclient_core::wire::Status;

use super::*;
use crate::access::User;
use crate::kind::Context;
use crate::lifecycle::{before_create, before_update};

const NOW: &str = "2026-01-01T00:00:00Z";

fn definition() -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList", "shortNames": ["ct"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {"type": "object", "required": ["replicas"], "properties": {
                            "replicas": {"type": "integer", "minimum": 1},
                        }},
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }}},
                {"name": "v1alpha1", "served": false, "storage": false},
            ],
        },
        "status": {"storedVersions": ["v1"]},
    })
}

fn settled(definition: &Value, others: &[Names]) -> Settled {
    settle(definition, others, NOW)
}

fn condition<'a>(status: &'a Value, of: &str) -> [&'a str; 3] {
    let all = list(status, &["conditions"]);
    let found = all.iter().find(|condition| text(condition, &["type"]) == of).expect("the condition");
    ["status", "reason", "message"].map(|field| text(found, &[field]))
}

#[test]
fn a_definition_whose_names_are_free_is_served() {
    let Settled { status, kind } = settled(&definition(), &[]);
    assert_eq!(condition(&status, "NamesAccepted"), ["True", "NoConflicts", "no conflicts found"]);
    assert_eq!(
        condition(&status, "Established"),
        ["True", "InitialNamesAccepted", "the initial names have been accepted"]
    );
    assert_eq!(status["acceptedNames"], definition()["spec"]["names"]);
    assert_eq!(status["storedVersions"], json!(["v1"]));
    let kind = kind.expect("a kind");
    assert_eq!(kind.storage, "stable.example.com/crontabs");
    assert_eq!(kind.versions.iter().map(|version| version.name.as_ref()).collect::<Vec<_>>(), ["v1"]);
    assert_eq!(kind.subresources, [Subresource::Status]);
}

#[test]
fn a_name_of_another_kind_is_refused_and_nothing_is_served() {
    let other =
        Names { plural: "cts".into(), kind: "Ct".into(), short_names: vec!["ct".into()], ..Names::default() };
    let Settled { status, kind } = settled(&definition(), &[other]);
    assert_eq!(
        condition(&status, "NamesAccepted"),
        ["False", "ShortNamesConflict", "\"ct\" is already in use"]
    );
    assert_eq!(condition(&status, "Established"), ["False", "NotAccepted", "not all names are accepted"]);
    assert_eq!(status["acceptedNames"]["shortNames"], Value::Null);
    assert!(kind.is_none());
}

#[test]
fn what_was_served_stays_served_when_a_new_name_is_refused() {
    let mut definition = definition();
    definition["status"] = settled(&definition, &[]).status;
    definition["spec"]["names"]["shortNames"] = json!(["ct", "cron"]);
    let other = Names { plural: "cron".into(), ..Names::default() };
    let Settled { status, kind } = settled(&definition, &[other]);
    assert_eq!(condition(&status, "NamesAccepted")[0], "False");
    assert_eq!(condition(&status, "Established")[0], "True");
    assert_eq!(kind.expect("a kind").short_names, ["ct"]);
}

#[test]
fn a_settled_definition_changes_no_more() {
    let mut definition = definition();
    definition["status"] = settled(&definition, &[]).status;
    assert_eq!(settle(&definition, &[], "2027-01-01T00:00:00Z").status, definition["status"]);
}

#[test]
fn a_version_that_is_stored_and_not_served_bears_its_whole_name() {
    let mut definition = definition();
    definition["spec"]["versions"][0]["served"] = json!(false);
    definition["spec"]["versions"][1]["served"] = json!(true);
    let kind = settled(&definition, &[]).kind.expect("a kind");
    assert_eq!(kind.stored().name, "stable.example.com/v1");
    assert!(!kind.stored().is_served());
    assert_eq!(kind.versions[0].name, "v1alpha1");
}

#[test]
fn objects_are_validated_and_their_generation_counts_the_spec() {
    let kind = settled(&definition(), &[]).kind.expect("a kind");
    let user = User::default();
    let context = Context { now: SystemTime::UNIX_EPOCH, namespace: "n", subresource: None, user: &user };
    let object = |replicas: i64| {
        json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a", "namespace": "n",
            "uid": "u", "resourceVersion": "1"}, "spec": {"replicas": replicas}, "status": {"x": replicas}})
    };
    let refused: Status = before_create(&kind, &mut object(0), &context).unwrap_err();
    assert!(refused.message.contains("spec.replicas"), "{}", refused.message);
    let mut old = object(1);
    before_create(&kind, &mut old, &context).expect("valid");
    assert_eq!((&old["status"], &old["metadata"]["generation"]), (&Value::Null, &json!(1)));
    let mut new = object(2);
    before_update(&kind, &mut new, &old, &context).expect("valid");
    assert_eq!((&new["status"], &new["metadata"]["generation"]), (&Value::Null, &json!(2)));
    let status = Context { subresource: Some(Subresource::Status), ..context };
    let mut reported = object(7);
    before_update(&kind, &mut reported, &new, &status).expect("valid");
    assert_eq!((&reported["spec"]["replicas"], &reported["status"]["x"]), (&json!(2), &json!(7)));
    assert_eq!(reported["metadata"]["generation"], 2);
}
