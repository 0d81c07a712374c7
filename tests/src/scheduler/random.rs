//! Random nodes and pods, small enough that rules meet each other often.

use serde_json::{Value, json};

use super::{node, pod};

/// Numbers from a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[usize::try_from(self.below(among.len() as u64)).expect("small")]
    }
}

const ZONES: [&str; 3] = ["z1", "z2", "z3"];
const APPS: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 2] = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn random_node(random: &mut Random, nth: u64) -> Value {
    let (name, zone) = (format!("n{nth}"), random.pick(&ZONES));
    let (cpu, memory, pods) = (1000 + 500 * random.below(7), 1 + random.below(8), 4 + random.below(8));
    let mut node = node(&name, zone, cpu, memory, pods);
    if random.one_in(5) {
        let labels = node["metadata"]["labels"].as_object_mut().expect("labels");
        labels.remove("topology.kubernetes.io/zone");
    }
    if random.one_in(2) {
        node["metadata"]["labels"]["disk"] = json!(random.pick(&["ssd", "hdd"]));
    }
    if random.one_in(2) {
        node["metadata"]["labels"]["size"] = json!(random.below(10).to_string());
    }
    if random.one_in(4) {
        let taint = json!({"key": random.pick(&["t1", "t2"]), "value": "v", "effect": random.pick(&EFFECTS)});
        node["spec"]["taints"] = json!([taint]);
    }
    if random.one_in(8) {
        node["spec"]["unschedulable"] = json!(true);
    }
    if random.one_in(3) {
        let size = 100 * 1024 * 1024 * (1 + random.below(9));
        node["status"]["images"] = json!([{"names": ["img:latest"], "sizeBytes": size}]);
    }
    if random.one_in(3) {
        for amounts in ["allocatable", "capacity"] {
            node["status"][amounts]["example.com/gpu"] = json!("2");
        }
    }
    node
}

fn rule(random: &mut Random) -> Value {
    let mut rule = json!({"topologyKey": random.pick(&KEYS),
        "labelSelector": {"matchLabels": {"app": random.pick(&APPS)}}});
    if random.one_in(4) {
        rule["labelSelector"] = json!({"matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": [random.pick(&APPS)]}]});
    }
    if random.one_in(5) {
        rule["namespaceSelector"] = json!({});
    }
    rule
}

fn rules(random: &mut Random) -> Value {
    let mut found = json!({});
    if random.one_in(3) {
        found["requiredDuringSchedulingIgnoredDuringExecution"] = json!([rule(random)]);
    }
    if random.one_in(2) {
        let weighted = json!({"weight": 1 + random.below(100), "podAffinityTerm": rule(random)});
        found["preferredDuringSchedulingIgnoredDuringExecution"] = json!([weighted]);
    }
    found
}

fn expression(random: &mut Random) -> Value {
    match random.below(4) {
        0 => json!({"key": "disk", "operator": "In", "values": ["ssd"]}),
        1 => json!({"key": "disk", "operator": "NotIn", "values": ["hdd"]}),
        2 => json!({"key": "size", "operator": "Gt", "values": [random.below(10).to_string()]}),
        _ => json!({"key": "disk", "operator": "Exists"}),
    }
}

fn spread(random: &mut Random) -> Value {
    let mut constraint = json!({"topologyKey": random.pick(&KEYS), "maxSkew": 1 + random.below(2),
        "whenUnsatisfiable": random.pick(&["DoNotSchedule", "ScheduleAnyway"]),
        "labelSelector": {"matchLabels": {"app": random.pick(&APPS)}}});
    if random.one_in(4) {
        constraint["nodeAffinityPolicy"] = json!("Ignore");
    }
    if random.one_in(4) {
        constraint["nodeTaintsPolicy"] = json!("Honor");
    }
    if random.one_in(4) && constraint["whenUnsatisfiable"] == "DoNotSchedule" {
        constraint["minDomains"] = json!(1 + random.below(3));
    }
    constraint
}

pub fn random_pod(random: &mut Random, name: &str) -> Value {
    let mut pod = pod(name, 100 * random.below(12), 128 * random.below(12));
    pod["metadata"]["labels"]["app"] = json!(random.pick(&APPS));
    let spec = &mut pod["spec"];
    if random.one_in(6) {
        spec["containers"][0].as_object_mut().expect("a container").remove("resources");
    }
    if random.one_in(4) {
        spec["containers"][0]["image"] = json!("img");
    }
    if random.one_in(8) {
        let resources = &mut spec["containers"][0]["resources"];
        for amounts in ["requests", "limits"] {
            resources[amounts]["example.com/gpu"] = json!("1");
        }
    }
    if random.one_in(6) {
        spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8000 + random.below(2)}]);
    }
    if random.one_in(3) {
        spec["tolerations"] = match random.below(3) {
            0 => json!([{"operator": "Exists"}]),
            1 => json!([{"key": "t1", "operator": "Exists"}]),
            _ => json!([{"key": "t2", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]),
        };
    }
    if random.one_in(6) {
        spec["nodeSelector"] = json!({"disk": random.pick(&["ssd", "hdd"])});
    }
    if random.one_in(4) {
        let terms: Vec<Value> =
            (0..=random.below(2)).map(|_| json!({"matchExpressions": [expression(random)]})).collect();
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": terms});
    }
    if random.one_in(4) {
        let wish = json!({"weight": 1 + random.below(100),
            "preference": {"matchExpressions": [expression(random)]}});
        spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = json!([wish]);
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        if random.one_in(4) {
            spec["affinity"][field] = rules(random);
        }
    }
    if random.one_in(3) {
        let mut constraints = vec![spread(random)];
        if random.one_in(2) {
            let other = spread(random);
            // The same key and mode twice is refused.
            if other["topologyKey"] != constraints[0]["topologyKey"] {
                constraints.push(other);
            }
        }
        spec["topologySpreadConstraints"] = json!(constraints);
    }
    pod
}
