//! The rules in nf_tables, over netlink: our own table, and an accept in the iptables filter table where that
//! one drops what is forwarded.

use flanneld_core::firewall::iptables::{FORWARD_CHAIN, POSTROUTING_CHAIN};
use flanneld_core::firewall::{self as core, Match, Rules};
use flanneld_core::network_id::NetworkId;
use host::error::HostError;
use host::nftables::build::{self, Statement};
use host::nftables::{
    Batch, Chain, ChainType, Expr, Family, Hook, Nftables, Policy, Rule, Table, TableId, Verdict, priority,
};

/// The comments on our rules in tables of others, as flannel's iptables rules have them.
const FORWARD_COMMENT: &str = "flanneld forward";

/// The tables and chains of one network: flannel's own for the default one, so that either daemon replaces what the
/// other left.
#[derive(Clone, Debug)]
pub struct Names {
    id: NetworkId,
    postrouting: String,
    forward: String,
}

impl Names {
    pub fn of(id: &NetworkId) -> Self {
        Self { id: id.clone(), postrouting: id.name(POSTROUTING_CHAIN), forward: id.name(FORWARD_CHAIN) }
    }

    /// The table that is ours alone.
    pub fn own_table(&self, family: Family) -> TableId {
        TableId::new(
            family,
            &self.id.name(if family == Family::Ip6 { "flannel-ipv6" } else { "flannel-ipv4" }),
        )
    }

    /// Whether a change in this table may concern us.
    pub fn concern(&self, table: &TableId) -> bool {
        [Family::Ip, Family::Ip6].iter().any(|family| {
            *table == self.own_table(*family) || *table == filter(*family) || *table == nat(*family)
        })
    }
}

fn filter(family: Family) -> TableId {
    TableId::new(family, "filter")
}

fn nat(family: Family) -> TableId {
    TableId::new(family, "nat")
}

/// What makes the kernel's rules what they should be: one transaction, and an empty one where nothing differs.
pub fn plan(nft: &mut Nftables, names: &Names, wanted: &[Rules]) -> Result<Batch, HostError> {
    let chains = nft.chains()?;
    let mut batch = Batch::new();
    for rules in wanted {
        let family = family(rules);
        own(nft, names, &chains, rules, &mut batch)?;
        let drops = chains.iter().any(|chain| drops_forwarded(chain, family));
        let accepts = if drops { guest_rules(rules, &filter(family), &names.forward) } else { Vec::new() };
        guest(nft, &chains, &filter(family), "FORWARD", &names.forward, accepts, &mut batch)?;
        // What flannel's iptables mode left: the same packets would be masqueraded by old rules.
        guest(nft, &chains, &nat(family), "POSTROUTING", &names.postrouting, Vec::new(), &mut batch)?;
        if !names.id.is_default() {
            under_default_names(nft, &chains, rules, &mut batch)?;
        }
    }
    Ok(batch)
}

/// What an earlier release, or the original, left of this network under the names that are another network's now.
fn under_default_names(
    nft: &mut Nftables,
    chains: &[Chain],
    rules: &Rules,
    batch: &mut Batch,
) -> Result<(), HostError> {
    let family = family(rules);
    let table = Names::of(&NetworkId::default()).own_table(family);
    if chains.iter().any(|chain| chain.table == table) && is_only_of(nft, &table, rules)? {
        tracing::info!(table = table.name, "removing the rules of an earlier run for this network");
        batch.delete_table(&table);
    }
    Ok(())
}

/// Whether a table masquerades for our network and for no other.
fn is_only_of(nft: &mut Nftables, table: &TableId, rules: &Rules) -> Result<bool, HostError> {
    let ours: Vec<Rule> = Rules::masquerades_of(rules.network)
        .iter()
        .map(|rule| Rule::new(table, "postrtg", statements(rule, table.family)))
        .collect();
    let masquerades = |rule: &&Rule| rule.exprs.iter().any(|expr| matches!(expr, Expr::Masquerade { .. }));
    let listed: Vec<Rule> = nft.all_rules(table)?.into_iter().map(|listed| listed.rule).collect();
    let mut found = listed.iter().filter(masquerades).peekable();
    Ok(found.peek().is_some() && found.all(|rule| ours.iter().any(|ours| ours.exprs == rule.exprs)))
}

