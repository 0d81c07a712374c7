//! The ServiceCIDR `kubernetes`, which says of the cluster's flags what others can read.
//!
//! Facts: it is made where there is none, gets a second family that the flags have got, and is never changed otherwise; where
//! it is not what the flags say, an Event tells, and addresses still come from it. The controller manager protects ranges
//! that are in use.

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::allocation::ranges::DEFAULT;
use control_core::allocation::repair::Warning;
use control_core::edit;
use http::Method;
use serde_json::{Value, json};

use super::{Keeper, tell};
use crate::run::asker::Asker;

const PATH: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// What was told already.
#[derive(Debug, Default)]
pub struct Said {
    differs: bool,
    unready: bool,
}

/// What the object calls for. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    AddFamily,
    SetReady,
    /// The flags say something else.
    Differs,
    /// Somebody says that it is not ready.
    Unready,
    Nothing,
}

fn decide(found: Option<&Value>, wanted: &[String]) -> Step {
    let Some(object) = found else { return Step::Create };
    let own: Vec<&str> = edit::list(object, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
    if own.len() == 1 && wanted.len() == 2 && own[0] == wanted[0] {
        return Step::AddFamily;
    }
    if !edit::text(object, &["metadata", "deletionTimestamp"]).is_empty() {
        return Step::Nothing;
    }
    if own != wanted {
        return Step::Differs;
    }
    let mut conditions = edit::list(object, &["status", "conditions"]).iter();
    let ready = conditions.find(|condition| edit::text(condition, &["type"]) == "Ready");
    match ready.map(|ready| edit::text(ready, &["status"])) {
        Some("True") => Step::Nothing,
        Some("False") => Step::Unready,
        _ => Step::SetReady,
    }
}

/// Makes it what the flags say, as far as that may be.
///
/// # Errors
/// Storage is away, or refuses.
pub async fn sync(keeper: &mut Keeper, asker: &Asker<'_>) -> Result<(), Status> {
    let path = format!("{PATH}/{DEFAULT}");
    loop {
        let found = asker.get(&path).await?;
        let object = found.as_ref().unwrap_or(&Value::Null);
        let own = edit::at(object, &["spec", "cidrs"]);
        match decide(found.as_ref(), &keeper.networks) {
            Step::Create => {
                let object = json!({
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "ServiceCIDR",
                    "metadata": { "name": DEFAULT },
                    "spec": { "cidrs": keeper.networks },
                });
                asker.create(PATH, &object).await?;
                continue;
            }
            Step::AddFamily => {
                let mut object = object.clone();
                if let Some(spec) = edit::child(&mut object, "spec") {
                    edit::set(spec, "cidrs", keeper.networks.clone());
                }
                asker.ask(Method::PUT, &path, &object).await?;
                continue;
            }
            Step::SetReady => {
                let status = json!({
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "ServiceCIDR",
                    "metadata": { "name": DEFAULT },
                    "status": { "conditions": [{
                        "type": "Ready",
                        "status": "True",
                        "message": "Kubernetes default Service CIDR is ready",
                        "lastTransitionTime": time::seconds(std::time::SystemTime::now()),
                    }]},
                });
                let path =
                    format!("{path}/status?fieldManager=kubernetes-service-cidr-controller&force=true");
                asker.apply(&path, &status).await?;
            }
            Step::Differs if !std::mem::replace(&mut keeper.said.differs, true) => {
                let flags = keeper.networks.join(" ");
                let own: Vec<&str> = own.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let note = format!(
                    "The default ServiceCIDR [{}] does not match the controller flag configurations [{flags}]",
                    own.join(" ")
                );
                warn(keeper, object, "KubernetesDefaultServiceCIDRInconsistent", note);
            }
            Step::Unready if !std::mem::replace(&mut keeper.said.unready, true) => {
                let note = "Configuration matches, but the default ServiceCIDR is not ready".to_owned();
                warn(keeper, object, "KubernetesDefaultServiceCIDRError", note);
            }
            Step::Differs | Step::Unready | Step::Nothing => {}
        }
        return Ok(());
    }
}

fn warn(keeper: &Keeper, object: &Value, reason: &'static str, note: String) {
    tell(&keeper.recorders.cidrs, object, Warning { reason, action: "ServiceCIDRSync", note });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_make_the_object_and_may_only_add_a_family() {
        let (one, both) =
            (vec!["10.0.0.0/24".to_owned()], vec!["10.0.0.0/24".to_owned(), "fd00::/108".to_owned()]);
        let object = |cidrs: &[String], conditions: Value| json!({"metadata": {}, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}});
        let ready = |status: &str| json!([{"type": "Ready", "status": status}]);
        assert_eq!(decide(None, &one), Step::Create);
        assert_eq!(decide(Some(&object(&one, json!([]))), &one), Step::SetReady);
        assert_eq!(decide(Some(&object(&one, ready("True"))), &one), Step::Nothing);
        assert_eq!(decide(Some(&object(&one, ready("False"))), &one), Step::Unready);
        assert_eq!(decide(Some(&object(&one, ready("True"))), &both), Step::AddFamily);
        assert_eq!(decide(Some(&object(&both, ready("True"))), &one), Step::Differs);
        let mut going = object(&one, json!([]));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(decide(Some(&going), &one), Step::Nothing);
    }
}
