//! SCTP where the kernel may have none: packets by hand over raw sockets, enough for connection tracking to see an
//! association begin (RFC 9260, sections 3.3.2 and 3.3.3).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

const PROTOCOL: i32 = libc::IPPROTO_SCTP;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
/// Both chunks have it: header, initiate tag, window, streams out and in, first TSN.
const FIXED: usize = 20;
/// A parameter of an INIT ACK that is the server's own business: the state cookie.
const COOKIE: u16 = 7;

/// The beginning of an association, either half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub from: u16,
    pub to: u16,
    /// What the receiver has chosen; 0 in the first packet.
    pub tag: u32,
    /// What the sender chooses.
    pub own_tag: u32,
    /// None in an INIT, the state cookie of an INIT ACK.
    pub cookie: Option<Vec<u8>>,
}

impl Greeting {
    pub fn write(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(128);
        packet.extend(self.from.to_be_bytes());
        packet.extend(self.to.to_be_bytes());
        packet.extend(self.tag.to_be_bytes());
        packet.extend([0; 4]);
        let parameter = self.cookie.as_ref().map_or(0, |cookie| 4 + cookie.len());
        packet.extend([if self.cookie.is_some() { INIT_ACK } else { INIT }, 0]);
        packet.extend(((FIXED + parameter) as u16).to_be_bytes());
        packet.extend(self.own_tag.to_be_bytes());
        packet.extend(0x0001_0000_u32.to_be_bytes());
        packet.extend([0, 1, 0, 1]);
        packet.extend(self.own_tag.to_be_bytes());
        if let Some(cookie) = &self.cookie {
            packet.extend(COOKIE.to_be_bytes());
            packet.extend((parameter as u16).to_be_bytes());
            packet.extend(cookie);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        let sum = crc32c(&packet);
        packet[8..12].copy_from_slice(&sum.to_le_bytes());
        packet
    }

    /// None where it is something else, or its checksum is wrong.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        let mut blank = packet.to_vec();
        blank.get_mut(8..12)?.fill(0);
        if crc32c(&blank).to_le_bytes() != packet[8..12] {
            return None;
        }
        let cookie = match *packet.get(12)? {
            INIT => None,
            INIT_ACK if half(12 + FIXED)? == COOKIE => {
                let from = 12 + FIXED + 4;
                Some(packet.get(from..12 + FIXED + usize::from(half(12 + FIXED + 2)?))?.to_vec())
            }
            _ => return None,
        };
        Some(Self { from: half(0)?, to: half(2)?, tag: word(4)?, own_tag: word(16)?, cookie })
    }
}

/// CRC32c: polynomial 0x1EDC6F41, reflected (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// A socket for all SCTP packets of one family, in the namespace of the calling thread.
pub fn open(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::from(PROTOCOL)))
}

/// What is behind the IP header: raw sockets of IPv4 show it, those of IPv6 do not.
pub fn payload(packet: &[u8], v4: bool) -> Option<&[u8]> {
    packet.get(if v4 { usize::from(packet.first()? & 15) * 4 } else { 0 }..)
}

/// Begins an association and returns the cookie that the server answers with.
pub async fn greet(socket: Socket, to: SocketAddr) -> io::Result<Vec<u8>> {
    static PORT: AtomicU16 = AtomicU16::new(0);
    let own = 20_000 + PORT.fetch_add(1, Ordering::Relaxed) % 20_000;
    let hello = Greeting {
        from: own,
        to: to.port(),
        tag: 0,
        own_tag: u32::from(own) << 16 | u32::from(to.port()),
        cookie: None,
    };
    // Raw sockets have addresses only.
    socket.connect(&SocketAddr::new(to.ip(), 0).into())?;
    let socket = datagrams(socket)?;
    match socket.send(&hello.write()).await {
        // Dropped or refused before it left this host; a refusal says so next.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        sent => _ = sent?,
    }
    loop {
        let mut buffer = [0_u8; 512];
        let len = socket.recv(&mut buffer).await?;
        let answer = payload(&buffer[..len], to.is_ipv4()).and_then(Greeting::read);
        match answer {
            Some(Greeting { to, tag, cookie: Some(cookie), .. }) if (to, tag) == (own, hello.own_tag) => {
                return Ok(cookie);
            }
            _ => {}
        }
    }
}

/// To tokio all sockets of messages are alike.
pub fn datagrams(socket: Socket) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket.into())
}

/// What a server answers to a packet that came to `at`, and to which port; None where it is no INIT.
pub fn answer(packet: &[u8], at: IpAddr, peer: IpAddr) -> Option<Vec<u8>> {
    let hello = Greeting::read(packet).filter(|hello| hello.cookie.is_none())?;
    let told = format!("{} {peer}", SocketAddr::new(at, hello.to));
    let greeting = Greeting {
        from: hello.to,
        to: hello.from,
        tag: hello.own_tag,
        own_tag: hello.own_tag ^ 1,
        cookie: Some(told.into_bytes()),
    };
    Some(greeting.write())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn an_init_is_answered_to_its_sender() {
        let hello = Greeting { from: 20_000, to: 2905, tag: 0, own_tag: 7, cookie: None };
        assert_eq!(Greeting::read(&hello.write()), Some(hello.clone()));
        let (at, peer) = ("10.244.1.10".parse().unwrap(), "10.244.1.200".parse().unwrap());
        let answered = Greeting::read(&answer(&hello.write(), at, peer).unwrap()).unwrap();
        assert_eq!((answered.from, answered.to, answered.tag), (2905, 20_000, 7));
        assert_eq!(answered.cookie.as_deref(), Some(&b"10.244.1.10:2905 10.244.1.200"[..]));
        assert_eq!(answer(&answered.write(), at, peer), None, "nobody answers an answer");
        let mut damaged = hello.write();
        damaged[3] ^= 1;
        assert_eq!(Greeting::read(&damaged), None);
    }
}
