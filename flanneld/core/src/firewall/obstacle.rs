//! Rules of others that cut the pods off: what would become of a new packet from a pod to a pod elsewhere in the chains
//! that see what the host forwards. An accept in one table does not override a drop in another.
//!
//! Owns: the walk through chains whose rules have been told in simple terms. Begin at [`Chains::verdict`].
//! Never: guesses. Where a rule's meaning is not known and it could let the packet through, nothing is reported.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// How a rule's conditions, taken together, apply to the pods' packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Applies {
    /// To none of them: another state of a connection, another network.
    Never,
    /// To all of them.
    Always,
    /// To all of them if it names an interface of the pods: to be believed of an accept, and not of a drop.
    ByInterface,
    /// To some, by port or protocol.
    Partly,
    /// Nobody here knows.
    Unknown,
}

impl Applies {
    /// Both conditions have to hold.
    pub fn and(self, other: Self) -> Self {
        if self == Self::Never || other == Self::Never { Self::Never } else { self.max(other) }
    }

    /// Of a match on a source or destination address, for packets from and to `network`.
    pub fn to_network(matched: IpNet, inverted: bool, network: IpNet) -> Self {
        let apart = !matched.contains(&network) && !network.contains(&matched);
        match (matched.contains(&network), apart, inverted) {
            (true, _, false) | (_, true, true) => Self::Always,
            (true, _, true) | (_, true, false) => Self::Never,
            _ => Self::Partly,
        }
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Accept,
    /// Or reject.
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Counts, marks, logs.
    Nothing,
    /// A verdict from a map, or one that is not known.
    Unknown,
}

/// A rule in simple terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRule {
    pub applies: Applies,
    pub action: Action,
    /// As a person would write it.
    pub text: String,
}

/// The chains of one table, and the end of those that the kernel calls.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    pub rules: BTreeMap<String, Vec<SeenRule>>,
}

/// What becomes of the packet in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    /// By this rule.
    Cut(String),
    /// The chain says nothing of it.
    Through,
    Unknown,
}

/// Chains that call one another are not followed any deeper; the kernel's own limit is 16.
const DEEPEST: usize = 16;

impl Chains {
    /// What cuts the pods off in a chain that the kernel calls, if anything certainly does: a rule, or its policy.
    pub fn verdict(&self, chain: &str, policy_drops: bool) -> Option<String> {
        match self.walk(chain, DEEPEST) {
            Fate::Cut(rule) => Some(format!("the rule `{rule}`")),
            Fate::Through if policy_drops => Some("its policy to drop".to_owned()),
            _ => None,
        }
    }

    fn walk(&self, chain: &str, depth: usize) -> Fate {
        if depth == 0 {
            return Fate::Unknown;
        }
        let mut uncertain = false;
        for rule in self.rules.get(chain).into_iter().flatten() {
            let believed = match rule.applies {
                Applies::Never => continue,
                Applies::Always => true,
                Applies::ByInterface => rule.action != Action::Drop,
                Applies::Partly => false,
                Applies::Unknown => {
                    uncertain |= !matches!(rule.action, Action::Drop | Action::Nothing);
                    false
                }
            };
            if !believed {
                continue;
            }
            let fate = match &rule.action {
                Action::Accept => Fate::Accepted,
                Action::Drop => Fate::Cut(rule.text.clone()),
                Action::Return => Fate::Through,
                Action::Unknown => Fate::Unknown,
                Action::Nothing => continue,
                Action::Jump(to) => match self.walk(to, depth - 1) {
                    Fate::Through => continue,
                    fate => fate,
                },
                Action::Goto(to) => self.walk(to, depth - 1),
            };
            return if uncertain { Fate::Unknown } else { fate };
        }
        if uncertain { Fate::Unknown } else { Fate::Through }
    }
}

/// A rule of `iptables-save`, behind `-A CHAIN `.
pub fn of_iptables(spec: &str, network: IpNet) -> SeenRule {
    let mut applies = Applies::Always;
    let mut action = Action::Nothing;
    let (mut inverted, mut modules) = (false, Vec::new());
    let text = words(spec);
    let mut words = text.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let condition = match word {
            "!" => {
                inverted = true;
                continue;
            }
            "-s" | "-d" => words
                .next()
                .and_then(|net| net.parse().ok())
                .map_or(Applies::Unknown, |net| Applies::to_network(net, inverted, network)),
            "-i" | "-o" => interface(words.next().unwrap_or_default().trim_end_matches('+'), inverted),
            "-p" | "--dport" | "--sport" | "--dports" | "--sports" => {
                words.next();
                Applies::Partly
            }
            "--ctstate" | "--state" => state(words.next().unwrap_or_default(), inverted),
            "-m" => {
                modules.extend(words.next());
                continue;
            }
            "--comment" => {
                words.next();
                continue;
            }
            "-j" | "-g" => {
                action = target(words.next().unwrap_or_default(), word == "-g");
                // What is behind belongs to the target.
                break;
            }
            _ => Applies::Unknown,
        };
        applies = applies.and(condition);
        inverted = false;
    }
    let known = ["comment", "conntrack", "state", "tcp", "udp", "icmp", "multiport"];
    if modules.iter().any(|module| !known.contains(module)) {
        applies = applies.and(Applies::Unknown);
    }
    SeenRule { applies, action, text: spec.to_owned() }
}

