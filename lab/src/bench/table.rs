//! A report as tables for a terminal, which are Markdown as well. Pure.

use super::goals;
use super::metric::{Better, Metric};
use super::mode::Mode;
use super::sample::{Machine, Report};
use super::stats::{self, Spread};

/// Above this part of busy CPU before a test, the numbers are marked as doubtful.
pub const QUIET: f64 = 0.15;

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
    let verdicts = goals::judge(report);
    if !verdicts.is_empty() {
        text += "\nGoals\n\n";
        text.extend(verdicts.iter().map(|verdict| format!("- {verdict}\n")));
    }
    let doubtful: Vec<String> = report
        .samples
        .iter()
        .filter(|sample| sample.busy_before > QUIET)
        .map(|sample| format!("{} #{} ({:.0} %)", sample.mode, sample.repetition, sample.busy_before * 100.0))
        .collect();
    if !doubtful.is_empty() {
        text += &format!("\nDoubtful, for something else kept the CPUs busy: {}\n", doubtful.join(", "));
    }
    for failure in &report.failures {
        text += &format!(
            "\nNot measured: {} of {} in repetition {}: {}\n",
            failure.measure, failure.mode, failure.repetition, failure.reason
        );
    }
    text
}

/// `1 repetition`, `3 repetitions`.
pub fn repetitions(count: u32) -> String {
    format!("{count} repetition{}", if count == 1 { "" } else { "s" })
}

fn machine(machine: &Machine) -> String {
    let Machine { cpu, cpus, memory_gib, kernel, system, congestion_control, iperf3, weft, started: _ } =
        machine;
    format!(
        "weft {weft} on {cpus} CPUs ({cpu}), {memory_gib} GiB, Linux {kernel}, {system}, TCP {congestion_control}, {iperf3}\n"
    )
}

fn rows(report: &Report, metrics: &[Metric]) -> Vec<Vec<String>> {
    let title = |metric: &Metric| match metric.better() {
        Better::More => format!("{} ↑", metric.title()),
        Better::Less => format!("{} ↓", metric.title()),
    };
    let mut rows = vec![std::iter::once(String::new()).chain(metrics.iter().map(title)).collect::<Vec<_>>()];
    for mode in report.modes() {
        let cells = metrics.iter().map(|metric| cell(report, mode, *metric));
        rows.push(std::iter::once(mode.title().to_owned()).chain(cells).collect());
    }
    rows
}

fn cell(report: &Report, mode: Mode, metric: Metric) -> String {
    let series = report.series(mode, metric);
    let Some(Spread { median, min, max }) = Spread::of(series.values().copied()) else {
        return "-".to_owned();
    };
    let mut text = format!("{} [{}..{}]", metric.show(median), metric.show(min), metric.show(max));
    // Of the few retransmits of the direct path no ratio makes sense.
    if mode != Mode::Direct
        && metric != Metric::Retransmits
        && let Some(ratio) = stats::ratio(&series, &report.series(Mode::Direct, metric))
    {
        // What is a thousandth of the direct path still has to be told from nothing.
        let digits = if ratio.median < 0.1 { 3 } else { 2 };
        text += &format!(" {:.digits$}x", ratio.median);
    }
    text
}

/// A Markdown table with aligned columns; the first row is the head.
fn grid(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        text += &line(row);
        if i == 0 {
            text += &line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::{Failure, fixture};

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

    #[test]
    fn columns_are_aligned() {
        let rows = [["", "µs"], ["longer", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(grid(&rows), "|        | µs |\n| ------ | -- |\n| longer | 1  |\n");
    }
}
