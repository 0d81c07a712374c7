//! A file of cases.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::world::{self, BRIDGE, CLUSTER_CIDRS, NODE, parse};
use super::{Case, Expect, Other, Probe, Want, shorthand};
use crate::options::{DetectLocal, NodePortAddresses, Options};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    case: String,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    objects: Vec<Value>,
    #[serde(default)]
    options: WrittenOptions,
    #[serde(default)]
    packets: Vec<WrittenPacket>,
    #[serde(default)]
    reports: Vec<String>,
    #[serde(default)]
    refused: Vec<String>,
    /// Implementation to reason.
    #[serde(default)]
    stuck: BTreeMap<String, String>,
    #[serde(default)]
    affinity: BTreeMap<String, u64>,
    #[serde(default)]
    health: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct WrittenOptions {
    masquerade_all: bool,
    detect_local: Option<String>,
    nodeport_addresses: Option<String>,
    localhost_nodeports: bool,
    node: Option<String>,
    node_ips: Option<Vec<String>>,
    zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenPacket {
    Line(String),
    Full(FullPacket),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FullPacket {
    packet: String,
    #[serde(default)]
    left_out: BTreeMap<String, String>,
    /// Implementation to what it does.
    #[serde(default)]
    but: BTreeMap<String, String>,
    #[serde(default)]
    because: String,
}

pub(super) fn read(file: &'static str, text: &str) -> Vec<Case> {
    let cases: Vec<Written> =
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("proxy/cases/{file}: {error}"));
    cases.into_iter().map(|written| case(file, written)).collect()
}

fn case(file: &'static str, written: Written) -> Case {
    let services: Vec<&str> = written.services.iter().map(String::as_str).collect();
    let mut objects = world::objects();
    objects.extend(services.iter().map(|line| shorthand::service(line)));
    for (number, line) in written.endpoints.iter().enumerate() {
        objects.extend(shorthand::slices(line, number, &services));
    }
    objects.extend(written.objects);
    let health = written.health.into_iter().map(|(name, text)| {
        let (port, local) = text.split_once(' ').unwrap_or_else(|| panic!("{text:?} is not PORT LOCAL"));
        (name, (parse(port), parse(local)))
    });
    Case {
        file,
        objects,
        options: options(written.options),
        probes: written.packets.into_iter().map(probe).collect(),
        expect: Expect {
            reports: written.reports,
            refused: written.refused,
            affinity: written.affinity,
            health: health.collect(),
        },
        stuck: implementations(written.stuck).collect(),
        name: written.case,
    }
}

/// `kube-proxy` stands for both of its modes.
fn implementations<T: Clone>(
    written: impl IntoIterator<Item = (String, T)>,
) -> impl Iterator<Item = (String, T)> {
    written.into_iter().flat_map(|(who, what)| {
        let who = match who.as_str() {
            "kube-proxy" => vec!["kube-proxy iptables".to_owned(), "kube-proxy nftables".to_owned()],
            "iptables" | "nftables" | "kube-proxy iptables" | "kube-proxy nftables" => vec![who],
            _ => panic!("{who:?} is no implementation"),
        };
        who.into_iter().map(move |who| (who, what.clone()))
    })
}

fn probe(written: WrittenPacket) -> Probe {
    let full = match written {
        WrittenPacket::Full(full) => full,
        WrittenPacket::Line(packet) => {
            FullPacket { packet, left_out: BTreeMap::new(), but: BTreeMap::new(), because: String::new() }
        }
    };
    let (text, want) = full.packet.split_once("=>").unwrap_or_else(|| panic!("{:?} has no =>", full.packet));
    assert_eq!(full.but.is_empty(), full.because.is_empty(), "{text}: but and because belong together");
    let others = full.but.into_iter().map(|(who, want)| (who, Other::read(&want, &full.because)));
    Probe {
        packet: Probe::packet(text.trim()),
        text: text.trim().to_owned(),
        want: Want::read(want),
        others: implementations(others).collect(),
        left_out: full.left_out.into_iter().map(|(endpoint, why)| (parse(&endpoint), why)).collect(),
    }
}

pub(super) fn options(written: WrittenOptions) -> Options {
    let nets = |text: &str| text.split(',').map(parse::<IpNet>).collect::<Vec<_>>();
    let here = &world::NODES[0];
    let own = || here.primary.iter().chain(&here.secondary).map(|ip| (*ip).to_owned()).collect();
    Options {
        node_name: written.node.as_deref().unwrap_or(NODE).into(),
        node_ips: written.node_ips.unwrap_or_else(own).iter().map(|ip| parse(ip)).collect(),
        zone: written.zone.as_deref().map(Into::into),
        masquerade_all: written.masquerade_all,
        detect_local: match written.detect_local.as_deref() {
            None => DetectLocal::ClusterCidr(CLUSTER_CIDRS.iter().map(|net| parse(net)).collect()),
            Some("none") => DetectLocal::None,
            Some("node-cidr") => DetectLocal::NodeCidr,
            Some("bridge") => DetectLocal::Bridge(BRIDGE.into()),
            Some("interface-prefix") => DetectLocal::InterfacePrefix(BRIDGE[..3].into()),
            Some(cidrs) => DetectLocal::ClusterCidr(nets(cidrs)),
        },
        nodeport_addresses: match written.nodeport_addresses.as_deref() {
            None | Some("all") => NodePortAddresses::All,
            Some("primary") => NodePortAddresses::Primary,
            Some(cidrs) => NodePortAddresses::Cidrs(nets(cidrs)),
        },
        localhost_nodeports: written.localhost_nodeports,
    }
}
