//! What this release promises of the scheduler (issue 10). Pure.

use super::metric::Metric;
use super::mode::{Mode, Pair, Size, Workload};
use super::sample::Report;
use crate::goals::Verdict;
use crate::metric::Number;
use crate::stats::{self, Spread};

/// Pods a second: so many times kube-scheduler on kube-apiserver, and so many where pods look at other pods.
const TIMES: f64 = 3.0;
const TIMES_AMONG_PODS: f64 = 10.0;
/// Or such a part of what clients that only bind reach.
const OF_CLIENTS: f64 = 0.8;
/// CPU and memory, of kube-scheduler's on the same server.
const PART: f64 = 0.2;

/// The goals of which the run has all sides.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for size in &report.settings.sizes {
        for workload in &report.settings.workloads {
            verdicts.extend(rate(report, *workload, *size));
            for metric in [Metric::Cpu, Metric::Memory] {
                let Some(have) = ratio(report, *workload, *size, metric, Pair::TheirsOnOurs) else {
                    continue;
                };
                let who = Pair::TheirsOnOurs.title();
                let goal = format!("{workload} {size}, {}, at most a fifth of {who}", metric.title());
                verdicts.push(Verdict { goal, have, reached: have.median <= PART });
            }
        }
    }
    verdicts
}

fn rate(report: &Report, workload: Workload, size: Size) -> Option<Verdict> {
    let have = ratio(report, workload, size, Metric::Rate, Pair::Theirs)?;
    let among_pods = matches!(workload, Workload::Affinity | Workload::AntiAffinity);
    let times = if among_pods { TIMES_AMONG_PODS } else { TIMES };
    let of_clients = series(report, Mode { workload, size, pair: Pair::Ours })
        .zip(series(report, Mode { workload: Workload::Backlog, size, pair: Pair::Clients }));
    let of_clients = of_clients.map(|(ours, clients)| ours / clients);
    let takes = of_clients.map_or_else(|| "was not measured".to_owned(), |part| format!("here {part:.2}"));
    let goal = format!(
        "{workload} {size}, at least {times} times {}, or {OF_CLIENTS} of what our server takes ({takes})",
        Pair::Theirs.title()
    );
    let reached = have.median >= times || of_clients.is_some_and(|part| part >= OF_CLIENTS);
    Some(Verdict { goal, have, reached })
}

fn series(report: &Report, mode: Mode) -> Option<f64> {
    Spread::of(report.series(mode, Metric::Rate).into_values()).map(|found| found.median)
}

fn ratio(report: &Report, workload: Workload, size: Size, metric: Metric, below: Pair) -> Option<Spread> {
    let series = |pair| report.series(Mode { workload, size, pair }, metric);
    stats::ratio(&series(Pair::Ours), &series(below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::sample::fixture::report;

    fn lines(pairs: &[(Pair, f64)]) -> Vec<String> {
        judge(&report(pairs)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_goals_with_all_sides_are_judged() {
        assert_eq!(lines(&[(Pair::Ours, 1.0)]), [""; 0]);
        assert_eq!(lines(&[(Pair::Ours, 1.0), (Pair::Theirs, 1.0)]).len(), 2);
        assert_eq!(lines(&[(Pair::Ours, 1.0), (Pair::TheirsOnOurs, 1.0)]).len(), 4);
    }

    #[test]
    fn pods_that_look_at_others_are_held_to_more() {
        let found = lines(&[(Pair::Ours, 500.0), (Pair::Theirs, 100.0)]);
        assert!(found[0].starts_with("reached  backlog 100x1000, at least 3 times"), "{found:#?}");
        assert!(found[1].starts_with("MISSED   anti-affinity 100x1000, at least 10 times"), "{found:#?}");
    }

    #[test]
    fn what_the_server_takes_is_enough() {
        let found = lines(&[(Pair::Ours, 90.0), (Pair::Theirs, 100.0), (Pair::Clients, 100.0)]);
        assert!(found[0].starts_with("reached") && found[0].contains("(here 0.90)"), "{found:#?}");
    }
}
