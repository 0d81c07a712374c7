use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde_json::{Value, json};

use super::*;
use crate::kinds::SIGNING_REQUESTS;
use crate::trial::Trial;
use crate::{Controller, object};

/// Writes down what it is to sign.
struct Plain;

impl Signer for Plain {
    fn sign(&self, request: &Request, usages: &[&str], validity: Validity) -> Result<String, String> {
        let times = [validity.not_before, validity.not_after].map(time::seconds);
        Ok(format!("{} {usages:?} {times:?}", request.common_name))
    }
}

fn make() -> Vec<Box<dyn Controller>> {
    let signers: BTreeMap<&'static str, Arc<dyn Signer>> =
        SIGNERS.into_iter().map(|name| (name, Arc::new(Plain) as Arc<dyn Signer>)).collect();
    vec![Box::new(Approving), Box::new(Signing::new(signers, Duration::from_secs(365 * 24 * 3600)))]
}

fn pkcs10(name: &str, organization: &str, dns: &[&str]) -> String {
    let mut parameters = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    parameters.distinguished_name = subject;
    let names = dns.iter().map(|name| SanType::DnsName((*name).try_into().expect("a name")));
    parameters.subject_alt_names = names.collect();
    let key = KeyPair::generate().expect("a key");
    STANDARD.encode(parameters.serialize_request(&key).expect("a request").pem().expect("PEM"))
}

const CLIENT_USAGES: [&str; 2] = ["digital signature", "client auth"];
const SERVER_USAGES: [&str; 3] = ["digital signature", "key encipherment", "server auth"];

fn request(name: &str, signer: &str, user: &str, request: &str, usages: &[&str]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"signerName": signer, "username": user, "groups": ["g"], "request": request, "usages": usages},
    })
}

fn get(trial: &Trial, name: &str) -> Arc<Value> {
    trial.get(SIGNING_REQUESTS, "", name).expect("it is there")
}

