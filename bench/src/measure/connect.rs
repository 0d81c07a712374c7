//! TCP connections: how long connect() takes, and who answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use super::failed;
use super::pin::{last_cpu, pin};
use crate::stats::percentile;
use crate::sys;
use lab::LabError;

/// A connection that takes longer has lost its packets for good.
const LIMIT: Duration = Duration::from_secs(5);

/// Many connections, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Connects {
    /// Microseconds: the median connect().
    pub p50: f64,
    /// Microseconds.
    pub p99: f64,
    /// Made and reset in a second.
    pub per_second: f64,
}

/// `count` times connect() and a reset, from one thread that nothing else keeps off its CPU.
///
/// # Errors
/// A connection fails.
pub fn connects(from: &Namespace, to: SocketAddr, count: u32) -> Result<Connects, LabError> {
    let cpu = last_cpu()?;
    let (mut nanoseconds, all) = from
        .run(|| {
            pin(cpu)?;
            // Without the privilege the numbers are a little less steady.
            let _ = sys::realtime();
            let begun = Instant::now();
            let times = (0..count).map(|_| once(to)).collect::<io::Result<Vec<u64>>>()?;
            Ok((times, begun.elapsed()))
        })?
        .map_err(|error: io::Error| failed(&format!("a connection to {to}"), error.to_string()))?;
    nanoseconds.sort_unstable();
    let micro = |percent| percentile(&nanoseconds, percent).map_or(0.0, |found| found as f64 / 1e3);
    Ok(Connects {
        p50: micro(50.0),
        p99: micro(99.0),
        per_second: nanoseconds.len() as f64 / all.as_secs_f64(),
    })
}

fn once(to: SocketAddr) -> io::Result<u64> {
    let socket = open(LIMIT)?;
    let begun = Instant::now();
    reach(&socket, to)?;
    Ok(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Connects from the namespace of this thread, sends a byte, and gives the one that the server answers with.
pub fn ask(to: SocketAddr, limit: Duration) -> io::Result<u8> {
    let socket = open(limit)?;
    reach(&socket, to)?;
    let (mut stream, mut byte) = (TcpStream::from(socket), [0]);
    stream.write_all(&byte)?;
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Whether a connection can be made within a limit, from the namespace of this thread.
pub fn reaches(to: SocketAddr, limit: Duration) -> bool {
    open(limit).and_then(|socket| reach(&socket, to)).is_ok()
}

/// A socket whose calls end within a limit, and whose connection ends with a reset: neither end remembers it.
fn open(limit: Duration) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    let micros = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
    let limit = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
    setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
    Ok(socket)
}

fn reach(socket: &OwnedFd, to: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
    match connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(*to.ip(), to.port()))) {
        Ok(()) => Ok(()),
        // The limit of a connect() is that of sending.
        Err(Errno::EINPROGRESS) => Err(io::ErrorKind::TimedOut.into()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_are_timed_and_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(21) {
                let _ = stream.unwrap().write_all(b"7");
            }
        });
        assert_eq!(ask(address, LIMIT).unwrap(), b'7');
        let seen = connects(&Namespace::current().unwrap(), address, 20).unwrap();
        assert!(seen.p50 > 0.0 && seen.p50 <= seen.p99 && seen.per_second > 1.0, "{seen:?}");
        server.join().unwrap();
        assert!(ask(address, LIMIT).is_err());
    }
}
