//! What the machine lets us have, and what a socket is told.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::outgoing::UNREAD;

/// Descriptors that are kept for files, etcd, and connections to others.
const RESERVE: u64 = 128;

/// How many connections there may be at a time: as many as descriptors allow, which are raised to what is permitted.
pub fn most_connections() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 512 };
    // Beyond this a table of descriptors only costs memory.
    let wanted = hard.min(1 << 20).max(soft);
    let have = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => soft,
    };
    usize::try_from(have.saturating_sub(RESERVE).max(have / 2)).unwrap_or(usize::MAX)
}

/// An answer in one piece leaves at once; a client that is gone, or that reads nothing, is noticed.
pub fn of_socket(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(UNREAD / 2).with_interval(UNREAD / 6).with_retries(3);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(UNREAD));
}
