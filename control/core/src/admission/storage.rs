//! DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize, and DefaultIngressClass, which is made
//! like the first.

use std::sync::Arc;

use apiclient_core::wire::Status;
use serde_json::Value;

use super::pod::quantity;
use super::{Admission, AdmissionRequest, Notes, World};
use crate::edit::{self, list, text};

const STORAGE_CLASSES: &str = "storageclasses.storage.k8s.io";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The newest of those that say so; of several made in one second the first by name.
fn default_of(world: &World<'_>, resource: &str, annotations: &[&str]) -> Option<Arc<Value>> {
    let says = |class: &Arc<Value>| {
        annotations.iter().any(|name| text(class, &["metadata", "annotations", name]) == "true")
    };
    let mut all: Vec<_> = world.objects.list(resource, "").into_iter().filter(says).collect();
    let key = |class: &Arc<Value>, field: &str| text(class, &["metadata", field]).to_owned();
    all.sort_by(|a, b| {
        let newer = key(b, "creationTimestamp").cmp(&key(a, "creationTimestamp"));
        newer.then_with(|| key(a, "name").cmp(&key(b, "name")))
    });
    all.into_iter().next()
}

#[derive(Debug)]
pub struct DefaultStorageClass;

impl Admission for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if !request.is("", "persistentvolumeclaims") || !request.is_create() {
            return Ok(());
        }
        let claim = &*request.object;
        let asked = claim["metadata"]["annotations"][OLD_CLASS].is_string()
            || claim["spec"]["storageClassName"].is_string();
        const DEFAULT: [&str; 2] = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        let default = (!asked).then(|| default_of(world, STORAGE_CLASSES, &DEFAULT)).flatten();
        if let (Some(class), Some(spec)) = (default, edit::child(request.object, "spec")) {
            edit::set(spec, "storageClassName", text(&class, &["metadata", "name"]));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct DefaultIngressClass;

impl Admission for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if !request.is("networking.k8s.io", "ingresses") || !request.is_create() {
            return Ok(());
        }
        let ingress = &*request.object;
        let asked = ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"].is_string()
            || ingress["spec"]["ingressClassName"].is_string();
        const DEFAULT: [&str; 1] = ["ingressclass.kubernetes.io/is-default-class"];
        let default =
            (!asked).then(|| default_of(world, "ingressclasses.networking.k8s.io", &DEFAULT)).flatten();
        if let (Some(class), Some(spec)) = (default, edit::child(request.object, "spec")) {
            edit::set(spec, "ingressClassName", text(&class, &["metadata", "name"]));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct StorageObjectInUseProtection;

impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, _world: &World<'_>) -> Result<(), Status> {
        let finalizer = match (request.group, request.resource, request.subresource) {
            ("", "persistentvolumeclaims", "") => "kubernetes.io/pvc-protection",
            ("", "persistentvolumes", "") => "kubernetes.io/pv-protection",
            ("storage.k8s.io", "volumeattributesclasses", "") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        let there = list(request.object, &["metadata", "finalizers"]).iter().any(|one| *one == finalizer);
        if !request.is_create() || there {
            return Ok(());
        }
        if let Some(metadata) = edit::child(request.object, "metadata") {
            match metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
                Some(list) => list.push(finalizer.into()),
                None => edit::set(metadata, "finalizers", vec![finalizer]),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct PersistentVolumeClaimResize;

impl Admission for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        let (true, Some(old)) =
            (request.is("", "persistentvolumeclaims") && request.is_update(), request.old)
        else {
            return Ok(());
        };
        let new = &*request.object;
        let size =
            |claim: &Value| quantity(&claim["spec"]["resources"]["requests"]["storage"]).unwrap_or_default();
        if size(new) <= size(old) {
            return Ok(());
        }
        if text(old, &["status", "phase"]) != "Bound" {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let class = |claim: &Value| -> String {
            let old = text(claim, &["metadata", "annotations", OLD_CLASS]);
            if old.is_empty() { text(claim, &["spec", "storageClassName"]) } else { old }.to_owned()
        };
        let grows = |name: &str| {
            let found = world.objects.get(STORAGE_CLASSES, "", name);
            found.is_some_and(|class| class["allowVolumeExpansion"] == true)
        };
        if !class(new).is_empty() && class(new) == class(old) && grows(&class(new)) {
            return Ok(());
        }
        Err(request.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Operation;
    use super::super::tests::{Case, Stored};
    use super::*;
    use serde_json::json;

    fn class(name: &str, made: &str, default: bool, grows: bool) -> Value {
        let annotation = if default { "true" } else { "false" };
        json!({
            "metadata": {"name": name, "creationTimestamp": made, "annotations": {"storageclass.kubernetes.io/is-default-class": annotation}},
            "allowVolumeExpansion": grows,
        })
    }

    fn world() -> Stored {
        Stored::default()
            .with(STORAGE_CLASSES, class("old", "2026-01-01T00:00:00Z", true, true))
            .with(STORAGE_CLASSES, class("new", "2026-02-01T00:00:00Z", true, false))
            .with(STORAGE_CLASSES, class("other", "2026-03-01T00:00:00Z", false, false))
    }

    #[test]
    fn a_claim_gets_the_newest_default_class_unless_it_names_one() {
        let made = |claim: Value| {
            let case = Case::create("", "persistentvolumeclaims", claim);
            case.mutated(&DefaultStorageClass, &world()).expect("admitted")["spec"]["storageClassName"]
                .clone()
        };
        assert_eq!(made(json!({"spec": {}})), "new");
        assert_eq!(made(json!({"spec": {"storageClassName": ""}})), "");
        assert_eq!(made(json!({"metadata": {"annotations": {OLD_CLASS: "x"}}, "spec": {}})), json!(null));
    }

    #[test]
    fn claims_and_volumes_in_use_are_protected() {
        let case = Case::create("", "persistentvolumes", json!({"metadata": {"name": "v"}}));
        let made = case.mutated(&StorageObjectInUseProtection, &world()).expect("admitted");
        assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
        let again = Case::create("", "persistentvolumes", made.clone());
        assert_eq!(again.mutated(&StorageObjectInUseProtection, &world()).expect("admitted"), made);
    }

    #[test]
    fn a_bound_claim_grows_where_its_class_lets_it() {
        let claim = |class: &str, size: &str, phase: &str| {
            let requests = json!({"requests": {"storage": size}});
            json!({"metadata": {"name": "c"}, "spec": {"storageClassName": class, "resources": requests}, "status": {"phase": phase}})
        };
        let tried = |class: &str, size: &str, phase: &str| {
            let case = Case {
                operation: Operation::Update,
                old: Some(claim(class, "1Gi", phase)),
                name: "c",
                ..Case::create("", "persistentvolumeclaims", claim(class, size, phase))
            };
            case.validated(&PersistentVolumeClaimResize, &world())
                .map(drop)
                .map_err(|refused| refused.message)
        };
        assert_eq!(tried("old", "2Gi", "Bound"), Ok(()));
        assert_eq!(tried("new", "1024Mi", "Bound"), Ok(()));
        let pending = tried("old", "2Gi", "Pending").expect_err("a refusal");
        assert!(pending.ends_with("Only bound persistent volume claims can be expanded"));
        assert!(tried("new", "2Gi", "Bound").expect_err("a refusal").contains("must support resize"));
    }
}
