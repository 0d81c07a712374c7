//! Clients that ask one after the other, each as fast as it is answered.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::LabError;

use super::client::Client;
use super::side::Side;
use crate::interrupt::Interrupt;
use crate::measure::failed;

/// What some requests took.
#[derive(Debug)]
pub struct Taken {
    /// Each, in no order.
    pub times: Vec<Duration>,
    /// All together.
    pub elapsed: Duration,
}

/// So many clients of a server.
///
/// # Errors
/// They cannot be made.
pub fn of(side: &Side, count: usize) -> Result<Vec<Client>, LabError> {
    (0..count).map(|_| side.client()).collect()
}

/// A request.
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Vec<u8>,
}

/// Makes `count` requests over so many clients. Each client connects and asks for the version before time is taken.
///
/// # Errors
/// A request that fails, or is refused, ends all.
pub fn measure(
    clients: Vec<Client>,
    count: u32,
    request: impl Fn(u32) -> Request + Sync,
    interrupt: &Interrupt,
) -> Result<Taken, LabError> {
    let barrier = Barrier::new(clients.len() + 1);
    let (next, stopped) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = |mut client: Client| -> Result<Vec<Duration>, LabError> {
        let connected = client.must("GET", "/version", &[]);
        barrier.wait();
        connected?;
        let mut times = Vec::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count || stopped.load(Ordering::Relaxed) > 0 {
                return Ok(times);
            }
            let Request { method, path, body } = request(nth);
            let begun = Instant::now();
            let answer = client.must(method, &path, &body);
            times.push(begun.elapsed());
            if answer.is_err() || interrupt.asked() {
                stopped.fetch_add(1, Ordering::Relaxed);
                answer?;
            }
        }
    };
    let (elapsed, results) = thread::scope(|scope| {
        let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| work(client))).collect();
        barrier.wait();
        let begun = Instant::now();
        let results: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (begun.elapsed(), results)
    });
    if interrupt.asked() {
        return Err(LabError::Interrupted);
    }
    let mut times = Vec::new();
    for result in results {
        times.extend(result.map_err(|_| failed("a client", "it panicked"))??);
    }
    Ok(Taken { times, elapsed })
}