fn target(name: &str, goto: bool) -> Action {
    match name {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "" => Action::Nothing,
        "QUEUE" | "NFQUEUE" => Action::Unknown,
        chain if goto => Action::Goto(chain.to_owned()),
        chain => Action::Jump(chain.to_owned()),
    }
}

/// The pods' packets come and go by tunnels of flannel and by bridges; of any other interface we cannot know.
pub fn interface(name: &str, inverted: bool) -> Applies {
    match (name, inverted) {
        ("lo", false) => Applies::Never,
        ("lo", true) => Applies::Always,
        (_, false) => Applies::ByInterface,
        (_, true) => Applies::Unknown,
    }
}

/// The packet begins a connection.
fn state(names: &str, inverted: bool) -> Applies {
    let new = names.split(',').any(|name| name == "NEW");
    if new == inverted { Applies::Never } else { Applies::Always }
}

/// The words of a rule; quotes hold several together.
fn words(spec: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = spec.trim_start();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules as iptables-save has them, and the policy of FORWARD.
    fn verdict(policy_drops: bool, rules: &[&str]) -> Option<String> {
        let mut chains = Chains::default();
        for rule in rules {
            let (chain, spec) = rule.split_once(' ').unwrap();
            let rule = of_iptables(spec, "10.42.0.0/16".parse().unwrap());
            chains.rules.entry(chain.to_owned()).or_default().push(rule);
        }
        chains.verdict("FORWARD", policy_drops)
    }

    #[test]
    fn what_certainly_cuts_pods_off_is_named() {
        assert_eq!(verdict(true, &[]).unwrap(), "its policy to drop");
        let reject = "-j REJECT --reject-with icmp-host-prohibited";
        assert_eq!(verdict(false, &[&format!("FORWARD {reject}")]).unwrap(), format!("the rule `{reject}`"));
        // iptables-services of RHEL: connections that are there already, then nothing.
        let known = "FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        assert!(verdict(false, &[known, "FORWARD -i lo -j ACCEPT", "FORWARD -j DROP"]).is_some());
        // ufw's chain at the end.
        let ufw = ["FORWARD -j ufw-before", "FORWARD -j ufw-reject", "ufw-reject -j REJECT"];
        assert_eq!(verdict(true, &ufw).unwrap(), "the rule `-j REJECT`");
        assert!(verdict(false, &["FORWARD -s 10.42.0.0/16 -j DROP"]).is_some());
        assert!(verdict(true, &["FORWARD -p tcp -m tcp --dport 80 -j ACCEPT"]).is_some());
        assert!(verdict(true, &["FORWARD -s 192.168.0.0/16 -j ACCEPT"]).is_some());
    }

    #[test]
    fn what_may_let_pods_through_is_not_reported() {
        let accept = "FORWARD -s 10.0.0.0/8 -j ACCEPT";
        assert_eq!(verdict(true, &[accept]), None);
        assert_eq!(verdict(true, &[accept, "FORWARD -j REJECT"]), None);
        assert_eq!(verdict(true, &["FORWARD -i cni0 -j ACCEPT"]), None);
        assert_eq!(verdict(true, &["FORWARD -m set --match-set pods src -j ACCEPT"]), None);
        assert_eq!(verdict(false, &["FORWARD -i docker0 -j DROP"]), None, "perhaps not the pods' bridge");
        assert_eq!(verdict(false, &["FORWARD -s 10.42.7.0/24 -j DROP"]), None, "one node's");
        assert_eq!(verdict(false, &["FORWARD ! -s 10.42.0.0/16 -j DROP"]), None);
        assert_eq!(verdict(false, &["FORWARD -m conntrack --ctstate INVALID -j DROP"]), None);
        assert_eq!(verdict(false, &["FORWARD -j a", "a -j b", "b -j a"]), None, "a circle");
        let comment = r#"FORWARD -m comment --comment "-j DROP" -j RETURN"#;
        assert_eq!(verdict(false, &[comment, "FORWARD -j DROP"]), None);
    }
}
