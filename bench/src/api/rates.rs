//! What many answers say: their rate, and how long they took. Pure.

use std::time::Duration;

use super::metric::Metric;
use crate::stats::percentile;

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
