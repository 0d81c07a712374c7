//! The sockets of the probes: an echo server at every address, and one exchange of each kind.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::time::timeout;

use crate::error::LabError;

/// How often a datagram is sent before its loss counts.
const TRIES: u16 = 3;
/// How long the answer to one datagram may take.
const ANSWER: Duration = Duration::from_millis(700);
/// How long a whole TCP exchange may take.
const EXCHANGE: Duration = Duration::from_millis(2500);
/// Bytes of a TCP exchange, each way.
const STREAM: usize = 64 << 10;
/// Bytes of the datagram that is too large for any MTU here.
const LARGE: usize = 8000;
/// Length of an ICMP echo's own header.
const ICMP_HEADER: usize = 8;

/// Where the servers of an address listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    pub tcp: u16,
    pub udp: u16,
}

/// The error of sockets that cannot be made at an end.
pub fn cannot(end: &str) -> impl FnOnce(io::Error) -> LabError {
    LabError::io("open sockets in", end)
}

/// Starts an echo server for TCP and one for UDP at an address, until the runtime ends.
pub fn serve(namespace: &Namespace, address: IpAddr) -> io::Result<Ports> {
    let open = || {
        let tcp = std::net::TcpListener::bind((address, 0))?;
        let udp = std::net::UdpSocket::bind((address, 0))?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok::<_, io::Error>((tcp, udp))
    };
    let (tcp, udp) = namespace.run(open).map_err(io::Error::other)??;
    let (tcp, udp) = (TcpListener::from_std(tcp)?, UdpSocket::from_std(udp)?);
    let ports = Ports { tcp: tcp.local_addr()?.port(), udp: udp.local_addr()?.port() };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                // A client that leaves early has already failed its probe.
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        loop {
            // An error here is an ICMP message about an earlier answer.
            if let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let _ = udp.send_to(&buffer[..length], from).await;
            }
        }
    });
    Ok(ports)
}

/// The sockets of a pair's probes.
#[derive(Debug)]
pub struct Sockets {
    pub ping: UdpSocket,
    pub large_ping: UdpSocket,
    pub tcp: TcpSocket,
    pub udp: UdpSocket,
}

impl Sockets {
    /// Opens them inside `namespace`, for the family of `to`.
    pub fn open(namespace: &Namespace, to: IpAddr) -> io::Result<Self> {
        let any: SocketAddr = match to {
            IpAddr::V4(_) => "0.0.0.0:0".parse(),
            IpAddr::V6(_) => "[::]:0".parse(),
        }
        .map_err(io::Error::other)?;
        let open = || {
            let tcp = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            Ok::<_, io::Error>((ping_socket(to)?, ping_socket(to)?, tcp?, std::net::UdpSocket::bind(any)?))
        };
        let (ping, large_ping, tcp, udp) = namespace.run(open).map_err(io::Error::other)??;
        host::sockets::dont_fragment(&large_ping, to.is_ipv6())?;
        udp.set_nonblocking(true)?;
        Ok(Self {
            ping: UdpSocket::from_std(ping)?,
            large_ping: UdpSocket::from_std(large_ping)?,
            tcp,
            udp: UdpSocket::from_std(udp)?,
        })
    }
}

/// One socket for pings, inside `namespace`.
pub fn open_ping(namespace: &Namespace, to: IpAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(namespace.run(|| ping_socket(to)).map_err(io::Error::other)??)
}

/// A datagram socket of ICMP (icmp(7), `ping_group_range`): the kernel numbers it and sums it.
pub fn ping_socket(to: IpAddr) -> io::Result<std::net::UdpSocket> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Datagram, flags, protocol)?.into())
}

