//! Clients that ask one after the other, each as fast as it is answered.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::LabError;

use super::client::Client;
use super::metric::Metric;
use crate::interrupt::Interrupt;
use crate::measure::failed;
use crate::stats::percentile;

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
) -> Result<Vec<(Metric, f64)>, LabError> {
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
    Ok(numbers(times, elapsed))
}

/// What many answers say.
pub fn numbers(mut times: Vec<Duration>, elapsed: Duration) -> Vec<(Metric, f64)> {
    times.sort_unstable();
    let at = |percent| percentile(&times, percent).map(|time| time.as_secs_f64() * 1e3);
    let rate = Some(times.len() as f64 / elapsed.as_secs_f64().max(1e-9));
    let found = [(Metric::Rate, rate), (Metric::P50, at(50.0)), (Metric::P99, at(99.0))];
    found.into_iter().filter_map(|(metric, value)| Some((metric, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_all_clients_and_percentiles_of_each_request() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let found = numbers(times, Duration::from_secs(2));
        assert_eq!(found, [(Metric::Rate, 50.0), (Metric::P50, 50.0), (Metric::P99, 99.0)]);
    }
}
