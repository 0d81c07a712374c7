//! Kubelets' client certificates are approved for who may ask for them without a person.

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{self, text};
use serde_json::{Value, json};

use super::{ACCOUNT, KUBELET_CLIENT, Request, demands, has, has_certificate, usages};
use crate::kinds::SIGNING_REQUESTS;
use crate::{Act, Change, Context, Controller, Decision, Kind, Refused, World, Write, object};

/// Keys are requests.
#[derive(Debug)]
pub struct Approving;

/// As whom a request may be approved: the subresource that its sender must be allowed to create, and what is told then.
const WAYS: [(&str, &str); 2] = [
    ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
    ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
];

impl Controller for Approving {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-approving-controller"
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
        let Some(object) = world.get(SIGNING_REQUESTS, key) else { return Decision::nothing() };
        match ways(object).first() {
            Some(way) => Decision::nothing().then(approval(object, *way, context)),
            None => Decision::nothing(),
        }
    }

    /// Who may not ask for himself may be one who may ask for any node.
    fn refused(&self, world: &World, key: &ObjectName, context: &Context, refused: &Refused<'_>) -> Vec<Act> {
        let Some(object) = world.get(SIGNING_REQUESTS, key).filter(|_| refused.code == 403) else {
            return Vec::new();
        };
        ways(object).get(1).map(|way| approval(object, *way, context)).into_iter().collect()
    }
}

/// The ways that fit a request which nobody has decided about.
fn ways(object: &Value) -> Vec<(&'static str, &'static str)> {
    let decided = has_certificate(object) || has(object, "Approved") || has(object, "Denied");
    if decided || text(object, &["spec", "signerName"]) != KUBELET_CLIENT {
        return Vec::new();
    }
    let Ok(request) = Request::of(object) else { return Vec::new() };
    if demands::kubelet_client(&request, &usages(object)).is_err() {
        return Vec::new();
    }
    let own = text(object, &["spec", "username"]) == request.common_name;
    WAYS.into_iter().filter(|(way, _)| own || *way != "selfnodeclient").collect()
}

fn approval(object: &Value, (way, message): (&str, &str), context: &Context) -> Act {
    let mut approved = object.clone();
    let now = time::seconds(context.now);
    let condition = json!({
        "type": "Approved", "status": "True", "reason": "AutoApproved", "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    });
    if let Some(status) = edit::child(&mut approved, "status") {
        let mut conditions = edit::list(status, &["conditions"]).to_vec();
        conditions.push(condition);
        edit::set(status, "conditions", conditions);
    }
    let spec = &object["spec"];
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": spec["username"], "uid": spec["uid"], "groups": spec["groups"], "extra": spec["extra"],
            "resourceAttributes": {
                "group": "certificates.k8s.io", "version": "*", "resource": "certificatesigningrequests",
                "subresource": way, "verb": "create",
            },
        },
    });
    Act::new(SIGNING_REQUESTS, Write::Update { part: "approval", object: approved }).while_allowed(review)
}
