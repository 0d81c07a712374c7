//! NamespaceLifecycle: nothing new in a namespace that is not there or is ending, and some that always stay.

use apiclient_core::wire::{Cause, Status};

use super::{Admission, AdmissionRequest, Operation, World};
use crate::edit::text;
use crate::refusal;

#[derive(Debug)]
pub struct NamespaceLifecycle;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if request.group.is_empty() && request.resource == "namespaces" {
            let deletes = request.operation == Operation::Delete;
            if deletes && request.subresource.is_empty() && IMMORTAL.contains(&request.name) {
                return Err(request.forbidden("this namespace may not be deleted"));
            }
            return Ok(());
        }
        let concerns = matches!(request.operation, Operation::Create | Operation::Update);
        // An access review must not tell which namespaces there are.
        let review =
            request.group == "authorization.k8s.io" && request.resource == "localsubjectaccessreviews";
        if request.namespace.is_empty() || !concerns || review {
            return Ok(());
        }
        let Some(found) = world.objects.get("namespaces", "", request.namespace) else {
            return Err(refusal::missing("", "namespaces", request.namespace));
        };
        if request.is_create() && text(&found, &["status", "phase"]) == "Terminating" {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                request.namespace
            );
            let mut refused = request.forbidden(&why);
            if let Some(details) = &mut refused.details {
                details.causes.push(Cause {
                    reason: "NamespaceTerminating".to_owned(),
                    message: format!("namespace {} is being terminated", request.namespace),
                    field: "metadata.namespace".to_owned(),
                });
            }
            return Err(refused);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, Stored};
    use super::*;
    use serde_json::json;

    fn world() -> Stored {
        Stored::default()
            .with("namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}}))
            .with("namespaces", json!({"metadata": {"name": "b"}, "status": {"phase": "Terminating"}}))
    }

    fn create(namespace: &'static str) -> Case {
        Case { namespace, name: "c", ..Case::create("", "configmaps", json!({"metadata": {"name": "c"}})) }
    }

    #[test]
    fn nothing_is_created_where_there_is_no_namespace() {
        let refused = |case: Case| case.mutated(&NamespaceLifecycle, &world()).expect_err("a refusal");
        assert_eq!(refused(create("nope")).message, r#"namespaces "nope" not found"#);
        let ending = refused(create("b"));
        assert_eq!(
            ending.message,
            r#"configmaps "c" is forbidden: unable to create new content in namespace b because it is being terminated"#
        );
        assert_eq!(ending.details.expect("details").causes[0].reason, "NamespaceTerminating");
        create("a").mutated(&NamespaceLifecycle, &world()).expect("admitted");
        let update = Case { operation: Operation::Update, ..create("b") };
        update.mutated(&NamespaceLifecycle, &world()).expect("updates go on");
        let delete = Case { operation: Operation::Delete, ..create("nope") };
        delete.mutated(&NamespaceLifecycle, &world()).expect("deletions go on");
    }

    #[test]
    fn some_namespaces_stay() {
        for (name, stays) in [("default", true), ("kube-system", true), ("kube-node-lease", false)] {
            let case = Case {
                operation: Operation::Delete,
                name,
                namespace: name,
                ..Case::create("", "namespaces", json!(null))
            };
            assert_eq!(case.mutated(&NamespaceLifecycle, &world()).is_err(), stays, "{name}");
        }
    }
}
