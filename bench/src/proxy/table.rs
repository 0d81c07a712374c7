//! A report as tables for a terminal, which are Markdown as well. Pure.

use super::goals;
use super::metric::Metric;
use super::mode::{Kind, Mode};
use super::sample::Report;
use crate::goals::section;
use crate::metric::Number;
use crate::table::{self, doubtful, failures, grid, machine, repetitions};

/// What a failure to start is called.
pub const START: &str = "start";

const GROUPS: [(&str, &str, &[Metric]); 4] = [
    (
        "Programming",
        "kube-proxy with the same tools",
        &[Metric::Start, Metric::StartCpu, Metric::Change, Metric::ToKernel, Metric::ChangeCpu],
    ),
    (
        "Memory",
        "kube-proxy with the same tools",
        &[Metric::MemoryAfterStart, Metric::MemoryAtEnd, Metric::MemoryPeak],
    ),
    (
        "Time of connect()",
        "direct",
        &[
            Metric::FirstP50,
            Metric::FirstP99,
            Metric::LastP50,
            Metric::LastP99,
            Metric::PodP50,
            Metric::PodP99,
        ],
    ),
    (
        "Connections and throughput",
        "direct",
        &[Metric::FirstRate, Metric::LastRate, Metric::PodRate, Metric::Throughput],
    ),
];

/// Everything that a person wants to know of a run.
pub fn render(report: &Report) -> String {
    let settings = &report.settings;
    let mut text = machine(&report.machine);
    text += &format!(
        "{}, interleaved over the proxies; objects from {}; {} changes and {} connects to each target in each. \
         Median [lowest..highest], and a ratio.\n",
        repetitions(settings.repetitions),
        settings.feed,
        settings.changes,
        settings.connects,
    );
    for (title, than, metrics) in GROUPS {
        text += &format!("\n{title}, and the ratio to {than}\n\n{}", grid(&rows(report, metrics)));
    }
    text += &section(&goals::judge(report));
    for mode in &settings.left_out {
        text += &format!("\nLeft out, for it takes minutes: {mode} (name it in --proxies to run it)\n");
    }
    text += &doubtful(&report.samples);
    text + &failures(&report.failures)
}

/// Every mode with a sample or a failure, but for those that have nothing to do with these metrics.
fn modes(report: &Report, metrics: &[Metric]) -> Vec<Mode> {
    let mut modes = report.modes();
    modes.extend(report.failures.iter().map(|failure| failure.mode));
    modes.sort_unstable();
    modes.dedup();
    let of_direct = metrics.iter().any(|metric| metric.of_direct().is_some());
    modes.retain(|mode| of_direct || mode.proxy != Kind::Direct);
    modes
}

fn rows(report: &Report, metrics: &[Metric]) -> Vec<Vec<String>> {
    let heads = ["services", ""].map(str::to_owned).into_iter();
    let mut rows = vec![heads.chain(metrics.iter().map(|metric| metric.heading())).collect::<Vec<_>>()];
    for mode in modes(report, metrics) {
        let names = [mode.services.to_string(), mode.proxy.title().to_owned()].into_iter();
        rows.push(names.chain(metrics.iter().map(|metric| cell(report, mode, *metric))).collect());
    }
    rows
}

fn cell(report: &Report, mode: Mode, metric: Metric) -> String {
    let never_started =
        || report.failures.iter().any(|failure| failure.mode == mode && failure.measure == START);
    if metric == Metric::Start && report.series(mode, metric).is_empty() && never_started() {
        return format!("> {}", report.settings.patience);
    }
    let than = match metric.of_direct() {
        Some(of_direct) => Some((Kind::Direct, of_direct)),
        None => mode.proxy.counterpart().map(|kind| (kind, metric)),
    };
    table::cell(report, mode, metric, than.map(|(proxy, metric)| (Mode { proxy, ..mode }, metric)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::sample::{Failure, fixture};

    const PROXIES: [(Kind, f64); 3] =
        [(Kind::Direct, 19.0), (Kind::OursNftables, 9.0), (Kind::KubeProxyNftables, 39.0)];

    #[test]
    fn ratios_are_to_kube_proxy_or_to_direct() {
        let report = fixture::report(&[100], &PROXIES);
        let cell = |proxy, metric| cell(&report, Mode { services: 100, proxy }, metric);
        assert_eq!(cell(Kind::OursNftables, Metric::Start), "10.0 [9.00..12.0] 0.25x");
        assert_eq!(cell(Kind::KubeProxyNftables, Metric::Start), "40.0 [39.0..42.0]");
        assert_eq!(cell(Kind::KubeProxyNftables, Metric::LastP50), "40.0 [39.0..42.0] 2.00x");
        assert_eq!(cell(Kind::Direct, Metric::PodP50), "20.0 [19.0..22.0]");
        assert_eq!(cell(Kind::Direct, Metric::LastP50), "-");
    }

    #[test]
    fn who_did_not_start_has_a_bound_instead_of_a_time() {
        let mut report = fixture::report(&[100], &PROXIES);
        let mode = Mode { services: 30_000, proxy: Kind::KubeProxyIptablesNft };
        let (measure, reason) = (START.to_owned(), "no connection".to_owned());
        report.failures.push(Failure { mode, repetition: 1, measure, reason });
        assert_eq!(cell(&report, mode, Metric::Start), "> 120");
        assert_eq!(cell(&report, mode, Metric::Change), "-");
        let text = render(&report);
        assert!(text.contains("| 30000    | kube-proxy, iptables-nft | > 120"), "{text}");
        let said =
            "Not measured: start of kube-proxy-iptables-nft at 30000 services in repetition 1: no connection";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn the_whole_report_reads_well() {
        let mut report = fixture::report(&[100, 10_000], &PROXIES);
        report.settings.left_out.push(Mode { services: 30_000, proxy: Kind::KubeProxyNftables });
        let text = render(&report);
        let want = "\
Memory, and the ratio to kube-proxy with the same tools

| services |                      | memory after the start, MiB ↓ | after changes, MiB ↓    | peak, MiB ↓             |
| -------- | -------------------- | ----------------------------- | ----------------------- | ----------------------- |
| 100      | ours, nftables       | 10.0 [9.00..12.0] 0.25x       | 10.0 [9.00..12.0] 0.25x | 10.0 [9.00..12.0] 0.25x |
| 100      | kube-proxy, nftables | 40.0 [39.0..42.0]             | 40.0 [39.0..42.0]       | 40.0 [39.0..42.0]       |
";
        assert!(text.contains(want), "{text}");
        assert!(
            text.contains("objects from kube-apiserver over etcd; 5 changes and 3000 connects"),
            "{text}"
        );
        assert!(text.contains("| 100      | direct "), "{text}");
        assert!(
            text.contains("Left out, for it takes minutes: kube-proxy-nftables at 30000 services"),
            "{text}"
        );
        assert!(text.contains("reached  ours, nftables at 10000 services, memory after the start"), "{text}");
    }
}
