//! The kinds of `certificates.k8s.io`: CertificateSigningRequest.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::Kind;
use crate::kind::Subresource::{Approval, Status};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let certificates =
        Group { library, name: "certificates.k8s.io", package: "io.k8s.api.certificates", versions: &["v1"] };
    vec![
        certificates
            .cluster_kind("CertificateSigningRequest", "certificatesigningrequests")
            .short(&["csr"])
            .subresources(&[Approval, Status])
            .into(),
    ]
}
