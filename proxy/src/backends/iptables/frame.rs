//! The rules that are no one service's.

use ipnet::IpNet;
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FamilyView, NodePortsAt, NodeView};

use super::names::*;
use super::render::{At, Style, Wanted};
use super::rule::{NotPods, Rule, not_from_pods};

/// A rule in a chain that others have too: it has to be in there, wherever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    pub table: Table,
    pub chain: &'static str,
    pub rule: String,
}

/// From chains of the kernel into ours, in the order of each chain. Word for word kube-proxy's, so that a node with
/// its rules has them already; [`EXTERNAL_SERVICES`] from OUTPUT is ours alone: this node is refused as others are.
pub fn jumps() -> Vec<Ensured> {
    let new = || Rule::new().with("-m conntrack --ctstate NEW");
    let jump = |table, chain, rule: Rule, comment: &str, to: &str| Ensured {
        table,
        chain,
        rule: rule.comment(comment).then(to),
    };
    use Table::*;
    let mut all = Vec::new();
    for chain in ["INPUT", "FORWARD", "OUTPUT"] {
        all.push(jump(Filter, chain, new(), "kubernetes load balancer firewall", PROXY_FIREWALL));
        match chain {
            "INPUT" => {
                let comment = "kubernetes health check service ports";
                all.push(jump(Filter, chain, Rule::new(), comment, NODE_PORTS));
            }
            _ => {
                if chain == "FORWARD" {
                    all.push(jump(Filter, chain, Rule::new(), "kubernetes forwarding rules", FORWARD));
                }
                all.push(jump(Filter, chain, new(), "kubernetes service portals", SERVICES));
            }
        }
        let comment = "kubernetes externally-visible service portals";
        all.push(jump(Filter, chain, new(), comment, EXTERNAL_SERVICES));
    }
    for chain in ["PREROUTING", "OUTPUT"] {
        all.push(jump(Nat, chain, Rule::new(), "kubernetes service portals", SERVICES));
    }
    all.push(jump(Nat, "POSTROUTING", Rule::new(), "kubernetes postrouting rules", POSTROUTING));
    all
}

/// What the kernel would have refused without `route_localnet`: others may not come to loopback. kubelet's own rule.
fn localnet() -> [Ensured; 3] {
    let net: IpNet = LOOPBACK_V4.parse().expect("a network");
    let rule = Rule::new().not_src(net).dst(net).comment("block incoming localnet connections");
    let rule = rule.with("-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT").then("DROP");
    let from = |chain| Ensured { table: Table::Filter, chain, rule: Rule::new().then(FIREWALL) };
    [Ensured { table: Table::Filter, chain: FIREWALL, rule }, from("INPUT"), from("OUTPUT")]
}

const LOOPBACK_V4: &str = "127.0.0.0/8";

fn loopback(family: Family) -> IpNet {
    let net = if family == Family::V4 { LOOPBACK_V4 } else { "::1/128" };
    net.parse().expect("a network")
}

const CANARY_COMMENT: &str = "kubernetes service proxy canary";

/// The one rule of [`CANARY`]: a chain that was emptied is as telling as one that is gone. It also tells what the rules
/// of this node depend on, so that another proxy with other flags is noticed by the look at this rule: every flag that
/// rules of services or of the node depend on has to be in the sum.
pub fn canary(node: &NodeView, style: &Style) -> String {
    let NodeView { name, masquerade_all, zone: _, addresses: _, pod_cidrs: _, v4: _, v6: _ } = node;
    let (Style { mark, drop_invalid, .. }, view) = (style, node.family(style.family));
    let flags = hash(&format!("{mark:#x} {drop_invalid} {name} {masquerade_all} {view:?}"));
    Rule::new().comment(format_args!("{CANARY_COMMENT} {flags}")).idle()
}

impl Wanted {
    /// Puts in everything that depends on the node alone.
    pub(super) fn frame(&mut self, node: &NodeView, style: &Style) {
        use Table::*;
        let view = node.family(style.family);
        self.ensured = jumps();
        if view.node_ports.loopback {
            self.ensured.extend(localnet());
        }
        for table in Table::ALL {
            self.own(table, CANARY, vec![canary(node, style)]);
        }
        let chains =
            [SERVICES, EXTERNAL_SERVICES, NODE_PORTS, REFUSED_NODE_PORTS, PROXY_FIREWALL, CLUSTER_IPS];
        for chain in chains {
            self.shared(Filter, chain);
        }
        for chain in [SERVICES, NODE_PORTS] {
            self.shared(Nat, chain);
        }
        self.masquerade(view, style);
        self.own(Filter, FORWARD, forward(style));
        let tcp = Rule::new().protocol(Protocol::Tcp).reject(style.family, Some(Protocol::Tcp));
        self.own(Filter, REJECT, vec![tcp, Rule::new().reject(style.family, None)]);
        for (at, net) in (0..).zip(&view.service_cidrs) {
            let rule = untranslated(Rule::new().dst(*net).comment("kubernetes service networks"));
            self.put(Filter, SERVICES, At::Tail(at), rule.then(CLUSTER_IPS));
            let rule = Rule::new().dst(*net).comment("kubernetes unallocated cluster IPs");
            let rule = rule.with("-m addrtype ! --dst-type LOCAL").then("DROP");
            self.put(Filter, CLUSTER_IPS, At::Tail(at), rule);
        }
        let comment = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
        let rules = |to: &str| node_ports(&view.node_ports, style.family, comment, to);
        let places = [(Nat, SERVICES, NODE_PORTS), (Filter, EXTERNAL_SERVICES, REFUSED_NODE_PORTS)];
        for (table, chain, to) in places {
            for (at, rule) in (1000..).zip(rules(to)) {
                self.put(table, chain, At::Tail(at), rule);
            }
        }
    }

