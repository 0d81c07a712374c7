//! Ports of the loopback that somebody may listen at, and come back to after an end.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, TcpListener};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sysctl;

/// Below the node ports of a cluster, above what well-known servers use.
const USUAL: Range<u16> = 10_000..30_000;

/// A TCP port at `address` where nobody listens now, and that the kernel gives to nobody by itself.
///
/// A port that `bind` of port 0 returns is one of those that the kernel uses for outgoing connections. While its server
/// is away, a client that connects to it again and again can be given that very port, and is then connected to itself;
/// the server cannot come back.
///
/// # Errors
/// Nothing can listen at the address, or every port is taken.
pub fn free_port(address: IpAddr) -> io::Result<u16> {
    static NEXT: OnceLock<AtomicUsize> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicUsize::new(RandomState::new().hash_one(0) as usize >> 1));
    let ports = without_outgoing(USUAL, sysctl::read("net/ipv4/ip_local_port_range").ok().as_deref());
    for _ in &ports {
        let port = ports[next.fetch_add(1, Ordering::Relaxed) % ports.len()];
        match TcpListener::bind((address, port)) {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Ok(TcpListener::bind((address, 0))?.local_addr()?.port())
}

/// The ports of a range that are not in the kernel's own: the two numbers of `ip_local_port_range`.
fn without_outgoing(usual: Range<u16>, outgoing: Option<&str>) -> Vec<u16> {
    let mut ends = outgoing.unwrap_or_default().split_whitespace().map_while(|end| end.parse::<u16>().ok());
    let outgoing = ends.next().zip(ends.next()).map(|(first, last)| first..=last);
    usual.filter(|port| !outgoing.as_ref().is_some_and(|outgoing| outgoing.contains(port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn ports_of_outgoing_connections_are_left_to_the_kernel() {
        assert_eq!(without_outgoing(10..13, None), [10, 11, 12]);
        assert_eq!(without_outgoing(10..13, Some("32768\t60999")), [10, 11, 12]);
        assert_eq!(without_outgoing(10..13, Some("11 60999")), [10]);
        assert!(without_outgoing(10..13, Some("1 60999")).is_empty());
    }

    #[test]
    fn no_port_is_given_twice_in_a_row_and_a_taken_one_never() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let one = free_port(address).unwrap();
        let taken = TcpListener::bind((address, one)).unwrap();
        let other = free_port(address).unwrap();
        assert_ne!(one, other);
        drop(taken);
    }
}