/// What removes every trace of this network, whoever of us and flannel wrote it, from nf_tables.
pub fn removal(nft: &mut Nftables, names: &Names) -> Result<Batch, HostError> {
    let chains = nft.chains()?;
    let mut batch = own_tables(&chains, names);
    for family in [Family::Ip, Family::Ip6] {
        guest(nft, &chains, &filter(family), "FORWARD", &names.forward, Vec::new(), &mut batch)?;
        guest(nft, &chains, &nat(family), "POSTROUTING", &names.postrouting, Vec::new(), &mut batch)?;
    }
    Ok(batch)
}

/// What removes only the tables that are our own: with the iptables tools in use, the others are theirs.
pub fn removal_of_own_tables(
    nft: &mut Nftables,
    names: &Names,
    wanted: &[Rules],
) -> Result<Batch, HostError> {
    let chains = nft.chains()?;
    let mut batch = own_tables(&chains, names);
    if !names.id.is_default() {
        wanted.iter().try_for_each(|rules| under_default_names(nft, &chains, rules, &mut batch))?;
    }
    Ok(batch)
}

fn own_tables(chains: &[Chain], names: &Names) -> Batch {
    let mut batch = Batch::new();
    for table in [Family::Ip, Family::Ip6].map(|family| names.own_table(family)) {
        if chains.iter().any(|chain| chain.table == table) {
            batch.delete_table(&table);
        }
    }
    batch
}

fn family(rules: &Rules) -> Family {
    if rules.ipv6 { Family::Ip6 } else { Family::Ip }
}

/// Docker's doing: the filter table of iptables lets nothing through that nobody accepts in that very table.
fn drops_forwarded(chain: &Chain, family: Family) -> bool {
    chain.table == filter(family)
        && chain.name == "FORWARD"
        && chain.base.as_ref().is_some_and(|base| base.hook == Hook::Forward && base.policy == Policy::Drop)
}

/// Our own table, rewritten whole where it differs.
fn own(
    nft: &mut Nftables,
    names: &Names,
    chains: &[Chain],
    rules: &Rules,
    batch: &mut Batch,
) -> Result<(), HostError> {
    let table = names.own_table(family(rules));
    let (want_chains, want_rules) = own_content(rules, &table);
    let present: Vec<&Chain> = chains.iter().filter(|chain| chain.table == table).collect();
    if present.is_empty() && want_chains.is_empty() {
        return Ok(());
    }
    let same_chains = present.len() == want_chains.len()
        && want_chains
            .iter()
            .all(|want| present.iter().any(|have| have.name == want.name && have.base == want.base));
    let have_rules: Vec<Rule> = if present.is_empty() {
        Vec::new()
    } else {
        nft.all_rules(&table)?.into_iter().map(|listed| listed.rule).collect()
    };
    if same_chains && same_rules(&have_rules, &want_rules) {
        return Ok(());
    }
    if want_chains.is_empty() {
        batch.no_table(&table);
        return Ok(());
    }
    batch.fresh_table(Table::new(&table).comment(&format!("rules for {}", table.name)));
    for chain in want_chains {
        batch.add_chain(chain);
    }
    for rule in want_rules {
        batch.add_rule(rule);
    }
    Ok(())
}

/// The kernel lists a table's rules by chain; the order of the chains means nothing.
fn same_rules(have: &[Rule], want: &[Rule]) -> bool {
    let of = |rules: &[Rule], chain: &str| -> Vec<Vec<Expr>> {
        rules.iter().filter(|rule| rule.chain == chain).map(|rule| rule.exprs.clone()).collect()
    };
    have.len() == want.len() && want.iter().all(|rule| of(have, &rule.chain) == of(want, &rule.chain))
}

fn own_content(rules: &Rules, table: &TableId) -> (Vec<Chain>, Vec<Rule>) {
    let (mut chains, mut lines) = (Vec::new(), Vec::new());
    if !rules.postrouting.is_empty() {
        chains.push(Chain::base(table, "postrtg", ChainType::Nat, Hook::Postrouting, priority::SRCNAT));
        lines.extend(
            rules.postrouting.iter().map(|rule| Rule::new(table, "postrtg", statements(rule, table.family))),
        );
    }
    (chains, lines)
}

/// As the iptables tools would have written them, comment and all: flannel knows them again.
fn guest_rules(rules: &Rules, table: &TableId, chain: &str) -> Vec<Rule> {
    let rules = forward_rules(rules, table, chain).into_iter();
    rules.map(|rule| rule.comment(FORWARD_COMMENT)).collect()
}

fn forward_rules(rules: &Rules, table: &TableId, chain: &str) -> Vec<Rule> {
    rules.forward.iter().map(|rule| Rule::new(table, chain, statements(rule, table.family))).collect()
}

