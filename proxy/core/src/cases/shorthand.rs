//! Services and endpoints in one line each, made into the objects that the API would have.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::world::{self, parse};
use crate::names::Family;

/// `[NAMESPACE/]NAME WORD...`.
pub(super) fn service(line: &str) -> Value {
    let (namespace, name, words) = head(line);
    let (mut spec, mut labels, mut ports, mut ingress) = (Map::new(), Map::new(), Vec::new(), Vec::new());
    let mut metadata = Map::new();
    let (mut cluster_ips, mut kind) = (Vec::new(), "ClusterIP");
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            match word {
                "None" => cluster_ips.push(word),
                "internal-local" => _ = spec.insert("internalTrafficPolicy".into(), "Local".into()),
                "external-local" => _ = spec.insert("externalTrafficPolicy".into(), "Local".into()),
                ip if ip.parse::<IpAddr>().is_ok() => cluster_ips.push(ip),
                port => ports.push(port),
            }
            continue;
        };
        let list = || value.split(',').collect::<Vec<_>>();
        match key {
            "external" => _ = spec.insert("externalIPs".into(), json!(list())),
            "from" => _ = spec.insert("loadBalancerSourceRanges".into(), json!(list())),
            "lb" => ingress.extend(list().into_iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"}))),
            "lb-proxy" => ingress.extend(list().into_iter().map(|ip| json!({"ip": ip, "ipMode": "Proxy"}))),
            "type" => kind = value,
            "health" => _ = spec.insert("healthCheckNodePort".into(), json!(parse::<u16>(value))),
            "affinity" => {
                spec.insert("sessionAffinity".into(), "ClientIP".into());
                let config = json!({"clientIP": {"timeoutSeconds": parse::<u32>(value)}});
                spec.insert("sessionAffinityConfig".into(), config);
            }
            "created" => _ = metadata.insert("creationTimestamp".into(), format!("{value}T00:00:00Z").into()),
            "label" => {
                let (key, value) = value.split_once(':').unwrap_or((value, ""));
                labels.insert(key.into(), value.into());
            }
            _ => panic!("{word:?} in {line:?}"),
        }
    }
    let ports: Vec<_> = ports.into_iter().map(Port::read).collect();
    if kind == "ClusterIP" && !ingress.is_empty() {
        kind = "LoadBalancer";
    } else if kind == "ClusterIP" && ports.iter().any(|port| port.node_port.is_some()) {
        kind = "NodePort";
    }
    let families =
        cluster_ips.iter().filter_map(|ip| ip.parse().ok()).map(|ip| format!("{:?}", Family::of(ip)));
    let families: Vec<_> = families.map(|family| family.replace('V', "IPv")).collect();
    spec.insert("type".into(), kind.into());
    spec.insert("clusterIP".into(), json!(cluster_ips.first()));
    spec.insert("ipFamilies".into(), json!(families));
    spec.insert("clusterIPs".into(), json!(cluster_ips));
    spec.insert("ports".into(), ports.iter().map(Port::of_service).collect());
    metadata.insert("namespace".into(), namespace.into());
    metadata.insert("name".into(), name.into());
    metadata.insert("labels".into(), labels.into());
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": metadata, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}},
    })
}

