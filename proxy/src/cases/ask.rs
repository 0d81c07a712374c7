//! Clients: one asks until it knows what becomes of a packet.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use proxy_core::cases::Probe;
use proxy_core::names::Protocol;
use proxy_core::question::{Packet, Verdict};
use socket2::Domain;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use super::sctp;

/// How long a client waits before it takes silence for an answer, where that is the one to be expected. The namespaces
/// are microseconds apart.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long it waits for anything else: machines that run many tests at once may keep it waiting.
const LONG: Duration = Duration::from_secs(5);
/// A refusal after this came at TCP's second attempt, a second after the first.
const LATE: Duration = Duration::from_millis(900);

/// What a client met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An endpoint that is `at`, and saw the client as `from`.
    Reached {
        at: SocketAddr,
        from: IpAddr,
    },
    Refused,
    /// At a later attempt only.
    RefusedLate,
    Silence,
}

/// How often and how patiently to ask.
pub struct Way {
    /// Enough when all of these have answered.
    enough: BTreeSet<SocketAddr>,
    tries: usize,
    /// Silence may be what is to be seen.
    silence: bool,
}

impl Way {
    /// So that it is plain what becomes of a packet.
    pub fn to(probe: &Probe, implementation: &str) -> Self {
        let wants = probe.wants_of(implementation);
        let silence = wants.iter().any(|want| want.verdict == Verdict::Drop);
        let enough: BTreeSet<SocketAddr> = wants.iter().flat_map(|want| want.endpoints.clone()).collect();
        let tries = match wants {
            [_] if enough.len() > 1 => 12 * enough.len() + 24,
            [_] => 1,
            // What it does may hang on what it has just written: asked in rounds.
            _ => 8,
        };
        Self { enough, tries, silence }
    }
}

/// Asks until every endpoint has answered that should, or it is plain that some do not.
pub async fn ask(from: Namespace, packet: Packet, way: Way) -> Vec<Seen> {
    let (mut seen, mut reached) = (Vec::new(), BTreeSet::new());
    for _ in 0..way.tries {
        let mut one = once(&from, packet, PATIENCE).await;
        if one == Seen::Silence && !way.silence {
            one = once(&from, packet, LONG).await;
        }
        if let Seen::Reached { at, .. } = one {
            reached.insert(at);
        }
        seen.push(one);
        if reached.is_superset(&way.enough) {
            break;
        }
    }
    seen
}

async fn once(from: &Namespace, packet: Packet, patience: Duration) -> Seen {
    let began = Instant::now();
    let seen = match packet.protocol {
        Protocol::Tcp => timeout(patience, stream(from, packet)).await,
        Protocol::Udp => timeout(patience, datagram(from, packet)).await,
        Protocol::Sctp => timeout(patience, association(from, packet)).await,
    };
    match seen {
        Ok(Seen::Refused) if began.elapsed() > LATE => Seen::RefusedLate,
        Ok(seen) => seen,
        Err(_) => Seen::Silence,
    }
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
    match talk.await {
        Err(error) => failed(&error),
        Ok(text) => told(&text).unwrap_or_else(|| panic!("{text:?}")),
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
    match talk.await {
        Err(error) => failed(&error),
        Ok(text) => told(&text).unwrap_or_else(|| panic!("{text:?}")),
    }
}

async fn association(from: &Namespace, packet: Packet) -> Seen {
    let domain = if packet.src.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = from.run(|| sctp::open(domain)).unwrap().unwrap();
    socket.bind(&SocketAddr::new(packet.src, 0).into()).unwrap();
    match sctp::greet(socket, SocketAddr::new(packet.dst, packet.port)).await {
        Err(error) => failed(&error),
        Ok(cookie) => {
            let text = String::from_utf8_lossy(&cookie).into_owned();
            told(&text).unwrap_or_else(|| panic!("{text:?}"))
        }
    }
}
