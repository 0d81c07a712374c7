//! ServiceAccount: each pod runs as one, and finds its token where clients look for it.

use std::sync::Arc;

use apiclient_core::wire::Status;
use serde_json::{Value, json};

use super::pod::{is_mirror, secrets};
use super::{Admission, AdmissionRequest, Notes, Operation, World};
use crate::edit::{self, list, text};

#[derive(Debug)]
pub struct ServiceAccount;

const DEFAULT: &str = "default";
const VOLUME: &str = "kube-api-access-";
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// As the original's tokens: shown as an hour, with seven seconds by which they are known.
const TOKEN_SECONDS: u32 = 3607;

impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if !request.is("", "pods") || !request.is_create() || is_mirror(request.object) {
            return Ok(());
        }
        if text(request.object, &["spec", "serviceAccountName"]).is_empty()
            && let Some(spec) = edit::child(request.object, "spec")
        {
            // The old name of the field goes with it.
            edit::set(spec, "serviceAccountName", DEFAULT);
            edit::set(spec, "serviceAccount", DEFAULT);
        }
        let account = account(request, world)?;
        let field = "automountServiceAccountToken";
        let of_pod = request.object["spec"][field].as_bool();
        if of_pod.or_else(|| account[field].as_bool()).unwrap_or(true) {
            mount(request.object, world.random);
        }
        if list(request.object, &["spec", "imagePullSecrets"]).is_empty() {
            let names: Vec<_> = list(&account, &["imagePullSecrets"])
                .iter()
                .map(|one| json!({"name": one["name"]}))
                .collect();
            if let (Some(spec), false) = (edit::child(request.object, "spec"), names.is_empty()) {
                edit::set(spec, "imagePullSecrets", names);
            }
        }
        Ok(())
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        let ephemeral = request.is_subresource("", "pods", "ephemeralcontainers")
            && request.operation == Operation::Update;
        let creates = request.is("", "pods") && request.is_create();
        if !ephemeral && !creates {
            return Ok(());
        }
        let pod = &*request.object;
        if !ephemeral && is_mirror(pod) {
            return mirror(pod).map_err(|why| request.forbidden(why));
        }
        if text(pod, &["spec", "serviceAccountName"]).is_empty() {
            let name = text(pod, &["metadata", "name"]);
            let why = format!("no service account specified for pod {}/{name}", request.namespace);
            return Err(request.forbidden(&why));
        }
        let account = account(request, world)?;
        let enforced =
            text(&account, &["metadata", "annotations", "kubernetes.io/enforce-mountable-secrets"]);
        if !matches!(enforced, "1" | "t" | "T" | "TRUE" | "true" | "True") {
            return Ok(());
        }
        mountable(pod, &account, ephemeral).map_err(|why| request.forbidden(&why))
    }
}

fn account(request: &AdmissionRequest<'_>, world: &World<'_>) -> Result<Arc<Value>, Status> {
    let name = text(request.object, &["spec", "serviceAccountName"]);
    let found = world.objects.get("serviceaccounts", request.namespace, name);
    found.ok_or_else(|| {
        let namespace = request.namespace;
        request.forbidden(&format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        ))
    })
}

/// A node makes mirror pods itself: they must open nothing to it.
fn mirror(pod: &Value) -> Result<(), &'static str> {
    if !text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    if !secrets(pod).is_empty() {
        return Err("a mirror pod may not reference secrets");
    }
    let sources =
        list(pod, &["spec", "volumes"]).iter().flat_map(|volume| list(volume, &["projected", "sources"]));
    if sources.into_iter().any(|source| source["serviceAccountToken"].is_object()) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

fn mount(pod: &mut Value, random: u64) {
    let volumes = list(pod, &["spec", "volumes"]);
    let there = volumes.iter().map(|volume| text(volume, &["name"])).find(|name| name.starts_with(VOLUME));
    let (name, found) = match there {
        Some(name) => (name.to_owned(), true),
        None => (format!("{VOLUME}{}", suffix(random)), false),
    };
    let Some(spec) = edit::existing(pod, "spec") else { return };
    let mut needed = false;
    for kind in ["initContainers", "containers"] {
        for container in edit::items(spec, kind) {
            let mounts = list(container, &["volumeMounts"]);
            if mounts.iter().any(|mount| text(mount, &["mountPath"]) == MOUNT) {
                continue;
            }
            needed = true;
            push(container, "volumeMounts", json!({"name": name, "readOnly": true, "mountPath": MOUNT}));
        }
    }
    if needed && !found {
        let sources = json!([
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]);
        push(spec, "volumes", json!({"name": name, "projected": {"sources": sources, "defaultMode": 420}}));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => edit::set(object, field, vec![item]),
    }
}

/// Five letters as generated names end in: no vowels, and nothing that looks like something else.
fn suffix(mut random: u64) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| {
            let letter = LETTERS[(random % 27) as usize];
            random /= 27;
            char::from(letter)
        })
        .collect()
}

