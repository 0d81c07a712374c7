//! The underlay socket.

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddrV4, UdpSocket};

/// Room for packets that wait for us, in bytes as the kernel counts them (some 2 KiB for a full packet). With the
/// default of 208 KiB a burst of a hundred packets is the end; this much gave 1.4 times the throughput of one TCP
/// stream for 0.7 of the work, and half the retransmissions (6.18, two cores).
const RECEIVE_BUFFER: usize = 4 << 20;

/// Binds the socket that flannel's packets leave from and arrive at. Path MTU discovery stays at the kernel's default
/// (`IP_PMTUDISC_WANT`): a datagram longer than the path is cut by the kernel, as with flannel.
pub(super) fn bind(local: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if let Err(errno) = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER) {
        tracing::debug!(%errno, "the receive buffer keeps the size that net.core.rmem_max allows");
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}
