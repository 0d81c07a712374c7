//! An EndpointSlice that can be trusted.

use std::net::IpAddr;

use apiclient_core::names::{dns1123_label, dns1123_subdomain};

use super::address::parse_ip;
use super::error::Blame;
use super::service::port_number;
use super::{Checked, Kind, ObjectError, raw};
use crate::names::{Family, Name, ObjectName, Protocol, ServiceName};

/// Some of a service's endpoints, all of one family.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSlice {
    pub name: ObjectName,
    /// None: not for a proxy (labelled headless, of no service, or made of host names).
    pub service: Option<ServiceName>,
    pub family: Family,
    pub ports: Box<[SlicePort]>,
    pub endpoints: Box<[SliceEndpoint]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    pub name: Name,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    pub ip: IpAddr,
    pub node: Option<Name>,
    /// For a service that publishes unready addresses the API says ready whatever the pod's state.
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    /// Boxed because most endpoints have none.
    pub hints: Option<Box<Hints>>,
}

/// For whom an endpoint is meant; an empty list hints at nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub zones: Box<[Name]>,
    pub nodes: Box<[Name]>,
}

const SERVICE: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

impl raw::EndpointSlice {
    pub fn check(self) -> Result<Checked<EndpointSlice>, ObjectError> {
        let name = self.metadata.name();
        let blame = Blame { kind: Kind::EndpointSlice, name: &name };
        blame.metadata(&self.metadata, Some(dns1123_label), dns1123_subdomain)?;
        let labels = &self.metadata.labels;
        let service = labels.get(SERVICE).filter(|name| !name.is_empty() && !labels.contains_key(HEADLESS));
        let service = service.map(|service| ObjectName::new(name.namespace.clone(), service.as_str()));
        let (family, service) = match self.address_type.as_deref() {
            Some("IPv4") => (Family::V4, service),
            Some("IPv6") => (Family::V6, service),
            Some("FQDN") => (Family::V4, None),
            other => {
                let problem = format!("{:?} is not IPv4, IPv6 or FQDN", other.unwrap_or_default());
                return Err(blame.field("addressType", problem));
            }
        };
        if service.is_none() {
            let (ports, endpoints) = Default::default();
            let object = EndpointSlice { name, service, family, ports, endpoints };
            return Ok(Checked { object, left_out: Vec::new() });
        }
        let mut left_out = Vec::new();
        let object = EndpointSlice {
            service,
            family,
            ports: ports(&self.ports, &blame)?,
            endpoints: endpoints(self.endpoints, family, &blame, &mut left_out),
            name: name.clone(),
        };
        Ok(Checked { object, left_out })
    }
}

/// A port without a number means every port, which no proxy can serve: left out, as kube-proxy does.
fn ports(written: &[raw::EndpointPort], blame: &Blame) -> Result<Box<[SlicePort]>, ObjectError> {
    let numbered = written.iter().enumerate().filter_map(|(index, port)| match port.port {
        None | Some(0) => None,
        Some(number) => Some((index, port, number)),
    });
    let checked = numbered.map(|(index, port, number)| {
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            dns1123_label(name).map_err(|error| blame.field(format!("ports[{index}].name"), error))?;
        }
        Ok(SlicePort {
            name: name.into(),
            protocol: port.protocol.unwrap_or_default(),
            port: port_number(number, &format!("ports[{index}].port"), blame)?,
        })
    });
    checked.collect()
}

/// An endpoint that cannot be used costs only itself.
fn endpoints(
    written: Vec<raw::Endpoint>,
    family: Family,
    blame: &Blame,
    left_out: &mut Vec<ObjectError>,
) -> Box<[SliceEndpoint]> {
    let mut endpoints = Vec::with_capacity(written.len());
    for (index, raw) in written.into_iter().enumerate() {
        match address(&raw.addresses, family) {
            Ok(ip) => endpoints.push(endpoint(ip, raw)),
            Err(problem) => left_out.push(blame.field(format!("endpoints[{index}].addresses"), problem)),
        }
    }
    endpoints.into()
}

/// The API: further addresses are the same endpoint's; consumers use the first.
fn address(written: &[String], family: Family) -> Result<IpAddr, String> {
    let ip = parse_ip(written.first().ok_or("there is none")?)?;
    if Family::of(ip) == family { Ok(ip) } else { Err(format!("{ip} is not {family}")) }
}

/// Absent conditions: ready and serving, not terminating.
fn endpoint(ip: IpAddr, raw: raw::Endpoint) -> SliceEndpoint {
    let names = |list: Vec<raw::Named>| list.into_iter().map(|named| Name::from(named.name)).collect();
    let hints = Hints { zones: names(raw.hints.for_zones), nodes: names(raw.hints.for_nodes) };
    SliceEndpoint {
        ip,
        node: raw.node_name.map(Name::from),
        ready: raw.conditions.ready.unwrap_or(true),
        serving: raw.conditions.serving.unwrap_or(true),
        terminating: raw.conditions.terminating.unwrap_or(false),
        hints: (hints != Hints::default()).then(|| Box::new(hints)),
    }
}
