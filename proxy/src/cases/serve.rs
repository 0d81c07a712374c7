//! Servers: one tells who it is and whom it sees.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::sctp;

/// Listens in the namespace of the calling thread, for as long as the runtime lives. SCTP is served at every port.
pub fn serve(handle: &Handle, ports: &BTreeSet<u16>) {
    let _inside = handle.enter();
    for domain in [Domain::IPV4, Domain::IPV6] {
        let any: IpAddr =
            if domain == Domain::IPV4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let open = |kind: Type, port: u16| {
            let socket = Socket::new(domain, kind.nonblocking(), None).unwrap();
            socket.set_reuse_address(true).unwrap();
            if domain == Domain::IPV6 {
                socket.set_only_v6(true).unwrap();
            }
            if kind == Type::DGRAM {
                datagrams::told_where_asked(&socket).unwrap();
            }
            socket.bind(&SocketAddr::new(any, port).into()).unwrap();
            socket
        };
        for &port in ports {
            let listener = open(Type::STREAM, port);
            listener.listen(1024).unwrap();
            handle.spawn(streams(TcpListener::from_std(listener.into()).unwrap()));
            handle.spawn(datagrams::echo(open(Type::DGRAM, port), port, |_, at, from, port| {
                Some(format!("{} {}", SocketAddr::new(at, port), from.ip()).into_bytes())
            }));
        }
        let socket = sctp::open(domain).unwrap();
        datagrams::told_where_asked(&socket).unwrap();
        handle.spawn(datagrams::echo(socket, 0, |packet, at, from, _| {
            sctp::answer(sctp::payload(packet, at.is_ipv4())?, at, from.ip())
        }));
    }
}

async fn streams(listener: TcpListener) {
    while let Ok((mut stream, peer)) = listener.accept().await {
        if let Ok(local) = stream.local_addr() {
            let _ = stream.write_all(format!("{local} {}\n", peer.ip()).as_bytes()).await;
        }
    }
}

/// Answering from the address that was asked takes control messages.
mod datagrams {
    use std::io::{IoSlice, IoSliceMut};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::*;
    use tokio::io::Interest;

    /// To the bytes that came, the address that they came to, and who sent them.
    pub type Answer = fn(&[u8], IpAddr, SocketAddr, u16) -> Option<Vec<u8>>;

    pub fn told_where_asked(socket: &socket2::Socket) -> nix::Result<()> {
        if socket.domain().is_ok_and(|domain| domain == socket2::Domain::IPV4) {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
        }
    }

    pub async fn echo(socket: socket2::Socket, port: u16, with: Answer) {
        let socket = super::sctp::datagrams(socket).unwrap();
        let answer = || answer(socket.as_raw_fd(), port, with).map_err(std::io::Error::from);
        // Errors that an earlier answer met belong to nobody here.
        loop {
            let _ = socket.async_io(Interest::READABLE, answer).await;
        }
    }

    fn answer(fd: i32, port: u16, with: Answer) -> nix::Result<()> {
        let mut buffer = [0; 512];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(libc::in6_pktinfo);
        let message: RecvMsg<SockaddrStorage> =
            recvmsg(fd, &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let peer = message.address.ok_or(nix::errno::Errno::EINVAL)?;
        let from: SocketAddr = match (peer.as_sockaddr_in(), peer.as_sockaddr_in6()) {
            (Some(v4), _) => (v4.ip(), v4.port()).into(),
            (_, Some(v6)) => (v6.ip(), v6.port()).into(),
            _ => return Ok(()),
        };
        let mut asked: Option<(IpAddr, Reply)> = None;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                    let local = info.ipi_addr;
                    (info.ipi_ifindex, info.ipi_spec_dst) = (0, local);
                    asked = Some((Ipv4Addr::from(u32::from_be(local.s_addr)).into(), Reply::V4(info)));
                }
                ControlMessageOwned::Ipv6PacketInfo(mut info) => {
                    info.ipi6_ifindex = 0;
                    asked = Some((info.ipi6_addr.s6_addr.into(), Reply::V6(info)));
                }
                _ => {}
            }
        }
        let (len, Some((local, reply))) = (message.bytes, asked) else { return Ok(()) };
        if let Some(text) = with(&buffer[..len], local, from, port) {
            let control = [match &reply {
                Reply::V4(info) => ControlMessage::Ipv4PacketInfo(info),
                Reply::V6(info) => ControlMessage::Ipv6PacketInfo(info),
            }];
            let _ = sendmsg(fd, &[IoSlice::new(&text)], &control, MsgFlags::empty(), Some(&peer));
        }
        Ok(())
    }

    enum Reply {
        V4(libc::in_pktinfo),
        V6(libc::in6_pktinfo),
    }
}
