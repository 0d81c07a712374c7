//! Looking for rules of others that cut the pods off, and saying so once: see [`flanneld_core::firewall::obstacle`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use flanneld_core::firewall::obstacle::{Action, Applies, Chains, SeenRule, interface, of_iptables};
use host::error::HostError;
use host::iptables::Saved;
use host::nftables::expr::{Base, CmpOp, Ct, Found, Meta, Reg};
use host::nftables::{Chain, Expr, Family, Hook, Nftables, Policy, Rule, TableId, Verdict};
use ipnet::IpNet;

/// What was found, and said.
#[derive(Debug, Default)]
pub struct Obstacles(BTreeSet<String>);

impl Obstacles {
    /// Says what is new, and what is over.
    pub fn report(&mut self, found: BTreeSet<String>) {
        for text in found.difference(&self.0) {
            tracing::warn!("{text}");
        }
        if !self.0.is_empty() && found.is_empty() {
            tracing::info!("no rule of another cuts the pods off any more");
        }
        self.0 = found;
    }
}

/// Tables whose rules are known to be no obstacle, and may be many.
pub fn is_exempt(table: &TableId) -> bool {
    ["kube-proxy", "weft", "flannel-ipv"].iter().any(|name| table.name.starts_with(name))
}

/// What cuts the pods of a network off in nf_tables.
///
/// # Errors
/// The kernel does not answer.
pub fn in_nftables(nft: &mut Nftables, network: IpNet) -> Result<BTreeSet<String>, HostError> {
    let family = if network.addr().is_ipv4() { Family::Ip } else { Family::Ip6 };
    let forward: Vec<Chain> = nft
        .chains()?
        .into_iter()
        .filter(|chain| [family, Family::Inet].contains(&chain.table.family) && !is_exempt(&chain.table))
        .filter(|chain| chain.base.as_ref().is_some_and(|base| base.hook == Hook::Forward))
        .collect();
    let mut tables: BTreeMap<TableId, Chains> = BTreeMap::new();
    for chain in &forward {
        if !tables.contains_key(&chain.table) {
            let mut chains = Chains::default();
            for listed in nft.all_rules(&chain.table)? {
                let rule = in_simple_terms(&listed.rule, network);
                chains.rules.entry(listed.rule.chain.clone()).or_default().push(rule);
            }
            tables.insert(chain.table.clone(), chains);
        }
    }
    let found = forward.iter().filter_map(|chain| {
        let drops = chain.base.as_ref().is_some_and(|base| base.policy == Policy::Drop);
        let what = tables[&chain.table].verdict(&chain.name, drops)?;
        let (family, table, chain) = (chain.table.family.name(), &chain.table.name, &chain.name);
        let ip = if network.addr().is_ipv4() { "ip" } else { "ip6" };
        Some(format!(
            "packets between pods of {network} are dropped in chain {chain} of table {family} {table}, by {what}: \
             accept them there, for example: nft insert rule {family} {table} {chain} {ip} saddr {network} accept; \
             nft insert rule {family} {table} {chain} {ip} daddr {network} accept"
        ))
    });
    Ok(found.collect())
}

/// What cuts them off in the old tables of iptables.
pub fn in_iptables(program: &str, saved: &Saved, network: IpNet) -> Option<String> {
    let mut chains = Chains::default();
    for rule in saved.tables.iter().filter(|table| table.name == "filter").flat_map(|table| &table.rules) {
        chains.rules.entry(rule.chain.clone()).or_default().push(of_iptables(&rule.spec, network));
    }
    let what = chains.verdict("FORWARD", saved.policy("filter", "FORWARD") == Some("DROP"))?;
    Some(format!(
        "packets between pods of {network} are dropped in chain FORWARD of {program}, by {what}: accept them there: \
         {program} -I FORWARD -s {network} -j ACCEPT; {program} -I FORWARD -d {network} -j ACCEPT"
    ))
}

/// What a register holds.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Of the packet's source or destination, so many bits.
    Address(u8),
    Interface,
    Protocol,
    State(u32),
    /// Ports and the like.
    Part,
}

/// `NF_CT_STATE_BIT(IP_CT_NEW)` of linux/netfilter/nf_conntrack_common.h.
const NEW: u32 = 8;

