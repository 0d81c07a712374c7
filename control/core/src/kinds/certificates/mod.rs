//! The kinds of `certificates.k8s.io`: CertificateSigningRequest. Who may approve and sign one is decided at admission.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::cells;
use super::entry::Group;
use crate::ages;
use crate::edit::{at, list, text};
use crate::kind::Kind;
use crate::kind::Subresource::{Approval, Status};
use crate::table::BuiltIn;

mod pem;
mod strategy;
mod validation;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let certificates =
        Group { library, name: "certificates.k8s.io", package: "io.k8s.api.certificates", versions: &["v1"] };
    vec![
        certificates
            .cluster_kind("CertificateSigningRequest", "certificatesigningrequests")
            .short(&["csr"])
            .subresources(&[Approval, Status])
            .columns(COLUMNS, row)
            .strategy(strategy::Strategy)
            .into(),
    ]
}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::age(),
    BuiltIn::new("SignerName", "string", "Who should sign."),
    BuiltIn::new("Requestor", "string", "Who asked."),
    BuiltIn::new("RequestedDuration", "string", "How long the certificate should be valid."),
    BuiltIn::new("Condition", "string", "Whether the request is approved, denied, issued."),
];

fn row(request: &Value, now: SystemTime) -> Vec<Value> {
    let duration = match at(request, &["spec", "expirationSeconds"]).as_u64() {
        Some(seconds) => ages::human(std::time::Duration::from_secs(seconds)),
        None => "<none>".to_owned(),
    };
    let signer = text(request, &["spec", "signerName"]);
    vec![
        cells::name(request),
        ages::of(request, now).into(),
        if signer.is_empty() { "<none>".into() } else { signer.into() },
        text(request, &["spec", "username"]).into(),
        duration.into(),
        state(request).into(),
    ]
}

fn state(request: &Value) -> String {
    let conditions = list(request, &["status", "conditions"]);
    let has = |kind: &str| conditions.iter().any(|condition| text(condition, &["type"]) == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(request, &["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}
