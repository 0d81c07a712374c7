//! PodSecurity: the Pod Security Standards, by the labels of a namespace.
//!
//! Owns: what the labels say ([`policy`]), the standards' checks by version ([`checks`]), and when they are asked.

pub mod checks;
pub mod policy;

use std::collections::BTreeMap;

use apiclient_core::wire::Status;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Notes, World};
use crate::edit::{at, list, text};
use crate::refusal;
use checks::{details, evaluate, reasons};
use policy::{Level, Policy, Standard};

/// What is never looked at, besides what the labels say.
#[derive(Clone, Debug, Default)]
pub struct PodSecurity {
    /// For namespaces without labels.
    pub defaults: Policy,
    pub exempt_users: Vec<String>,
    pub exempt_namespaces: Vec<String>,
    pub exempt_runtime_classes: Vec<String>,
}

/// Their pod is another object, or is not changed.
const IGNORED: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// Of a namespace with more pods only so many are checked when its labels change.
const MOST_PODS: usize = 3000;

/// Where the pod of a resource is.
fn template_of(group: &str, resource: &str) -> Option<&'static [&'static str]> {
    match (group, resource) {
        ("", "podtemplates") => Some(&["template"]),
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some(&["spec", "template"]),
        ("batch", "cronjobs") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        notes: &mut Notes,
    ) -> Result<(), Status> {
        if !(request.is_create() || request.is_update()) {
            return Ok(());
        }
        if request.is("", "namespaces") {
            return self.namespace(request, world, notes);
        }
        if request.group.is_empty() && request.resource == "pods" && !IGNORED.contains(&request.subresource) {
            return self.pod(request, world, notes);
        }
        if let (Some(path), "") = (template_of(request.group, request.resource), request.subresource) {
            let template = at(request.object, path);
            let policy = self.policy_of(request, world)?;
            let quiet = [policy.warn, policy.audit].iter().all(|one| one.level == Level::Privileged);
            if !self.is_exempt(request) && template.is_object() && !quiet {
                self.evaluate(request, template, policy, false, notes)?;
            }
        }
        Ok(())
    }
}

fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|one| one == name)
}

impl PodSecurity {
    fn is_exempt(&self, request: &AdmissionRequest<'_>) -> bool {
        has(&self.exempt_namespaces, request.namespace) || has(&self.exempt_users, &request.user.name)
    }

    fn policy_of(&self, request: &AdmissionRequest<'_>, world: &World<'_>) -> Result<Policy, Status> {
        let found = world.objects.get("namespaces", "", request.namespace);
        let why = format!("failed to lookup namespace {}", crate::access::quoted(request.namespace));
        let found = found.ok_or_else(|| refusal::internal(&why))?;
        Ok(self.defaults.with_labels(&found["metadata"]["labels"]).0)
    }

    fn pod(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        notes: &mut Notes,
    ) -> Result<(), Status> {
        if self.is_exempt(request) {
            return Ok(());
        }
        let policy = self.policy_of(request, world)?;
        let unchanged =
            request.old.is_some_and(|old| request.is_update() && !is_significant(request.object, old));
        if policy.is_privileged() || unchanged {
            return Ok(());
        }
        self.evaluate(request, request.object, policy, true, notes)
    }

