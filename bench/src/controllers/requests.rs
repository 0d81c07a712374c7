//! What an API server was asked for, as its metrics count it. Pure, but for the reading.

use std::collections::BTreeMap;

use lab::LabError;

use crate::servers::side::Side;

/// Both servers count so, and so that it can be compared.
const COUNTER: &str = "apiserver_request_total{";
const WRITES: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
/// What is not worth a line: so many for each object.
const FEW: f64 = 0.002;

/// How often, by verb and resource (`PUT pods/status`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests(BTreeMap<String, f64>);

impl Requests {
    /// Until now.
    ///
    /// # Errors
    /// The server does not say it.
    pub fn of(side: &Side) -> Result<Self, LabError> {
        let text = side.client()?.must("GET", "/metrics", &[])?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(metrics: &str) -> Self {
        let mut found = BTreeMap::new();
        for line in metrics.lines().filter_map(|line| line.strip_prefix(COUNTER)) {
            let Some((labels, value)) = line.rsplit_once("} ") else { continue };
            let value: f64 = value.split(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0.0);
            let label = |name: &str| {
                let rest = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
                rest.and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
            };
            let (verb, resource, subresource) = (label("verb"), label("resource"), label("subresource"));
            let below = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            let refused = match label("code").as_str() {
                "409" => " (conflict)",
                code if code.starts_with('2') || code == "0" => "",
                _ => " (refused)",
            };
            if !resource.is_empty() {
                *found.entry(format!("{verb} {resource}{below}{refused}")).or_default() += value;
            }
        }
        Self(found)
    }

    /// What was asked for since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let changed = self.0.iter().map(|(key, now)| (key.clone(), now - before.0.get(key).unwrap_or(&0.0)));
        Self(changed.filter(|(_, count)| *count > 0.0).collect())
    }

    /// How many of them write.
    pub fn writes(&self) -> f64 {
        let writes = |key: &str| key.split(' ').next().is_some_and(|verb| WRITES.contains(&verb));
        self.0.iter().filter(|(key, _)| writes(key)).map(|(_, count)| count).sum()
    }

    /// How many for each of so many objects, the most frequent first: `POST pods 1.000; PUT replicasets/status 0.012`.
    pub fn each(&self, objects: u32) -> String {
        let mut all: Vec<(f64, &String)> =
            self.0.iter().map(|(key, count)| (count / f64::from(objects.max(1)), key)).collect();
        all.retain(|(each, _)| *each >= FEW);
        all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let lines = all.iter().map(|(each, key)| format!("{key} {each:.3}"));
        lines.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(pods: u32) -> Requests {
        let of = |verb: &str, resource: &str, below: &str, code: u32, count: u32| {
            let rest = "component=\"apiserver\",group=\"\",version=\"v1\"";
            format!(
                "{COUNTER}code=\"{code}\",resource=\"{resource}\",subresource=\"{below}\",verb=\"{verb}\",{rest}}} {count}\n"
            )
        };
        let text = of("POST", "pods", "", 201, pods)
            + &of("PUT", "replicasets", "status", 200, 3)
            + &of("PUT", "replicasets", "status", 409, 1)
            + &of("LIST", "pods", "", 200, 5)
            + "apiserver_request_duration_seconds_count{resource=\"pods\",verb=\"POST\"} 99\n";
        Requests::parse(&text)
    }

    #[test]
    fn requests_are_counted_by_verb_and_resource() {
        let all = requests(10);
        assert!((all.writes() - 14.0).abs() < 1e-9);
        assert_eq!(
            all.each(10),
            "POST pods 1.000; LIST pods 0.500; PUT replicasets/status 0.300; PUT replicasets/status (conflict) 0.100"
        );
        assert_eq!(all.since(&requests(4)).each(1), "POST pods 6.000");
    }
}
