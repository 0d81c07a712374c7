//! A Service that can be trusted.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use apiclient_core::names::dns1123_label;
use ipnet::IpNet;

use super::address::{parse_ip, parse_net};
use super::error::Blame;
use super::{Checked, Kind, ObjectError, raw};
use crate::names::{Family, Name, Protocol, ServiceName};

/// A Service as far as a proxy is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: ServiceName,
    /// When it was created, for comparison only; later is larger, unknown is last.
    pub created: u64,
    /// Whether a proxy has anything to do with it: not for headless Services, ExternalName, and those labelled for
    /// another proxy.
    pub proxied: bool,
    /// At most one of each family.
    pub cluster_ips: Box<[IpAddr]>,
    pub external_ips: Box<[IpAddr]>,
    /// Ingress addresses with `ipMode: VIP`, which is the default.
    pub load_balancer_ips: Box<[IpAddr]>,
    /// Whether proxies may announce `load_balancer_ips` on the network: nobody else has to do with them.
    pub announced: bool,
    /// Who may use `load_balancer_ips`; a family without a range is open to all.
    pub source_ranges: Box<[IpNet]>,
    pub ports: Box<[Port]>,
    pub internal_policy: Policy,
    /// Local only for Services that can have external traffic.
    pub external_policy: Policy,
    /// ClientIP affinity and its timeout.
    pub affinity: Option<Duration>,
    /// Set for load balancers with external policy Local only.
    pub health_check_node_port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: Name,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// Which endpoints traffic may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    #[default]
    Cluster,
    /// Those of this node only.
    Local,
}

impl Service {
    pub fn cluster_ip(&self, family: Family) -> Option<IpAddr> {
        self.cluster_ips.iter().copied().find(|ip| Family::of(*ip) == family)
    }
}

/// The API server's default for ClientIP affinity.
const DEFAULT_AFFINITY: u64 = 10_800;
/// The API server's limit: one day.
const MAX_AFFINITY: u64 = 86_400;

/// The class of Services whose addresses are ours to announce. Those without a class are, too.
const OUR_CLASS: &str = "weft.dev/pool";

const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";

impl raw::Service {
    pub fn check(self) -> Result<Checked<Service>, ObjectError> {
        let name = self.metadata.name();
        let blame = Blame { kind: Kind::Service, name: &name };
        // A label of RFC 1123: servers from 1.34 on let a Service begin with a digit.
        blame.metadata(&self.metadata, Some(dns1123_label), dns1123_label)?;
        let spec = self.spec;
        let kind = spec.kind.as_deref().unwrap_or("ClusterIP");
        let mut left_out = Vec::new();

        let cluster_ips = cluster_ips(&spec, &blame)?;
        let headless = cluster_ips.is_empty();
        let other_proxy = self.metadata.labels.contains_key(OTHER_PROXY);

        let ingress = self.status.load_balancer.ingress.into_iter();
        let vips = ingress.filter(|ingress| ingress.ip_mode.as_deref().unwrap_or("VIP") == "VIP");
        let vips: Vec<_> = vips.filter_map(|ingress| ingress.ip).collect();
        let external_ips = addresses("spec.externalIPs", &spec.external_ips, &blame, &mut left_out);
        let load_balancer_ips = addresses("status.loadBalancer.ingress", &vips, &blame, &mut left_out);

        let external = matches!(kind, "LoadBalancer" | "NodePort") || !external_ips.is_empty();
        let external_policy = match policy(spec.external_traffic_policy.as_deref()) {
            Policy::Local if external => Policy::Local,
            _ => Policy::Cluster,
        };
        let wants_health_check = kind == "LoadBalancer" && external_policy == Policy::Local;
        let health_check = spec.health_check_node_port.filter(|port| wants_health_check && *port != 0);

        let service = Service {
            created: created(self.metadata.creation_timestamp.as_deref()),
            proxied: !headless && !other_proxy && kind != "ExternalName",
            cluster_ips,
            external_ips,
            load_balancer_ips,
            announced: matches!(spec.load_balancer_class.as_deref(), None | Some("" | OUR_CLASS)),
            source_ranges: source_ranges(&spec.load_balancer_source_ranges, &blame)?,
            ports: ports(&spec.ports, &blame)?,
            internal_policy: policy(spec.internal_traffic_policy.as_deref()),
            external_policy,
            affinity: affinity(&spec, &blame)?,
            health_check_node_port: health_check
                .map(|port| port_number(port, "spec.healthCheckNodePort", &blame))
                .transpose()?,
            name: name.clone(),
        };
        Ok(Checked { object: service, left_out })
    }
}