    fn evaluate(
        &self,
        request: &AdmissionRequest<'_>,
        pod: &Value,
        policy: Policy,
        enforce: bool,
        notes: &mut Notes,
    ) -> Result<(), Status> {
        let class = text(pod, &["spec", "runtimeClassName"]);
        if !class.is_empty() && has(&self.exempt_runtime_classes, class) {
            return Ok(());
        }
        let mut note = |key: &str, value: String| {
            notes.annotations.insert(format!("pod-security.kubernetes.io/{key}"), value);
        };
        if enforce {
            note("enforce-policy", policy.enforce.to_string());
        }
        let would = |standard: Standard| {
            let found = evaluate(standard, pod);
            (!found.is_empty())
                .then(|| format!("would violate PodSecurity \"{standard}\": {}", details(&found)))
        };
        if let Some(violations) = would(policy.audit) {
            note("audit-violations", violations);
        }
        if enforce {
            let found = evaluate(policy.enforce, pod);
            if !found.is_empty() {
                let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&found));
                return Err(request.forbidden(&why));
            }
        }
        notes.warnings.extend(would(policy.warn));
        Ok(())
    }

    fn namespace(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        notes: &mut Notes,
    ) -> Result<(), Status> {
        let (new, errors) = self.defaults.with_labels(&request.object["metadata"]["labels"]);
        let old = request.old.filter(|_| request.is_update());
        let before = old.map(|old| self.defaults.with_labels(&old["metadata"]["labels"]));
        let known = before.as_ref().is_some_and(|(_, before)| *before == errors);
        if !errors.is_empty() && !known {
            return Err(refusal::invalid_kind("", "Namespace", request.shown_name(), &errors));
        }
        let Some((old, _)) = before else { return Ok(()) };
        let relaxed = new.enforce.version == old.enforce.version && new.enforce.level <= old.enforce.level;
        let exempt = has(&self.exempt_namespaces, request.name);
        if new.enforce.level != Level::Privileged && !relaxed && !exempt {
            notes.warnings.extend(self.pods_of(request.name, new.enforce, world));
        }
        Ok(())
    }

    /// What the pods that are there would not be allowed any more: pods of one sort of violation in one line.
    fn pods_of(&self, namespace: &str, enforce: Standard, world: &World<'_>) -> Vec<String> {
        let mut pods = world.objects.list("pods", namespace);
        pods.retain(|pod| {
            let class = text(pod, &["spec", "runtimeClassName"]);
            class.is_empty() || !has(&self.exempt_runtime_classes, class)
        });
        // One pod of each controller first.
        let mut seen = std::collections::BTreeSet::new();
        let (first, replicas): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| {
            let owners = list(pod, &["metadata", "ownerReferences"]);
            let controller = owners.iter().find(|owner| owner["controller"] == true);
            controller.is_none_or(|owner| seen.insert(text(owner, &["uid"]).to_owned()))
        });
        let all: Vec<_> = first.into_iter().chain(replicas).collect();
        let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for pod in all.iter().take(MOST_PODS) {
            let violations = evaluate(enforce, pod);
            if violations.is_empty() {
                continue;
            }
            let name = text(pod, &["metadata", "name"]);
            let (least, count) = found.entry(reasons(&violations)).or_insert_with(|| (name.to_owned(), 0));
            if name < least.as_str() {
                name.clone_into(least);
            }
            *count += 1;
        }
        let mut lines = Vec::new();
        if all.len() > MOST_PODS {
            lines.push(format!(
                "new PodSecurity enforce level only checked against the first {MOST_PODS} of {} existing pods",
                all.len()
            ));
        }
        if !found.is_empty() {
            let namespace = crate::access::quoted(namespace);
            lines.push(format!(
                "existing pods in namespace {namespace} violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut shown: Vec<_> = found
            .into_iter()
            .map(|(reason, (name, count))| match count {
                1 => format!("{name}: {reason}"),
                2 => format!("{name} (and 1 other pod): {reason}"),
                more => format!("{name} (and {} other pods): {reason}", more - 1),
            })
            .collect();
        shown.sort();
        lines.extend(shown);
        lines
    }
}

/// Containers came or went, or run another image.
fn is_significant(new: &Value, old: &Value) -> bool {
    let images = |pod: &Value, kind: &str| -> Vec<String> {
        list(pod, &["spec", kind]).iter().map(|one| text(one, &["image"]).to_owned()).collect()
    };
    let changed = ["containers", "initContainers"].iter().any(|kind| images(new, kind) != images(old, kind));
    let ephemeral = list(new, &["spec", "ephemeralContainers"]).iter().any(|one| {
        let same = |other: &&Value| text(other, &["name"]) == text(one, &["name"]);
        let before = list(old, &["spec", "ephemeralContainers"]).iter().find(same);
        before.is_none_or(|before| text(before, &["image"]) != text(one, &["image"]))
    });
    changed || ephemeral
}

#[cfg(test)]
mod tests {
    use super::super::Operation;
    use super::super::tests::{Case, Stored};
    use super::*;
    use serde_json::json;

    fn world(labels: Value) -> Stored {
        let labels: serde_json::Map<String, Value> = labels
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone()))
            .collect();
        Stored::default().with("namespaces", json!({"metadata": {"name": "a", "labels": labels}}))
    }

    fn bare() -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    }

    fn create(pod: Value) -> Case {
        Case { name: "p", ..Case::create("", "pods", pod) }
    }

    #[test]
    fn a_pod_that_violates_the_standard_is_refused_in_the_originals_words() {
        let restricted = world(json!({"enforce": "restricted"}));
        let refused = create(bare()).validated(&PodSecurity::default(), &restricted).expect_err("a refusal");
        assert_eq!(
            refused.message,
            r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        );
        let good = json!({"metadata": {"name": "p"}, "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        }});
        let notes = create(good).validated(&PodSecurity::default(), &restricted).expect("admitted");
        assert_eq!(notes.annotations["pod-security.kubernetes.io/enforce-policy"], "restricted:latest");
    }

    #[test]
    fn warnings_and_audit_go_with_what_is_admitted() {
        let world = world(
            json!({"enforce": "baseline", "warn": "restricted", "audit": "restricted", "audit-version": "v1.0"}),
        );
        let notes = create(bare()).validated(&PodSecurity::default(), &world).expect("admitted");
        assert!(
            notes.warnings[0]
                .starts_with(r#"would violate PodSecurity "restricted:latest": allowPrivilegeEscalation"#)
        );
        assert_eq!(
            notes.annotations["pod-security.kubernetes.io/audit-violations"],
            r#"would violate PodSecurity "restricted:v1.0": runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)"#
        );
        let template = json!({"spec": {"template": bare()}});
        let deployment = Case { name: "d", ..Case::create("apps", "deployments", template) };
        let notes = deployment.validated(&PodSecurity::default(), &world).expect("never refused");
        assert_eq!(notes.warnings.len(), 1);
    }

    #[test]
    fn an_update_that_changes_no_image_is_let_through() {
        let world = world(json!({"enforce": "restricted"}));
        let update = |new: Value| Case { operation: Operation::Update, old: Some(bare()), ..create(new) };
        update(bare()).validated(&PodSecurity::default(), &world).expect("admitted");
        let mut other = bare();
        other["spec"]["containers"][0]["image"] = "other".into();
        assert!(update(other).validated(&PodSecurity::default(), &world).is_err());
    }

    #[test]
    fn a_namespace_with_stricter_labels_tells_of_its_pods() {
        let labels = |level: &str| json!({"metadata": {"name": "a", "labels": {"pod-security.kubernetes.io/enforce": level}}});
        let world = world(json!({}))
            .with("pods", json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {"hostPID": true}}));
        let update = |level: &str| Case {
            operation: Operation::Update,
            old: Some(labels("privileged")),
            name: "a",
            ..Case::create("", "namespaces", labels(level))
        };
        let notes = update("baseline").validated(&PodSecurity::default(), &world).expect("admitted");
        let wanted = [
            r#"existing pods in namespace "a" violate the new PodSecurity enforce level "baseline:latest""#,
            "p: host namespaces",
        ];
        assert_eq!(notes.warnings, wanted);
        let wrong = update("strict").validated(&PodSecurity::default(), &world).expect_err("a refusal");
        assert_eq!(
            wrong.message,
            r#"Namespace "a" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#
        );
    }
}
