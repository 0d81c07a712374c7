//! What containers use of a machine, as far as anybody says so: the one place where fake nodes know it.

use std::str::FromStr;

use apiclient_core::quantity::Quantity;
use serde_json::Value;

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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
}
