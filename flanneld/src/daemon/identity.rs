//! Which network this daemon serves, and the names on this host that follow from it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use flanneld_core::network_id::NetworkId;
use flanneld_core::overlay::{SeenTun, choose_tun};
use flanneld_core::subnet_env::Earlier;
use flanneld_core::tables::LinkName;
use host::netlink::{LinkKind, Netlink};
use ipnet::IpNet;

use crate::error::FlanneldError;
use crate::leases::etcd::Prefix;
use crate::options::{DEFAULT_PIN_DIR, Options};

/// Which network this daemon serves: the one below its prefix in etcd.
pub(super) fn network_id(options: &Options) -> NetworkId {
    let config = Prefix::new(&options.etcd.prefix).config().to_owned();
    NetworkId::of_etcd_prefix(config.strip_suffix("/config").unwrap_or_default())
}

/// The networks that `subnet.env` speaks of, whoever wrote it.
pub(super) fn recorded_networks(subnet_file: &Path) -> Vec<IpNet> {
    fs::read_to_string(subnet_file).map(|text| Earlier::parse(&text).networks()).unwrap_or_default()
}

/// Where the packet programs are pinned: the default folder belongs to the default network.
pub(super) fn pin_dir(options: &Options, id: &NetworkId) -> PathBuf {
    let given = &options.bpf_pin_dir;
    match given.file_name().and_then(|name| name.to_str()) {
        Some(name) if given == Path::new(DEFAULT_PIN_DIR) => given.with_file_name(id.name(name)),
        _ => given.clone(),
    }
}

/// The TUN that is ours, or will be.
pub(super) async fn tun(
    netlink: &Netlink,
    id: &NetworkId,
    networks: &[IpNet],
) -> Result<LinkName, FlanneldError> {
    let look = tokio::try_join!(netlink.links(), netlink.addresses());
    let (links, addresses) = look.map_err(FlanneldError::Observe)?;
    let of = |index| addresses.iter().filter(move |a| a.index == index).map(|a| a.net.addr());
    let seen: Vec<SeenTun> = links
        .into_iter()
        .map(|link| SeenTun {
            tun: matches!(link.kind, LinkKind::Tun(_)),
            addresses: of(link.index).filter(IpAddr::is_ipv4).collect(),
            name: link.name,
            alias: link.alias,
        })
        .collect();
    Ok(choose_tun(&seen, id, networks))
}
