//! nftables or iptables: what was asked for, as far as the kernel has it.

use flanneld_core::config::NetworkConfig;
use host::error::HostError;
use host::nftables::build;
use host::nftables::{Batch, Chain, ChainType, Family, Hook, Nftables, Rule, Table, TableId, priority};

use crate::error::{FlanneldError, chain};
use crate::options::FirewallChoice;

/// The tool in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nftables,
    Iptables,
}

/// Chooses. `probe` finds out whether the kernel can do what our rules need; it is asked only where it matters.
///
/// # Errors
/// nftables were asked for, and cannot be had: a daemon that went on would be ready without masquerading.
pub fn choose(
    asked: FirewallChoice,
    configured: Option<bool>,
    probe: impl FnOnce() -> Result<(), HostError>,
) -> Result<Kind, FlanneldError> {
    let demand = |by: &'static str, probe: Result<(), HostError>| match probe {
        Ok(()) => Ok(Kind::Nftables),
        Err(source) => Err(FlanneldError::NoNftables { by, source }),
    };
    match (asked, configured) {
        (FirewallChoice::Nftables, _) => demand("--firewall=nftables", probe()),
        (FirewallChoice::Auto, Some(true)) => demand("EnableNFTables of the network configuration", probe()),
        (FirewallChoice::Iptables, _) | (FirewallChoice::Auto, Some(false)) => Ok(Kind::Iptables),
        (FirewallChoice::Auto, None) => Ok(match probe() {
            Ok(()) => Kind::Nftables,
            Err(error) => {
                tracing::info!(why = chain(&error), "the kernel's nf_tables cannot be used; taking iptables");
                Kind::Iptables
            }
        }),
    }
}

/// Tries the parts of the kernel that our rules need: a table with a chain and a masquerade rule, made and removed in
/// one transaction, so that nobody sees it.
///
/// # Errors
/// One is missing.
pub fn probe(nft: &mut Nftables, config: &NetworkConfig, masquerade: bool) -> Result<(), HostError> {
    nft.generation()?;
    let families = [(config.v4.is_some(), Family::Ip), (config.v6.is_some(), Family::Ip6)];
    for (_, family) in families.into_iter().filter(|(used, _)| *used && masquerade) {
        let table = TableId::new(family, &format!("weft-probe-{}", std::process::id()));
        let mut batch = Batch::new();
        batch
            .add_table(Table::new(&table))
            .add_chain(Chain::base(&table, "probe", ChainType::Nat, Hook::Postrouting, priority::SRCNAT))
            .add_rule(Rule::new(&table, "probe", [build::counter(), build::masquerade_fully_random()]))
            .delete_table(&table);
        nft.apply(&batch)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Result<(), HostError> {
        Err(HostError::kernel("read", "nf_tables", libc::EPROTONOSUPPORT))
    }

    #[test]
    fn nftables_that_were_asked_for_and_are_missing_end_the_start_with_the_remedy() {
        for (asked, configured, by) in [
            (FirewallChoice::Nftables, None, "--firewall=nftables"),
            (FirewallChoice::Nftables, Some(false), "--firewall=nftables"),
            (FirewallChoice::Auto, Some(true), "EnableNFTables"),
        ] {
            let error = choose(asked, configured, missing).unwrap_err().chain();
            assert!(error.contains(by) && error.contains("--firewall=iptables"), "{error}");
            assert!(error.contains("modprobe"), "{error}");
            assert_eq!(choose(asked, configured, || Ok(())).unwrap(), Kind::Nftables);
        }
    }

    #[test]
    fn without_a_demand_the_kernel_decides_and_iptables_need_no_probe() {
        assert_eq!(choose(FirewallChoice::Auto, None, || Ok(())).unwrap(), Kind::Nftables);
        assert_eq!(choose(FirewallChoice::Auto, None, missing).unwrap(), Kind::Iptables);
        let asked = || -> Result<(), HostError> { panic!("probed") };
        assert_eq!(choose(FirewallChoice::Iptables, Some(true), asked).unwrap(), Kind::Iptables);
        assert_eq!(choose(FirewallChoice::Auto, Some(false), asked).unwrap(), Kind::Iptables);
    }
}
