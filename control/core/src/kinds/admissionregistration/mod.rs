//! The kinds of `admissionregistration.k8s.io`: webhooks and policies. Stored and served, without effect.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let group = Group {
        library,
        name: "admissionregistration.k8s.io",
        package: "io.k8s.api.admissionregistration",
        versions: &["v1"],
    };
    let entry = |kind, plural| group.cluster_kind(kind, plural).category("api-extensions");
    vec![
        entry("MutatingAdmissionPolicy", "mutatingadmissionpolicies").into(),
        entry("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings").into(),
        entry("MutatingWebhookConfiguration", "mutatingwebhookconfigurations").into(),
        entry("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
            .subresources(&[Subresource::Status])
            .into(),
        entry("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings").into(),
        entry("ValidatingWebhookConfiguration", "validatingwebhookconfigurations").into(),
    ]
}
