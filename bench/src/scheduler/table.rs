//! A report as tables for a terminal, which are Markdown as well. Pure.

use super::goals;
use super::metric::Metric;
use super::mode::{Mode, Pair, Size, Workload};
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
    for size in &report.settings.sizes {
        for workload in &report.settings.workloads {
            let rows = rows(report, *workload, *size);
            if rows.len() > 1 {
                let Size { nodes, .. } = *size;
                let (before, pods) = super::objects::counts(*workload, *size);
                let before = if before > 0 { format!(" after {before} others") } else { String::new() };
                let head = format!("{}: {nodes} nodes, {pods} pods{before}", workload.title());
                text += &format!("\n{head}\n\n{}", grid(&rows));
            }
        }
    }
    text += &section(&goals::judge(report));
    text += &doubtful(&report.samples);
    text + &failures(&report.failures)
}

fn rows(report: &Report, workload: Workload, size: Size) -> Vec<Vec<String>> {
    let modes = report.modes().into_iter().filter(|mode| mode.workload == workload && mode.size == size);
    let title = |mode: Mode| mode.pair.title();
    table::rows(Metric::of(workload, Pair::Ours), modes, title, |mode, metric| cell(report, mode, metric))
}

fn cell(report: &Report, mode: Mode, metric: Metric) -> String {
    table::cell(report, mode, metric, Some((Mode { pair: Pair::Theirs, ..mode }, metric)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::sample::fixture::report;

    #[test]
    fn the_whole_report_reads_well() {
        let text = render(&report(&[(Pair::Ours, 399.0), (Pair::Theirs, 99.0), (Pair::Clients, 499.0)]));
        let want = "\
Backlog: 100 nodes, 1000 pods

|                                  | pods/s ↑            | scheduler's CPU, µs ↓ | server's CPU, µs ↓  | scheduler, MiB ↓    |
| -------------------------------- | ------------------- | --------------------- | ------------------- | ------------------- |
| ours                             | 400 [399..402] 4.00x | ";
        let head = want.lines().take(2).collect::<Vec<_>>().join("\n");
        assert!(text.contains(&head), "{text}");
        assert!(text.contains("| ours                             | 400 [399..402] 4.00x"), "{text}");
        assert!(text.contains("| 64 clients on ours               | 500 [499..502] 5.00x | -"), "{text}");
        assert!(text.contains("SchedulingPodAntiAffinity: 100 nodes, 80 pods after 20 others"), "{text}");
        assert!(text.contains("reached  backlog 100x1000"), "{text}");
    }
}
