//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction: who may say yes to a certificate, and what
//! nobody gets one for.

use apiclient_core::wire::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::{Admission, AdmissionRequest, Notes, World};
use crate::access::{Attributes, User, quoted};
use crate::edit::text;

pub(super) const GROUP: &str = "certificates.k8s.io";
pub(super) const REQUESTS: &str = "certificatesigningrequests";

/// Common name and organizations that a request (PEM in base64, as in `spec.request`) asks for.
pub(super) fn subject(request: &Value) -> Result<(String, Vec<String>), &'static str> {
    const NO_PEM: &str = "PEM block type must be CERTIFICATE REQUEST";
    let bytes = STANDARD.decode(request.as_str().unwrap_or_default()).map_err(|_| NO_PEM)?;
    let (_, pem) = parse_x509_pem(&bytes).map_err(|_| NO_PEM)?;
    if pem.label != "CERTIFICATE REQUEST" {
        return Err(NO_PEM);
    }
    let (_, parsed) =
        X509CertificationRequest::from_der(&pem.contents).map_err(|_| "asn1: structure error")?;
    let subject = &parsed.certification_request_info.subject;
    let name = subject.iter_common_name().last().and_then(|name| name.as_str().ok()).unwrap_or_default();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    Ok((name.to_owned(), groups.collect()))
}

/// May use the signer, by its name or by `DOMAIN/*`.
fn may(world: &World<'_>, user: &User, verb: &str, signer: &str) -> bool {
    let ask = |name: &str| {
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        world.authorizer.authorize(&attributes, user).is_allowed()
    };
    let domain = signer.split('/').next().unwrap_or_default();
    ask(signer) || ask(&format!("{domain}/*"))
}

#[derive(Debug)]
pub struct CertificateApproval;

impl Admission for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        let (true, Some(old)) =
            (request.is_subresource(GROUP, REQUESTS, "approval") && request.is_update(), request.old)
        else {
            return Ok(());
        };
        // The old one: the new one may name another signer.
        let signer = text(old, &["spec", "signerName"]);
        if may(world, request.user, "approve", signer) {
            return Ok(());
        }
        let signer = quoted(signer);
        Err(request.forbidden(&format!("user not permitted to approve requests with signerName {signer}")))
    }
}

#[derive(Debug)]
pub struct CertificateSigning;

impl Admission for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        let (true, Some(old)) =
            (request.is_subresource(GROUP, REQUESTS, "status") && request.is_update(), request.old)
        else {
            return Ok(());
        };
        let same = |field: &str| {
            let [new, old] = [&*request.object, old].map(|object| &object["status"][field]);
            new == old || is_empty(new) && is_empty(old)
        };
        let signer = text(old, &["spec", "signerName"]);
        if same("certificate") && same("conditions") || may(world, request.user, "sign", signer) {
            return Ok(());
        }
        let signer = quoted(signer);
        Err(request.forbidden(&format!("user not permitted to sign requests with signerName {signer}")))
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

#[derive(Debug)]
pub struct CertificateSubjectRestriction;

impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        _world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
        let spec = &request.object["spec"];
        if !request.is(GROUP, REQUESTS) || !request.is_create() || text(spec, &["signerName"]) != SIGNER {
            return Ok(());
        }
        let (_, groups) = subject(&spec["request"])
            .map_err(|why| request.forbidden(&format!("failed to parse CSR: {why}")))?;
        if groups.iter().any(|group| group == User::MASTERS) {
            let why = format!("use of {SIGNER} signer with system:masters group is not allowed");
            return Err(request.forbidden(&why));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Operation;
    use super::super::tests::{Case, Stored};
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};
    use serde_json::json;

    /// A request for a certificate, as `spec.request` has it.
    pub fn request(name: &str, group: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        let key = KeyPair::generate().expect("a key");
        STANDARD.encode(params.serialize_request(&key).expect("a request").pem().expect("PEM"))
    }

    fn case(subresource: &'static str, object: Value) -> Case {
        let old = json!({"metadata": {"name": "c"}, "spec": {"signerName": "acme.org/own"}, "status": {}});
        Case {
            subresource,
            namespace: "",
            name: "c",
            operation: Operation::Update,
            old: Some(old),
            ..Case::create(GROUP, REQUESTS, object)
        }
    }

    #[test]
    fn only_who_may_use_the_signer_approves_and_signs() {
        let stored = Stored::default();
        let refused =
            case("approval", json!({})).validated(&CertificateApproval, &stored).expect_err("a refusal");
        assert_eq!(
            refused.message,
            r#"certificatesigningrequests.certificates.k8s.io "c" is forbidden: user not permitted to approve requests with signerName "acme.org/own""#
        );
        for allowed in [&["approve signers acme.org/own"], &["approve signers acme.org/*"]] {
            let case = Case { allowed, ..case("approval", json!({})) };
            case.validated(&CertificateApproval, &stored).expect("admitted");
        }
        let signed = json!({"status": {"certificate": "x"}});
        assert!(case("status", signed).validated(&CertificateSigning, &stored).is_err());
        case("status", json!({"status": {"conditions": []}}))
            .validated(&CertificateSigning, &stored)
            .expect("nothing is signed");
    }

    #[test]
    fn nobody_is_signed_into_the_masters() {
        let tried = |group: &str, signer: &str| {
            let object = json!({"metadata": {"name": "c"}, "spec": {"signerName": signer, "request": request("x", group)}});
            let case = Case { name: "c", namespace: "", ..Case::create(GROUP, REQUESTS, object) };
            case.validated(&CertificateSubjectRestriction, &Stored::default())
        };
        let client = "kubernetes.io/kube-apiserver-client";
        assert!(tried("system:masters", client).expect_err("a refusal").message.ends_with(
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        ));
        tried("devs", client).expect("admitted");
        tried("system:masters", "acme.org/own").expect("that signer's own affair");
    }
}
