//! A packet as a person writes it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use proxy_core::names::Protocol;

/// `SRC -> DST:PORT/PROTO`; tcp where no protocol is given. An IPv6 destination is in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub src: IpAddr,
    pub dst: SocketAddr,
    pub protocol: Protocol,
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
        let (dst, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
        let (src, dst, protocol) = (src.trim(), dst.trim(), protocol.trim().to_ascii_lowercase());
        let question = Self {
            src: src
                .trim_matches(['[', ']'])
                .parse()
                .map_err(|_| bad(format!("{src:?} is not an address")))?,
            dst: dst.parse().map_err(|_| bad(format!("{dst:?} is not an address with a port")))?,
            protocol: protocol.parse().map_err(|error| bad(format!("{error}")))?,
        };
        if question.src.is_ipv4() != question.dst.is_ipv4() {
            return Err(bad("source and destination are of different families".to_owned()));
        }
        Ok(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_in_both_families_and_what_is_wrong_is_named() {
        let read = |text: &str| text.parse::<Question>();
        let found = read("10.244.1.7 -> 10.96.0.10:53/UDP").unwrap();
        assert_eq!((found.dst, found.protocol), (SocketAddr::from(([10, 96, 0, 10], 53)), Protocol::Udp));
        assert_eq!(read("fd00::7->[fd00::a]:80").unwrap().protocol, Protocol::Tcp);
        for (text, reason) in [
            ("10.0.0.1 10.0.0.2:80", "no ->"),
            ("pod -> 10.0.0.2:80/tcp", "\"pod\" is not an address"),
            ("10.0.0.1 -> 10.0.0.2/tcp", "with a port"),
            ("10.0.0.1 -> 10.0.0.2:80/icmp", "icmp"),
            ("10.0.0.1 -> [fd00::a]:80", "families"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
