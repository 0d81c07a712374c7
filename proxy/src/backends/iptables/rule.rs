//! One rule as `iptables-save` prints it, so that what is observed can be compared with what is wanted.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FrontendAddress, PodSource};

/// A rule in the making. Matches are printed in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    src: String,
    dst: String,
    input: String,
    protocol: String,
    matches: String,
}

impl Rule {
    pub fn new() -> Self {
        Self::default()
    }

    /// No match is printed for "everything".
    fn net(option: &str, net: IpNet) -> String {
        if net.prefix_len() == 0 { String::new() } else { format!("{option} {net} ") }
    }

    pub fn src(mut self, net: IpNet) -> Self {
        self.src = Self::net("-s", net.trunc());
        self
    }

    /// The network may not be everything.
    pub fn not_src(mut self, net: IpNet) -> Self {
        self.src = Self::net("! -s", net.trunc());
        self
    }

    pub fn dst(mut self, net: IpNet) -> Self {
        self.dst = Self::net("-d", net.trunc());
        self
    }

    pub fn not_dst(mut self, net: IpNet) -> Self {
        self.dst = Self::net("! -d", net.trunc());
        self
    }

    /// A frontend's own address; a node port's is somebody else's business.
    pub fn at(self, address: FrontendAddress) -> Self {
        match address.ip() {
            Some(ip) => self.dst(ip.into()),
            None => self,
        }
    }

    fn input(mut self, not: &str, name: &str, more: &str) -> Self {
        self.input = format!("{not}-i {name}{more} ");
        self
    }

    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = format!("-p {protocol} ");
        self
    }

    /// Whatever the text, the rule is one that `iptables-restore` takes: see [`comment`].
    pub fn comment(self, text: impl std::fmt::Display) -> Self {
        self.with(format_args!("-m comment --comment {}", comment(&text.to_string())))
    }

    pub fn port(self, protocol: Protocol, port: u16) -> Self {
        self.protocol(protocol).with(format_args!("-m {protocol} --dport {port}"))
    }

    pub fn with(mut self, text: impl std::fmt::Display) -> Self {
        write!(self.matches, "{text} ").expect("a String takes everything");
        self
    }

    /// What becomes of what matches: the target and its options.
    pub fn then(self, target: impl std::fmt::Display) -> String {
        let Rule { src, dst, input, protocol, matches } = self;
        format!("{src}{dst}{input}{protocol}{matches}-j {target}")
    }

    /// A rule that does nothing but be there.
    pub fn idle(self) -> String {
        self.matches.trim_end().to_owned()
    }

    /// Refuses in the way of the protocol: none of that is slow to tell.
    pub fn reject(self, family: Family, protocol: Option<Protocol>) -> String {
        let with = match (family, protocol) {
            (_, Some(Protocol::Tcp)) => "tcp-reset",
            (Family::V4, _) => "icmp-port-unreachable",
            (Family::V6, _) => "icmp6-port-unreachable",
        };
        self.then(format_args!("REJECT --reject-with {with}"))
    }
}

pub fn host(ip: IpAddr) -> IpNet {
    ip.into()
}

/// What the kernel keeps of a comment, in bytes (XT_MAX_COMMENT_LEN is 256, with the zero at its end).
const LONGEST_COMMENT: usize = 255;

/// A comment as `iptables-save` prints it: quoted, unless it is one plain word. What would have to be escaped, and what is
/// no printable ASCII, is replaced by `?`, and what is too long is cut: names of objects are anybody's.
fn comment(text: &str) -> String {
    let harmless = |c: char| match c {
        '"' | '\\' | '\'' => '?',
        ' '..='~' => c,
        _ => '?',
    };
    let kept: String = text.chars().take(LONGEST_COMMENT).map(harmless).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !kept.is_empty() && kept.chars().all(plain) { kept } else { format!("\"{kept}\"") }
}

/// This rule for what pods send; several where there are several networks.
pub fn from_pods(pods: &PodSource, rule: &Rule) -> Vec<Rule> {
    match pods {
        PodSource::Unknown => Vec::new(),
        PodSource::Nets(nets) => nets.iter().map(|net| rule.clone().src(*net)).collect(),
        PodSource::Interface(name) => vec![rule.clone().input("", name, "")],
        PodSource::InterfacePrefix(prefix) => vec![rule.clone().input("", prefix, "+")],
    }
}

/// Who is no pod.
pub enum NotPods {
    Nobody,
    Rule(Rule),
    /// One rule cannot say it.
    None(Vec<IpNet>),
}

pub fn not_from_pods(pods: &PodSource, rule: &Rule) -> NotPods {
    let rule = rule.clone();
    match pods {
        PodSource::Unknown => NotPods::Rule(rule),
        PodSource::Nets(nets) if nets.iter().any(|net| net.prefix_len() == 0) => NotPods::Nobody,
        PodSource::Nets(nets) => match nets[..] {
            [net] => NotPods::Rule(rule.not_src(net)),
            _ => NotPods::None(nets.clone()),
        },
        PodSource::Interface(name) => NotPods::Rule(rule.input("! ", name, "")),
        PodSource::InterfacePrefix(prefix) => NotPods::Rule(rule.input("! ", prefix, "+")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_as_iptables_save_prints_them_whatever_they_say() {
        assert_eq!(comment("default/web:http cluster IP"), "\"default/web:http cluster IP\"");
        assert_eq!(comment("probe"), "probe");
        assert_eq!(comment("a\" -j ACCEPT\n-A INPUT -j DROP\\"), "\"a? -j ACCEPT?-A INPUT -j DROP?\"");
        assert_eq!(comment("naïve/\u{1f600}'s"), "\"na?ve/??s\"");
        assert_eq!(comment(&"x/".repeat(300)).len(), 2 + LONGEST_COMMENT);
        assert_eq!(comment(""), "\"\"");
    }
}
