//! The rules of the chains.

use host::nftables::build::*;
use host::nftables::{Chain, Family as NftFamily, Port, Proto, Rule};
use ipnet::IpNet;
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{Masquerade, PodSource, Scope, Source};

use super::shape::{Affinity, Balance, By, Remember, Shape};
use super::{Kept, Layout, by_nets, nft_family};

/// Loopback addresses, at which node ports are served only where asked.
fn loopback(family: Family) -> IpNet {
    let net = if family == Family::V4 { "127.0.0.0/8" } else { "::1/128" };
    net.parse().expect("a network")
}

impl Layout {
    fn rule<const N: usize>(&self, chain: &str, parts: [Statement; N]) -> Rule {
        Rule::new(&self.table, chain, parts)
    }

    fn rule_of(&self, chain: &str, parts: Vec<Statement>) -> Rule {
        Rule::new(&self.table, chain, parts)
    }

    fn nft(&self) -> NftFamily {
        nft_family(self.family)
    }

    fn daddr(&self) -> Load {
        daddr(self.nft())
    }

    fn saddr(&self) -> Load {
        saddr(self.nft())
    }

    fn frontend(&self) -> Load {
        concat([self.daddr(), l4proto(), th_dport()])
    }

    fn port(&self) -> Load {
        concat([l4proto(), th_dport()])
    }

    pub(super) fn admit(&self, chain: &str) -> Vec<Rule> {
        let parts = [ct_state().has(state::NEW), self.frontend().vmap(Kept::Restricted.name())];
        vec![self.rule(chain, parts)]
    }

    fn sources(&self, chain: &str) -> Vec<Rule> {
        vec![self.rule(chain, [self.saddr().is_in(chain), go_back()]), self.rule(chain, [discard()])]
    }

    pub(super) fn translate(&self, chain: &str) -> Vec<Rule> {
        vec![self.rule(chain, [jump("translate")])]
    }

    pub(super) fn translation(&self) -> Vec<Rule> {
        vec![
            self.rule("translate", [self.frontend().vmap(Kept::Services.name())]),
            self.node_ports("translate", Kept::NodePorts),
        ]
    }

    /// Looks a node port up, for the addresses that have them.
    fn node_ports(&self, chain: &str, map: Kept) -> Rule {
        let at = &self.view.node_ports;
        let mut parts = vec![fib_daddr_type().is(addr_type::LOCAL)];
        if !at.loopback {
            parts.push(self.daddr().is_not(loopback(self.family)));
        }
        if at.within.is_some() {
            parts.push(self.daddr().is_in(Kept::NodePortAddresses.name()));
        }
        parts.push(self.port().vmap(map.name()));
        self.rule_of(chain, parts)
    }

    /// New connections that nobody translated: what was translated has been answered.
    fn untranslated(&self) -> [Statement; 2] {
        [ct_state().has(state::NEW), ct_status().lacks(status::DNAT)]
    }

    fn translated(&self, chain: &str) -> Rule {
        self.rule(chain, [ct_state().has(state::NEW), ct_status().has(status::DNAT), goto("affinity-check")])
    }

    pub(super) fn refuse_input(&self) -> Vec<Rule> {
        let chain = "filter-input";
        let [new, untranslated] = self.untranslated();
        let mut rules = Vec::new();
        if self.view.node_ports.loopback {
            // route_localnet, which this needs, would let others reach what listens on loopback only.
            let parts = [
                self.daddr().is(loopback(self.family)),
                self.saddr().is_not(loopback(self.family)),
                ct_state().lacks(state::ESTABLISHED | state::RELATED),
                ct_status().lacks(status::DNAT),
                discard(),
            ];
            rules.push(self.rule(chain, parts).comment("loopback is for this host"));
        }
        rules.push(self.translated(chain));
        rules.push(self.rule(chain, [new.clone(), untranslated.clone(), jump("refusals")]));
        rules.push(self.rule(chain, [new, untranslated, jump("node-port-refusals")]));
        rules
    }

    pub(super) fn refuse_node_ports(&self) -> Vec<Rule> {
        vec![self.node_ports("node-port-refusals", Kept::RefusedNodePorts)]
    }

    pub(super) fn refuse(&self, chain: &str) -> Vec<Rule> {
        let [new, untranslated] = self.untranslated();
        vec![
            self.translated(chain),
            self.rule(chain, [new.clone(), untranslated.clone(), jump("refusals")]),
            self.rule(chain, [new, untranslated, jump("cluster-ips-check")]),
        ]
    }

    pub(super) fn refusals(&self) -> Vec<Rule> {
        vec![self.rule("refusals", [self.frontend().vmap(Kept::Refused.name())])]
    }

