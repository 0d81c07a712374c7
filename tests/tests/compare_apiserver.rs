//! Every request of `tests/apiserver` to our API server and to the original: status, headers and bodies are the same, but
//! for what `tests/apiserver/differences.yaml` lists with its reasons.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin). WEFT_COMPARE_REPORT names a file for what differs.

use serde_json::{Value, json};
use tests::apiserver::difference::Allowed;
use tests::apiserver::scenario::{Report, Step, Theme};
use tests::apiserver::{Pair, Side, authorization, generated, rules, ways};
use tests::wait::until;

fn compare(themes: impl IntoIterator<Item = Theme>) {
    let pair = Pair::up(&[]);
    let allowed = Allowed::read();
    let mut report = Report::default();
    for theme in themes {
        report.run(&pair, &theme, &allowed);
    }
    report.check();
}

/// As [`compare`], with the account that pods have: without it none is made, and the original waits for it each time.
fn compare_kinds(themes: impl IntoIterator<Item = Theme>) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let make = "POST /api/v1/namespaces/default/serviceaccounts";
    let steps = vec![Step::json("make the account of pods", make, Some(&account))];
    compare(std::iter::once(Theme { name: "all kinds".to_owned(), steps }).chain(themes));
}

#[test]
fn config_maps_are_served_as_the_original_serves_them() {
    compare([Theme::read("configmaps")]);
}

#[test]
fn patches_and_applies_make_what_the_original_makes() {
    compare([Theme::read("patches"), Theme::read("apply")]);
}

#[test]
fn deletions_of_every_sort_end_as_with_the_original() {
    compare([Theme::read("deletions")]);
}

#[test]
fn discovery_and_health_are_the_originals() {
    compare([Theme::read("discovery")]);
}

#[test]
fn access_is_granted_and_refused_in_the_originals_words() {
    compare([Theme::read("access")]);
}

#[test]
fn an_object_of_every_kind_lives_as_with_the_original() {
    compare_kinds(generated::samples().iter().map(generated::life));
}

#[test]
fn an_object_of_every_kind_with_all_that_it_can_have_lives_as_with_the_original() {
    compare_kinds(generated::full_samples().iter().map(generated::life));
}

#[test]
fn every_fault_of_an_object_is_refused_in_the_originals_words() {
    compare_kinds(generated::samples().iter().map(generated::mutations));
}

#[test]
fn every_fault_of_an_object_with_all_that_it_can_have_is_refused_in_the_originals_words() {
    compare_kinds(generated::full_samples().iter().map(generated::mutations));
}

#[test]
fn two_managers_apply_an_object_of_every_kind_as_with_the_original() {
    compare_kinds(generated::samples().iter().chain(&generated::full_samples()).map(ways::applies));
}

#[test]
fn a_status_of_every_kind_is_written_in_every_way_as_with_the_original() {
    let samples = ways::with_statuses(&[generated::samples(), generated::full_samples()].concat());
    compare_kinds(samples.iter().map(ways::statuses));
}

#[test]
fn all_that_happens_to_an_object_of_every_kind_is_watched_as_with_the_original() {
    compare_kinds(generated::samples().iter().chain(&generated::full_samples()).map(ways::watches));
}

