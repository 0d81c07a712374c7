//! The spec of a pod, whether of a pod itself or of a template: what is checked, in the original's order.
//!
//! Begin at [`validate`]; the subjects have modules of their own.

use super::{affinity, containers, dns, env, os, scheduling, security, spread, volumes};
use crate::at::{At, Errors};
use crate::edit::text;
use crate::field::FieldError;
use crate::kind::NameRule;
use crate::kinds::core::resources;
use crate::{metadata, names};

/// What checks of a part need to know of the whole.
#[derive(Debug)]
pub struct Pod<'a> {
    pub spec: At<'a>,
    /// Of a pod, and not of a template.
    pub metadata: Option<At<'a>>,
    /// Without the ones that are invalid themselves.
    volumes: Vec<At<'a>>,
}

impl<'a> Pod<'a> {
    /// The valid volume of this name.
    pub fn volume(&self, name: &str) -> Option<&At<'a>> {
        self.volumes.iter().find(|volume| volume.get("name").text() == name)
    }

    pub fn is_pod(&self) -> bool {
        self.metadata.is_some()
    }

    pub fn grace(&self) -> Option<i64> {
        self.spec.get("terminationGracePeriodSeconds").int()
    }

    pub fn os(&self) -> &'a str {
        text(self.spec.value, &["os", "name"])
    }

    /// The users of the pod are the node's.
    pub fn host_users(&self) -> bool {
        self.spec.get("hostUsers").value.as_bool().unwrap_or(true)
    }

    /// Names of the pod's resource claims.
    pub fn claims(&self) -> Vec<&'a str> {
        let names = self.spec.get("resourceClaims").items().map(|claim| claim.get("name").text());
        names.filter(|name| !name.is_empty()).collect()
    }

    /// All containers of all sorts: init containers, containers, ephemeral ones.
    pub fn containers(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| self.spec.get(list));
        lists.into_iter().flat_map(|list| list.items().collect::<Vec<_>>())
    }
}