/// Our chain as a guest in a table of iptables, with the jump to it. It is written whole where it differs;
/// with no rules it goes, with its jumps. The form is the one that the iptables tools write and can list.
fn guest(
    nft: &mut Nftables,
    chains: &[Chain],
    table: &TableId,
    hook: &str,
    chain: &str,
    want: Vec<Rule>,
    batch: &mut Batch,
) -> Result<(), HostError> {
    let exists = |name: &str| chains.iter().any(|found| found.table == *table && found.name == name);
    if !exists(hook) || (want.is_empty() && !exists(chain)) {
        return Ok(());
    }
    let to_us = |exprs: &[Expr]| {
        exprs.iter().any(|expr| matches!(expr, Expr::Verdict(Verdict::Jump(to)) if to == chain))
    };
    let jumps: Vec<u64> = nft
        .rules(table, hook)?
        .into_iter()
        .filter(|listed| to_us(&listed.rule.exprs))
        .map(|listed| listed.handle)
        .collect();
    let have: Vec<Rule> = if exists(chain) {
        nft.rules(table, chain)?.into_iter().map(|l| l.rule).collect()
    } else {
        Vec::new()
    };
    let present = exists(chain) && same_rules(&have, &want);
    if !want.is_empty() && present && jumps.len() == 1 {
        return Ok(());
    }
    if want.is_empty() {
        for handle in jumps {
            batch.delete_rule(table, hook, handle);
        }
        batch.flush_chain(table, chain).delete_chain(table, chain);
        return Ok(());
    }
    batch.add_chain(Chain::regular(table, chain)).flush_chain(table, chain);
    for rule in want {
        batch.add_rule(rule);
    }
    if jumps.is_empty() {
        let jump = Rule::new(table, hook, [build::counter(), build::jump(chain)]);
        batch.add_rule(jump.comment(FORWARD_COMMENT));
    }
    for handle in jumps.into_iter().skip(1) {
        batch.delete_rule(table, hook, handle);
    }
    Ok(())
}

fn statements(rule: &core::Rule, family: Family) -> Vec<Statement> {
    let (source, destination) = (|| build::saddr(family), || build::daddr(family));
    let matches = rule.matches.iter().map(|part| match part {
        Match::Mark(bits) => build::mark().has(*bits),
        Match::Source(net) => source().is(*net),
        Match::NotSource(net) => source().is_not(*net),
        Match::Destination(net) => destination().is(*net),
        Match::NotDestination(net) => destination().is_not(*net),
    });
    let verdict = match rule.verdict {
        core::Verdict::Accept => build::accept(),
        core::Verdict::Return => build::go_back(),
        core::Verdict::Masquerade { random_fully: true } => build::masquerade_fully_random(),
        core::Verdict::Masquerade { random_fully: false } => build::masquerade(),
    };
    matches.chain([build::counter(), verdict]).collect()
}

#[cfg(test)]
mod tests {
    use flanneld_core::firewall::Wishes;

    use super::*;

    #[test]
    fn our_table_holds_flannels_iptables_rules() {
        let wishes = Wishes { masquerade: true, forward: true, random_fully: true };
        let rules =
            Rules::of_family("10.42.0.0/16".parse().unwrap(), "10.42.3.0/24".parse().unwrap(), wishes);
        let (chains, lines) = own_content(&rules, &Names::of(&NetworkId::default()).own_table(Family::Ip));
        assert_eq!(chains.len(), 1);
        let text: Vec<String> = lines.iter().map(|rule| format!("{}: {rule}", rule.chain)).collect();
        assert_eq!(
            text,
            [
                "postrtg: meta mark & 0x00004000 != 0x00000000 counter return",
                "postrtg: ip saddr 10.42.3.0/24 ip daddr 10.42.0.0/16 counter return",
                "postrtg: ip saddr 10.42.0.0/16 ip daddr 10.42.3.0/24 counter return",
                // flannel's own nftables rule here is `ip saddr != 10.42.3.0/24 ip daddr 10.42.0.0/16 return`,
                // which leaves nothing for the last one.
                "postrtg: ip saddr != 10.42.0.0/16 ip daddr 10.42.3.0/24 counter return",
                "postrtg: ip saddr 10.42.0.0/16 ip daddr != 224.0.0.0/4 counter masquerade fully-random",
                "postrtg: ip saddr != 10.42.0.0/16 ip daddr 10.42.0.0/16 counter masquerade fully-random",
            ]
        );
    }
}
