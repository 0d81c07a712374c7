//! Masquerade and forward rules, as values that every firewall can carry.
//!
//! Owns: which packets are masqueraded and which may be forwarded. The rules are flannel's iptables rules
//! in flannel's order; flannel's nftables rules differ from them by mistake (the fourth rule, and the mark
//! is compared without a mask), ours do not. Begin at [`Rules::of_family`].
//! Never: runs a tool, or knows which one will.

pub mod iptables;
pub mod obstacle;

use std::fmt;

use ipnet::IpNet;

/// The bit by which kube-proxy says "masquerade this": such packets are its business.
pub const KUBE_MARK: u32 = 0x4000;

/// The rules of one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub ipv6: bool,
    /// The whole pod network.
    pub network: IpNet,
    /// For the source NAT of what leaves the host, in order. Empty without `--ip-masq`.
    pub postrouting: Vec<Rule>,
    /// For what the host forwards, in order. Empty without `--iptables-forward-rules`.
    pub forward: Vec<Rule>,
}

/// All matches hold, then the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub matches: Vec<Match>,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// All bits of the mask are set in the packet's mark.
    Mark(u32),
    Source(IpNet),
    NotSource(IpNet),
    Destination(IpNet),
    NotDestination(IpNet),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Return,
    /// `random_fully`: source ports are chosen at random, which avoids lost races between connections
    /// that start at the same time (DNS over UDP above all).
    Masquerade {
        random_fully: bool,
    },
}

/// What the rules depend on, besides the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// `--ip-masq`
    pub masquerade: bool,
    /// `--iptables-forward-rules`
    pub forward: bool,
    /// Not `--ip-masq-fully-random-disable`.
    pub random_fully: bool,
}

impl Rules {
    /// The rules for one family: `network` is the whole pod network, `subnet` this node's part of it.
    pub fn of_family(network: IpNet, subnet: IpNet, wishes: Wishes) -> Self {
        let postrouting =
            if wishes.masquerade { masquerade(network, subnet, wishes.random_fully) } else { vec![] };
        let forward = if wishes.forward {
            vec![
                rule([Match::Source(network)], Verdict::Accept),
                rule([Match::Destination(network)], Verdict::Accept),
            ]
        } else {
            vec![]
        };
        Self { ipv6: network.addr().is_ipv6(), network, postrouting, forward }
    }

    /// The rules that any set with masquerading has for `network`, whatever the node's subnet: what tells whose a table
    /// is.
    pub fn masquerades_of(network: IpNet) -> Vec<Rule> {
        let both = [false, true].map(|random_fully| masquerade(network, network, random_fully));
        let target = |rule: &Rule| matches!(rule.verdict, Verdict::Masquerade { .. });
        both.into_iter().flatten().filter(target).collect()
    }

    /// The same family and network, without a rule.
    pub fn none(&self) -> Self {
        Self { postrouting: Vec::new(), forward: Vec::new(), ..self.clone() }
    }

    pub fn is_empty(&self) -> bool {
        self.postrouting.is_empty() && self.forward.is_empty()
    }
}

fn masquerade(network: IpNet, subnet: IpNet, random_fully: bool) -> Vec<Rule> {
    use Match::{Destination, Mark, NotDestination, NotSource, Source};
    let multicast: IpNet =
        if network.addr().is_ipv6() { "ff00::/8" } else { "224.0.0.0/4" }.parse().expect("a literal network");
    let masquerade = Verdict::Masquerade { random_fully };
    vec![
        // kube-proxy masquerades this one itself.
        rule([Mark(KUBE_MARK)], Verdict::Return),
        // Between a pod of this node and any pod: both know the way.
        rule([Source(subnet), Destination(network)], Verdict::Return),
        rule([Source(network), Destination(subnet)], Verdict::Return),
        // From outside to a pod of this node: the pod should see who calls.
        rule([NotSource(network), Destination(subnet)], Verdict::Return),
        // From a pod to the outside.
        rule([Source(network), NotDestination(multicast)], masquerade),
        // From this host's other addresses to pods of other nodes, which could not answer to them.
        rule([NotSource(network), Destination(network)], masquerade),
    ]
}

fn rule<const N: usize>(matches: [Match; N], verdict: Verdict) -> Rule {
    Rule { matches: matches.to_vec(), verdict }
}

impl fmt::Display for Rule {
    /// As arguments of iptables, without chain and comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        iptables::write_rule(f, self, None)
    }
}