/// `metadata` is that of the pod; a template's is checked by itself.
pub fn validate(spec: &At<'_>, metadata: Option<&At<'_>>) -> Errors {
    let mut errors = Errors::new();
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.is_absent() {
        errors.push(grace.required(""));
    }
    let (volumes, wrong) = volumes::validate(&spec.get("volumes"), metadata);
    errors.extend(wrong);
    let pod = Pod { spec: spec.clone(), metadata: metadata.cloned(), volumes };
    errors.extend(claims(&pod));
    errors.extend(containers::regular(&pod));
    errors.extend(containers::init(&pod));
    errors.extend(containers::ephemeral(&pod));
    errors.extend(pod_resources(&pod));
    errors.extend(host_ports(&pod));
    errors.extend(one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]));
    errors.extend(one_of(
        &spec.get("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    ));
    errors.extend(metadata::labels(&spec.get("nodeSelector")));
    errors.extend(security::pod(&pod));
    errors.extend(affinity::validate(&spec.get("affinity")));
    errors.extend(dns::validate(spec));
    errors.extend(scheduling::readiness_gates(&spec.get("readinessGates")));
    errors.extend(scheduling::gates(&spec.get("schedulingGates")));
    errors.extend(spread::validate(&spec.get("topologySpreadConstraints")));
    errors.extend(os::host_process(&pod));
    errors.extend(security::host_users(&pod));
    errors.extend(dns::host_name(spec));
    errors.extend(simple(spec));
    errors.extend(os::validate(&pod));
    for container in pod.containers() {
        errors.extend(env::file_volumes(spec, &container));
    }
    errors
}

/// Fields that stand for themselves.
fn simple(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let named = |field: &str, rule: fn(&str) -> Vec<String>| -> Errors {
        let field = spec.get(field);
        match field.text() {
            "" => Errors::new(),
            text => field.invalid_each(rule(text)).collect(),
        }
    };
    errors.extend(named("serviceAccountName", names::dns1123_subdomain));
    errors.extend(named("nodeName", names::dns1123_subdomain));
    let deadline = spec.get("activeDeadlineSeconds");
    if let Some(seconds) = deadline.int() {
        let wrong = names::in_range(seconds, 1, i64::from(i32::MAX));
        errors.extend(wrong.iter().map(|detail| deadline.invalid(detail)));
    }
    errors.extend(named("hostname", names::dns1123_label));
    errors.extend(named("subdomain", names::dns1123_label));
    errors.extend(scheduling::tolerations(&spec.get("tolerations")));
    errors.extend(dns::host_aliases(&spec.get("hostAliases")));
    errors.extend(named("priorityClassName", names::dns1123_subdomain));
    let runtime = spec.get("runtimeClassName");
    if !runtime.is_absent() {
        errors.extend(runtime.invalid_each(names::dns1123_subdomain(runtime.text())));
    }
    let preemption = spec.get("preemptionPolicy");
    if !preemption.is_absent() {
        errors.extend(one_of(&preemption, &["PreemptLowerPriority", "Never"]));
    }
    let overhead = spec.get("overhead");
    if !overhead.is_absent() {
        // As if it were the limits of a container; the original's path says so.
        let limits = serde_json::json!({"limits": overhead.value});
        let limits = At::new(&limits, overhead.path);
        errors.extend(resources::requirements(&limits, resources::container_name, &[]));
    }
    errors
}

/// A field that must have one of these values.
pub fn one_of(field: &At<'_>, values: &[&str]) -> Option<FieldError> {
    match field.text() {
        "" => Some(field.required("")),
        text if values.contains(&text) => None,
        _ => Some(field.not_supported(values)),
    }
}

/// Claims of resources (DRA) that the pod's containers refer to.
fn claims(pod: &Pod<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for claim in pod.spec.get("resourceClaims").items() {
        let mirror = |metadata: &At<'_>| metadata.get("annotations").has(super::annotations::MIRROR);
        if pod.metadata.as_ref().is_some_and(mirror) {
            let path = crate::field::Path::new("[]");
            errors.push(FieldError::forbidden(&path, "static pods do not support resource claims"));
            continue;
        }
        let name = claim.get("name");
        if name.text().is_empty() {
            errors.push(name.required(""));
        } else if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        } else {
            errors.extend(name.invalid_each(names::dns1123_label(name.text())));
            seen.push(name.text());
        }
        let (own, template) = (claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        let detail = match (own.is_absent(), template.is_absent()) {
            (false, false) => {
                Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
            }
            (true, true) => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => None,
        };
        if let Some(detail) = detail {
            let shown = |field: &At<'_>| field.value.to_string();
            let shown = format!(
                "{{\"Name\":{},\"ResourceClaimName\":{},\"ResourceClaimTemplateName\":{}}}",
                serde_json::Value::from(name.text()),
                shown(&own),
                shown(&template)
            );
            errors.push(FieldError::invalid_shown(&claim.path, &shown, detail));
        }
        for field in [own, template] {
            if !field.is_absent() {
                errors.extend(field.invalid_each(names::dns1123_subdomain(field.text())));
            }
        }
    }
    errors
}

/// What the pod asks for as a whole.
fn pod_resources(pod: &Pod<'_>) -> Errors {
    let at = pod.spec.get("resources");
    let mut errors = Errors::new();
    if at.is_absent() {
        return errors;
    }
    if pod.os() == "windows" {
        return vec![at.forbidden("may not be set for a windows pod")];
    }
    if at.has("claims") {
        errors.push(at.get("claims").forbidden("claims may not be set for Resources at pod-level"));
    }
    errors.extend(resources::requirements(&at, resources::pod_name, &pod.claims()));
    let (requests, limits) = (at.get("requests"), at.get("limits"));
    let own = |list: &At<'_>, name: &str| list.value.get(name).and_then(resources::quantity);
    let refuse = |path, amount: apiclient_core::quantity::Quantity, detail: String| {
        FieldError::invalid(&path, &amount.to_string().into(), &detail)
    };
    for (name, sum) in super::requests::aggregate(pod.spec.value, "requests") {
        if let Some(request) = own(&requests, &name).filter(|request| sum > *request) {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(refuse(requests.path.key(&name), request, detail));
        }
    }
    for (name, sum) in super::requests::aggregate(pod.spec.value, "limits") {
        if let Some(limit) =
            own(&limits, &name).filter(|limit| resources::is_huge_page(&name) && sum > *limit)
        {
            let detail = format!("must be greater than or equal to aggregate container limits of {sum}");
            errors.push(refuse(limits.path.key(&name), limit, detail));
        }
    }
    for (n, container) in pod.spec.get("containers").items().enumerate() {
        for (name, limit, _) in resources::amounts(&container.get("resources").get("limits")) {
            if let Some(most) = own(&limits, name).filter(|most| limit > *most) {
                let path = at.path.child("containers").index(n).key(name).child("limits");
                errors.push(refuse(
                    path,
                    limit,
                    format!("must be less than or equal to pod limits of {most}"),
                ));
            }
        }
    }
    errors
}

/// In the host's network a container has its ports there.
fn host_ports(pod: &Pod<'_>) -> Errors {
    let mut errors = Errors::new();
    if !pod.spec.get("hostNetwork").is_true() {
        return errors;
    }
    for port in pod.spec.get("containers").items().flat_map(|container| container.get("ports").items()) {
        let (host, own) = (port.get("hostPort"), port.get("containerPort"));
        let number = host.int().unwrap_or_default();
        if (pod.is_pod() || number != 0) && number != own.int().unwrap_or_default() {
            errors.push(host.invalid_int("must match `containerPort` when `hostNetwork` is true"));
        }
    }
    errors
}

/// What a pod must be besides its spec: no template is held to it.
pub fn only_of_pods(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if spec.get("serviceAccountName").text().is_empty() {
        for volume in spec.get("volumes").items() {
            for source in volume.get("projected").get("sources").items() {
                let token = source.get("serviceAccountToken");
                if !token.is_absent() {
                    errors.push(token.forbidden("must not be specified when serviceAccountName is not set"));
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).items() {
            errors.extend(containers::padded_image(&container));
        }
    }
    errors
}

/// The rule of pods' names.
pub const NAME: NameRule = NameRule::Subdomain;
