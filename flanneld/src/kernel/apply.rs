//! Carrying out a plan, in its order.

use std::collections::BTreeMap;

use flanneld_core::tables::{Link, LinkKind, LinkName, Op, PROTOCOL, Route, RouteKey};
use host::error::{HostError, Remedy};
use host::netlink::{
    Address, FdbEntry, IpipLink, LinkChange, Neighbour, Netlink, NewLink, NewLinkKind, RouteKind, VxlanLink,
    Write,
};

use super::{Observed, Shield};
use crate::metrics::Metrics;

/// A write that the kernel refused.
#[derive(Debug)]
pub struct Failure {
    pub op: Op,
    pub error: HostError,
}

/// Carries out all of `plan`, also behind a write that was refused: the others may still help.
/// What the world already is or no longer has is no failure.
pub async fn apply(
    netlink: &Netlink,
    plan: Vec<Op>,
    seen: &Observed,
    shield: &mut Shield,
    metrics: &Metrics,
) -> Vec<Failure> {
    let links = seen.links.iter().map(|(name, link)| (name.clone(), link.index)).collect();
    let mut run = Run { netlink, seen, links, batch: Vec::new(), failures: Vec::new(), shield, metrics };
    for op in plan {
        run.op(op).await;
    }
    run.flush().await;
    run.failures
}

/// A plan under way. Writes are gathered and sent many at a time; making a link, whose index the later
/// writes need, sends what was gathered before it.
struct Run<'a> {
    netlink: &'a Netlink,
    seen: &'a Observed,
    links: BTreeMap<LinkName, u32>,
    batch: Vec<(Op, Write)>,
    failures: Vec<Failure>,
    shield: &'a mut Shield,
    metrics: &'a Metrics,
}

impl Run<'_> {
    async fn op(&mut self, op: Op) {
        match &op {
            Op::AddLink(name, link) => match new_link(name, link) {
                Some(new) => {
                    self.flush().await;
                    let made = self.make(name, link, &new).await;
                    self.record(op, made);
                }
                // A TUN is made by opening it: the udp data path has done so before the plan, or will at the next.
                None => tracing::debug!(%op, "left to the udp data path"),
            },
            Op::SetLink(name, Link { up: true, .. }) if !self.is_up(name) => {
                self.shield.cover(name);
                self.push(op);
            }
            _ => self.push(op),
        }
    }

    fn is_up(&self, name: &LinkName) -> bool {
        self.seen.links.get(name).is_some_and(|link| link.up)
    }

    fn push(&mut self, op: Op) {
        match write(&op, &self.links, self.seen) {
            Some(write) => self.batch.push((op, write)),
            // Its link could not be made, which has been reported.
            None => tracing::debug!(%op, "left out: its link is not there"),
        }
    }

    /// First down, so that it takes nothing in before it is told not to.
    async fn make(&mut self, name: &LinkName, link: &Link, new: &NewLink) -> Result<(), HostError> {
        let index = self.netlink.create_link(new).await?;
        self.links.insert(name.clone(), index);
        self.shield.cover(name);
        let change = LinkChange { up: Some(link.up), alias: link.alias.clone(), ..LinkChange::default() };
        self.netlink.set_link(index, &change).await
    }

    async fn flush(&mut self) {
        let (ops, writes): (Vec<Op>, Vec<Write>) = self.batch.drain(..).unzip();
        let results = self.netlink.apply(&writes).await;
        for (op, result) in ops.into_iter().zip(results) {
            self.record(op, result);
        }
    }

    fn record(&mut self, op: Op, result: Result<(), HostError>) {
        match result {
            Err(error) if error.remedy() != Remedy::Ignore => {
                self.metrics.write(kind(&op), true);
                self.failures.push(Failure { op, error });
            }
            _ => self.metrics.write(kind(&op), false),
        }
    }
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::AddLink(..) | Op::DelLink(_) | Op::SetLink(..) => "link",
        Op::AddAddress(..) | Op::DelAddress(..) => "address",
        Op::SetFdb(..) | Op::DelFdb(..) => "fdb",
        Op::SetNeighbour(..) | Op::DelNeighbour(..) => "neighbour",
        Op::AddRoute(..) | Op::SetRoute(..) | Op::DelRoute(..) => "route",
    }
}

