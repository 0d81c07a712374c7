//! One question to an address: who answers?

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

/// How long a connection, and how long an answer may take. Less than a second, after which TCP sends a lost SYN again: it
/// may then go to another endpoint, and hide that one never answers. For the same reason a datagram is sent once.
const LIMIT: Duration = Duration::from_millis(900);
/// More than any answer of ours.
const LARGEST: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Somewhere to ask: `10.96.0.10:80/tcp`, `[fd00:96::10]:80/udp`; tcp where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    pub address: SocketAddr,
    pub transport: Transport,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is nothing to ask; want ADDRESS:PORT, ADDRESS:PORT/tcp or ADDRESS:PORT/udp, such as 10.96.0.10:80/udp"
)]
pub struct BadTarget(String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        let (address, transport) = text.split_once('/').unwrap_or((text, "tcp"));
        let transport = match transport.to_ascii_lowercase().as_str() {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(bad()),
        };
        Ok(Self { address: address.parse().map_err(|_| bad())?, transport })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.address, self.transport))
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub pod: String,
    /// The client's address as the pod sees it.
    pub client: Option<IpAddr>,
}

/// Asks once, over a socket of its own, from the namespace of this thread. Blocks for some seconds at most.
///
/// # Errors
/// Why there is no answer, for a person.
pub fn ask(target: Target) -> Result<Answer, String> {
    let text = match target.transport {
        Transport::Tcp => tcp(target.address)?,
        Transport::Udp => udp(target.address)?,
    };
    let mut words = text.split_whitespace();
    let pod = words.next().filter(|word| crate::name::is_member(word)).map(str::to_owned);
    let client = words.next().and_then(|word| word.parse().ok());
    match pod {
        Some(pod) => Ok(Answer { pod, client }),
        None => Err(format!(
            "somebody answers who is no pod of a lab: {:?}",
            text.lines().next().unwrap_or_default()
        )),
    }
}

fn tcp(to: SocketAddr) -> Result<String, String> {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT).map_err(|error| said("no connection", &error))?;
    let mut exchange = || {
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.write_all(format!("GET / HTTP/1.0\r\nHost: {to}\r\n\r\n").as_bytes())?;
        let mut bytes = Vec::new();
        (&stream).take(LARGEST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = exchange().map_err(|error| said("connected, but no answer", &error))?;
    Ok(text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.to_owned()))
}

fn udp(to: SocketAddr) -> Result<String, String> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let exchange = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send(b"who are you?\n")?;
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    exchange().map_err(|error| said("no answer to a datagram", &error))
}

fn said(what: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{what} in {LIMIT:?}"),
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ => format!("{what}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_with_a_port() {
        let read = |text: &str| text.parse::<Target>();
        assert_eq!(read("10.96.0.10:80").unwrap().to_string(), "10.96.0.10:80/tcp");
        assert_eq!(read("[fd00::1]:80/UDP").unwrap().to_string(), "[fd00::1]:80/udp");
        for bad in ["10.96.0.10", "web:80", "10.96.0.10:80/sctp", ""] {
            assert_eq!(read(bad), Err(BadTarget(bad.to_owned())));
        }
    }

    #[test]
    fn a_closed_port_and_a_stranger_say_what_they_are() {
        let closed = ask("127.0.0.1:1".parse().unwrap()).unwrap_err();
        assert!(closed.contains("refused"), "{closed}");
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = Target { address: server.local_addr().unwrap(), transport: Transport::Udp };
        let asking = std::thread::spawn(move || ask(target));
        let (_, client) = server.recv_from(&mut [0; 64]).unwrap();
        server.send_to(b"hello", client).unwrap();
        assert!(asking.join().unwrap().unwrap_err().contains("\"hello\""));
    }
}
