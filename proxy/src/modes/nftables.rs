//! The nftables mode: our own tables, written over netlink.

use host::error::HostError;
use host::nftables::{Batch, Family as NftFamily, Nftables, TableId};
use proxy_core::names::Family;
use proxy_core::options::NodePortAddresses;
use proxy_core::table::ServiceTable;

use super::leftovers::{Leftover, Leftovers, Look, Owner, Unseen};
use super::{Definition, Mode, families};
use crate::backends::nftables::{NftablesBackend, layout};
use crate::backends::{AnyBackend, BackendError, Territory};
use crate::metrics::{self, Metrics};
use crate::options::Options;

pub const MODE: Mode = Mode(&Nft);

struct Nft;

/// The table of kube-proxy's nftables mode.
const KUBE_PROXY: &str = "kube-proxy";

fn settings(options: &Options) -> layout::Settings {
    layout::Settings { masquerade_mark: 1 << options.masquerade_bit, ..layout::Settings::default() }
}

impl Definition for Nft {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn open(&self, options: &Options) -> Result<Box<dyn AnyBackend>, BackendError> {
        Ok(Box::new(NftablesBackend::open(&families(), settings(options))?))
    }

    fn render(&self, table: &ServiceTable, options: &Options) -> String {
        NftablesBackend::render(table, &Family::BOTH, settings(options))
    }

    fn node_port_addresses(&self) -> NodePortAddresses {
        NodePortAddresses::Primary
    }

    fn serves_loopback(&self) -> bool {
        false
    }

    fn register(&self, metrics: &Metrics) {
        metrics.register_nftables();
    }

    fn count_failure(&self, metrics: &Metrics, family: Family, _: metrics::Sync) {
        metrics.nftables_failed(family);
    }
}

impl Leftovers for Nft {
    fn find(&self, in_use: &[Territory]) -> Look {
        let mut look = Look::default();
        let tables = match tables() {
            Ok(tables) => tables,
            Err(error) => {
                look.unseen.push(Unseen {
                    what: "nftables' tables".to_owned(),
                    why: error.to_string(),
                    remedy: "the proxy needs CAP_NET_ADMIN (root, or a privileged container)".to_owned(),
                });
                return look;
            }
        };
        let served = in_use.contains(&NftablesBackend::tables_territory());
        for id in tables.into_iter().filter(|id| matches!(id.family, NftFamily::Ip | NftFamily::Ip6)) {
            let owner = match id.name.as_str() {
                KUBE_PROXY => Owner::KubeProxy,
                layout::TABLE if !served => Owner::Weft,
                _ => continue,
            };
            let what = format!("nftables table {} {}", id.family.name(), id.name);
            look.found.push(Leftover::new(what, owner, move || remove(&id)));
        }
        look
    }
}

fn tables() -> Result<Vec<TableId>, HostError> {
    match Nftables::connect()?.tables() {
        Ok(there) => Ok(there.into_iter().map(|table| table.id).collect()),
        // A kernel without nf_tables.
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove(table: &TableId) -> Result<(), BackendError> {
    let mut batch = Batch::new();
    batch.no_table(table);
    Ok(Nftables::connect()?.apply(&batch)?)
}
