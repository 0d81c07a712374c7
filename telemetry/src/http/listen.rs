//! Listening sockets, as Go opens them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;

/// Why nothing listens at an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {what}; {}", remedy(.source.kind()))]
pub struct BindError {
    /// What would have been served.
    pub what: &'static str,
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "another process has this port (ss -ltnp names it): end it or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface here has this address: choose one that ip address shows, or 0.0.0.0"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher port"
        }
        _ => "choose another address or port",
    }
}

/// As Go listens: 0.0.0.0 and :: take both families where the kernel has both. Port 0 takes any free one. Needs a
/// tokio runtime.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        match bind(both, false) {
            Err(error)
                if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
                    || error.kind() == io::ErrorKind::AddrNotAvailable => {}
            done => return done,
        }
    }
    bind(address, false)
}

/// One listening socket. `only_v6`: `::` leaves IPv4 to another socket. Needs a tokio runtime.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections of an earlier process in TIME_WAIT must not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
