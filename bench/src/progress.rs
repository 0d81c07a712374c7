//! Lines on standard error that say how far a run is.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::metric::Number;
use super::sample::Sample;

/// The steps of a run, and how long each was expected to take.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    expected: Vec<Duration>,
    done: usize,
}

impl Progress {
    /// Says what is to come.
    pub fn new(what: &str, expected: Vec<Duration>) -> Self {
        telemetry::note!("{what}, about {}", minutes(expected.iter().sum()));
        Self { begun: Instant::now(), expected, done: 0 }
    }

    /// Leaves a step out.
    pub fn skip(&mut self) {
        if self.done < self.expected.len() {
            self.expected.remove(self.done);
        }
    }

    /// Says what came of a step, by some of its numbers, and how long the others will take.
    pub fn done<W: Display, M: Number>(&mut self, sample: &Sample<W, M>, metrics: &[M]) {
        self.done += 1;
        let shown = metrics.iter().map(|metric| {
            let value = sample.values.get(metric).map_or_else(|| "-".to_owned(), |value| metric.show(*value));
            format!("{} {value}", metric.title())
        });
        telemetry::note!(
            "[{}/{}] repetition {}, {}: {}; {} left",
            self.done,
            self.expected.len(),
            sample.repetition,
            sample.mode,
            shown.collect::<Vec<_>>().join("; "),
            minutes(left(self.begun.elapsed(), &self.expected, self.done))
        );
    }
}

/// What is left, when so many steps have taken that long: as expected, times how wrong the expectation was so far.
fn left(elapsed: Duration, expected: &[Duration], done: usize) -> Duration {
    let (past, future) = expected.split_at(done.min(expected.len()));
    let sum = |part: &[Duration]| part.iter().sum::<Duration>().as_secs_f64();
    let wrong = if sum(past) > 0.0 { elapsed.as_secs_f64() / sum(past) } else { 1.0 };
    Duration::from_secs_f64(sum(future) * wrong)
}

/// `40 s`, `3 min`.
fn minutes(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_in_the_unit_that_fits() {
        assert_eq!(minutes(Duration::from_secs(89)), "89 s");
        assert_eq!(minutes(Duration::from_secs(90)), "2 min");
        assert_eq!(minutes(Duration::from_secs(870)), "15 min");
    }

    #[test]
    fn what_took_twice_as_long_will_go_on_so() {
        let expected = [1, 2, 10].map(Duration::from_secs);
        assert_eq!(left(Duration::from_secs(6), &expected, 2), Duration::from_secs(20));
        assert_eq!(left(Duration::from_secs(6), &expected, 3), Duration::ZERO);
        assert_eq!(left(Duration::ZERO, &expected, 0), Duration::from_secs(13));
    }
}