fn in_simple_terms(rule: &Rule, network: IpNet) -> SeenRule {
    let mut applies = Applies::Always;
    let mut action = Action::Nothing;
    // Its extensions have no words in nft's language.
    let mut of_iptables = None;
    let mut registers: BTreeMap<Reg, Source> = BTreeMap::new();
    for expr in &rule.exprs {
        let condition = match expr {
            Expr::Payload { base, offset, len, to } => {
                registers.insert(*to, payload(*base, *offset, *len, network));
                continue;
            }
            Expr::Meta { key, to } => {
                match key {
                    Meta::IifName | Meta::OifName => drop(registers.insert(*to, Source::Interface)),
                    Meta::NfProto => drop(registers.insert(*to, Source::Protocol)),
                    Meta::L4Proto => drop(registers.insert(*to, Source::Part)),
                    _ => drop(registers.remove(to)),
                }
                continue;
            }
            Expr::Ct { key: Ct::State, to, .. } => {
                registers.insert(*to, Source::State(0));
                continue;
            }
            Expr::Bitwise { from, to, mask, .. } => {
                let masked = match registers.get(from) {
                    Some(Source::Address(_)) => {
                        Some(Source::Address(mask.bytes().iter().map(|byte| byte.count_ones() as u8).sum()))
                    }
                    Some(Source::State(_)) => {
                        mask.bytes().try_into().ok().map(u32::from_ne_bytes).map(Source::State)
                    }
                    other => other.copied(),
                };
                masked.map(|source| registers.insert(*to, source));
                continue;
            }
            Expr::Cmp { op, reg, value } => compare(registers.get(reg), *op, value.bytes(), network),
            Expr::Range { reg, .. } => registers.get(reg).map_or(Applies::Unknown, |_| Applies::Partly),
            Expr::Lookup { key, found: Found::Verdict, .. } => {
                // A map of states holds those of connections that are there already.
                if !matches!(registers.get(key), Some(Source::State(_))) {
                    action = Action::Unknown;
                }
                continue;
            }
            Expr::Lookup { key, .. } => match registers.get(key) {
                Some(Source::Part) => Applies::Partly,
                _ => Applies::Unknown,
            },
            Expr::Limit(_) => Applies::Partly,
            Expr::Verdict(verdict) => {
                action = match verdict {
                    Verdict::Accept => Action::Accept,
                    Verdict::Drop => Action::Drop,
                    Verdict::Return => Action::Return,
                    Verdict::Jump(to) => Action::Jump(to.clone()),
                    Verdict::Goto(to) => Action::Goto(to.clone()),
                    Verdict::Continue => Action::Nothing,
                    Verdict::Other(_) => Action::Unknown,
                };
                continue;
            }
            Expr::Reject(_) => {
                action = Action::Drop;
                continue;
            }
            // What iptables-nft writes: the name of an extension of iptables is in its bytes.
            Expr::Unknown { name, data } if name == "target" => {
                let is = |target: &[u8]| data.bytes().windows(target.len()).any(|window| window == target);
                of_iptables = ["REJECT", "DROP"].into_iter().find(|target| is(target.as_bytes()));
                if of_iptables.is_some() {
                    action = Action::Drop;
                }
                continue;
            }
            Expr::Unknown { name, data } if name == "match" => {
                if data.bytes().windows(7).any(|window| window == b"comment") {
                    continue;
                }
                Applies::Unknown
            }
            Expr::Counter
            | Expr::Log(_)
            | Expr::SetMeta { .. }
            | Expr::SetCt { .. }
            | Expr::Object { .. } => continue,
            Expr::Immediate { .. } => continue,
            _ => Applies::Unknown,
        };
        applies = applies.and(condition);
    }
    let text = of_iptables.map_or_else(|| rule.to_string(), |target| format!("-j {target}"));
    SeenRule { applies, action, text }
}

fn payload(base: Base, offset: u32, len: u32, network: IpNet) -> Source {
    let addresses: [u32; 2] = if network.addr().is_ipv4() { [12, 16] } else { [8, 24] };
    match base {
        Base::Network if addresses.contains(&offset) => Source::Address(u8::try_from(len * 8).unwrap_or(128)),
        _ => Source::Part,
    }
}

fn compare(source: Option<&Source>, op: CmpOp, value: &[u8], network: IpNet) -> Applies {
    let inverted = match op {
        CmpOp::Eq => false,
        CmpOp::Ne => true,
        _ => return if source.is_some() { Applies::Partly } else { Applies::Unknown },
    };
    match source {
        Some(Source::Address(bits)) => address(value, *bits, network)
            .map_or(Applies::Unknown, |net| Applies::to_network(net, inverted, network)),
        Some(Source::Interface) => {
            let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
            interface(&String::from_utf8_lossy(name), inverted)
        }
        Some(Source::Protocol) => {
            let ours = if network.addr().is_ipv4() { Family::Ip } else { Family::Ip6 }.code();
            if (value.first() == Some(&ours)) == inverted { Applies::Never } else { Applies::Always }
        }
        // `ct state established,related` is: the state's bit is in this mask.
        Some(Source::State(mask)) if inverted && value.iter().all(|byte| *byte == 0) => {
            if mask & NEW == 0 {
                Applies::Never
            } else {
                Applies::Always
            }
        }
        Some(Source::Part) => Applies::Partly,
        _ => Applies::Unknown,
    }
}

/// The value may be only the first bytes of an address: those that the prefix has.
fn address(value: &[u8], bits: u8, network: IpNet) -> Option<IpNet> {
    let ip = if network.addr().is_ipv4() {
        let mut bytes = [0; 4];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        IpAddr::from(bytes)
    } else {
        let mut bytes = [0; 16];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        IpAddr::from(bytes)
    };
    IpNet::new(ip, bits).ok()
}
