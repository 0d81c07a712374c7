//! What this release promises, as ratios within one run. Pure.

use super::metric::Metric;
use super::mode::Mode;
use super::sample::Report;
use crate::goals::Verdict;
use crate::metric::Number;
use crate::stats::{self, Spread};

/// A bound on one number of our path, relative to another path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    pub metric: Metric,
    pub ours: Mode,
    pub than: Mode,
    pub bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At least this many times.
    AtLeast(f64),
    /// Less than this many times.
    Below(f64),
}

/// No CPU time in flanneld itself: what remains is its housekeeping, and the clock ticks at 10 ms.
const NO_CPU: f64 = 0.001;

/// The goals that are ratios.
pub const GOALS: [Goal; 11] = {
    use Bound::{AtLeast, Below};
    const fn goal(metric: Metric, ours: Mode, bound: Bound, than: Mode) -> Goal {
        Goal { metric, ours, than, bound }
    }
    [
        goal(Metric::Tcp1, Mode::UdpEbpf, AtLeast(1.1), Mode::Vxlan),
        goal(Metric::Udp64, Mode::UdpEbpf, AtLeast(1.1), Mode::Vxlan),
        goal(Metric::Ping, Mode::UdpEbpf, Below(1.0), Mode::Vxlan),
        goal(Metric::Tcp1, Mode::UdpEbpf, AtLeast(30.0), Mode::OriginalUdp),
        goal(Metric::Tcp1, Mode::UdpSimple, AtLeast(1.0), Mode::OriginalUdp),
        goal(Metric::CpuPerGigabit, Mode::UdpSimple, Below(1.0), Mode::OriginalUdp),
        goal(Metric::DaemonCpuPerGigabit, Mode::UdpSimple, Below(1.0), Mode::OriginalUdp),
        goal(Metric::Tcp1, Mode::Vxlan, AtLeast(0.97), Mode::VxlanByHand),
        goal(Metric::Udp64, Mode::Vxlan, AtLeast(0.97), Mode::VxlanByHand),
        goal(Metric::Tcp1, Mode::HostGw, AtLeast(0.97), Mode::HostGwByHand),
        goal(Metric::Udp64, Mode::HostGw, AtLeast(0.97), Mode::HostGwByHand),
    ]
};

/// The goals of which the run has both sides.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = GOALS.iter().filter_map(|goal| judge_one(report, goal)).collect();
    let daemon = Spread::of(report.series(Mode::UdpEbpf, Metric::DaemonCpuPerGigabit).into_values());
    verdicts.extend(daemon.map(|have| Verdict {
        goal: format!(
            "{}, {}, no more than {NO_CPU}",
            Mode::UdpEbpf.title(),
            Metric::DaemonCpuPerGigabit.title()
        ),
        have,
        reached: have.median <= NO_CPU,
    }));
    verdicts
}

fn judge_one(report: &Report, goal: &Goal) -> Option<Verdict> {
    let Goal { metric, ours, than, bound } = *goal;
    let have = stats::ratio(&report.series(ours, metric), &report.series(than, metric))?;
    let (words, reached) = match bound {
        Bound::AtLeast(times) => (format!("at least {times} times"), have.median >= times),
        Bound::Below(times) => (format!("less than {times} times"), have.median < times),
    };
    let goal = format!("{}, {}, {words} {}", ours.title(), metric.title(), than.title());
    Some(Verdict { goal, have, reached })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::sample::fixture::report;

    #[test]
    fn only_goals_with_both_sides_are_judged() {
        assert_eq!(judge(&report(&[(Mode::Direct, 20.0), (Mode::Vxlan, 10.0)])), []);
        let verdicts = judge(&report(&[(Mode::Vxlan, 10.0), (Mode::VxlanByHand, 10.0)]));
        assert_eq!(verdicts.len(), 2);
        assert!(verdicts.iter().all(|verdict| verdict.reached));
    }

    #[test]
    fn a_verdict_reads_as_a_sentence() {
        let verdicts = judge(&report(&[(Mode::Vxlan, 10.0), (Mode::UdpEbpf, 20.0)]));
        let lines: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "reached  udp ebpf, TCP 1 stream, Gbit/s, at least 1.1 times vxlan: 1.909 [1.769..2.000]",
                "reached  udp ebpf, UDP 64 B, kpps, at least 1.1 times vxlan: 1.909 [1.769..2.000]",
                "MISSED   udp ebpf, ping, µs, less than 1 times vxlan: 1.909 [1.769..2.000]",
                "MISSED   udp ebpf, flanneld CPU s/Gbit, no more than 0.001: 21.000 [20.000..23.000]",
            ]
        );
    }
}