    fn masquerade(&mut self, view: &FamilyView, style: &Style) {
        use Table::Nat;
        let mark = style.mark;
        let set = format!("MARK --set-xmark {mark:#x}/{mark:#x}");
        self.own(Nat, MARK_MASQ, vec![Rule::new().then(set)]);
        let snat = if style.random_fully { "MASQUERADE --random-fully" } else { "MASQUERADE" };
        let hairpin = style.hairpin_at_once.then(|| {
            let unmarked = format!("-m mark ! --mark {mark:#x}/{mark:#x}");
            hairpin(style.family).with(unmarked).then(snat)
        });
        let rules = [
            Rule::new().with(format_args!("-m mark ! --mark {mark:#x}/{mark:#x}")).then("RETURN"),
            Rule::new().then(format_args!("MARK --set-xmark {mark:#x}/0x0")),
            Rule::new().comment("kubernetes service traffic requiring SNAT").then(snat),
        ];
        self.own(Nat, POSTROUTING, hairpin.into_iter().chain(rules).collect());
        if let NotPods::None(nets) = not_from_pods(&view.pods, &Rule::new()) {
            let mut rules: Vec<String> =
                nets.into_iter().map(|net| Rule::new().src(net).then("RETURN")).collect();
            rules.push(Rule::new().then(MARK_MASQ));
            self.own(Nat, MARK_UNLESS_POD, rules);
        }
    }
}

/// What nat has led to an endpoint is none of this table's business, whatever address the endpoint has.
pub(super) fn untranslated(rule: Rule) -> Rule {
    rule.with("-m conntrack ! --ctstate DNAT")
}

fn forward(style: &Style) -> Vec<String> {
    let mark = style.mark;
    let mut rules = Vec::new();
    if style.drop_invalid {
        // A late packet of a connection that was translated would reach the client from an unknown address, and its
        // answer would end the connection (kubernetes issue 74839).
        rules.push(Rule::new().with("-m conntrack --ctstate INVALID").then("DROP"));
    }
    let marked = Rule::new().comment("kubernetes forwarding rules");
    rules.push(marked.with(format_args!("-m mark --mark {mark:#x}/{mark:#x}")).then("ACCEPT"));
    let known = Rule::new().comment("kubernetes forwarding conntrack rule");
    rules.push(known.with("-m conntrack --ctstate RELATED,ESTABLISHED").then("ACCEPT"));
    if style.hairpin_at_once {
        rules.push(hairpin(style.family).then("ACCEPT"));
    }
    rules
}

/// A client that is its own endpoint: it would get answers that it did not ask for. Not this node, whose programs may be
/// redirected to itself by others.
fn hairpin(family: Family) -> Rule {
    let rule = Rule::new().comment("kubernetes service endpoints that are their own clients");
    // The first of these settles it for nearly every packet; the last is a look at the routes.
    let rule = rule.with(format_args!("-m bpf --bytecode \"{}\"", same_addresses(family)));
    rule.with("-m conntrack --ctstate DNAT").with("-m addrtype ! --src-type LOCAL")
}

/// A text that only a kernel and tools with xt_bpf take.
pub(super) fn hairpin_test(family: Family) -> String {
    format!("*nat\n-A POSTROUTING {}\nCOMMIT\n", hairpin(family).then("RETURN"))
}

/// A program for xt_bpf that takes packets whose source is their destination: for each word, load the source's, keep
/// it, load the destination's, compare.
fn same_addresses(family: Family) -> String {
    const LOAD: u8 = 0x20; // ld [k]
    const KEEP: u8 = 0x07; // tax
    const SAME: u8 = 0x1d; // jeq x
    const RETURN: u8 = 0x06; // ret k
    let (source, words) = if family == Family::V4 { (12, 1u8) } else { (8, 4) };
    let mut program = Vec::new();
    for word in 0..words {
        let at = source + 4 * u32::from(word);
        // Past what is left of this and of the words behind it, and past the return that takes the packet.
        let away = 4 * (words - 1 - word) + 1;
        program.extend([(LOAD, 0, at), (KEEP, 0, 0), (LOAD, 0, at + 4 * u32::from(words)), (SAME, away, 0)]);
    }
    program.extend([(RETURN, 0, 65535), (RETURN, 0, 0)]);
    let of = |(code, away, value): &(u8, u8, u32)| format!(",{code} 0 {away} {value}");
    format!("{}{}", program.len(), program.iter().map(of).collect::<String>())
}

/// Leads what comes for a node port's address on.
fn node_ports(at: &NodePortsAt, family: Family, comment: &str, to: &str) -> Vec<String> {
    let loopback = loopback(family);
    let rule = || Rule::new().comment(comment).with("-m addrtype --dst-type LOCAL");
    let Some(nets) = &at.within else {
        let rule = if at.loopback { rule() } else { rule().not_dst(loopback) };
        return vec![rule.then(to)];
    };
    let mut rules = Vec::new();
    if at.loopback {
        rules.push(rule().dst(loopback).then(to));
    } else if nets.iter().any(|net| net.contains(&loopback)) {
        rules.push(Rule::new().dst(loopback).then("RETURN"));
    }
    let others = nets.iter().filter(|net| !loopback.contains(*net));
    rules.extend(others.map(|net| rule().dst(*net).then(to)));
    rules
}
