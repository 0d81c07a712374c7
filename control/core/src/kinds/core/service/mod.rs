//! Services.
//!
//! [`checks`] is what a Service must be, [`families`] what its addresses must be. Which address and port it gets is
//! decided in [`crate::allocation`], before these run.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::at::{At, Errors};
use crate::cidrs;
use crate::edit::{at, child, default, default_text, existing, items, list, remove, restore, set, text};
use crate::kind::{Context, NameRule, Strategy};
use crate::kinds::status::is_status;
use crate::names;

mod checks;
pub mod families;
pub mod table;

#[derive(Debug)]
pub struct Service;

impl Strategy for Service {
    fn set_defaults(&self, object: &mut Value) {
        if let Some(spec) = child(object, "spec") {
            defaults(spec);
        }
        if is_type(object, "LoadBalancer")
            && let Some(balancer) =
                existing(object, "status").and_then(|status| existing(status, "loadBalancer"))
        {
            for ingress in items(balancer, "ingress") {
                if !text(ingress, &["ip"]).is_empty() {
                    default(ingress, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        set(object, "status", json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if is_status(context) {
            restore(new, old, "spec");
            return;
        }
        restore(new, old, "status");
        drop_with_type(new, old);
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        checks::validate(object, None)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if is_status(context) {
            return checks::balancer_status(new, old);
        }
        let mut errors = families::validate_update(new, old);
        errors.extend(checks::validate_update(new, old));
        errors.extend(checks::validate(new, Some(old)));
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings(object)
    }

    /// Since 1.36 a name may begin with a digit.
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn selected(&self, object: &Value, field: &str) -> String {
        text(object, &field.split('.').collect::<Vec<_>>()).to_owned()
    }
}

/// Ten minutes short of a day's eighth: how long a client stays with its endpoint, in seconds.
const AFFINITY: i64 = 10_800;

fn defaults(spec: &mut Value) {
    default_text(spec, "sessionAffinity", "None");
    match text(spec, &["sessionAffinity"]) {
        "None" => remove(spec, "sessionAffinityConfig"),
        "ClientIP" if at(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).is_null() => {
            set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY}}));
        }
        _ => {}
    }
    default_text(spec, "type", "ClusterIP");
    for port in items(spec, "ports") {
        default_text(port, "protocol", "TCP");
        let target = at(port, &["targetPort"]);
        if target.is_null() || target == 0 || target == "" {
            let same = at(port, &["port"]).clone();
            set(port, "targetPort", same);
        }
    }
    if externally_accessible(spec) {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(text(spec, &["type"]), "NodePort" | "LoadBalancer" | "ClusterIP") {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if text(spec, &["type"]) == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

pub fn is_type(service: &Value, kind: &str) -> bool {
    text(service, &["spec", "type"]) == kind
}

fn externally_accessible(spec: &Value) -> bool {
    match text(spec, &["type"]) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(spec, &["externalIPs"]).is_empty(),
        _ => false,
    }
}

/// A load balancer asks the node on a port of its own whether it has endpoints.
pub fn needs_health_check(service: &Value) -> bool {
    is_type(service, "LoadBalancer") && text(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

/// One address that is `None`: clients get the endpoints' addresses.
pub fn is_headless(service: &Value) -> bool {
    matches!(list(service, &["spec", "clusterIPs"]), [only] if only == "None")
}

pub fn node_port(port: &Value) -> i64 {
    at(port, &["nodePort"]).as_i64().unwrap_or_default()
}

/// The node ports of all ports, each once.
pub fn node_ports(service: &Value) -> BTreeSet<i64> {
    list(service, &["spec", "ports"]).iter().map(node_port).filter(|port| *port != 0).collect()
}

/// Takes away what the new type has no use for, where the client did not change it.
fn drop_with_type(new: &mut Value, old: &Value) {
    let had = |kind: &str| is_type(old, kind);
    let same = |new: &Value, field: &str| at(new, &["spec", field]) == at(old, &["spec", field]);
    let external = is_type(new, "ExternalName");
    let balancer = is_type(new, "LoadBalancer");
    let mut gone: Vec<&str> = Vec::new();
    if !had("ExternalName") && external {
        if same(new, "clusterIP") && same(new, "clusterIPs") {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
        gone.extend(["ipFamilies", "ipFamilyPolicy"].into_iter().filter(|field| same(new, field)));
    }
    let with_ports = |kind: &dyn Fn(&str) -> bool| kind("NodePort") || kind("LoadBalancer");
    let lose_ports = with_ports(&had)
        && !with_ports(&|kind| is_type(new, kind))
        && node_ports(new).is_subset(&node_ports(old));
    if needs_health_check(old) && !needs_health_check(new) && same(new, "healthCheckNodePort") {
        gone.push("healthCheckNodePort");
    }
    if had("LoadBalancer") && !balancer {
        gone.extend(
            ["allocateLoadBalancerNodePorts", "loadBalancerClass"]
                .into_iter()
                .filter(|field| same(new, field)),
        );
    }
    let reachable = |service: &Value| externally_accessible(at(service, &["spec"]));
    if reachable(old) && !reachable(new) && same(new, "externalTrafficPolicy") {
        gone.push("externalTrafficPolicy");
    }
    if let Some(spec) = existing(new, "spec") {
        for field in gone {
            remove(spec, field);
        }
        if lose_ports {
            items(spec, "ports").for_each(|port| remove(port, "nodePort"));
        }
    }
    if !balancer && let Some(status) = child(new, "status") {
        set(status, "loadBalancer", Map::new());
    }
}

fn warnings(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let hints = "service.kubernetes.io/topology-aware-hints";
    if !at(object, &["metadata", "annotations", hints]).is_null() {
        all.push(format!(
            "annotation {hints} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    let spec = At::object(object).get("spec");
    let value = |field: &str| spec.get(field).text();
    let external = spec.get("externalIPs");
    let headless = value("type") == "ClusterIP" && value("clusterIP") == "None";
    if !matches!(value("clusterIP"), "" | "None") {
        for ip in spec.get("clusterIPs").items() {
            all.extend(names::ip_warnings(&ip.path, ip.text()));
        }
    }
    if headless {
        let ignored = |field: &str| format!("spec.{field} is ignored for headless services");
        if !value("loadBalancerIP").is_empty() {
            all.push(ignored("loadBalancerIP"));
        }
        if !external.is_empty() {
            all.push(ignored("externalIPs"));
        }
        if value("sessionAffinity") != "None" {
            all.push(ignored("SessionAffinity"));
        }
    }
    for ip in external.items() {
        all.extend(names::ip_warnings(&ip.path, ip.text()));
    }
    if !external.is_empty() && !headless && value("type") != "ExternalName" {
        all.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned(),
        );
    }
    if !value("loadBalancerIP").is_empty() {
        all.extend(names::ip_warnings(&spec.get("loadBalancerIP").path, value("loadBalancerIP")));
    }
    for range in spec.get("loadBalancerSourceRanges").items() {
        all.extend(cidrs::warnings(&range.path, range.text()));
    }
    if value("type") == "ExternalName" && !external.is_empty() {
        all.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if value("type") != "ExternalName" && !value("externalName").is_empty() {
        all.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if value("trafficDistribution") == "PreferClose" {
        all.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned(),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_defaults_follow_from_its_type() {
        let mut object =
            json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}});
        Service.set_defaults(&mut object);
        assert_eq!(
            object["spec"],
            json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": true})
        );
    }

    #[test]
    fn what_a_new_type_has_no_use_for_goes() {
        let old = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": true, "externalTrafficPolicy": "Cluster",
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30000}]}});
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        drop_with_type(&mut new, &old);
        assert_eq!(
            new["spec"],
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]})
        );
    }
}
