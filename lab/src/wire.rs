//! Carries out the steps of a plan, over netlink. Makes no choice of its own.

use std::collections::BTreeMap;

use host::error::HostError;
use host::netlink::{Address, LinkChange, Netlink, NewLink, NewLinkKind, Peer, Route, Write};
use host::netns::Namespace;
use host::sysctl;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::runtime::Runtime;

use crate::error::LabError;
use crate::plan::{Port, Step};

/// How many namespaces' sockets are kept open: a large lab has more than a process may have files.
const OPEN: usize = 32;

/// The hands of a lab: netlink sockets in its namespaces. Works inside and outside of an async runtime; blocks.
pub struct Wiring {
    /// Taken out when it is dropped.
    runtime: Option<Runtime>,
    sockets: BTreeMap<String, Netlink>,
}

impl Wiring {
    pub fn new() -> Result<Self, LabError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LabError::io("start", "the netlink runtime"))?;
        Ok(Self { runtime: Some(runtime), sockets: BTreeMap::new() })
    }

    /// Does one step.
    pub fn apply(&mut self, step: &Step) -> Result<(), LabError> {
        let failed = |source| LabError::Step { step: step.to_string(), source };
        self.block(async |sockets| apply(sockets, step).await).map_err(failed)
    }

    /// Does all of them, in order.
    pub fn apply_all(&mut self, steps: &[Step]) -> Result<(), LabError> {
        steps.iter().try_for_each(|step| self.apply(step))
    }

    /// Removes a link, if it is there.
    pub fn remove_link(&mut self, namespace: &str, name: &str) -> Result<(), LabError> {
        let remove = async |sockets: &mut BTreeMap<String, Netlink>| {
            let netlink = socket(sockets, namespace)?;
            match netlink.link_by_name(name).await? {
                Some(link) => netlink.delete_link(link.index).await,
                None => Ok(()),
            }
        };
        Ok(self.block(remove)?)
    }

    /// The addresses of a link; None if there is no such link.
    pub fn addresses(&mut self, namespace: &str, link: &str) -> Result<Option<Vec<IpNet>>, LabError> {
        let look = async |sockets: &mut BTreeMap<String, Netlink>| {
            let netlink = socket(sockets, namespace)?;
            let Some(link) = netlink.link_by_name(link).await? else { return Ok(None) };
            let all = netlink.addresses().await?.into_iter();
            Ok::<_, HostError>(Some(all.filter(|a| a.index == link.index).map(|a| a.net).collect()))
        };
        Ok(self.block(look)?)
    }

    /// Runs `work` on a thread of its own, because the caller's may belong to another runtime.
    fn block<T: Send>(
        &mut self,
        work: impl AsyncFnOnce(&mut BTreeMap<String, Netlink>) -> Result<T, HostError> + Send,
    ) -> Result<T, HostError> {
        let (runtime, sockets) = (self.runtime.as_ref(), &mut self.sockets);
        let gone = || HostError::Protocol { op: "netlink", reason: "the runtime has gone".to_owned() };
        let work = move || runtime.ok_or_else(gone)?.block_on(work(sockets));
        std::thread::scope(|scope| match scope.spawn(work).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Wiring {
    fn drop(&mut self) {
        self.sockets.clear();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn socket(sockets: &mut BTreeMap<String, Netlink>, namespace: &str) -> Result<Netlink, HostError> {
    if let Some(netlink) = sockets.get(namespace) {
        return Ok(netlink.clone());
    }
    if sockets.len() >= OPEN {
        sockets.clear();
    }
    let netlink = Netlink::connect_in(&Namespace::open(namespace)?)?;
    sockets.insert(namespace.to_owned(), netlink.clone());
    Ok(netlink)
}

async fn apply(sockets: &mut BTreeMap<String, Netlink>, step: &Step) -> Result<(), HostError> {
    match step {
        Step::Namespace(name) => {
            Namespace::create(name)?;
            let netlink = socket(sockets, name)?;
            let loopback = index(&netlink, "lo").await?;
            netlink.set_link(loopback, &LinkChange::up()).await
        }
        Step::Sysctl { netns, key, value } => Namespace::open(netns)?.run(|| sysctl::write(key, value))?,
        Step::Bridge { netns, name, mtu } => {
            let bridge = NewLink { mtu: Some(*mtu), up: true, ..NewLink::new(name, NewLinkKind::Bridge) };
            socket(sockets, netns)?.create_link(&bridge).await.map(drop)
        }
        Step::Veth { a, b, mtu } => {
            let there = Namespace::open(&b.netns)?;
            let peer = Peer { mtu: Some(*mtu), ..Peer::new(&b.name).inside(&there) };
            let pair = NewLink { mtu: Some(*mtu), ..NewLink::new(&a.name, NewLinkKind::Veth(peer)) };
            socket(sockets, &a.netns)?.create_link(&pair).await?;
            for port in [a, b] {
                plug_in(&socket(sockets, &port.netns)?, port).await?;
            }
            Ok(())
        }
        Step::Address { netns, link, net } => {
            let netlink = socket(sockets, netns)?;
            let address = Address::new(index(&netlink, link).await?, *net);
            write(&netlink, Write::AddAddress(address)).await
        }
        Step::Default { netns, via } => {
            let everything: IpNet =
                if via.is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() };
            let route = Route { via: Some(*via), ..Route::new(everything) };
            write(&socket(sockets, netns)?, Write::AddRoute(route)).await
        }
    }
}

/// Makes a new port part of its bridge, and switches it on.
async fn plug_in(netlink: &Netlink, port: &Port) -> Result<(), HostError> {
    let master = match &port.bridge {
        Some(bridge) => Some(Some(index(netlink, bridge).await?)),
        None => None,
    };
    let change = LinkChange { master, ..LinkChange::up() };
    let link = index(netlink, &port.name).await?;
    netlink.set_link(link, &change).await?;
    if port.hairpin { netlink.set_hairpin(link, true).await } else { Ok(()) }
}

async fn write(netlink: &Netlink, write: Write) -> Result<(), HostError> {
    netlink.apply(&[write]).await.into_iter().collect()
}

async fn index(netlink: &Netlink, name: &str) -> Result<u32, HostError> {
    let link = netlink.link_by_name(name).await?.map(|link| link.index);
    let missing = || HostError::Kernel { op: "find", object: format!("link {name}"), errno: libc::ENODEV };
    link.ok_or_else(missing)
}