    pub(super) fn cluster_ips(&self) -> Vec<Rule> {
        let chain = "cluster-ips-check";
        vec![
            self.rule(chain, [self.daddr().is_in(Kept::ClusterIps.name()), goto("reject-at-once")]),
            // This host may have an address in there that no Node object tells of.
            self.rule(
                chain,
                [
                    self.daddr().is_in(Kept::ServiceCidrs.name()),
                    fib_daddr_type().is_not(addr_type::LOCAL),
                    discard(),
                ],
            ),
        ]
    }

    pub(super) fn reject(&self) -> Vec<Rule> {
        vec![
            // A socket hears of a reset at once, but of an ICMPv6 error only when it sends again, a second later.
            self.rule("reject-at-once", [l4proto().is(Proto::TCP), reject_tcp_reset()]),
            self.rule("reject-at-once", [reject(self.nft())]),
        ]
    }

    pub(super) fn masquerade(&self) -> Vec<Rule> {
        let chain = "nat-postrouting";
        let bit = self.settings.masquerade_mark;
        let itself = concat([self.saddr(), self.daddr()]).is_in(Kept::Hairpin.name());
        vec![
            self.rule(chain, [mark().has(bit), set_mark(mark().xor(bit)), masquerade_fully_random()])
                .comment("asked for at translation"),
            self.rule(chain, [ct_status().has(status::DNAT), itself, masquerade_fully_random()])
                .comment("the client is the endpoint: answers have to come back through here"),
        ]
    }

    /// Whether a pod sent the packet; none where nothing is known to be a pod's.
    fn sent_by_pod(&self, yes: bool) -> Option<Statement> {
        Some(match &self.view.pods {
            PodSource::Unknown => return None,
            PodSource::Nets(_) if yes => self.saddr().is_in(Kept::Pods.name()),
            PodSource::Nets(_) => self.saddr().is_not_in(Kept::Pods.name()),
            PodSource::Interface(name) if yes => iifname().is(&**name),
            PodSource::Interface(name) => iifname().is_not(&**name),
            PodSource::InterfacePrefix(prefix) if yes => iifname().is(format!("{prefix}*").as_str()),
            PodSource::InterfacePrefix(prefix) => iifname().is_not(format!("{prefix}*").as_str()),
        })
    }

    /// Whether the sender is one of these; no statement matches everybody, `None` nobody.
    fn sent_by(&self, source: Source) -> Option<Vec<Statement>> {
        match source {
            Source::Any => Some(Vec::new()),
            Source::Node => Some(vec![fib_saddr_type().is(addr_type::LOCAL)]),
            Source::Pods => self.sent_by_pod(true).map(|pod| vec![pod]),
        }
    }

    /// A chain that services asked for, with its rules.
    pub fn chain(&self, shape: &Shape) -> (Chain, Vec<Rule>) {
        let name = shape.name();
        let (about, rules) = match shape {
            Shape::Balance(balance) => ("to a random endpoint".to_owned(), self.balance(&name, balance)),
            Shape::Split(ways) => {
                let rules = ways.iter().flat_map(|(source, way)| self.way(&name, *source, way.as_ref()));
                ("by who asks".to_owned(), rules.collect())
            }
            Shape::Refuse(ways) => {
                let rules = ways.iter().filter_map(|(source, way)| {
                    let mut parts = self.sent_by(*source)?;
                    parts.push(way.map_or(go_back(), |way| verdict(way.verdict())));
                    Some(self.rule_of(&name, parts))
                });
                ("by who asks".to_owned(), rules.collect())
            }
            Shape::Remember(remember) => {
                ("affinity: for so long after the last connection".to_owned(), self.remember(&name, remember))
            }
            Shape::Sources(_) => ("only who is listed may pass".to_owned(), self.sources(&name)),
        };
        (self.regular(&name, &about), rules)
    }

    fn way(&self, chain: &str, source: Source, way: Option<&Balance>) -> Vec<Rule> {
        let Some(from) = self.sent_by(source) else { return Vec::new() };
        match way {
            // Masquerading is decided once for the chain where everybody comes the same way.
            Some(balance) if from.is_empty() => self.balance(chain, balance),
            Some(balance) => {
                let mut rules = self.mark(chain, balance.masquerade, &from);
                rules.extend(self.draws(chain, balance, &from));
                rules
            }
            None if from.is_empty() => Vec::new(),
            None => vec![self.rule_of(chain, [from, vec![go_back()]].concat())],
        }
    }

    fn balance(&self, chain: &str, balance: &Balance) -> Vec<Rule> {
        let mut rules = self.mark(chain, balance.masquerade, &[]);
        rules.extend(self.draws(chain, balance, &[]));
        rules
    }

