//! StatefulSet.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::workload;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, default_text, existing, items, list, restore, semantic_eq, set, text};
use crate::field::FieldError;
use crate::kind::{Context, NameRule};
use crate::kinds::core::pod::template;
use crate::kinds::core::{cells, claim};
use crate::kinds::status;
use crate::selectors::Selector;
use crate::table::BuiltIn;
use crate::{ages, amounts, metadata, names, selectors, shown};

/// What an update may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn set_defaults(&self, set: &mut Value) {
        default(set, "spec", Map::new());
        let Some(spec) = existing(set, "spec") else {
            return;
        };
        default_text(spec, "podManagementPolicy", "OrderedReady");
        default(spec, "replicas", 1);
        default(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = child(spec, "updateStrategy") {
            if text(strategy, &["type"]).is_empty() {
                default_text(strategy, "type", "RollingUpdate");
                default(strategy, "rollingUpdate", Map::new());
            }
            if text(strategy, &["type"]) == "RollingUpdate"
                && let Some(rolling) = existing(strategy, "rollingUpdate")
            {
                default(rolling, "partition", 0);
            }
        }
        if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
            default_text(policy, "whenDeleted", "Retain");
            default_text(policy, "whenScaled", "Retain");
        }
        for template in items(spec, "volumeClaimTemplates") {
            default(template, "apiVersion", "v1");
            default(template, "kind", "PersistentVolumeClaim");
            claim_defaults(template);
        }
        workload::set_template_defaults(set);
    }

    fn prepare_create(&self, set: &mut Value, _: &Context<'_>) {
        status::prepare_create(set);
        workload::drop_disabled(set);
        drop_disabled(set, &Value::Null);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        drop_disabled(new, old);
        workload::drop_disabled(new);
        status::prepare_update(new, old, context);
    }

    fn validate_create(&self, set: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(set).get("spec"), Kept::default())
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let at_new = At::object(new);
        if status::is_status(context) {
            let mut errors = validate_status(&at_new.get("status"));
            errors.extend(workload::collisions(&at_new, old));
            return errors;
        }
        let mut kept = Kept { service_name: true, claims: true, template: false };
        kept.template = !validate(&At::object(old).get("spec"), kept).is_empty();
        let spec = at_new.get("spec");
        let mut errors = validate(&spec, kept);
        let mut unchanged = spec.value.clone();
        for field in MUTABLE {
            restore(&mut unchanged, at(old, &["spec"]), field);
        }
        if !semantic_eq(&unchanged, at(old, &["spec"])) {
            errors.push(spec.forbidden("updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
        }
        errors
    }

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = workload::template_warnings(set, old, &["spec", "template"]);
        if at(set, &["spec", "revisionHistoryLimit"]).as_i64().is_some_and(|limit| limit < 0) {
            warnings.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
        }
        warnings
    }
}

/// A field that is off by default: kept only where it was stored already.
fn drop_disabled(set: &mut Value, old: &Value) {
    const FIELD: [&str; 4] = ["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"];
    if at(old, &FIELD).is_null() {
        let parent = FIELD[..3].iter().try_fold(set, |value, field| existing(value, field));
        if let Some(rolling) = parent {
            crate::edit::remove(rolling, FIELD[3]);
        }
    }
}

fn claim_defaults(claim: &mut Value) {
    if let Some(spec) = child(claim, "spec") {
        default(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = child(claim, "status") {
        default_text(status, "phase", "Pending");
    }
}

/// What was stored before and may stay, although it would be refused today.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    service_name: bool,
    claims: bool,
    template: bool,
}

fn validate(spec: &At<'_>, kept: Kept) -> Errors {
    let mut errors = Errors::new();
    let policy = spec.get("podManagementPolicy");
    match policy.text() {
        "" => errors.push(policy.required("")),
        "OrderedReady" | "Parallel" => {}
        _ => errors.push(policy.invalid("must be 'OrderedReady' or 'Parallel'")),
    }
    errors.extend(update_strategy(&spec.get("updateStrategy")));
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        let when = retention.get(when);
        if !retention.is_absent() && !matches!(when.text(), "Retain" | "Delete") {
            errors.push(when.not_supported(&["Retain", "Delete"]));
        }
    }
    if !kept.claims {
        for template in spec.get("volumeClaimTemplates").items() {
            errors.extend(claim::spec(&template.get("spec")));
        }
    }
    errors.extend(workload::counts(spec, &["replicas", "minReadySeconds"]));
    errors.extend(metadata::not_negative(&spec.get("ordinals").get("start")));
    let service = spec.get("serviceName");
    if !kept.service_name && !service.is_empty() {
        errors.extend(service.invalid_each(names::dns1123_label(service.text())));
    }
    errors.extend(workload::selector(&spec.get("selector"), "statefulset"));
    errors.extend(pods(spec, kept));
    errors.extend(workload::runs_forever(&spec.get("template"), "StatefulSet"));
    errors
}

