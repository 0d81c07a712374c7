//! What a request for a certificate must be. What was stored before and would be refused today may stay.

use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem;
use crate::at::{At, Errors};
use crate::edit::{list, semantic_eq, text};
use crate::field::{FieldError, Path, quote};
use crate::names;

const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Seconds that a certificate is valid at least.
const SHORTEST: i64 = 600;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// What an update may do, by its subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    Neither,
    /// Set the certificate.
    Certify,
    /// Approve or deny.
    Decide,
}

/// `old` is `null` where there is none.
pub fn validate(request: &At<'_>, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (request.get("spec"), At::object(old).get("spec"));
    let body = spec.get("request");
    errors.extend(request_problem(body.text()).map(|problem| body.invalid_text(&problem)));
    errors.extend(usages(&spec.get("usages"), &before.get("usages")));
    let signer = spec.get("signerName");
    if signer.text() == LEGACY && before.get("signerName").text() != LEGACY {
        errors.push(signer.invalid("the legacy signerName is not allowed via this API version"));
    } else {
        errors.extend(signer_name(&signer));
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|seconds| seconds < SHORTEST) {
        errors.push(seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)"));
    }
    errors.extend(conditions(&request.get("status").get("conditions"), old));
    let certificate = request.get("status").get("certificate");
    let stored = At::object(old).get("status").get("certificate");
    let kept = !old.is_null()
        && (certificate.text() == stored.text() || certificate_problem(stored.text()).is_some());
    if let Some(problem) = certificate_problem(certificate.text()).filter(|_| !kept) {
        let shown = Value::from("<certificate data>");
        errors.push(FieldError::invalid(&certificate.path, &shown, &problem));
    }
    errors
}

pub fn validate_update(new: &At<'_>, old: &Value, may: May) -> Errors {
    let mut errors = validate(new, old);
    let path = Path::new("status").child("conditions");
    let of = |object: &Value, kind: &str| -> Vec<Value> {
        let all = list(object, &["status", "conditions"]).iter();
        all.filter(|condition| text(condition, &["type"]) == kind).cloned().collect()
    };
    let refuse = |what: &str, kind: &str| {
        FieldError::forbidden(&path, &format!("updates may not {what} a condition of type \"{kind}\""))
    };
    for kind in ["Approved", "Denied", "Failed"] {
        if of(new.value, kind).len() < of(old, kind).len() {
            errors.push(refuse("remove", kind));
        }
    }
    if may != May::Decide {
        for kind in ["Approved", "Denied"] {
            let (now, before) = (of(new.value, kind), of(old, kind));
            if now.len() > before.len() {
                errors.push(refuse("add", kind));
            } else if now.len() == before.len() && !semantic_eq(&now.into(), &before.into()) {
                errors.push(refuse("modify", kind));
            }
        }
    }
    let (certificate, stored) = (new.get("status").get("certificate"), text(old, &["status", "certificate"]));
    if certificate.text() != stored {
        if may != May::Certify {
            errors.push(certificate.forbidden("updates may not set certificate content"));
        } else if !stored.is_empty() {
            errors.push(certificate.forbidden("updates may not modify existing certificate content"));
        }
    }
    errors
}

fn request_problem(field: &str) -> Option<String> {
    let blocks = pem::blocks(&pem::bytes(field));
    let Some(block) = blocks.first().filter(|block| block.label == "CERTIFICATE REQUEST") else {
        return Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    match X509CertificationRequest::from_der(&block.contents) {
        Ok(([], request)) => {
            forged(&request).then(|| "x509: the signature is not by the key of the request".to_owned())
        }
        Ok(_) => Some("asn1: syntax error: trailing data".to_owned()),
        Err(_) => Some("asn1: structure error".to_owned()),
    }
}

/// The signature is another key's. One of an algorithm that cannot be checked here is taken as right.
fn forged(request: &X509CertificationRequest<'_>) -> bool {
    matches!(request.verify_signature(), Err(X509Error::SignatureVerificationError))
}

fn certificate_problem(field: &str) -> Option<String> {
    if field.is_empty() {
        return None;
    }
    let blocks = pem::blocks(&pem::bytes(field));
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            let found = quote(&block.label);
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {found}"));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        if block.contents.is_empty() {
            return Some("found CERTIFICATE PEM block containing 0 certificates".to_owned());
        }
        if X509Certificate::from_der(&block.contents).is_err() {
            return Some("x509: malformed certificate".to_owned());
        }
    }
    blocks.is_empty().then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

