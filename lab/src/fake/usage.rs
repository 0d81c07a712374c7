//! What containers use of a machine, as far as anybody says so: the one place where fake nodes know it.

use std::str::FromStr;
use std::time::SystemTime;

use apiclient_core::quantity::Quantity;
use apiclient_core::time;
use serde_json::{Value, json};

use super::orders::Orders;

/// CPU and memory in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: Quantity,
    pub memory: Quantity,
}

impl FromStr for Usage {
    type Err = ();

    /// `cpu=250m,memory=64Mi`; either may be missing.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut usage = Self::default();
        for part in text.split(',') {
            let (name, amount) = part.split_once('=').ok_or(())?;
            let amount: Quantity = amount.trim().parse().map_err(|_| ())?;
            match name.trim() {
                "cpu" => usage.cpu = amount,
                "memory" => usage.memory = amount,
                _ => return Err(()),
            }
        }
        Ok(usage)
    }
}

impl Usage {
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.plus(other.cpu), memory: self.memory.plus(other.memory) }
    }
}

/// What each running container of a pod uses, in the pod's order. Who says nothing uses nothing; so does who makes no sense.
pub fn of_pod(pod: &Value) -> Vec<(&str, Usage)> {
    let orders = Orders::of(pod);
    let statuses = ["initContainerStatuses", "containerStatuses"].into_iter();
    let statuses = statuses.filter_map(|field| pod["status"][field].as_array()).flatten();
    let running = statuses.filter(|status| !status["state"]["running"].is_null());
    running
        .filter_map(|status| {
            let name = status["name"].as_str()?;
            Some((name, orders.usage(name).ok().flatten().unwrap_or_default()))
        })
        .collect()
}

/// What a node uses besides its pods.
pub fn of_node(node: &Value) -> Usage {
    Orders::of(node).usage("").ok().flatten().unwrap_or_default()
}

/// What the node's kubelet says (`/stats/summary`, of CPU and memory only). `pods`: namespace, name, uid and containers.
pub fn summary<'a>(
    node: &str,
    system: Usage,
    pods: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a [(String, Usage)])>,
    now: SystemTime,
) -> Value {
    let at = time::seconds(now);
    let stats = |name: Option<&str>, usage: Usage| {
        let nanos = usage.cpu.milli_value().saturating_mul(1_000_000);
        let mut stats = json!({
            "cpu": { "time": at, "usageNanoCores": nanos },
            "memory": { "time": at, "workingSetBytes": usage.memory.value() },
        });
        if let Some(name) = name {
            stats["name"] = name.into();
        }
        stats
    };
    let mut whole = system;
    let mut all = Vec::new();
    for (namespace, name, uid, containers) in pods {
        whole = containers.iter().fold(whole, |whole, (_, usage)| whole.plus(*usage));
        let of: Vec<Value> = containers.iter().map(|(name, usage)| stats(Some(name), *usage)).collect();
        all.push(json!({ "podRef": { "namespace": namespace, "name": name, "uid": uid }, "containers": of }));
    }
    let mut own = stats(None, whole);
    own["nodeName"] = node.into();
    json!({ "node": own, "pods": all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_uses_anything_and_as_much_as_it_was_told() {
        let pod = json!({
            "metadata": { "annotations": { "weft.dev/usage": "cpu=250m,memory=64Mi", "b.weft.dev/usage": "memory=1Gi" } },
            "status": { "containerStatuses": [
                { "name": "a", "state": { "running": {} } },
                { "name": "b", "state": { "running": {} } },
                { "name": "c", "state": { "waiting": {} } },
            ] },
        });
        let found = of_pod(&pod);
        let said: Vec<String> =
            found.iter().map(|(name, usage)| format!("{name} {} {}", usage.cpu, usage.memory)).collect();
        assert_eq!(said, ["a 250m 64Mi", "b 0 1Gi"]);
        let sum = found.iter().fold(Usage::default(), |sum, (_, usage)| sum.plus(*usage));
        assert_eq!((sum.cpu.milli_value(), sum.memory.value()), (250, (1 << 30) + (64 << 20)));
        assert_eq!("cpu".parse::<Usage>(), Err(()));
    }

    #[test]
    fn a_kubelet_says_what_its_pods_and_its_system_use() {
        let node = json!({ "metadata": { "annotations": { "weft.dev/usage": "cpu=1,memory=1Gi" } } });
        let usage: Usage = "cpu=250m,memory=64Mi".parse().expect("usage");
        let containers = [("a".to_owned(), usage), ("b".to_owned(), Usage::default())];
        let pods = [("d", "p", "u", containers.as_slice())];
        let said = summary("n", of_node(&node), pods.into_iter(), SystemTime::UNIX_EPOCH);
        assert_eq!(said["node"]["cpu"]["usageNanoCores"], 1_250_000_000);
        assert_eq!(said["node"]["memory"]["workingSetBytes"], (1 << 30) + (64 << 20));
        assert_eq!(said["pods"][0]["podRef"], json!({ "namespace": "d", "name": "p", "uid": "u" }));
        assert_eq!(said["pods"][0]["containers"][0]["cpu"]["usageNanoCores"], 250_000_000);
        assert_eq!(said["pods"][0]["containers"][1]["memory"]["workingSetBytes"], 0);
    }
}
