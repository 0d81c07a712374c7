//! What the containers of a pod ask for together, and which class of service follows from it.

use std::collections::BTreeMap;

use apiclient_core::quantity::Quantity;
use serde_json::Value;

use crate::edit::{at, list, text};
use crate::kinds::core::resources::quantity;

type Amounts = BTreeMap<String, Quantity>;

fn amounts(container: &Value, field: &str) -> Amounts {
    let all = at(container, &["resources", field]).as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

fn add(to: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        to.entry(name.clone()).and_modify(|sum| *sum = sum.plus(*amount)).or_insert(*amount);
    }
}

fn raise(to: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        to.entry(name.clone()).and_modify(|most| *most = (*most).max(*amount)).or_insert(*amount);
    }
}

/// The `requests` or `limits` of all containers together. Init containers run one after the other, before the others, but
/// beside the restartable ones that were started before them.
pub fn aggregate(spec: &Value, field: &str) -> Amounts {
    let mut running = Amounts::new();
    for container in list(spec, &["containers"]) {
        add(&mut running, &amounts(container, field));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in list(spec, &["initContainers"]) {
        let mut own = amounts(container, field);
        if text(container, &["restartPolicy"]) == "Always" {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut starting, &own);
    }
    raise(&mut running, &starting);
    running
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from the requests and limits of CPU and memory.
pub fn qos_class(spec: &Value) -> &'static str {
    let positive = |amounts: Amounts| -> Amounts {
        let counts = |name: &str| matches!(name, "cpu" | "memory");
        amounts.into_iter().filter(|(name, amount)| counts(name) && *amount > Quantity::default()).collect()
    };
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    let mut guaranteed = true;
    if at(spec, &["resources"]).is_object() {
        requests = positive(amounts(spec, "requests"));
        limits = positive(amounts(spec, "limits"));
        guaranteed =
            limits.len() == 2 || at(spec, &["resources", "limits"]).as_object().is_none_or(|l| l.is_empty());
    } else {
        for container in list(spec, &["containers"]).iter().chain(list(spec, &["initContainers"])) {
            add(&mut requests, &positive(amounts(container, "requests")));
            let limited = positive(amounts(container, "limits"));
            guaranteed &= limited.len() == 2;
            add(&mut limits, &limited);
        }
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    let equal = requests.iter().all(|(name, request)| limits.get(name) == Some(request));
    if guaranteed && equal && requests.len() == limits.len() { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_run_before_the_others_and_beside_sidecars() {
        let of = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = of("100m");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({"containers": [of("200m"), of("300m")], "initContainers": [sidecar, of("1")]});
        assert_eq!(aggregate(&spec, "requests")["cpu"].to_string(), "1100m");
        let spec = json!({"containers": [of("2")], "initContainers": [of("1")]});
        assert_eq!(aggregate(&spec, "requests")["cpu"].to_string(), "2");
    }

    #[test]
    fn the_class_of_service_follows_from_requests_and_limits() {
        let of = |resources: Value| qos_class(&json!({"containers": [{"resources": resources}]}));
        let all = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(of(json!({})), "BestEffort");
        assert_eq!(of(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(of(json!({"requests": all, "limits": all})), "Guaranteed");
        assert_eq!(of(json!({"requests": {"cpu": "0"}})), "BestEffort");
        assert_eq!(of(json!({"requests": all, "limits": {"cpu": "1", "memory": "2Gi"}})), "Burstable");
    }
}
