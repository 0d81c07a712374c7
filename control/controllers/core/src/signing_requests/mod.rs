//! Certificates that are asked for (CertificateSigningRequests): which are approved by themselves, and what is signed.
//!
//! Owns: what kubelets may have without a person ([`Approving`]), what each signer of `kubernetes.io` demands of a request
//! ([`Signing`]). Never: makes a certificate; see [`Signer`]. Facts: kube-controller-manager 1.36,
//! `pkg/controller/certificates` and `pkg/apis/certificates/helpers.go`.

mod approving;
mod demands;
mod request;
mod signing;
#[cfg(test)]
mod tests;

use control_core::edit::{list, text};
use serde_json::Value;

pub use approving::Approving;
pub use request::Request;
pub use signing::{Signer, Signing, Validity};

/// The account of all controllers of requests.
const ACCOUNT: &str = "certificate-controller";

/// The signer of kubelets' client certificates.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// All signers that are served.
pub const SIGNERS: [&str; 4] = [KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY];

fn has_certificate(request: &Value) -> bool {
    !text(request, &["status", "certificate"]).is_empty()
}

/// It has a condition of this type; `Failed` and others may be there and not be true.
fn has(request: &Value, of: &str) -> bool {
    list(request, &["status", "conditions"]).iter().any(|condition| text(condition, &["type"]) == of)
}

fn usages(request: &Value) -> Vec<&str> {
    list(request, &["spec", "usages"]).iter().filter_map(Value::as_str).collect()
}
