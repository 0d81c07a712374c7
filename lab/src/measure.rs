//! A quick look at how fast pods of different nodes reach each other. For numbers to compare there is `weft bench`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::check::probe;
use crate::error::LabError;
use crate::lab::Lab;
use crate::node::Node;

/// How long each stream lasts.
pub const STREAM_TIME: Duration = Duration::from_secs(1);
/// How many echoes are timed.
const PINGS: usize = 50;
/// The most pairs of nodes that are measured.
const PAIRS: usize = 6;
/// How long the two ends may take to find each other.
const CONNECT: Duration = Duration::from_secs(3);
/// Bytes of one write or read of a stream.
const CHUNK: usize = 256 << 10;

/// What a pair of nodes gives a pod of the first that talks to a pod of the second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub from: String,
    pub to: String,
    /// Median round trip of an ICMP echo, in microseconds.
    pub ping_us: Option<f64>,
    /// One TCP stream, in Gbit/s of payload.
    pub tcp_gbit: Option<f64>,
    /// Why a number is missing.
    pub problem: Option<String>,
}

/// Measures neighbours in the ring of nodes, at most [`PAIRS`] of them, one after the other. Blocks for
/// [`STREAM_TIME`] and a little for each.
pub fn measure(lab: &Lab, mut each: impl FnMut(&Measured)) -> Vec<Measured> {
    let nodes = lab.nodes();
    // Two nodes have one neighbourhood, three have three.
    let pairs = if nodes.len() == 2 { 1 } else { nodes.len() };
    let ring = nodes.iter().zip(nodes.iter().cycle().skip(1)).take(pairs.min(PAIRS));
    let ring = ring.filter(|(from, to)| from.name() != to.name());
    ring.map(|(from, to)| {
        let measured = between(from, to);
        each(&measured);
        measured
    })
    .collect()
}

fn between(from: &Node, to: &Node) -> Measured {
    let mut measured = Measured {
        from: from.name().to_owned(),
        to: to.name().to_owned(),
        ping_us: None,
        tcp_gbit: None,
        problem: None,
    };
    let Some((client, server)) = from.pods().first().zip(to.pods().first()) else {
        measured.problem = Some("there is no pod".to_owned());
        return measured;
    };
    (measured.from, measured.to) = (client.name().to_owned(), server.name().to_owned());
    let address =
        to.pods_network().and_then(|n| n.addresses(server.plan().index).ok()?.first().map(|net| net.addr()));
    let Some(address) = address else {
        measured.problem = Some(format!("{} is not connected", server.name()));
        return measured;
    };
    let mut problems = Vec::new();
    match client.namespace().run(|| ping(address)).map_err(LabError::from) {
        Ok(Ok(median)) => measured.ping_us = Some(median.as_nanos() as f64 / 1e3),
        Ok(Err(error)) => problems.push(format!("ping: {error}")),
        Err(error) => problems.push(format!("ping: {error}")),
    }
    match stream(client.namespace(), server.namespace(), address) {
        Ok(rate) => measured.tcp_gbit = Some(rate / 1e9),
        Err(error) => problems.push(format!("tcp: {error}")),
    }
    measured.problem = (!problems.is_empty()).then(|| problems.join("; "));
    measured
}

/// The median of some round trips, each begun when the one before is over.
fn ping(address: IpAddr) -> io::Result<Duration> {
    let socket = probe::ping_socket(address)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.connect((address, 0))?;
    let request = if address.is_ipv4() { 8 } else { 128 };
    let mut times = Vec::with_capacity(PINGS);
    let mut answer = [0; 256];
    for sequence in 1..=PINGS as u16 {
        let [high, low] = sequence.to_be_bytes();
        let mut packet = [0; 64];
        packet[..8].copy_from_slice(&[request, 0, 0, 0, 0, 0, high, low]);
        let began = Instant::now();
        socket.send(&packet)?;
        // Answers that are late belong to an earlier one.
        while socket.recv(&mut answer)? < 8 || answer[6..8] != [high, low] {}
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// Bits per second of one TCP stream, as its receiver counts them.
fn stream(from: &host::netns::Namespace, to: &host::netns::Namespace, address: IpAddr) -> io::Result<f64> {
    let listener = to.run(|| TcpListener::bind((address, 0))).map_err(io::Error::other)??;
    let place: SocketAddr = listener.local_addr()?;
    let mut sender = from.run(|| TcpStream::connect_timeout(&place, CONNECT)).map_err(io::Error::other)??;
    sender.set_write_timeout(Some(CONNECT))?;
    // It is connected, so somebody waits here.
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(CONNECT))?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let chunk = vec![0x5a; CHUNK];
            let began = Instant::now();
            while began.elapsed() < STREAM_TIME {
                sender.write_all(&chunk)?;
            }
            Ok::<_, io::Error>(())
        });
        let mut buffer = vec![0; CHUNK];
        let (began, mut bytes) = (Instant::now(), 0u64);
        let received = loop {
            match receiver.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(n) => bytes += n as u64,
                Err(error) => break Err(error),
            }
        };
        let took = began.elapsed();
        drop(receiver);
        received?;
        sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(bytes as f64 * 8.0 / took.as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::netns::Namespace;

    #[test]
    fn a_stream_over_the_loopback_has_a_rate() {
        let here = Namespace::current().unwrap();
        let rate = stream(&here, &here, "127.0.0.1".parse().unwrap()).unwrap();
        assert!(rate > 1e6, "{rate}");
    }
}