fn policy(text: Option<&str>) -> Policy {
    if text == Some("Local") { Policy::Local } else { Policy::Cluster }
}

/// Empty for a headless Service, and for one that has no address yet.
fn cluster_ips(spec: &raw::ServiceSpec, blame: &Blame) -> Result<Box<[IpAddr]>, ObjectError> {
    let mut written: Vec<&str> = spec.cluster_ips.iter().map(String::as_str).collect();
    if written.is_empty() {
        written.extend(spec.cluster_ip.as_deref());
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for text in written.into_iter().filter(|text| !text.is_empty() && *text != "None") {
        let ip = parse_ip(text).map_err(|problem| blame.field("spec.clusterIPs", problem))?;
        if found.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
            return Err(blame.field("spec.clusterIPs", format!("{text} is the second of its family")));
        }
        found.push(ip);
    }
    Ok(found.into())
}

/// The API server lets anything through in external IPs, so one that does not parse costs only itself.
fn addresses(
    field: &str,
    written: &[String],
    blame: &Blame,
    left_out: &mut Vec<ObjectError>,
) -> Box<[IpAddr]> {
    let mut found = Vec::new();
    for (index, text) in
        written.iter().map(|text| text.trim()).enumerate().filter(|(_, text)| !text.is_empty())
    {
        match parse_ip(text) {
            Ok(ip) => found.push(ip),
            Err(problem) => left_out.push(blame.field(format!("{field}[{index}]"), problem)),
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into()
}

/// A range that does not parse costs the whole Service: leaving one out could open what should be closed.
fn source_ranges(written: &[String], blame: &Blame) -> Result<Box<[IpNet]>, ObjectError> {
    let written = written.iter().map(|text| text.trim()).enumerate().filter(|(_, text)| !text.is_empty());
    let parsed = written.map(|(index, text)| {
        parse_net(text)
            .map_err(|problem| blame.field(format!("spec.loadBalancerSourceRanges[{index}]"), problem))
    });
    let mut ranges = parsed.collect::<Result<Vec<_>, _>>()?;
    ranges.sort_unstable();
    ranges.dedup();
    Ok(ranges.into())
}

fn ports(written: &[raw::ServicePort], blame: &Blame) -> Result<Box<[Port]>, ObjectError> {
    let mut ports = Vec::with_capacity(written.len());
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, raw) in written.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        let port = Port {
            name: raw.name.as_deref().unwrap_or_default().into(),
            protocol: raw.protocol.unwrap_or_default(),
            port: port_number(raw.port, &field("port"), blame)?,
            node_port: match raw.node_port.filter(|port| *port != 0) {
                Some(port) => Some(port_number(port, &field("nodePort"), blame)?),
                None => None,
            },
        };
        if !port.name.is_empty() {
            dns1123_label(&port.name).map_err(|error| blame.field(field("name"), error))?;
        }
        if !names.insert((port.name.clone(), port.protocol)) {
            return Err(blame.field(field("name"), format!("{:?} is there twice", port.name)));
        }
        if !numbers.insert((port.port, port.protocol)) {
            return Err(blame.field(field("port"), format!("{}/{} is there twice", port.port, port.protocol)));
        }
        ports.push(port);
    }
    Ok(ports.into())
}

pub(super) fn port_number(port: i64, field: &str, blame: &Blame) -> Result<u16, ObjectError> {
    let number = u16::try_from(port).ok().filter(|port| *port != 0);
    number.ok_or_else(|| blame.field(field, format!("{port} is not a port (1..=65535)")))
}

fn affinity(spec: &raw::ServiceSpec, blame: &Blame) -> Result<Option<Duration>, ObjectError> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return Ok(None);
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let Some(seconds) = config.and_then(|config| config.timeout_seconds) else {
        return Ok(Some(Duration::from_secs(DEFAULT_AFFINITY)));
    };
    let legal = u64::try_from(seconds).ok().filter(|seconds| (1..=MAX_AFFINITY).contains(seconds));
    legal.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        blame.field(field, format!("{seconds} is not in 1..={MAX_AFFINITY}"))
    })
}

/// `2026-11-21T11:33:16Z` as 20261121113316: the API writes whole seconds in UTC, so the digits compare as the times do.
fn created(timestamp: Option<&str>) -> u64 {
    let digits: String =
        timestamp.unwrap_or_default().chars().filter(char::is_ascii_digit).take(14).collect();
    digits.parse().unwrap_or(u64::MAX)
}