/// Only secrets that the account lists, where it asks for that.
fn mountable(pod: &Value, account: &Value, ephemeral: bool) -> Result<(), String> {
    let owner = text(account, &["metadata", "name"]);
    let names = |field: &str| -> Vec<&str> {
        list(account, &[field]).iter().map(|one| text(one, &["name"])).collect()
    };
    let (allowed, pull) = (names("secrets"), names("imagePullSecrets"));
    let because = format!("is not allowed because service account {owner} does not reference that");
    if !ephemeral {
        for volume in list(pod, &["spec", "volumes"]) {
            let secret = text(volume, &["secret", "secretName"]);
            if volume["secret"].is_object() && !allowed.contains(&secret) {
                return Err(format!("volume with secret.secretName=\"{secret}\" {because} secret"));
            }
        }
    }
    let kinds: &[(&str, &str)] = if ephemeral {
        &[("ephemeralContainers", "ephemeral container")]
    } else {
        &[("initContainers", "init container"), ("containers", "container")]
    };
    for (field, what) in kinds {
        for container in list(pod, &["spec", field]) {
            let name = text(container, &["name"]);
            for variable in list(container, &["env"]) {
                let secret = &variable["valueFrom"]["secretKeyRef"];
                let (of, variable) = (text(secret, &["name"]), text(variable, &["name"]));
                if secret.is_object() && !allowed.contains(&of) {
                    return Err(format!(
                        "{what} {name} with envVar {variable} referencing secret.secretName=\"{of}\" {because} secret"
                    ));
                }
            }
            for source in list(container, &["envFrom"]) {
                let of = text(source, &["secretRef", "name"]);
                if source["secretRef"].is_object() && !allowed.contains(&of) {
                    return Err(format!(
                        "{what} {name} with envFrom referencing secret.secretName=\"{of}\" {because} secret"
                    ));
                }
            }
        }
    }
    if !ephemeral {
        for (n, secret) in list(pod, &["spec", "imagePullSecrets"]).iter().enumerate() {
            let secret = text(secret, &["name"]);
            if !pull.contains(&secret) {
                return Err(format!("imagePullSecrets[{n}].name=\"{secret}\" {because} imagePullSecret"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, Stored};
    use super::*;

    fn world() -> Stored {
        Stored::default()
            .with("serviceaccounts", json!({"metadata": {"namespace": "a", "name": "default"}}))
            .with(
                "serviceaccounts",
                json!({
                    "metadata": {"namespace": "a", "name": "quiet", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
                    "automountServiceAccountToken": false,
                    "imagePullSecrets": [{"name": "pull"}],
                }),
            )
    }

    fn pod(spec: Value) -> Case {
        Case::create("", "pods", json!({"metadata": {"name": "p"}, "spec": spec}))
    }

    #[test]
    fn a_pod_runs_as_the_default_account_and_finds_its_token() {
        let made =
            pod(json!({"containers": [{"name": "c"}]})).mutated(&ServiceAccount, &world()).expect("admitted");
        let spec = &made["spec"];
        assert_eq!(
            (&spec["serviceAccountName"], &spec["serviceAccount"]),
            (&json!("default"), &json!("default"))
        );
        let volume = &spec["volumes"][0];
        assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
        assert_eq!(volume["projected"]["defaultMode"], 420);
        let mount = &spec["containers"][0]["volumeMounts"][0];
        assert_eq!(mount, &json!({"name": volume["name"], "readOnly": true, "mountPath": MOUNT}));
        let name = volume["name"].as_str().expect("a name");
        assert_eq!((name.starts_with(VOLUME), name.len()), (true, VOLUME.len() + 5));
    }

    #[test]
    fn a_token_is_not_mounted_twice_or_against_the_will() {
        let own = json!([{"name": "mine", "mountPath": MOUNT}]);
        let made = pod(json!({"containers": [{"name": "c", "volumeMounts": own}]}));
        assert_eq!(made.mutated(&ServiceAccount, &world()).expect("admitted")["spec"].get("volumes"), None);
        let quiet = pod(json!({"serviceAccountName": "quiet", "containers": [{"name": "c"}]}));
        let made = quiet.mutated(&ServiceAccount, &world()).expect("admitted");
        assert_eq!(made["spec"]["containers"][0].get("volumeMounts"), None);
        assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
        let asked = json!({"serviceAccountName": "quiet", "automountServiceAccountToken": true, "containers": [{"name": "c"}]});
        let made = pod(asked).mutated(&ServiceAccount, &world()).expect("admitted");
        assert!(made["spec"]["volumes"][0]["projected"].is_object());
    }

    #[test]
    fn an_account_that_is_not_there_is_named() {
        let refused = pod(json!({"serviceAccountName": "x"}))
            .mutated(&ServiceAccount, &world())
            .expect_err("a refusal");
        assert_eq!(
            refused.message,
            r#"pods "p" is forbidden: error looking up service account a/x: serviceaccount "x" not found"#
        );
    }

    #[test]
    fn mirror_pods_and_strict_accounts_are_kept_from_secrets() {
        let refused = |case: Case| case.validated(&ServiceAccount, &world()).expect_err("a refusal").message;
        let mut mirror = pod(json!({"volumes": [{"secret": {"secretName": "s"}}]}));
        mirror.object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        assert!(refused(mirror).ends_with("a mirror pod may not reference secrets"));
        let strict =
            pod(json!({"serviceAccountName": "quiet", "volumes": [{"secret": {"secretName": "s"}}]}));
        assert!(refused(strict).ends_with(
            "volume with secret.secretName=\"s\" is not allowed because service account quiet does not reference that secret"
        ));
    }
}
