//! Clients: one asks until it knows what becomes of a packet.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use host::netns::Namespace;
use proxy_core::names::Protocol;
use proxy_core::question::Packet;
use socket2::Domain;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use super::sctp;

/// How long a client waits before it takes silence for an answer. The namespaces are microseconds apart; machines
/// that run many tests at once are not.
const PATIENCE: Duration = Duration::from_millis(400);

/// What a client met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An endpoint that is `at`, and saw the client as `from`.
    Reached {
        at: SocketAddr,
        from: IpAddr,
    },
    Refused,
    Silence,
}

/// Asks until every endpoint has answered that should, or it is plain that some do not.
pub async fn ask(from: Namespace, packet: Packet, expected: BTreeSet<SocketAddr>) -> Vec<Seen> {
    let tries = if expected.len() > 1 { 12 * expected.len() + 24 } else { 1 };
    let (mut seen, mut reached) = (Vec::new(), BTreeSet::new());
    for _ in 0..tries {
        let one = match packet.protocol {
            Protocol::Tcp => stream(&from, packet).await,
            Protocol::Udp => datagram(&from, packet).await,
            Protocol::Sctp => association(&from, packet).await,
        };
        if let Seen::Reached { at, .. } = one {
            reached.insert(at);
        }
        seen.push(one);
        if reached.is_superset(&expected) {
            break;
        }
    }
    seen
}

fn told(text: &str) -> Option<Seen> {
    let (at, from) = text.trim().split_once(' ')?;
    let from: IpAddr = from.parse().ok()?;
    Some(Seen::Reached { at: at.parse().ok()?, from })
}

fn failed(error: &io::Error) -> Seen {
    match error.raw_os_error() {
        Some(
            libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ECONNRESET | libc::EACCES,
        ) => Seen::Refused,
        _ => panic!("a client's own trouble: {error}"),
    }
}

async fn stream(from: &Namespace, packet: Packet) -> Seen {
    let socket = from
        .run(|| if packet.src.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() })
        .unwrap()
        .unwrap();
    socket.bind(SocketAddr::new(packet.src, 0)).unwrap();
    let talk = async {
        let mut stream = socket.connect(SocketAddr::new(packet.dst, packet.port)).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    match timeout(PATIENCE, talk).await {
        Err(_) => Seen::Silence,
        Ok(Err(error)) => failed(&error),
        Ok(Ok(text)) => told(&text).unwrap_or_else(|| panic!("{text:?}")),
    }
}

async fn datagram(from: &Namespace, packet: Packet) -> Seen {
    let open = || {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(packet.src, 0))?;
        socket.set_nonblocking(true)?;
        Ok::<_, io::Error>(socket)
    };
    let socket = UdpSocket::from_std(from.run(open).unwrap().unwrap()).unwrap();
    let talk = async {
        socket.connect(SocketAddr::new(packet.dst, packet.port)).await?;
        match socket.send(b"?").await {
            // Dropped or refused before it left this host; a refusal says so next.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            sent => _ = sent?,
        }
        let mut buffer = [0; 128];
        let len = socket.recv(&mut buffer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&buffer[..len]).into_owned())
    };
    match timeout(PATIENCE, talk).await {
        Err(_) => Seen::Silence,
        Ok(Err(error)) => failed(&error),
        Ok(Ok(text)) => told(&text).unwrap_or_else(|| panic!("{text:?}")),
    }
}

async fn association(from: &Namespace, packet: Packet) -> Seen {
    let domain = if packet.src.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = from.run(|| sctp::open(domain)).unwrap().unwrap();
    socket.bind(&SocketAddr::new(packet.src, 0).into()).unwrap();
    match timeout(PATIENCE, sctp::greet(socket, SocketAddr::new(packet.dst, packet.port))).await {
        Err(_) => Seen::Silence,
        Ok(Err(error)) => failed(&error),
        Ok(Ok(cookie)) => {
            let text = String::from_utf8_lossy(&cookie).into_owned();
            told(&text).unwrap_or_else(|| panic!("{text:?}"))
        }
    }
}