/// `looms.weft.example`, in two versions.
fn looms() -> Value {
    let size = json!({"type": "string", "enum": ["small", "large"]});
    let rule = json!({"rule": "!has(self.width) || self.width >= 0", "message": "must not be below nothing"});
    let spec = json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {
        "size": size, "width": {"type": "integer"}, "on": {"type": "boolean"}, "when": {"type": "string"},
        "ratio": {"type": "number"},
        "ports": {"type": "array", "items": {"type": "integer"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "parts": {"type": "array", "items": {"type": "object", "properties": {
            "name": {"type": "string"}, "ready": {"type": "string"}, "n": {"type": "integer"},
        }}},
    }});
    // Not the same in both: then the fields to select by could not differ.
    let schema = |of: &str| json!({"openAPIV3Schema": {"description": of, "type": "object", "properties": {"spec": spec}}});
    let column = |(name, of, path): (&str, &str, &str)| json!({"name": name, "type": of, "jsonPath": path});
    let columns = [
        ("Size", "string", ".spec.size"),
        ("Width", "integer", ".spec.width"),
        ("Ready", "string", ".spec.parts[?(@.name==\"x\")].ready"),
        ("Number", "integer", ".spec.parts[?(@.n>1)].n"),
        ("Last", "string", ".spec.ports[-1]"),
        ("Ports", "string", ".spec.ports"),
        ("All", "string", ".spec.ports[*]"),
        ("Sliced", "integer", ".spec.ports[1:2]"),
        ("Beyond", "string", ".spec.ports[7]"),
        ("Labels", "string", ".spec.labels"),
        ("On", "boolean", ".spec.on"),
        ("Not on", "boolean", ".spec.size"),
        ("Ratio", "number", ".spec.ratio"),
        ("Whole", "integer", ".spec.ratio"),
        ("When", "date", ".spec.when"),
        ("Age", "date", ".metadata.creationTimestamp"),
        ("Deep", "string", "..name"),
    ];
    let fields = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"jsonPath": format!(".spec.{name}")})).collect()
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "looms.weft.example"},
        "spec": {
            "group": "weft.example", "scope": "Namespaced",
            "names": {"plural": "looms", "singular": "loom", "kind": "Loom", "listKind": "LoomList"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema("v1"),
                    "additionalPrinterColumns": columns.map(column).to_vec(),
                    "selectableFields": fields(&["size", "width", "on"])},
                {"name": "v2", "served": true, "storage": false, "schema": schema("v2"),
                    "selectableFields": fields(&["size"])},
            ],
        },
    })
}

#[test]
fn kinds_of_definitions_are_shown_selected_and_applied_as_with_the_original() {
    let pair = Pair::up(&[]);
    for side in [&pair.original, &pair.ours] {
        let collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        side.must("POST", collection, "application/json", &looms());
        until("the definition to be served", || {
            let ask = |version: &str| {
                let path = format!("/apis/weft.example/{version}/looms");
                let answer = side.client().ask("GET", &path, &authorization("admin"), &[]).ok()?;
                (answer.status == 200).then_some(())
            };
            ask("v1").and_then(|()| ask("v2"))
        });
    }
    let mut report = Report::default();
    report.run(&pair, &Theme::read("definitions"), &Allowed::read());
    report.check();
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Makes a definition of one version, and waits until its kind is served.
fn define(side: &Side, definition: &Value) {
    side.must("POST", DEFINITIONS, "application/json", definition);
    let plural = definition["spec"]["names"]["plural"].as_str().expect("a plural");
    until("the definition to be served", || {
        let path = format!("/apis/weft.example/v1/{plural}");
        let answer = side.client().ask("GET", &path, &authorization("admin"), &[]).ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn rules_are_refused_for_their_types_and_costs_in_the_originals_words() {
    compare([rules::refusals(1)]);
}

#[test]
fn expressions_of_stored_objects_are_refused_in_the_originals_words() {
    compare([rules::stored()]);
}

#[test]
fn expressions_give_what_they_give_in_the_original() {
    let pair = Pair::up(&[]);
    let (definition, theme) = rules::values();
    for side in [&pair.original, &pair.ours] {
        define(side, &definition);
    }
    let mut report = Report::default();
    report.run(&pair, &theme, &Allowed::read());
    report.check();
}

#[test]
fn what_was_wrong_before_a_definition_changed_may_stay_as_with_the_original() {
    let pair = Pair::up(&[]);
    let (before, later, objects, theme) = rules::ratchet();
    for side in [&pair.original, &pair.ours] {
        define(side, &before);
        for object in &objects {
            side.must("POST", "/apis/weft.example/v1/ratchets", "application/json", object);
        }
        let path = format!("{DEFINITIONS}/ratchets.weft.example");
        let patch = json!({"spec": later["spec"]});
        side.must("PATCH", &path, "application/merge-patch+json", &patch);
        until("the later definition to be served", || {
            let object = objects[0].to_string().replace("\"bad\"", "\"worse\"");
            let mut headers = authorization("admin");
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            let path = "/apis/weft.example/v1/ratchets?dryRun=All";
            let answer = side.client().ask("POST", path, &headers, object.as_bytes()).ok()?;
            (answer.status == 422).then_some(())
        });
    }
    let mut report = Report::default();
    report.run(&pair, &theme, &Allowed::read());
    report.check();
}

#[test]
fn every_change_of_an_object_is_taken_or_refused_as_by_the_original() {
    compare_kinds(generated::samples().iter().chain(&generated::full_samples()).map(generated::changes));
}