/// The template as the pods will have it: with the claims as volumes, and without names that each pod gets for itself.
fn pods(spec: &At<'_>, kept: Kept) -> Errors {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    let Some(of) = Selector::of(selector.value) else {
        return vec![FieldError::invalid_shown(&selector.path, &selectors::json(selector.value), "")];
    };
    let mut errors = Errors::new();
    if selector.is_absent() || !of.is_empty() {
        errors.extend(workload::selects(&of, &template));
    }
    if !kept.template {
        let with_claims = with_claims(spec);
        errors.extend(template::validate(&At::new(&with_claims, template.path.clone())));
    }
    // The original validates these twice, the second time under these paths.
    let metadata = template.get("metadata");
    let labels = At::new(metadata.get("labels").value, template.path.child("labels"));
    let annotations = At::new(metadata.get("annotations").value, template.path.child("annotations"));
    errors.extend(metadata::labels(&labels));
    errors.extend(metadata::annotations(&annotations));
    errors
}

fn with_claims(spec: &At<'_>) -> Value {
    let mut template = spec.get("template").value.clone();
    let name = |claim: &Value| text(claim, &["metadata", "name"]).to_owned();
    let claims: Vec<String> = list(spec.value, &["volumeClaimTemplates"]).iter().map(name).collect();
    let Some(pod) = existing(&mut template, "spec") else {
        return template;
    };
    for field in ["subdomain", "hostname"] {
        crate::edit::remove(pod, field);
    }
    if !claims.is_empty() {
        let volume = |name: &String| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        let own = list(pod, &["volumes"])
            .iter()
            .filter(|own| !claims.iter().any(|name| name == text(own, &["name"])));
        let volumes: Vec<Value> = claims.iter().map(volume).chain(own.cloned()).collect();
        set(pod, "volumes", volumes);
    }
    template
}

fn update_strategy(strategy: &At<'_>) -> Errors {
    let rolling = strategy.get("rollingUpdate");
    let rolling_shown = || match rolling.is_absent() {
        true => "null".to_owned(),
        false => shown::fields(&[
            ("Partition", shown::int(&rolling.get("partition"))),
            ("MaxUnavailable", shown::any(&rolling.get("maxUnavailable"))),
        ]),
    };
    match strategy.get("type").text() {
        "" => vec![strategy.required("")],
        "OnDelete" if !rolling.is_absent() => {
            let problem = "only allowed for updateStrategy 'RollingUpdate'";
            vec![FieldError::invalid_shown(&rolling.path, &rolling_shown(), problem)]
        }
        "OnDelete" => Errors::new(),
        "RollingUpdate" => rolling_update(&rolling),
        kind => {
            let shown = [("Type", Value::from(kind).to_string()), ("RollingUpdate", rolling_shown())];
            let problem = "must be 'RollingUpdate' or 'OnDelete'";
            vec![FieldError::invalid_shown(&strategy.path, &shown::fields(&shown), problem)]
        }
    }
}

fn rolling_update(rolling: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(metadata::not_negative(&rolling.get("partition")));
    let unavailable = rolling.get("maxUnavailable");
    if !unavailable.is_absent() {
        errors.extend(amounts::positive(&unavailable));
        if amounts::value(&unavailable) == 0 {
            errors.push(unavailable.invalid("cannot be 0"));
        }
        errors.extend(amounts::at_most_all(&unavailable));
    }
    errors
}

fn validate_status(status: &At<'_>) -> Errors {
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    let mut errors = workload::counts(status, &["replicas"]);
    errors.extend(workload::counts(status, &parts));
    errors.extend(workload::counts(status, &["observedGeneration", "collisionCount"]));
    errors.extend(workload::no_more_than(
        status,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
    ));
    let ready = "cannot be greater than status.readyReplicas";
    errors.extend(workload::no_more_than(status, &["availableReplicas"], "readyReplicas", ready));
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Ready", "string", "How many of the wanted pods are ready."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The containers of the template.").wide(),
    BuiltIn::new("Images", "string", "Their images.").wide(),
];

pub fn row(set: &Value, now: SystemTime) -> Vec<Value> {
    let int = |path: &[&str]| at(set, path).as_i64().unwrap_or_default();
    let [names, images] = cells::containers(at(set, &["spec", "template", "spec"]));
    vec![
        cells::name(set),
        format!("{}/{}", int(&["status", "readyReplicas"]), int(&["spec", "replicas"])).into(),
        ages::of(set, now).into(),
        names,
        images,
    ]
}
