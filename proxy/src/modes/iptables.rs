//! The iptables mode: kube-proxy's chains, in whichever flavour the node uses.
//!
//! Leftovers are looked for in the kernel first, so that a node without any starts no program: the nft flavour's chains
//! are nf_tables' and are listed and removed over netlink, whatever `iptables-nft` makes of them; of the legacy flavour
//! the kernel names the tables in use, and only its program can read those.

use std::sync::Arc;

use host::command::{Runner, System};
use host::error::HostError;
use host::iptables::{Flavour, Flush, legacy_tables};
use host::nftables::{Batch, Chain, Expr, Family as NftFamily, Nftables, TableId, Verdict};
use proxy_core::names::Family;
use proxy_core::options::NodePortAddresses;
use proxy_core::table::ServiceTable;

use super::leftovers::{Leftover, Leftovers, Look, Owner, Unseen};
use super::{Definition, Mode, families};
use crate::backends::iptables::names::{Table, is_owned};
use crate::backends::iptables::{IptablesBackend, Settings, program_family, restore, territory};
use crate::backends::{AnyBackend, BackendError, Territory};
use crate::metrics::{self, Metrics};
use crate::options::Options;

pub const MODE: Mode = Mode(&Ipt);

struct Ipt;

fn settings(options: &Options) -> Settings {
    Settings {
        mark_bit: options.masquerade_bit,
        drop_invalid: !options.conntrack.tcp_be_liberal,
        check_every: options.sync_period,
        ..Settings::default()
    }
}

impl Definition for Ipt {
    fn name(&self) -> &'static str {
        "iptables"
    }

    fn open(&self, options: &Options) -> Result<Box<dyn AnyBackend>, BackendError> {
        Ok(Box::new(IptablesBackend::open(&families(), settings(options))?))
    }

    fn render(&self, table: &ServiceTable, options: &Options) -> String {
        IptablesBackend::render(table, &Family::BOTH, &settings(options))
    }

    fn node_port_addresses(&self) -> NodePortAddresses {
        NodePortAddresses::All
    }

    fn serves_loopback(&self) -> bool {
        true
    }

    fn register(&self, metrics: &Metrics) {
        metrics.register_iptables();
    }

    fn count_failure(&self, metrics: &Metrics, family: Family, pass: metrics::Sync) {
        metrics.iptables_failed(family, pass);
    }
}

impl Leftovers for Ipt {
    fn find(&self, in_use: &[Territory]) -> Look {
        let mut look = Look::default();
        for family in families() {
            if !in_use.contains(&territory(family, Flavour::Nft)) {
                in_nf_tables(family, &mut look);
            }
            if !in_use.contains(&territory(family, Flavour::Legacy)) {
                in_legacy(Arc::new(System), family, &mut look);
            }
        }
        look
    }
}

fn what(family: Family, flavour: Flavour) -> String {
    format!("KUBE- chains of {}-{flavour}", program_family(family).program())
}

fn in_nf_tables(family: Family, look: &mut Look) {
    let what = what(family, Flavour::Nft);
    match chains(family) {
        Ok(chains) if chains.is_empty() => {}
        Ok(_) => look.found.push(Leftover::new(what, Owner::Either, move || remove(family))),
        Err(error) => look.unseen.push(Unseen {
            what,
            why: error.to_string(),
            remedy: "the proxy needs CAP_NET_ADMIN (root, or a privileged container)".to_owned(),
        }),
    }
}

/// The service proxy's chains in those tables that `iptables-nft` writes.
fn chains(family: Family) -> Result<Vec<Chain>, HostError> {
    let of = match family {
        Family::V4 => NftFamily::Ip,
        Family::V6 => NftFamily::Ip6,
    };
    let ours = |chain: &Chain| {
        chain.table.family == of
            && Table::ALL.iter().any(|table| chain.table.name == table.as_str())
            && is_owned(&chain.name)
    };
    match Nftables::connect()?.chains() {
        Ok(chains) => Ok(chains.into_iter().filter(ours).collect()),
        // A kernel without nf_tables.
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The chains, and the rules of others that lead to them, in one transaction.
fn remove(family: Family) -> Result<(), BackendError> {
    let chains = chains(family)?;
    let mut nf = Nftables::connect()?;
    let mut batch = Batch::new();
    let mut tables: Vec<&TableId> = chains.iter().map(|chain| &chain.table).collect();
    tables.dedup();
    for table in tables {
        for listed in nf.all_rules(table)? {
            let leads = |expr: &Expr| match expr {
                Expr::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => is_owned(to),
                _ => false,
            };
            if !is_owned(&listed.rule.chain) && listed.rule.exprs.iter().any(leads) {
                batch.delete_rule(table, &listed.rule.chain, listed.handle);
            }
        }
    }
    for chain in &chains {
        batch.flush_chain(&chain.table, &chain.name);
    }
    for chain in &chains {
        batch.delete_chain(&chain.table, &chain.name);
    }
    Ok(nf.apply(&batch)?)
}

fn in_legacy(runner: Arc<dyn Runner>, family: Family, look: &mut Look) {
    let what = what(family, Flavour::Legacy);
    let mut unseen = |why: &HostError, remedy: String| {
        look.unseen.push(Unseen { what: what.clone(), why: why.to_string(), remedy });
    };
    let tables = match legacy_tables(program_family(family)) {
        Ok(tables) if tables.is_empty() => return,
        Ok(tables) => tables.join(", "),
        Err(error) => return unseen(&error, "the proxy needs to read /proc".to_owned()),
    };
    let program = format!("{}-legacy", program_family(family).program());
    let tool = match host::iptables::find(runner, program_family(family), Flavour::Legacy) {
        Ok(tool) => tool,
        Err(error) => {
            let remedy =
                format!("the kernel has such tables in use ({tables}): only {program} can read them");
            return unseen(&error, remedy);
        }
    };
    match tool.save_all() {
        Ok(saved) => {
            let text = restore::removal(&saved);
            if !text.is_empty() {
                let removal = move || Ok(tool.restore(&text.to_string(), Flush::Declared)?);
                look.found.push(Leftover::new(what, Owner::Either, removal));
            }
        }
        Err(error) => {
            let remedy = format!("`{program}-save` by hand shows what is the matter");
            unseen(&error, remedy);
        }
    }
}
