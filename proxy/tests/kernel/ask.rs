//! Clients and servers. A server tells who it is and whom it sees; a client counts what it hears.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use host::netns::Namespace;
use proxy_core::names::Protocol;
use proxy_core::question::Packet;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::runtime::Handle;
use tokio::time::timeout;

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

pub fn has_sctp() -> bool {
    Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::from(libc::IPPROTO_SCTP))).is_ok()
}

/// Listens in the namespace of the calling thread, for as long as the runtime lives.
pub fn serve(handle: &Handle, ports: &BTreeSet<u16>) {
    let _inside = handle.enter();
    for (&port, protocol) in ports.iter().flat_map(|port| [(port, Protocol::Tcp), (port, Protocol::Udp)]) {
        for domain in [Domain::IPV4, Domain::IPV6] {
            let any: IpAddr = if domain == Domain::IPV4 {
                [0, 0, 0, 0].into()
            } else {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            };
            let kind = if protocol == Protocol::Tcp { Type::STREAM } else { Type::DGRAM };
            let socket = Socket::new(domain, kind.nonblocking(), None).unwrap();
            socket.set_reuse_address(true).unwrap();
            if domain == Domain::IPV6 {
                socket.set_only_v6(true).unwrap();
            }
            if protocol == Protocol::Tcp {
                socket.bind(&SocketAddr::new(any, port).into()).unwrap();
                socket.listen(1024).unwrap();
                let listener = TcpListener::from_std(socket.into()).unwrap();
                handle.spawn(async move {
                    while let Ok((mut stream, peer)) = listener.accept().await {
                        if let Ok(local) = stream.local_addr() {
                            let _ = stream.write_all(format!("{local} {}\n", peer.ip()).as_bytes()).await;
                        }
                    }
                });
            } else {
                datagrams::answer_from_where_asked(&socket).unwrap();
                socket.bind(&SocketAddr::new(any, port).into()).unwrap();
                handle.spawn(datagrams::echo(UdpSocket::from_std(socket.into()).unwrap(), port));
            }
        }
    }
}

/// Asks until every endpoint has answered that should, or it is plain that some do not.
pub async fn ask(from: Namespace, packet: Packet, expected: BTreeSet<SocketAddr>) -> Vec<Seen> {
    let tries = if expected.len() > 1 { 12 * expected.len() + 24 } else { 1 };
    let (mut seen, mut reached) = (Vec::new(), BTreeSet::new());
    for _ in 0..tries {
        let one = match packet.protocol {
            Protocol::Udp => datagram(&from, packet).await,
            _ => stream(&from, packet).await,
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

/// Answering a datagram from the address that it came to takes control messages.
mod datagrams {
    use std::io::{IoSlice, IoSliceMut};
    use std::net::IpAddr;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::*;
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    pub fn answer_from_where_asked(socket: &socket2::Socket) -> nix::Result<()> {
        if socket.domain().is_ok_and(|domain| domain == socket2::Domain::IPV4) {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
        }
    }

    pub async fn echo(socket: UdpSocket, port: u16) {
        let answer = || answer(socket.as_raw_fd(), port).map_err(std::io::Error::from);
        // Errors that an earlier answer met belong to nobody here.
        loop {
            let _ = socket.async_io(Interest::READABLE, answer).await;
        }
    }

    fn answer(fd: i32, port: u16) -> nix::Result<()> {
        let mut buffer = [0; 64];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(libc::in6_pktinfo);
        let message: RecvMsg<SockaddrStorage> =
            recvmsg(fd, &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let peer = message.address.ok_or(nix::errno::Errno::EINVAL)?;
        let from: IpAddr = match (peer.as_sockaddr_in(), peer.as_sockaddr_in6()) {
            (Some(v4), _) => v4.ip().into(),
            (_, Some(v6)) => v6.ip().into(),
            _ => return Ok(()),
        };
        for control in message.cmsgs()? {
            let (local, reply): (IpAddr, Reply) = match control {
                ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                    let local = info.ipi_addr;
                    (info.ipi_ifindex, info.ipi_spec_dst) = (0, local);
                    (std::net::Ipv4Addr::from(u32::from_be(local.s_addr)).into(), Reply::V4(info))
                }
                ControlMessageOwned::Ipv6PacketInfo(mut info) => {
                    info.ipi6_ifindex = 0;
                    (std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), Reply::V6(info))
                }
                _ => continue,
            };
            let text = format!("{} {from}", std::net::SocketAddr::new(local, port));
            let control = [match &reply {
                Reply::V4(info) => ControlMessage::Ipv4PacketInfo(info),
                Reply::V6(info) => ControlMessage::Ipv6PacketInfo(info),
            }];
            let _ = sendmsg(fd, &[IoSlice::new(text.as_bytes())], &control, MsgFlags::empty(), Some(&peer));
        }
        Ok(())
    }

    enum Reply {
        V4(libc::in_pktinfo),
        V6(libc::in6_pktinfo),
    }
}
