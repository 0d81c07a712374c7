//! What can go wrong with the data path, and what to do about it.

use std::io;
use std::net::SocketAddrV4;

/// A data path that cannot be made or mended.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    #[error("cannot have the TUN")]
    Tun(#[source] host::HostError),
    #[error("cannot receive at {local} (UDP): {}", advice(source))]
    Socket {
        local: SocketAddrV4,
        #[source]
        source: io::Error,
    },
    #[error("cannot start the threads of the data path")]
    Threads(#[source] io::Error),
    #[error(
        "the configuration demands the data path `ebpf`, which this machine cannot run; `auto` would take `simple`"
    )]
    Unsupported(#[source] ebpf::EbpfError),
    #[error("the packet programs in the kernel")]
    Ebpf(#[from] ebpf::EbpfError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps another flanneld: stop it, or set Backend.Port"
        }
        io::ErrorKind::AddrNotAvailable => "this host does not have that address",
        _ => "the socket cannot be made",
    }
}
