//! A lab for each path, up for the whole run.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use nix::unistd::Pid;

use super::by_hand::{self, Place};

use super::mode::Mode;
use crate::measure::{Path, ping};
use crate::stale;
use host::programs::wait_for;
use lab::Lab;
use lab::LabError;
use lab::flanneld::FlanneldOptions;
use lab::name::LabName;
use lab::node::Node;
use lab::plan::PodNetwork;
use lab::progress::Progress;
use lab::spec::{Backend, Datapath, Spec, Topology};

/// How long a path may take until the first packet gets through.
const PATH_LIMIT: Duration = Duration::from_secs(30);

/// One path, ready to be measured. Removed when it is dropped.
#[derive(Debug)]
pub struct Testbed {
    pub mode: Mode,
    pub path: Path,
    /// The daemons that carry or arrange the packets.
    pub daemons: Vec<Pid>,
    lab: Lab,
}

impl Testbed {
    /// Makes the lab and waits until the first echo is answered.
    ///
    /// # Errors
    /// The lab does not come up, or no echo gets through.
    pub fn make(
        mode: Mode,
        original: Option<&FilePath>,
        progress: &mut dyn Progress,
    ) -> Result<Self, LabError> {
        let spec = spec(mode, stale::name()?, original);
        let lab = Lab::up(&spec, progress)?;
        match Self::connect(mode, &lab) {
            Ok((path, daemons)) => Ok(Self { mode, path, daemons, lab }),
            Err(error) => {
                remove(&lab);
                Err(error)
            }
        }
    }

    fn connect(mode: Mode, lab: &Lab) -> Result<(Path, Vec<Pid>), LabError> {
        let [first, second] = lab.nodes() else {
            return Err(LabError::BadSpec("a benchmark needs two nodes".to_owned()));
        };
        connect_by_hand(mode, first, second)?;
        let path = match (first.pods(), second.pods()) {
            ([from, ..], [to, ..]) => Path {
                from: from.namespace().clone(),
                to: to.namespace().clone(),
                address: pod_address(second)?,
            },
            _ => Path {
                from: first.namespace().clone(),
                to: second.namespace().clone(),
                address: second.underlay(),
            },
        };
        wait_for(Instant::now() + PATH_LIMIT, || Ok::<_, LabError>(ping::answers(&path)?.then_some(())))?
            .ok_or_else(|| LabError::NotReady {
                what: format!("the path {mode}"),
                waited: PATH_LIMIT,
                reason: format!(
                    "no echo gets through; flanneld on n1 said:\n{}",
                    first.flanneld().log_tail(15)
                ),
            })?;
        Ok((path, lab.nodes().iter().filter_map(Node::flanneld_pid).collect()))
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        remove(&self.lab);
    }
}

fn remove(lab: &Lab) {
    if let Err(error) = lab.down() {
        telemetry::note!("{error}");
    }
}

/// The lab of a path: two nodes on one wire, one pod on each, but none for the bare wire.
fn spec(mode: Mode, name: LabName, original: Option<&FilePath>) -> Spec {
    let backend = match mode {
        Mode::Vxlan | Mode::VxlanByHand | Mode::OriginalVxlan => Backend::Vxlan,
        Mode::UdpEbpf | Mode::UdpSimple | Mode::OriginalUdp => Backend::Udp,
        Mode::Direct | Mode::HostGw | Mode::HostGwByHand | Mode::OriginalHostGw => Backend::HostGw,
    };
    let datapath = match mode {
        Mode::UdpEbpf => Datapath::Ebpf,
        Mode::UdpSimple => Datapath::Simple,
        _ => Datapath::Auto,
    };
    let runs = match mode {
        Mode::Direct | Mode::HostGwByHand | Mode::VxlanByHand => None,
        Mode::OriginalHostGw | Mode::OriginalVxlan | Mode::OriginalUdp => {
            Some(FlanneldOptions::original(original.map_or_else(PathBuf::new, PathBuf::from)))
        }
        Mode::HostGw | Mode::Vxlan | Mode::UdpEbpf | Mode::UdpSimple => Some(FlanneldOptions::default()),
    };
    Spec {
        nodes: 2,
        pods: u16::from(mode != Mode::Direct),
        backend,
        datapath,
        topology: Topology::Direct,
        etcd: runs.is_some(),
        // Masquerading would put connection tracking into every path but those made by hand.
        flanneld: runs.map(|options| options.arg("--ip-masq=false")),
        ..Spec::of(name)
    }
}

/// Pods and tables of a path that no daemon arranges.
fn connect_by_hand(mode: Mode, first: &Node, second: &Node) -> Result<(), LabError> {
    let mtu = match mode {
        Mode::HostGwByHand => 1500,
        Mode::VxlanByHand => by_hand::VXLAN_MTU,
        _ => return Ok(()),
    };
    let place = |node: &Node, third: u8, mac| Place {
        address: node.underlay(),
        subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, third, 0), 24),
        mac,
    };
    let places = [place(first, 1, "02:00:00:00:00:01"), place(second, 2, "02:00:00:00:00:02")];
    for (node, (here, there)) in [(first, (0, 1)), (second, (1, 0))] {
        let (here, there) = (places[here], places[there]);
        let gateway = Ipv4Addr::from(u32::from(here.subnet.network()) + 1);
        let gateway = Ipv4Net::new_assert(gateway, 24);
        node.connect_pods_to(&PodNetwork { gateway, gateway_ipv6: None, mtu })?;
        for argv in by_hand::commands(mode, here, there) {
            node.run(argv)?;
        }
    }
    Ok(())
}

/// The IPv4 address of a node's first pod.
fn pod_address(node: &Node) -> Result<Ipv4Addr, LabError> {
    let addresses = node.pods_network().map(|network| network.addresses(1)).transpose()?.unwrap_or_default();
    let v4 = addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    v4.ok_or_else(|| LabError::Protocol {
        what: format!("the pod of {}", node.name()),
        reason: "it has no IPv4 address".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_path_has_a_lab_that_can_be() {
        for mode in Mode::value_variants() {
            let spec = spec(*mode, LabName::new("bench1x0").unwrap(), Some(FilePath::new("/opt/flanneld")));
            spec.validate().unwrap();
            assert_eq!((spec.nodes, spec.topology), (2, Topology::Direct));
            assert_eq!(mode.is_original(), spec.flanneld.is_some_and(|options| !options.binary.is_ours()));
        }
    }
}