/// `[NAMESPACE/]SERVICE WORD...`: one slice for each family. The ports are those of the service's line.
pub(super) fn slices(line: &str, number: usize, services: &[&str]) -> Vec<Value> {
    let (namespace, name, words) = head(line);
    let mut labels = Map::from_iter([("kubernetes.io/service-name".to_owned(), name.into())]);
    let (mut ports, mut endpoints) = (Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some(("label", label)) => {
                let (key, value) = label.split_once(':').unwrap_or((label, ""));
                labels.insert(key.into(), value.into());
            }
            Some(("port", port)) => ports.push(Port::read(port)),
            _ => endpoints.push(word),
        }
    }
    if ports.is_empty() {
        let owner = services.iter().find(|service| head(service).1 == name && head(service).0 == namespace);
        let words = owner.map(|service| head(service).2).unwrap_or_default();
        let is_port = |word: &&str| {
            !word.contains('=')
                && word.starts_with(|c: char| c.is_ascii_digit() || word.contains(':') && c.is_alphabetic())
        };
        ports.extend(
            words.into_iter().filter(is_port).filter(|word| word.parse::<IpAddr>().is_err()).map(Port::read),
        );
    }
    let slice = |family: Family| {
        let of_family = endpoints.iter().map(|word| endpoint(word)).filter(|(of, _)| *of == family);
        let endpoints: Vec<_> = of_family.map(|(_, endpoint)| endpoint).collect();
        (!endpoints.is_empty()).then(|| {
            let kind = if family == Family::V4 { "IPv4" } else { "IPv6" };
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                "metadata": {
                    "namespace": namespace, "labels": labels,
                    "name": format!("{name}-{}-{number}", kind.to_lowercase()),
                },
                "endpoints": endpoints,
                "ports": ports.iter().map(Port::of_slice).collect::<Vec<_>>(),
            })
        })
    };
    Family::BOTH.into_iter().filter_map(slice).collect()
}

/// `IP` or `IP(WORD,...)`.
fn endpoint(word: &str) -> (Family, Value) {
    let (ip, words) = word.strip_suffix(')').and_then(|word| word.split_once('(')).unwrap_or((word, ""));
    let address: IpAddr = parse(ip);
    let mut node = world::node_of(address).map(|node| node.name);
    let (mut ready, mut serving, mut terminating) = (true, true, false);
    let mut hints = Map::new();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let hint = |names: &str| names.split('|').map(|name| json!({"name": name})).collect::<Value>();
        match word.split_once('=').unwrap_or((word, "")) {
            ("unready", _) => (ready, serving) = (false, false),
            ("terminating", _) => (ready, terminating) = (false, true),
            ("gone", _) => (ready, serving, terminating) = (false, false, true),
            ("published", _) => (ready, serving) = (true, false),
            ("published-terminating", _) => (serving, terminating) = (false, true),
            ("on", name) => {
                node = Some(name).filter(|name| !name.is_empty()).map(|name| &*name.to_owned().leak())
            }
            ("zone", zones) => _ = hints.insert("forZones".into(), hint(zones)),
            ("node", nodes) => _ = hints.insert("forNodes".into(), hint(nodes)),
            _ => panic!("{word:?} of endpoint {ip}"),
        }
    }
    let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
    let value = json!({"addresses": [ip], "nodeName": node, "conditions": conditions, "hints": hints});
    (Family::of(address), value)
}

/// `[NAME:]PORT[>TARGET][@NODEPORT][/PROTOCOL]`.
struct Port {
    name: String,
    port: u16,
    target: u16,
    node_port: Option<u16>,
    protocol: String,
}

impl Port {
    fn read(text: &str) -> Port {
        let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (name, text) = text.split_once(':').unwrap_or(("", text));
        let (text, node_port) =
            text.split_once('@').map_or((text, None), |(text, port)| (text, Some(parse(port))));
        let (port, target) = text.split_once('>').unwrap_or((text, text));
        let (port, target) = (parse(port), parse(target));
        Port { name: name.to_owned(), port, target, node_port, protocol: protocol.to_uppercase() }
    }

    fn of_service(&self) -> Value {
        let Port { name, port, target, node_port, protocol } = self;
        json!({"name": name, "port": port, "targetPort": target, "nodePort": node_port, "protocol": protocol})
    }

    fn of_slice(&self) -> Value {
        json!({"name": self.name, "port": self.target, "protocol": self.protocol})
    }
}

fn head(line: &str) -> (&str, &str, Vec<&str>) {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_else(|| panic!("an empty line"));
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    (namespace, name, words.collect())
}
