//! What a run leaves behind.

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::mode::Mode;
use crate::sample;

/// Everything about one run.
pub type Report = sample::Report<Mode, Metric, Settings>;
/// One path, once.
pub type Sample = sample::Sample<Mode, Metric>;
/// What could not be measured of a path.
pub type Failure = sample::Failure<Mode>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub modes: Vec<Mode>,
    pub repetitions: u32,
    /// Seconds that count, of each throughput test.
    pub seconds: u32,
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::*;

    /// Three repetitions of each mode given, every value `base`, `base` + 1 and `base` + 3 of it.
    pub fn report(modes: &[(Mode, f64)]) -> Report {
        let mut samples = Vec::new();
        for (repetition, add) in [(1, 0.0), (2, 1.0), (3, 3.0)] {
            for (mode, base) in modes {
                let values = Metric::ALL.map(|metric| (metric, base + add)).into();
                samples.push(Sample { mode: *mode, repetition, values, busy_before: 0.02 });
            }
        }
        Report {
            machine: sample::fixture::machine(),
            settings: Settings {
                modes: modes.iter().map(|(mode, _)| *mode).collect(),
                repetitions: 3,
                seconds: 4,
            },
            samples,
            failures: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_report_survives_its_json() {
        let mut report = fixture::report(&[(Mode::Direct, 20.0), (Mode::UdpEbpf, 10.0)]);
        report.failures.push(Failure {
            mode: Mode::OriginalUdp,
            repetition: 2,
            measure: "udp 64 B".to_owned(),
            reason: "timed out".to_owned(),
        });
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            text.contains(r#""mode":"udp-ebpf""#) && text.contains(r#""cpu-per-gigabit":10.0"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn a_series_leaves_out_what_was_not_measured() {
        let mut report = fixture::report(&[(Mode::Direct, 20.0), (Mode::Vxlan, 10.0)]);
        report.samples[3].values.remove(&Metric::Tcp1);
        assert_eq!(report.series(Mode::Vxlan, Metric::Tcp1), BTreeMap::from([(1, 10.0), (3, 13.0)]));
        assert_eq!(report.modes(), [Mode::Direct, Mode::Vxlan]);
    }
}
