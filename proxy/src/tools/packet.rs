//! A packet as a person writes it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use goflags::nearest;
use proxy_core::names::Protocol;

/// `SRC -> DST:PORT/PROTO`, tcp where no protocol is given; or `SRC -> DST/icmp`. An IPv6 destination with a port is in
/// brackets. An IPv4 address in IPv6 notation (`::ffff:10.96.0.10`) is the IPv4 address, which is what the wire carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub src: IpAddr,
    pub to: Destination,
    /// What was read otherwise than it was written.
    pub remarks: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Port(SocketAddr, Protocol),
    Ping(IpAddr),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not a packet: {reason}; want SRC -> DST:PORT/PROTO, such as '10.244.1.7 -> 10.96.0.10:80/tcp'"
)]
pub struct BadQuestion {
    text: String,
    reason: String,
}

impl FromStr for Question {
    type Err = BadQuestion;

    fn from_str(text: &str) -> Result<Self, BadQuestion> {
        let bad = |reason: String| BadQuestion { text: text.to_owned(), reason };
        let (src, rest) = text.split_once("->").ok_or_else(|| bad("it has no ->".to_owned()))?;
        // A name may have a slash of its own before its port.
        let protocol = rest.rsplit_once('/').filter(|(_, word)| !word.contains(':'));
        let (dst, word) = protocol.unwrap_or((rest, "tcp"));
        let (src, dst, word) = (src.trim(), dst.trim(), word.trim().to_ascii_lowercase());
        let mut remarks = Vec::new();
        let mut plain = |ip: IpAddr| {
            let canonical = ip.to_canonical();
            if canonical != ip {
                remarks.push(format!("{ip} is {canonical}, an IPv4 address in IPv6 notation"));
            }
            canonical
        };
        let src = plain(address(src).map_err(bad)?);
        let to = match is_icmp(&word) {
            true => {
                let dst = dst.parse::<SocketAddr>().map(|dst| dst.ip()).or_else(|_| address(dst));
                Destination::Ping(plain(dst.map_err(bad)?))
            }
            false => {
                let protocol = word.parse().map_err(|_| bad(no_protocol(&word)))?;
                let dst: SocketAddr = dst.parse().map_err(|_| bad(no_destination(dst)))?;
                Destination::Port(SocketAddr::new(plain(dst.ip()), dst.port()), protocol)
            }
        };
        let question = Self { src, to, remarks };
        if question.src.is_ipv4() != question.dst().is_ipv4() {
            return Err(bad("source and destination are of different families".to_owned()));
        }
        Ok(question)
    }
}

impl Question {
    pub fn dst(&self) -> IpAddr {
        match self.to {
            Destination::Port(dst, _) => dst.ip(),
            Destination::Ping(dst) => dst,
        }
    }
}

fn is_icmp(word: &str) -> bool {
    ["icmp", "icmp6", "icmpv6", "ipv6-icmp", "ping"].contains(&word)
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.trim_matches(['[', ']']).parse().map_err(|_| format!("{text:?} is not an address"))
}

/// What a person may have meant by a word that names no transport protocol.
fn no_protocol(word: &str) -> String {
    let over = |protocol| format!("{word:?} is not a protocol of ports: it goes over {protocol}");
    match word {
        "http" | "https" | "grpc" | "tls" | "ssh" | "ws" | "wss" => over("tcp"),
        "dns" => format!("{} and tcp", over("udp")),
        "quic" | "http3" | "h3" | "syslog" | "ntp" => over("udp"),
        _ => {
            let near = nearest(word, Protocol::ALL.map(Protocol::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            format!("{word:?} is not a protocol (tcp, udp, sctp, icmp){near}")
        }
    }
}

/// What a person may have meant by a text that is no address with a port.
fn no_destination(text: &str) -> String {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let port = SocketAddr::new(ip, 80);
        return format!("{text:?} is not an address with a port: it has no port, as in {port}");
    }
    let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if port.parse::<u16>().is_err() && name.parse::<IpAddr>().is_ok() {
        return format!("{text:?} is not an address with a port: {port:?} is not a port from 0 to 65535");
    }
    let like_a_name = |c: char| c.is_ascii_alphanumeric() || "-./".contains(c);
    if !name.is_empty() && name.chars().all(like_a_name) && name.contains(|c: char| c.is_ascii_alphabetic()) {
        return format!(
            "{text:?} is not an address with a port: {name} is a name, and packets have addresses. Take the Service's \
             ClusterIP; where that is None the name leads to the pods themselves, and where its type is ExternalName to \
             another name: no proxy has a part in either"
        );
    }
    format!("{text:?} is not an address with a port")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Question, BadQuestion> {
        text.parse()
    }

    #[test]
    fn a_packet_is_read_in_both_families_and_what_is_wrong_is_named() {
        let found = read("10.244.1.7 -> 10.96.0.10:53/UDP").unwrap();
        assert_eq!(found.to, Destination::Port(SocketAddr::from(([10, 96, 0, 10], 53)), Protocol::Udp));
        let found = read("fd00::7->[fd00::a]:80").unwrap();
        assert!(matches!(found.to, Destination::Port(_, Protocol::Tcp)) && found.remarks.is_empty());
        for (text, reason) in [
            ("10.0.0.1 10.0.0.2:80", "no ->"),
            ("pod -> 10.0.0.2:80/tcp", "\"pod\" is not an address"),
            ("10.0.0.1 -> 10.0.0.2/tcp", "it has no port, as in 10.0.0.2:80"),
            ("fd00::1 -> fd00::2/tcp", "it has no port, as in [fd00::2]:80"),
            ("10.0.0.1 -> 10.0.0.2:http", "\"http\" is not a port"),
            ("10.0.0.1 -> 10.0.0.2:80/http", "it goes over tcp"),
            ("10.0.0.1 -> 10.0.0.2:53/dns", "it goes over udp and tcp"),
            ("10.0.0.1 -> 10.0.0.2:80/tpc", "did you mean tcp?"),
            ("10.0.0.1 -> 10.0.0.2:80/zzz", "(tcp, udp, sctp, icmp)"),
            ("10.0.0.1 -> web.default.svc:80", "web.default.svc is a name"),
            ("10.0.0.1 -> default/web:80", "default/web is a name"),
            ("10.0.0.1 -> ???", "is not an address with a port"),
            ("10.0.0.1 -> [fd00::a]:80", "families"),
            ("10.0.0.1 -> fd00::a/icmp", "families"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_ping_needs_no_port() {
        for text in
            ["10.0.0.1 -> 10.96.0.10/icmp", "10.0.0.1->10.96.0.10:80/ping", "fd00::1 -> fd00::a/icmpv6"]
        {
            let found = read(text).unwrap();
            assert_eq!(found.to, Destination::Ping(found.dst()), "{text}");
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_notation_is_the_ipv4_address_and_that_is_said() {
        let found = read("::ffff:10.244.1.7 -> [::ffff:10.96.0.10]:80").unwrap();
        let plain = read("10.244.1.7 -> 10.96.0.10:80").unwrap();
        assert_eq!((found.src, found.to), (plain.src, plain.to));
        assert_eq!(found.remarks[1], "::ffff:10.96.0.10 is 10.96.0.10, an IPv4 address in IPv6 notation");
    }
}