    fn mark(&self, chain: &str, masquerade: Masquerade, from: &[Statement]) -> Vec<Rule> {
        let mut parts = from.to_vec();
        match masquerade {
            Masquerade::Never => return Vec::new(),
            Masquerade::Always => {}
            Masquerade::UnlessPods => parts.extend(self.sent_by_pod(false)),
        }
        parts.push(set_mark(mark().or(self.settings.masquerade_mark)));
        vec![self.rule_of(chain, parts)]
    }

    fn draws(&self, chain: &str, balance: &Balance, from: &[Statement]) -> Vec<Rule> {
        let endpoints = Kept::endpoints(balance.by, balance.scope);
        let rule = |statement: Statement| self.rule_of(chain, [from.to_vec(), vec![statement]].concat());
        let mut rules = Vec::new();
        for (affinity, target) in
            balance.sticky.iter().flat_map(|sticky| sticky.targets.iter().map(move |port| (sticky, *port)))
        {
            let map = affinity.key.clients(balance.scope, target);
            let again = dnat_addr_to_port(self.nft(), self.saddr().map(&map), Port(target));
            let again = [l4proto().is(Proto(affinity.key.protocol.number())), again];
            let parts = [from.to_vec(), again.into()].concat();
            rules.push(self.rule_of(chain, parts).comment("the endpoint that the client had"));
        }
        let draw = |&slots: &u32| {
            let frontend = match balance.by {
                By::Destination => vec![self.daddr(), l4proto(), th_dport()],
                By::NodePort => vec![l4proto(), th_dport()],
            };
            let slot = concat([frontend, vec![numgen_random(slots)]].concat());
            rule(dnat_addr_port(self.nft(), slot.map(endpoints.name())))
        };
        rules.extend(balance.slots.draws().iter().map(draw));
        rules
    }

    /// The frontend that a translated packet's connection asked for.
    fn asked_for(&self, by: By) -> Vec<Load> {
        let port = [l4proto(), ct_original_proto_dst()];
        match by {
            By::Destination => [vec![ct_original_daddr(self.nft())], port.into()].concat(),
            By::NodePort => port.into(),
        }
    }

    pub(super) fn affinity_check(&self) -> Vec<Rule> {
        let rules = [By::Destination, By::NodePort].into_iter().flat_map(|by| {
            // nft knows what a port is only beside a protocol.
            [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(|protocol| {
                let asked_for = concat(self.asked_for(by)).vmap(Kept::remembered(by, protocol).name());
                self.rule("affinity-check", [l4proto().is(Proto(protocol.number())), asked_for])
            })
        });
        rules.collect()
    }

    fn remember(&self, chain: &str, remember: &Remember) -> Vec<Rule> {
        let Remember { affinity, by, scopes, timeout } = remember;
        if affinity.targets.len() > 1 {
            let each = affinity.targets.iter().map(|&target| {
                let one = Affinity { targets: [target].into(), ..affinity.clone() };
                let name = Shape::Remember(Remember { affinity: one, ..remember.clone() }).name();
                self.rule(chain, [th_dport().is(Port(target)), goto(&name)])
            });
            return each.collect();
        }
        let target = affinity.targets[0];
        let known = |scope: Scope| {
            let endpoint = concat([self.asked_for(*by), vec![self.daddr()]].concat());
            let protocol = l4proto().is(Proto(affinity.key.protocol.number()));
            [protocol, endpoint.is_in(Kept::sticky(*by, scope).name())]
        };
        let map = |scope: Scope| affinity.key.clients(scope, target);
        let right = scopes.iter().map(|&scope| {
            let [protocol, known] = known(scope);
            let write = update_map(&map(scope), self.saddr(), self.daddr(), Some(*timeout));
            self.rule(chain, [protocol, known, write])
        });
        let known = scopes.iter().map(|&scope| {
            let [protocol, known] = known(scope);
            self.rule(chain, [protocol, known, go_back()])
        });
        let wrong = scopes.iter().map(|&scope| {
            let forget = delete_from_map(&map(scope), self.saddr(), self.daddr());
            self.rule(chain, [forget]).comment("led to an endpoint that is gone")
        });
        // Nothing has been sent yet: the client begins again by itself.
        let again = self.rule(chain, [ct_status().lacks(status::CONFIRMED), discard()]);
        right.chain(known).chain(wrong).chain([again]).collect()
    }

    /// What the set of pods holds.
    pub fn pod_nets(&self) -> Vec<IpNet> {
        match &self.view.pods {
            PodSource::Nets(nets) if by_nets(&self.view) => nets.clone(),
            _ => Vec::new(),
        }
    }

    /// What the set of addresses with node ports holds.
    pub fn node_port_nets(&self) -> Vec<IpNet> {
        let at = &self.view.node_ports;
        let mut nets = at.within.clone().unwrap_or_default();
        if at.within.is_some() && at.loopback {
            nets.push(loopback(self.family));
        }
        nets
    }
}
