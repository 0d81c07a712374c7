//! The kinds of `admissionregistration.k8s.io`: webhooks and policies. Stored and served, without effect. Expressions (CEL)
//! are kept as they are, and not compiled.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::cells;
use super::entry::Group;
use crate::ages;
use crate::at::At;
use crate::edit::{at, list, text};
use crate::kind::{Kind, Subresource};
use crate::table::BuiltIn;

mod binding;
mod expressions;
mod matching;
mod policy;
mod rules;
mod webhook;

/// What 1.36 stores mutating policies in, so that 1.35 can read them. It has the same fields.
const BETA: &str = "admissionregistration.k8s.io/v1beta1";

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let group = Group {
        library,
        name: "admissionregistration.k8s.io",
        package: "io.k8s.api.admissionregistration",
        versions: &["v1"],
    };
    let entry = |kind, plural| group.cluster_kind(kind, plural).category("api-extensions");
    vec![
        entry("MutatingAdmissionPolicy", "mutatingadmissionpolicies")
            .stored_elsewhere(BETA, "io.k8s.api.admissionregistration.v1beta1.MutatingAdmissionPolicy")
            .columns(MUTATING, |policy, now| policy_row(policy, "mutations", now))
            .strategy(policy::Strategy { mutating: true })
            .into(),
        entry("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
            .stored_elsewhere(BETA, "io.k8s.api.admissionregistration.v1beta1.MutatingAdmissionPolicyBinding")
            .columns(BINDING, binding_row)
            .strategy(binding::Strategy { mutating: true })
            .into(),
        entry("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
            .columns(WEBHOOKS, webhooks_row)
            .strategy(webhook::Strategy { mutating: true })
            .into(),
        entry("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
            .subresources(&[Subresource::Status])
            .columns(VALIDATING, |policy, now| policy_row(policy, "validations", now))
            .strategy(policy::Strategy { mutating: false })
            .into(),
        entry("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
            .columns(BINDING, binding_row)
            .strategy(binding::Strategy { mutating: false })
            .into(),
        entry("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
            .columns(WEBHOOKS, webhooks_row)
            .strategy(webhook::Strategy { mutating: false })
            .into(),
    ]
}

const WEBHOOKS: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("Webhooks", "integer", "How many webhooks there are."), BuiltIn::age()];

fn webhooks_row(object: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(object), list(object, &["webhooks"]).len().into(), ages::of(object, now).into()]
}

const PARAM_KIND: BuiltIn = BuiltIn::new("ParamKind", "string", "The kind of the policy's parameters.");

const MUTATING: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Mutations", "integer", "How many mutations the policy has."),
    PARAM_KIND,
    BuiltIn::age(),
];

const VALIDATING: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Validations", "integer", "How many validations the policy has."),
    PARAM_KIND,
    BuiltIn::age(),
];

fn policy_row(policy: &Value, rules: &str, now: SystemTime) -> Vec<Value> {
    let kind = At::object(at(policy, &["spec", "paramKind"]));
    let shown = match kind.is_absent() {
        true => "<unset>".to_owned(),
        false => format!("{}/{}", kind.get("apiVersion").text(), kind.get("kind").text()),
    };
    vec![
        cells::name(policy),
        list(policy, &["spec", rules]).len().into(),
        shown.into(),
        ages::of(policy, now).into(),
    ]
}

const BINDING: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("PolicyName", "string", "The policy that is bound."),
    BuiltIn::new("ParamRef", "string", "The parameters that it gets."),
    BuiltIn::age(),
];

fn binding_row(binding: &Value, now: SystemTime) -> Vec<Value> {
    let param = At::object(at(binding, &["spec", "paramRef"]));
    let (name, namespace) = (param.get("name").text(), param.get("namespace").text());
    let shown = match (name, namespace, param.has("selector")) {
        ("", _, true) => matching::shown_selector(&param.get("selector")),
        ("", _, false) => "<unset>".to_owned(),
        (name, "", _) => format!("*/{name}"),
        (name, namespace, _) => format!("{namespace}/{name}"),
    };
    vec![
        cells::name(binding),
        text(binding, &["spec", "policyName"]).into(),
        shown.into(),
        ages::of(binding, now).into(),
    ]
}
