//! At which interfaces this node announces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use host::error::HostError;
use host::netlink::{Link, MacBytes, Netlink};

use super::held::Held;
use super::responder::Responder;
use crate::error::chain;

/// An interface as a responder has it: another index or MAC address is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    pub mac: MacBytes,
}

pub struct Interfaces {
    /// By name; empty: those that have one of the node's addresses.
    chosen: Vec<String>,
    held: Held,
    responders: BTreeMap<Interface, Responder>,
    /// What was said last.
    said: String,
}

impl Interfaces {
    pub fn new(chosen: Vec<String>, held: Held) -> Self {
        Self { chosen, held, responders: BTreeMap::new(), said: String::new() }
    }

    /// Looks at the interfaces, and has a responder at each, where there is something to announce.
    pub async fn follow(&mut self, node: &[IpAddr], needed: bool) {
        if !needed {
            self.responders.clear();
            return;
        }
        let found = match look().await {
            Ok((links, addresses)) => choose(&self.chosen, node, &links, &addresses),
            // What was there may still be.
            Err(error) => return self.say(format!("interfaces are not known: {}", chain(&error))),
        };
        self.responders.retain(|interface, _| found.contains(interface));
        if found.is_empty() {
            let which = match self.chosen.as_slice() {
                [] => format!(
                    "no Ethernet interface has one of the node's addresses ({node:?}): give --announce-interfaces"
                ),
                names => format!(
                    "there is no Ethernet interface {}: check --announce-interfaces",
                    names.join(", ")
                ),
            };
            return self.say(format!("addresses of load balancers are not announced: {which}"));
        }
        self.said.clear();
        for interface in found {
            let held = &self.held;
            self.responders.entry(interface).or_insert_with_key(|interface| {
                tracing::info!(interface = interface.name, "announcing addresses of load balancers here");
                Responder::start(interface, held)
            });
        }
    }

    fn say(&mut self, problem: String) {
        if self.said != problem {
            tracing::warn!("{problem}");
            self.said = problem;
        }
    }
}

async fn look() -> Result<(Vec<Link>, Vec<(u32, IpAddr)>), HostError> {
    let netlink = Netlink::connect()?;
    let addresses = netlink.addresses().await?;
    let addresses = addresses.iter().map(|address| (address.index, address.net.addr())).collect();
    Ok((netlink.links().await?, addresses))
}

fn choose(chosen: &[String], node: &[IpAddr], links: &[Link], addresses: &[(u32, IpAddr)]) -> Vec<Interface> {
    let here = |link: &&Link| match chosen {
        [] => addresses.iter().any(|(index, address)| *index == link.index && node.contains(address)),
        names => names.contains(&link.name),
    };
    let ethernet = |link: &Link| {
        let mac = link.mac.filter(|_| !link.loopback)?;
        Some(Interface { name: link.name.clone(), index: link.index, mac })
    };
    links.iter().filter(here).filter_map(ethernet).collect()
}
