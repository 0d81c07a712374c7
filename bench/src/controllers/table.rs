//! A report as tables for a terminal, which are Markdown as well. Pure.

use super::goals;
use super::metric::Metric;
use super::mode::{Mode, Pair, Workload};
use super::sample::Report;
use crate::goals::section;
use crate::table::{self, doubtful, failures, grid, machine, repetitions};

/// Everything that a person wants to know of a run.
pub fn render(report: &Report) -> String {
    let mut text = machine(&report.machine);
    text += &format!(
        "{}, interleaved over the pairs, each over an etcd of its own. Median [lowest..highest], and the ratio to {}.\n",
        repetitions(report.settings.repetitions),
        Pair::Theirs.title(),
    );
    for workload in report.settings.workloads.iter().copied() {
        for size in report.settings.sizes(workload) {
            let rows = rows(report, workload, size);
            if rows.len() > 1 {
                text += &format!("\n{}\n\n{}", head(workload, size), grid(&rows));
            }
        }
    }
    text += &section(&goals::judge(report));
    text += &doubtful(&report.samples);
    text + &failures(&report.failures)
}

fn head(workload: Workload, size: u32) -> String {
    match size {
        0 => workload.title().to_owned(),
        _ => format!("{}: {size} {}", workload.title(), workload.objects()),
    }
}

fn rows(report: &Report, workload: Workload, size: u32) -> Vec<Vec<String>> {
    let modes = report.modes().into_iter().filter(|mode| mode.workload == workload && mode.size == size);
    table::rows(Metric::of(workload, Pair::Ours), modes, who, |mode, metric| cell(report, mode, metric))
}

fn who(mode: Mode) -> &'static str {
    match (mode.workload, mode.pair) {
        (Workload::Control, Pair::Ours) => "weft control",
        (Workload::Control, _) => "the originals",
        (_, pair) => pair.title(),
    }
}

fn cell(report: &Report, mode: Mode, metric: Metric) -> String {
    table::cell(report, mode, metric, Some((Mode { pair: Pair::Theirs, ..mode }, metric)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::sample::fixture::report;

    #[test]
    fn the_whole_report_reads_well() {
        let text = render(&report(&[(Pair::Ours, 399.0), (Pair::Theirs, 99.0), (Pair::Clients, 499.0)]));
        assert!(text.contains("\nDeployment: 10000 replicas\n"), "{text}");
        let row =
            "| ours                                      | 400 [399..402] 4.00x | 400 [399..402] 4.00x |";
        assert!(text.contains(row), "{text}");
        let clients =
            "| 64 clients on ours                        | 500 [499..502] 5.00x | 500 [499..502] 5.00x | -";
        assert!(text.contains(clients), "{text}");
        let whole = "\
Idle control plane with its etcd

|               | memory, MiB ↓        | CPU in 30 s, s ↓     |
| ------------- | -------------------- | -------------------- |
| weft control  | 400 [399..402] 4.00x | 400 [399..402] 4.00x |
| the originals | 100 [99.0..102]      | 100 [99.0..102]      |
";
        assert!(text.contains(whole), "{text}");
        assert!(text.contains("MISSED   control, memory, MiB, below 120"), "{text}");
    }
}
