//! Approved requests are signed, or fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use super::{ACCOUNT, Request, demands, has, has_certificate, usages};
use crate::kinds::SIGNING_REQUESTS;
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, World, object};

/// Clocks of clients may be behind by this much.
const BACKDATE: Duration = Duration::from_secs(300);
/// What is valid for less time ends when it was asked for, and not so much sooner.
const SHORT: Duration = Duration::from_secs(8 * 3600);
/// Nothing is valid for less.
const SHORTEST: Duration = Duration::from_secs(600);

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Makes certificates.
pub trait Signer: Send + Sync {
    /// A certificate, PEM, for what is asked for, with these usages and no longer than its authority is good for itself.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn sign(&self, request: &Request, usages: &[&str], validity: Validity) -> Result<String, String>;
}

/// Keys are requests.
pub struct Signing {
    /// By their names.
    signers: BTreeMap<&'static str, Arc<dyn Signer>>,
    longest: Duration,
}

impl Signing {
    /// `longest`: how long certificates are valid where nobody asks for less.
    pub fn new(signers: BTreeMap<&'static str, Arc<dyn Signer>>, longest: Duration) -> Self {
        Self { signers, longest }
    }

    fn validity(&self, object: &Value, now: SystemTime) -> Validity {
        let asked = object["spec"]["expirationSeconds"].as_u64().map(Duration::from_secs);
        let length = asked.map_or(self.longest, |asked| asked.max(SHORTEST).min(self.longest));
        let end = if length < SHORT { length } else { length - BACKDATE };
        Validity { not_before: now - BACKDATE, not_after: now + end }
    }
}

impl Controller for Signing {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-signing-controller"
    }

    fn account(&self) -> &'static str {
        ACCOUNT
    }

    fn follows(&self) -> &[Kind] {
        &[SIGNING_REQUESTS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        keys.extend(change.new.as_ref().map(|request| object::key(request)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(object) = world.get(SIGNING_REQUESTS, key).filter(|object| is_waiting(object)) else {
            return Decision::nothing();
        };
        let name = text(object, &["spec", "signerName"]);
        let (Some(signer), Ok(request)) = (self.signers.get(name), Request::of(object)) else {
            return Decision::nothing();
        };
        let usages = usages(object);
        let mut decided = Value::clone(object);
        let Some(status) = edit::child(&mut decided, "status") else { return Decision::nothing() };
        if let Err(why) = demands::check(name, &request, &usages) {
            let now = time::seconds(context.now);
            let mut conditions = list(status, &["conditions"]).to_vec();
            conditions.push(json!({
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                "lastUpdateTime": now, "lastTransitionTime": now,
            }));
            edit::set(status, "conditions", conditions);
            return Decision::nothing().then(Act::status(SIGNING_REQUESTS, decided));
        }
        match signer.sign(&request, &usages, self.validity(object, context.now)) {
            Ok(certificate) => {
                edit::set(status, "certificate", STANDARD.encode(certificate));
                Decision::nothing().then(Act::status(SIGNING_REQUESTS, decided))
            }
            // The authority may be good again later; the original says so in its log, where nobody who waits looks.
            Err(why) => {
                let told = format!("error auto signing csr: {why}");
                let note = Note::warning(SIGNING_REQUESTS, object, "SigningFailed", told);
                Decision { stages: vec![crate::Stage::Tell(note)], again: Some(AGAIN) }
            }
        }
    }
}

/// After an authority could not sign.
const AGAIN: Duration = Duration::from_secs(60);

/// Approved, and neither signed nor given up.
fn is_waiting(object: &Value) -> bool {
    let denied = has(object, "Denied");
    has(object, "Approved")
        && !denied
        && !object::condition_is(object, "Failed", "True")
        && !has_certificate(object)
}