fn write(op: &Op, links: &BTreeMap<LinkName, u32>, seen: &Observed) -> Option<Write> {
    let index = |name: &LinkName| links.get(name).copied();
    Some(match op {
        Op::AddLink(..) => return None,
        Op::DelLink(name) => Write::DeleteLink(index(name)?),
        Op::SetLink(name, link) => Write::SetLink(index(name)?, change(link, seen.links.get(name))),
        Op::AddAddress(name, net) => Write::AddAddress(Address::new(index(name)?, *net)),
        Op::DelAddress(name, net) => Write::DeleteAddress(Address::new(index(name)?, *net)),
        Op::SetFdb(name, mac, ip) => Write::SetFdb(FdbEntry::permanent(index(name)?, mac.octets(), *ip)),
        Op::DelFdb(name, mac, ip) => Write::DeleteFdb(FdbEntry::permanent(index(name)?, mac.octets(), *ip)),
        Op::SetNeighbour(name, ip, mac) => {
            Write::SetNeighbour(Neighbour::permanent(index(name)?, *ip, mac.octets()))
        }
        Op::DelNeighbour(name, ip) => Write::DeleteNeighbour(Neighbour::permanent(index(name)?, *ip, [0; 6])),
        Op::AddRoute(key, route) => Write::AddRoute(netlink_route(key, route, PROTOCOL, links)?),
        Op::SetRoute(key, route) => Write::ReplaceRoute(netlink_route(key, route, PROTOCOL, links)?),
        // Whoever made it: the observer has found it to be ours.
        Op::DelRoute(key, route) => Write::DeleteRoute(netlink_route(key, route, 0, links)?),
    })
}

fn netlink_route(
    key: &RouteKey,
    route: &Route,
    protocol: u8,
    links: &BTreeMap<LinkName, u32>,
) -> Option<host::netlink::Route> {
    let plain =
        host::netlink::Route { protocol, metric: key.metric, ..host::netlink::Route::new(key.destination) };
    Some(match route {
        Route::Blackhole => host::netlink::Route { kind: RouteKind::Blackhole, ..plain },
        Route::Out { dev, via, onlink } => {
            host::netlink::Route { dev: Some(*links.get(dev)?), via: *via, onlink: *onlink, ..plain }
        }
    })
}

fn new_link(name: &LinkName, link: &Link) -> Option<NewLink> {
    let kind = match &link.kind {
        LinkKind::Vxlan(vxlan) => NewLinkKind::Vxlan(VxlanLink {
            local: Some(vxlan.local),
            dev: Some(vxlan.underlay),
            learning: vxlan.learning,
            gbp: vxlan.gbp,
            ..VxlanLink::new(vxlan.vni.get(), vxlan.port)
        }),
        LinkKind::Ipip(ipip) => {
            NewLinkKind::Ipip(IpipLink { local: Some(ipip.local), dev: Some(ipip.underlay) })
        }
        LinkKind::Wireguard => NewLinkKind::Wireguard,
        LinkKind::Dummy => NewLinkKind::Dummy,
        LinkKind::Bridge => NewLinkKind::Bridge,
        LinkKind::Tun | LinkKind::Other(_) => return None,
    };
    Some(NewLink {
        mac: link.mac.map(|mac| mac.octets()),
        mtu: link.mtu,
        ..NewLink::new(name.as_str(), kind)
    })
}

/// Only what differs: where a MAC is set, even to what it is, the kernel forgets the link's neighbours.
fn change(want: &Link, have: Option<&host::netlink::Link>) -> LinkChange {
    let mac = want.mac.map(|mac| mac.octets());
    LinkChange {
        mac: mac.filter(|_| have.is_none_or(|have| have.mac != mac)),
        mtu: want.mtu.filter(|mtu| have.is_none_or(|have| have.mtu != *mtu)),
        up: Some(want.up),
        alias: want.alias.clone().filter(|alias| have.is_none_or(|have| have.alias.as_ref() != Some(alias))),
        ..LinkChange::default()
    }
}
