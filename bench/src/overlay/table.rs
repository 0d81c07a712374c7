//! A report as tables for a terminal, which are Markdown as well. Pure.

use super::goals;
use super::metric::Metric;
use super::mode::Mode;
use super::sample::Report;
use crate::goals::section;
use crate::metric::Number;
use crate::table::{self, doubtful, failures, grid, machine, repetitions};

const GROUPS: [(&str, &[Metric]); 3] = [
    ("Throughput", &[Metric::Tcp1, Metric::Tcp4, Metric::Udp64, Metric::Udp1400]),
    ("Latency", &[Metric::Ping, Metric::Transactions, Metric::TransactionP50, Metric::TransactionP99]),
    ("Cost, TCP 1 stream", &[Metric::Retransmits, Metric::CpuPerGigabit, Metric::DaemonCpuPerGigabit]),
];

/// Everything that a person wants to know of a run.
pub fn render(report: &Report) -> String {
    let mut text = machine(&report.machine);
    text += &format!(
        "{}, interleaved, {} s each. Median [lowest..highest], and the ratio to direct.\n",
        repetitions(report.settings.repetitions),
        report.settings.seconds
    );
    for (title, metrics) in GROUPS {
        text += &format!("\n{title}\n\n{}", grid(&rows(report, metrics)));
    }
    text += &section(&goals::judge(report));
    text += &doubtful(&report.samples);
    text += &failures(&report.failures);
    text
}

fn rows(report: &Report, metrics: &[Metric]) -> Vec<Vec<String>> {
    let heading = |metric: &Metric| metric.heading();
    let mut rows =
        vec![std::iter::once(String::new()).chain(metrics.iter().map(heading)).collect::<Vec<_>>()];
    for mode in report.modes() {
        let cells = metrics.iter().map(|metric| cell(report, mode, *metric));
        rows.push(std::iter::once(mode.title().to_owned()).chain(cells).collect());
    }
    rows
}

fn cell(report: &Report, mode: Mode, metric: Metric) -> String {
    // Of the few retransmits of the direct path no ratio makes sense.
    let than = (metric != Metric::Retransmits).then_some((Mode::Direct, metric));
    table::cell(report, mode, metric, than)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::sample::{Failure, fixture};

    #[test]
    fn cells_hold_median_spread_and_ratio() {
        let report = fixture::report(&[(Mode::Direct, 20.0), (Mode::Vxlan, 9.0), (Mode::OriginalUdp, 0.5)]);
        assert_eq!(cell(&report, Mode::Direct, Metric::Tcp1), "21.0 [20.0..23.0]");
        assert_eq!(cell(&report, Mode::Vxlan, Metric::Tcp1), "10.0 [9.00..12.0] 0.48x");
        assert_eq!(cell(&report, Mode::OriginalUdp, Metric::Tcp1), "1.50 [0.50..3.50] 0.071x");
        assert_eq!(cell(&report, Mode::HostGw, Metric::Tcp1), "-");
    }

    #[test]
    fn without_direct_there_are_no_ratios() {
        let report = fixture::report(&[(Mode::Vxlan, 9.0)]);
        assert_eq!(cell(&report, Mode::Vxlan, Metric::Udp64), "10.0 [9.00..12.0]");
    }

    #[test]
    fn the_whole_report_reads_well() {
        let mut report = fixture::report(&[(Mode::Direct, 20.0), (Mode::Vxlan, 10.0)]);
        report.samples[1].busy_before = 0.5;
        report.failures.push(Failure {
            mode: Mode::Vxlan,
            repetition: 1,
            measure: "ping".to_owned(),
            reason: "no answer".to_owned(),
        });
        let text = render(&report);
        let want = "\
Cost, TCP 1 stream

|        | retransmits ↓ | CPU s/Gbit ↓                  | flanneld CPU s/Gbit ↓         |
| ------ | ------------- | ----------------------------- | ----------------------------- |
| direct | 21 [20..23]   | 21.000 [20.000..23.000]       | 21.000 [20.000..23.000]       |
| vxlan  | 11 [10..13]   | 11.000 [10.000..13.000] 0.52x | 11.000 [10.000..13.000] 0.52x |
";
        assert!(text.contains("weft 0.1.0 on 2 CPUs (a CPU), 24 GiB, Linux 6.18.0"), "{text}");
        assert!(text.contains("busy: vxlan #1 (50 %)"), "{text}");
        assert!(text.contains("Not measured: ping of vxlan in repetition 1: no answer"), "{text}");
        assert!(text.contains(want), "{text}");
    }
}
