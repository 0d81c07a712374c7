//! TCP requests and responses of one byte, one at a time: how fast can two programs talk over this path?
//!
//! Client and server are threads of ours, both pinned to the same CPU, so that what is measured is the path and not the
//! scheduler's choice of the day.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::pin::{last_cpu, pin};
use super::{Path, failed};
use crate::stats::percentile;
use lab::LabError;

/// A transaction that takes longer has lost its packets for good.
const LIMIT: Duration = Duration::from_secs(5);

/// The first transactions do not count: the connection is new.
const WARM_UP: Duration = Duration::from_millis(200);

/// What the client saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transactions {
    pub per_second: f64,
    /// Microseconds.
    pub p50: f64,
    /// Microseconds.
    pub p99: f64,
}

/// Transactions for `duration`, after a short warm-up.
///
/// # Errors
/// The connection fails, or stalls for seconds.
pub fn transactions(path: &Path, duration: Duration) -> Result<Transactions, LabError> {
    let cpu = last_cpu()?;
    let listener = path.to.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    let listener = listener.map_err(LabError::io("listen for", "transactions"))?;
    let port = listener.local_addr().map_err(LabError::io("listen for", "transactions"))?.port();
    let address = SocketAddr::from((path.address, port));
    let nanoseconds = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, cpu));
        // Inside its namespace the client has a thread of its own, so pinning it pins nothing else.
        let asked = path.from.run(|| ask(address, cpu, duration))?;
        // The client's connection, closed or never made, ends the server.
        let served = server.join().map_err(|_| failed("transactions", "the server panicked"))?;
        let asked = asked.map_err(|error| failed("transactions, client", error.to_string()))?;
        served.map_err(|error| failed("transactions, server", error.to_string()))?;
        Ok::<_, LabError>(asked)
    })?;
    summary(nanoseconds).ok_or_else(|| failed("transactions", "there was none"))
}

/// Answers every byte of one connection with a byte, until it is closed.
fn serve(listener: &TcpListener, cpu: usize) -> std::io::Result<()> {
    pin(cpu)?;
    let mut stream = accept(listener)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(()),
            Ok(_) => stream.write_all(&byte)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The next connection, at most [`LIMIT`] from now.
fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + LIMIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The length of each transaction in nanoseconds.
fn ask(address: SocketAddr, cpu: usize, duration: Duration) -> std::io::Result<Vec<u64>> {
    pin(cpu)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let begin = Instant::now() + WARM_UP;
    let end = begin + duration;
    let mut lengths = Vec::with_capacity(1 << 20);
    let mut byte = [0];
    loop {
        let sent = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        let received = Instant::now();
        if received >= end {
            return Ok(lengths);
        }
        if sent >= begin {
            lengths.push(u64::try_from((received - sent).as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

fn summary(mut nanoseconds: Vec<u64>) -> Option<Transactions> {
    nanoseconds.sort_unstable();
    let seconds = nanoseconds.iter().sum::<u64>() as f64 / 1e9;
    Some(Transactions {
        p50: percentile(&nanoseconds, 50.0)? as f64 / 1e3,
        p99: percentile(&nanoseconds, 99.0)? as f64 / 1e3,
        per_second: nanoseconds.len() as f64 / seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::netns::Namespace;

    #[test]
    fn transactions_over_loopback() {
        let here = Namespace::current().unwrap();
        let path = Path { from: here.clone(), to: here, address: Ipv4Addr::LOCALHOST };
        let seen = transactions(&path, Duration::from_millis(100)).unwrap();
        assert!(seen.per_second > 100.0 && seen.p50 > 0.0 && seen.p50 <= seen.p99, "{seen:?}");
    }

    #[test]
    fn the_summary_is_in_microseconds() {
        let lengths = (1..=100).map(|i| i * 1000).collect();
        let want = Transactions { per_second: 100.0 / 0.005_050, p50: 50.0, p99: 99.0 };
        assert_eq!(summary(lengths), Some(want));
        assert_eq!(summary(Vec::new()), None);
    }
}