fn usages(usages: &At<'_>, before: &At<'_>) -> Errors {
    let unknown = |usage: &At<'_>| !USAGES.contains(&usage.text());
    let texts = |list: &At<'_>| list.items().map(|usage| usage.text().to_owned()).collect::<Vec<_>>();
    let repeated = |all: &[String], nth: usize| all[..nth].contains(&all[nth]);
    let stored = texts(before);
    let keep_unknown = before.items().any(|usage| unknown(&usage));
    let keep_repeated = (0..stored.len()).any(|nth| repeated(&stored, nth));
    let mut errors = Errors::new();
    if usages.is_empty() {
        errors.push(usages.required(""));
    }
    if !keep_unknown {
        errors.extend(usages.items().filter(unknown).map(|usage| usage.not_supported(&USAGES)));
    }
    if !keep_repeated {
        let all = texts(usages);
        let again = usages.items().enumerate().filter(|(nth, _)| repeated(&all, *nth));
        errors.extend(again.map(|(_, usage)| usage.duplicate()));
    }
    errors
}

/// `example.com/name` (`ValidateSignerName`).
fn signer_name(signer: &At<'_>) -> Errors {
    const DOMAIN: usize = 253;
    const NAME: usize = 253 + 253 + 63 + 1 + 1;
    if signer.is_empty() {
        return vec![signer.required("")];
    }
    let parts: Vec<&str> = signer.text().split('/').collect();
    let [domain, path] = parts[..] else {
        return vec![
            signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        ];
    };
    let mut errors = Errors::new();
    if domain.len() > DOMAIN {
        errors.push(FieldError::too_long(&signer.path, DOMAIN));
    }
    let part = |text: &str, rule: fn(&str) -> Vec<String>| -> Errors {
        let wrong =
            text.split('.').find_map(|label| Some((label, rule(label))).filter(|(_, all)| !all.is_empty()));
        let shown = Value::from(text);
        let (label, problems) = wrong.unwrap_or_default();
        let problem = |problem| format!("validating label {}: {problem}", quote(label));
        problems.into_iter().map(|one| FieldError::invalid(&signer.path, &shown, &problem(one))).collect()
    };
    errors.extend(part(domain, names::dns1123_label));
    if !domain.contains('.') {
        let problem = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(&signer.path, &Value::from(domain), problem));
    }
    errors.extend(part(path, names::dns1123_subdomain));
    if signer.text().len() > NAME {
        errors.push(FieldError::too_long(&signer.path, NAME));
    }
    errors
}

fn conditions(conditions: &At<'_>, old: &Value) -> Errors {
    let stored = list(old, &["status", "conditions"]);
    let had = |kind: &str| stored.iter().any(|condition| text(condition, &["type"]) == kind);
    let kinds: Vec<&str> = stored.iter().map(|condition| text(condition, &["type"])).collect();
    let keep_repeated = (0..kinds.len()).any(|nth| kinds[..nth].contains(&kinds[nth]));
    let (keep_both, keep_empty) = (had("Approved") && had("Denied"), had(""));
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for condition in conditions.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        if kind.is_empty() && !keep_empty {
            errors.push(kind.required(""));
        }
        let decided = matches!(kind.text(), "Approved" | "Denied" | "Failed");
        let allowed: &[&str] = if decided { &["True"] } else { &["False", "True", "Unknown"] };
        match status.text() {
            "" => errors.push(status.required("")),
            text if allowed.contains(&text) => {}
            _ => errors.push(status.not_supported(allowed)),
        }
        let other = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "-",
        };
        if !keep_both && seen.contains(&other) {
            let problem = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&conditions.path, kind.value, problem));
        }
        if !keep_repeated && seen.contains(&kind.text()) {
            errors.push(FieldError::duplicate(&kind.path, &Value::from(kind.text())));
        }
        seen.push(kind.text());
    }
    errors
}
