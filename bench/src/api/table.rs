//! A report as tables for a terminal, which are Markdown as well. Pure.

use std::collections::BTreeMap;

use super::goals;
use super::metric::Metric;
use super::mode::{Mode, Part, Server};
use super::sample::{Report, Settings};
use crate::goals::section;
use crate::metric::Number;
use crate::table::{self, QUIET, failures, grid, machine, repetitions};

/// The title of a part, and what its load counts.
fn head(part: Part) -> (&'static str, Option<&'static str>) {
    match part {
        Part::Start => ("Start to ready", None),
        Part::Memory => ("Memory", None),
        Part::Creates => ("Creates", Some("clients")),
        Part::Updates => ("Updates", Some("clients")),
        Part::Gets => ("Gets", Some("clients")),
        Part::Applies => ("Server-side applies", Some("clients")),
        Part::Lists => ("Lists of all pods", None),
        Part::Watches => ("A write's way to watchers", Some("watchers")),
    }
}

/// Everything that a person wants to know of a run.
pub fn render(report: &Report) -> String {
    let Settings { repetitions: reps, pods, requests, writes, lists, etcd, .. } = &report.settings;
    let mut text = machine(&report.machine);
    text += &format!(
        "{}, interleaved over the servers, each over an etcd of its own ({etcd}); {pods} pods; {requests} requests of \
         several clients, a quarter of one; {writes} writes to watchers; {lists} lists. Median [lowest..highest], and \
         the ratio to kube-apiserver.\n",
        repetitions(*reps),
    );
    for part in &report.settings.parts {
        let rows = rows(report, *part);
        if rows.len() > 1 {
            text += &format!("\n{}\n\n{}", head(*part).0, grid(&rows));
        }
    }
    text += &section(&goals::judge(report));
    text += &doubtful(report);
    text + &failures(&report.failures)
}

/// Which servers began on a busy machine, each once in a repetition; empty where none did.
fn doubtful(report: &Report) -> String {
    let busy = report.samples.iter().filter(|sample| sample.busy_before > QUIET);
    let busy: BTreeMap<(u32, Server), f64> =
        busy.map(|sample| ((sample.repetition, sample.mode.server), sample.busy_before)).collect();
    if busy.is_empty() {
        return String::new();
    }
    let each = busy.iter().map(|((repetition, server), part)| {
        format!("{} #{repetition} ({:.0} %)", server.title(), part * 100.0)
    });
    format!("\nDoubtful, for something else kept the CPUs busy: {}\n", each.collect::<Vec<_>>().join(", "))
}

fn rows(report: &Report, part: Part) -> Vec<Vec<String>> {
    let (metrics, loads) = (Metric::of(part), head(part).1);
    let first = loads.into_iter().chain([""]).map(str::to_owned);
    let mut rows = vec![first.chain(metrics.iter().map(|metric| metric.heading())).collect::<Vec<_>>()];
    for mode in report.modes().into_iter().filter(|mode| mode.part == part) {
        let first = loads.map(|_| mode.load.to_string()).into_iter().chain([mode.server.title().to_owned()]);
        rows.push(first.chain(metrics.iter().map(|metric| cell(report, mode, *metric))).collect());
    }
    rows
}

fn cell(report: &Report, mode: Mode, metric: Metric) -> String {
    table::cell(report, mode, metric, Some((Mode { server: Server::Original, ..mode }, metric)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::sample::fixture;

    #[test]
    fn ratios_are_to_the_original() {
        let report = fixture::report(&[(Server::Ours, 9.0), (Server::Original, 39.0), (Server::Etcd, 19.0)]);
        let cell = |server| cell(&report, Mode { part: Part::Creates, load: 1, server }, Metric::P50);
        assert_eq!(cell(Server::Ours), "10.0 [9.00..12.0] 0.25x");
        assert_eq!(cell(Server::Original), "40.0 [39.0..42.0]");
        assert_eq!(cell(Server::Etcd), "20.0 [19.0..22.0] 0.50x");
    }

    #[test]
    fn who_began_on_a_busy_machine_is_named_once() {
        let mut report = fixture::report(&[(Server::Ours, 9.0)]);
        assert_eq!(doubtful(&report), "");
        report.samples.iter_mut().filter(|sample| sample.repetition == 2).for_each(|sample| {
            sample.busy_before = 0.5;
        });
        assert!(doubtful(&report).ends_with("busy: ours #2 (50 %)\n"), "{}", doubtful(&report));
    }

    #[test]
    fn the_whole_report_reads_well() {
        let text = render(&fixture::report(&[(Server::Ours, 9.0), (Server::Original, 39.0)]));
        let want = "\
Start to ready

|                | first start, s ↓        | later start, s ↓        |
| -------------- | ----------------------- | ----------------------- |
| ours           | 10.0 [9.00..12.0] 0.25x | 10.0 [9.00..12.0] 0.25x |
| kube-apiserver | 40.0 [39.0..42.0]       | 40.0 [39.0..42.0]       |
";
        assert!(text.contains(want), "{text}");
        assert!(text.contains("| clients |                | 1/s ↑"), "{text}");
        assert!(text.contains("| 1000     | ours "), "{text}");
        assert!(text.contains("(etcd 3.6.0); 10000 pods; 4000 requests"), "{text}");
        assert!(text.contains("MISSED   start, first start, s, at most a sixth of kube-apiserver"), "{text}");
    }
}
