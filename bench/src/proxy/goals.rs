//! What this release promises of the service proxy (issue 4). Pure.

use super::metric::Metric;
use super::mode::{Kind, Mode};
use super::sample::Report;
use crate::goals::Verdict;
use crate::metric::Number;
use crate::stats::{self, Spread};

/// The number of services that most goals are about.
const AT: u32 = 10_000;
/// Connecting may not get slower from the first to the second.
const FLAT: (u32, u32) = (100, 30_000);
const FLAT_BOUND: f64 = 1.1;

/// At most so much, of nftables.
const ABSOLUTE: [(Metric, f64); 4] = [
    (Metric::Start, 0.5),
    (Metric::ToKernel, 2.0),
    (Metric::MemoryAfterStart, 60.0),
    (Metric::MemoryAtEnd, 60.0),
];

/// Never more than kube-proxy with the same iptables.
const NOT_SLOWER: [Metric; 5] =
    [Metric::Start, Metric::Change, Metric::FirstP50, Metric::LastP50, Metric::PodP50];

/// The goals of which the run has all sides.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let at = |proxy| Mode { services: AT, proxy };
    let ours = at(Kind::OursNftables);
    let absolute = ABSOLUTE.iter().filter_map(|(metric, most)| {
        let have = Spread::of(report.series(ours, *metric).into_values())?;
        Some(verdict(ours, *metric, &format!("at most {most}"), have, *most))
    });
    let mut verdicts: Vec<Verdict> = absolute.collect();
    for kind in [Kind::OursIptablesNft, Kind::OursIptablesLegacy] {
        let Some(other) = kind.counterpart() else { continue };
        verdicts.extend(NOT_SLOWER.iter().filter_map(|metric| {
            let have = ratio(report, *metric, at(kind), at(other))?;
            let bound = format!("at most 1 time {}", other.title());
            Some(verdict(at(kind), *metric, &bound, have, 1.0))
        }));
    }
    let flat = |services| Mode { services, proxy: Kind::OursNftables };
    let (few, many) = (flat(FLAT.0), flat(FLAT.1));
    verdicts.extend(ratio(report, Metric::LastP50, many, few).map(|have| {
        let bound = format!("at most {FLAT_BOUND} times that at {}", FLAT.0);
        verdict(many, Metric::LastP50, &bound, have, FLAT_BOUND)
    }));
    verdicts
}

fn ratio(report: &Report, metric: Metric, above: Mode, below: Mode) -> Option<Spread> {
    stats::ratio(&report.series(above, metric), &report.series(below, metric))
}

fn verdict(mode: Mode, metric: Metric, bound: &str, have: Spread, most: f64) -> Verdict {
    let goal = format!("{} at {} services, {}, {bound}", mode.proxy.title(), mode.services, metric.title());
    Verdict { goal, have, reached: have.median <= most }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::sample::fixture::report;

    fn lines(report: &Report) -> Vec<String> {
        judge(report).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_goals_with_all_sides_are_judged() {
        assert_eq!(judge(&report(&[1000], &[(Kind::OursNftables, 1.0), (Kind::OursIptablesNft, 1.0)])), []);
        assert_eq!(judge(&report(&[AT], &[(Kind::OursIptablesNft, 1.0)])), []);
        assert_eq!(judge(&report(&[AT], &[(Kind::OursNftables, 1.0)])).len(), ABSOLUTE.len());
        assert_eq!(judge(&report(&[100, 30_000], &[(Kind::OursNftables, 1.0)])).len(), 1);
    }

    #[test]
    fn bounds_are_absolute_or_against_kube_proxy_with_the_same_tools() {
        let proxies = [
            (Kind::OursNftables, 0.3),
            (Kind::OursIptablesLegacy, 2.0),
            (Kind::KubeProxyIptablesLegacy, 2.0),
            (Kind::KubeProxyIptablesNft, 1.0),
        ];
        let lines = lines(&report(&[100, AT, 30_000], &proxies));
        assert_eq!(lines.len(), ABSOLUTE.len() + NOT_SLOWER.len() + 1, "{lines:#?}");
        assert_eq!(
            lines[0],
            "MISSED   ours, nftables at 10000 services, start, s, at most 0.5: 1.300 [0.300..3.300]"
        );
        assert_eq!(
            lines[ABSOLUTE.len()],
            "reached  ours, iptables-legacy at 10000 services, start, s, at most 1 time kube-proxy, iptables-legacy: \
             1.000 [1.000..1.000]"
        );
        let flat =
            "reached  ours, nftables at 30000 services, last service p50, µs, at most 1.1 times that at 100";
        assert!(lines.last().unwrap().starts_with(flat), "{lines:#?}");
    }
}