/// An ICMP echo in an IP packet of `size` bytes; the time until its answer.
pub async fn echo(socket: &UdpSocket, to: IpAddr, size: usize) -> Result<Duration, String> {
    let (ip_header, request, reply) = if to.is_ipv4() { (20, 8, 0) } else { (40, 128, 129) };
    let body: Vec<u8> = pattern(size.saturating_sub(ip_header + ICMP_HEADER)).collect();
    let mut last = format!("no answer to {TRIES} packets of {size} bytes");
    if let Err(error) = socket.connect((to, 0)).await {
        return Err(error.to_string());
    }
    for sequence in 1..=TRIES {
        let mut packet = vec![request, 0, 0, 0, 0, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend(&body);
        let began = Instant::now();
        if let Err(error) = socket.send(&packet).await {
            last = format!("sending {size} bytes: {error}");
            tokio::time::sleep(ANSWER / 10).await;
            continue;
        }
        let is_answer = |answer: &[u8]| {
            answer.len() == packet.len()
                && answer[0] == reply
                && answer[6..8] == packet[6..8]
                && answer[8..] == *body
        };
        match timeout(ANSWER, receive(socket, is_answer)).await {
            Ok(Ok(())) => return Ok(began.elapsed()),
            Ok(Err(error)) => last = format!("{size} bytes: {error}"),
            Err(_) => {}
        }
    }
    Err(last)
}

/// A large datagram there and back.
pub async fn udp(socket: UdpSocket, to: SocketAddr) -> Result<Duration, String> {
    let mut last = format!("no answer to {TRIES} datagrams of {LARGE} bytes");
    if let Err(error) = socket.connect(to).await {
        return Err(error.to_string());
    }
    let mut datagram: Vec<u8> = pattern(LARGE).collect();
    for sequence in 1..=TRIES {
        datagram[..2].copy_from_slice(&sequence.to_be_bytes());
        let began = Instant::now();
        if let Err(error) = socket.send(&datagram).await {
            last = error.to_string();
            tokio::time::sleep(ANSWER / 10).await;
            continue;
        }
        match timeout(ANSWER, receive(&socket, |answer| answer == datagram)).await {
            Ok(Ok(())) => return Ok(began.elapsed()),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => {}
        }
    }
    Err(last)
}

/// Waits for the answer that is wanted; others are late ones.
async fn receive(socket: &UdpSocket, wanted: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 65536];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if wanted(&buffer[..length]) {
            return Ok(());
        }
    }
}

/// A connection, and bytes there and back; the time of all of it.
pub async fn tcp(socket: TcpSocket, to: SocketAddr) -> Result<Duration, String> {
    let began = Instant::now();
    let mut reached = "no connection";
    let exchange = async {
        let mut stream = socket.connect(to).await?;
        reached = "connected, but not all bytes came back";
        let sent: Vec<u8> = pattern(STREAM).collect();
        let (mut reader, mut writer) = stream.split();
        let mut back = vec![0; STREAM];
        let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
        written?;
        read?;
        if back == sent {
            Ok(())
        } else {
            Err(io::Error::other("the bytes that came back are not those that were sent"))
        }
    };
    let result = timeout(EXCHANGE, exchange).await;
    match result {
        Ok(Ok(())) => Ok(began.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{reached} in {EXCHANGE:?}")),
    }
}

/// Bytes that repeat with no power of two, so that a part in the wrong place shows.
fn pattern(length: usize) -> impl Iterator<Item = u8> {
    (0..=250u8).cycle().take(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine's own loopback carries what the probes send, except that only root may open ping sockets everywhere.
    #[tokio::test]
    async fn tcp_and_udp_come_back_over_the_loopback() {
        let here = Namespace::current().unwrap();
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let ports = serve(&here, address).unwrap();
        let (client, stream) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), TcpSocket::new_v4().unwrap());
        udp(client, (address, ports.udp).into()).await.unwrap();
        tcp(stream, (address, ports.tcp).into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_port_says_so() {
        let closed = "127.0.0.1:1".parse().unwrap();
        let reason = tcp(TcpSocket::new_v4().unwrap(), closed).await.unwrap_err();
        assert!(reason.contains("refused"), "{reason}");
    }
}