fn certificate(object: &Value) -> Option<String> {
    let encoded = object["status"]["certificate"].as_str()?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

#[test]
fn a_kubelet_that_may_ask_gets_its_certificate() {
    let mut trial = Trial::new(make, 1);
    let own = pkcs10("system:node:a", "system:nodes", &[]);
    trial.create(SIGNING_REQUESTS, request("own", KUBELET_CLIENT, "system:node:a", &own, &CLIENT_USAGES));
    trial.settle(Duration::ZERO);
    let signed = get(&trial, "own");
    let condition = object::condition(&signed, "Approved").expect("it is approved");
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (
            &json!("AutoApproved"),
            &json!("Auto approving self kubelet client certificate after SubjectAccessReview.")
        )
    );
    let said = certificate(&signed).expect("it is signed");
    assert!(said.starts_with(r#"system:node:a ["digital signature", "client auth"]"#), "{said}");
}

#[test]
fn who_joins_may_ask_for_any_node_where_the_server_says_so() {
    let mut trial = Trial::new(make, 1);
    trial.allows = |review| {
        let asked = &review["spec"]["resourceAttributes"]["subresource"];
        review["spec"]["user"] == "joins" && asked == "nodeclient"
            || asked == "selfnodeclient" && review["spec"]["user"] == "never"
    };
    let node = pkcs10("system:node:a", "system:nodes", &[]);
    trial.create(SIGNING_REQUESTS, request("joins", KUBELET_CLIENT, "joins", &node, &CLIENT_USAGES));
    trial.create(SIGNING_REQUESTS, request("self", KUBELET_CLIENT, "system:node:a", &node, &CLIENT_USAGES));
    trial.pass(Duration::from_secs(60));
    let joined = get(&trial, "joins");
    let message = &object::condition(&joined, "Approved").expect("it is approved")["message"];
    assert_eq!(message, "Auto approving kubelet client certificate after SubjectAccessReview.");
    assert!(object::condition(&get(&trial, "self"), "Approved").is_none(), "it may do neither");
}

#[test]
fn nobody_is_approved_who_asks_for_something_else() {
    let mut trial = Trial::new(make, 1);
    let node = pkcs10("system:node:a", "system:nodes", &[]);
    let stranger = pkcs10("somebody", "system:nodes", &[]);
    let named = pkcs10("system:node:a", "system:nodes", &["a.example"]);
    let user = "system:node:a";
    for (name, signer, body, usages) in [
        ("master", KUBELET_CLIENT, pkcs10("system:node:a", "system:masters", &[]), &CLIENT_USAGES[..]),
        ("stranger", KUBELET_CLIENT, stranger, &CLIENT_USAGES),
        ("named", KUBELET_CLIENT, named.clone(), &CLIENT_USAGES),
        ("server", KUBELET_CLIENT, node.clone(), &SERVER_USAGES),
        ("serving", KUBELET_SERVING, named, &SERVER_USAGES),
        ("client", CLIENT, node, &CLIENT_USAGES),
        ("garbled", KUBELET_CLIENT, "AAAA".to_owned(), &CLIENT_USAGES),
    ] {
        trial.create(SIGNING_REQUESTS, request(name, signer, user, &body, usages));
    }
    trial.pass(Duration::from_secs(60));
    for object in trial.all(SIGNING_REQUESTS) {
        assert!(object["status"]["conditions"].is_null(), "{object}");
    }
}

fn approved(mut object: Value) -> Value {
    object["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    object
}

#[test]
fn a_signer_says_why_it_does_not_sign() {
    let mut trial = Trial::new(make, 1);
    let nodes = |names: &[&str]| pkcs10("system:node:a", "system:nodes", names);
    for (name, signer, body, usages, why) in [
        (
            "masters",
            KUBELET_CLIENT,
            pkcs10("system:node:a", "system:masters", &[]),
            &CLIENT_USAGES[..],
            Some("subject organization is not system:nodes"),
        ),
        ("names", KUBELET_CLIENT, nodes(&["a"]), &CLIENT_USAGES, Some("DNS subjectAltNames are not allowed")),
        (
            "common",
            KUBELET_CLIENT,
            pkcs10("a", "system:nodes", &[]),
            &CLIENT_USAGES,
            Some("subject common name does not begin with system:node:"),
        ),
        (
            "usages",
            KUBELET_CLIENT,
            nodes(&[]),
            &SERVER_USAGES,
            Some("usages did not match [client auth digital signature key encipherment]"),
        ),
        (
            "nameless",
            KUBELET_SERVING,
            nodes(&[]),
            &SERVER_USAGES,
            Some("DNS or IP subjectAltName is required"),
        ),
        ("serving", KUBELET_SERVING, nodes(&["a"]), &SERVER_USAGES, None),
        (
            "other",
            CLIENT,
            nodes(&[]),
            &SERVER_USAGES,
            Some("invalid usage for client certificate: server auth"),
        ),
        (
            "none",
            CLIENT,
            nodes(&[]),
            &["digital signature"],
            Some("missing required usage for client certificate: client auth"),
        ),
        ("client", CLIENT, pkcs10("me", "us", &[]), &CLIENT_USAGES, None),
        ("legacy", LEGACY, pkcs10("me", "us", &["a"]), &["any"], None),
    ] {
        trial.create(SIGNING_REQUESTS, approved(request(name, signer, "me", &body, usages)));
        trial.settle(Duration::from_secs(1));
        let object = get(&trial, name);
        let failed = object::condition(&object, "Failed").map(|failed| text(failed, &["message"]).to_owned());
        assert_eq!(failed.as_deref(), why, "{name}");
        assert_eq!(certificate(&object).is_some(), why.is_none(), "{name}");
    }
    trial.create(
        SIGNING_REQUESTS,
        approved(request("strange", "example.org/mine", "me", &nodes(&[]), &CLIENT_USAGES)),
    );
    let mut denied = approved(request("denied", CLIENT, "me", &nodes(&[]), &CLIENT_USAGES));
    denied["status"]["conditions"] = json!([{"type": "Approved"}, {"type": "Denied"}]);
    trial.create(SIGNING_REQUESTS, denied);
    trial.settle(Duration::from_secs(1));
    assert!(certificate(&get(&trial, "strange")).is_none() && certificate(&get(&trial, "denied")).is_none());
}

#[test]
fn a_certificate_is_valid_as_long_as_was_asked_for_within_limits() {
    let ends_after = |asked: Option<i64>| {
        let mut trial = Trial::new(make, 1);
        let mut object = approved(request("a", CLIENT, "me", &pkcs10("me", "us", &[]), &CLIENT_USAGES));
        if let Some(asked) = asked {
            object["spec"]["expirationSeconds"] = asked.into();
        }
        trial.create(SIGNING_REQUESTS, object);
        let before = trial.now();
        trial.settle(Duration::ZERO);
        let said = certificate(&get(&trial, "a")).expect("it is signed");
        let times: Vec<_> = said.split('"').filter_map(time::parse).collect();
        let end = times[1].duration_since(before).expect("later").as_secs();
        // Rounded to minutes: the trial's clock goes on meanwhile.
        (before.duration_since(times[0]).expect("sooner").as_secs().div_ceil(60), end / 60)
    };
    let year = 365 * 24 * 60;
    assert_eq!(ends_after(None), (5, year - 5));
    assert_eq!(ends_after(Some(10 * 365 * 24 * 3600)), (5, year - 5));
    assert_eq!(ends_after(Some(3600)), (5, 60));
    assert_eq!(ends_after(Some(1)), (5, 10));
}
