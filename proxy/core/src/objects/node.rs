//! Nodes and ServiceCIDRs that can be trusted.

use std::net::IpAddr;

use apiclient_core::names::dns1123_subdomain;
use ipnet::IpNet;

use super::address::{parse_ip, parse_net};
use super::error::Blame;
use super::{Checked, Kind, ObjectError, raw};
use crate::names::Name;

#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    pub name: Name,
    pub zone: Option<Name>,
    pub pod_cidrs: Box<[IpNet]>,
    /// Internal addresses first, then external ones: the order in which kube-proxy looks for the node's own.
    pub addresses: Box<[IpAddr]>,
    /// Deleted, or about to be removed by the cluster autoscaler, so that load balancers should look elsewhere.
    pub leaving: bool,
}

/// A range that ClusterIPs come from.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceCidr {
    pub name: Name,
    pub cidrs: Box<[IpNet]>,
}

const ZONE: &str = "topology.kubernetes.io/zone";
const LEAVING: &str = "ToBeDeletedByClusterAutoscaler";

impl raw::Node {
    pub fn check(self) -> Result<Checked<NodeInfo>, ObjectError> {
        let name = self.metadata.name();
        let blame = Blame { kind: Kind::Node, name: &name };
        blame.metadata(&self.metadata, None, dns1123_subdomain)?;
        let mut written = self.spec.pod_cidrs;
        if written.is_empty() {
            written.extend(self.spec.pod_cidr.filter(|cidr| !cidr.is_empty()));
        }
        let mut left_out = Vec::new();
        let mut addresses = Vec::new();
        for wanted in ["InternalIP", "ExternalIP"] {
            let written = self.status.addresses.iter().enumerate();
            for (index, address) in written.filter(|(_, address)| address.kind == wanted) {
                let field = || format!("status.addresses[{index}].address");
                match parse_ip(&address.address) {
                    Ok(ip) => addresses.push(ip),
                    Err(problem) => left_out.push(blame.field(field(), problem)),
                }
            }
        }
        let object = NodeInfo {
            zone: self.metadata.labels.get(ZONE).map(|zone| Name::from(zone.as_str())),
            pod_cidrs: nets("spec.podCIDRs", &written, &blame)?,
            addresses: addresses.into(),
            leaving: self.metadata.deletion_timestamp.is_some()
                || self.spec.taints.iter().any(|taint| taint.key == LEAVING),
            name: name.name.clone(),
        };
        Ok(Checked { object, left_out })
    }
}

impl raw::ServiceCidr {
    pub fn check(self) -> Result<Checked<ServiceCidr>, ObjectError> {
        let name = self.metadata.name();
        let blame = Blame { kind: Kind::ServiceCidr, name: &name };
        blame.metadata(&self.metadata, None, dns1123_subdomain)?;
        let cidrs = nets("spec.cidrs", &self.spec.cidrs, &blame)?;
        Ok(Checked { object: ServiceCidr { name: name.name.clone(), cidrs }, left_out: Vec::new() })
    }
}

fn nets(field: &str, written: &[String], blame: &Blame) -> Result<Box<[IpNet]>, ObjectError> {
    let parsed = written.iter().enumerate().map(|(index, text)| {
        parse_net(text).map_err(|problem| blame.field(format!("{field}[{index}]"), problem))
    });
    parsed.collect()
}
