//! What this release promises of the controllers (issue 10). Pure.

use super::metric::Metric;
use super::mode::{Mode, Pair, Workload};
use super::sample::Report;
use crate::goals::Verdict;
use crate::metric::Number;
use crate::stats::{self, Spread};

/// A Deployment of so many replicas is held to what the server takes in writes: such a part of what clients reach.
const REPLICAS: u32 = 1000;
const OF_CLIENTS: f64 = 0.8;
/// All else: so many times as fast as the original without limits.
const TIMES: f64 = 2.0;
/// Memory, of the original's.
const PART: f64 = 0.2;
/// MiB of the whole control plane at rest.
const WHOLE: f64 = 120.0;

/// The goals of which the run has all sides.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for workload in report.settings.workloads.iter().copied() {
        for size in report.settings.sizes(workload) {
            let mode = Mode { workload, size, pair: Pair::Ours };
            match workload {
                Workload::Idle => {}
                Workload::Control => verdicts.extend(whole(report, mode)),
                Workload::Deployment if size == REPLICAS => verdicts.extend(of_clients(report, mode)),
                _ => verdicts.extend(speed(report, mode, Metric::Rate)),
            }
            if workload == Workload::Jobs {
                verdicts.extend(speed(report, mode, Metric::CompletionRate));
            }
            if matches!(workload, Workload::Idle | Workload::Deployment) {
                verdicts.extend(memory(report, mode));
            }
        }
    }
    verdicts
}

/// What a goal is about: `deployment 1000`.
fn subject(mode: Mode) -> String {
    mode.to_string().replacen(" of ours", "", 1)
}

fn ratio(report: &Report, mode: Mode, metric: Metric, below: Pair) -> Option<Spread> {
    stats::ratio(&report.series(mode, metric), &report.series(Mode { pair: below, ..mode }, metric))
}

fn of_clients(report: &Report, mode: Mode) -> Option<Verdict> {
    let have = ratio(report, mode, Metric::Rate, Pair::Clients)?;
    let who = Pair::Clients.title();
    let goal = format!("{}, {}, at least {OF_CLIENTS} of {who}", subject(mode), Metric::Rate.title());
    Some(Verdict { goal, have, reached: have.median >= OF_CLIENTS })
}

fn speed(report: &Report, mode: Mode, metric: Metric) -> Option<Verdict> {
    let have = ratio(report, mode, metric, Pair::Theirs)?;
    let who = Pair::Theirs.title();
    let goal = format!("{}, {}, at least {TIMES} times {who}", subject(mode), metric.title());
    Some(Verdict { goal, have, reached: have.median >= TIMES })
}

fn memory(report: &Report, mode: Mode) -> Option<Verdict> {
    let have = ratio(report, mode, Metric::Memory, Pair::Theirs)?;
    let who = Pair::Theirs.title();
    let goal = format!("{}, {}, at most a fifth of {who}", subject(mode), Metric::Memory.title());
    Some(Verdict { goal, have, reached: have.median <= PART })
}

fn whole(report: &Report, mode: Mode) -> Option<Verdict> {
    let have = Spread::of(report.series(mode, Metric::Memory).into_values())?;
    let goal = format!("{}, {}, below {WHOLE}", subject(mode), Metric::Memory.title());
    Some(Verdict { goal, have, reached: have.median < WHOLE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::sample::fixture::report;

    fn lines(pairs: &[(Pair, f64)]) -> Vec<String> {
        judge(&report(pairs)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_goals_with_all_sides_are_judged() {
        // The whole control plane is held to a number.
        assert_eq!(lines(&[(Pair::Ours, 100.0)]).len(), 1);
        assert_eq!(lines(&[(Pair::Theirs, 100.0)]), [""; 0]);
        // The Deployment of 1,000 by clients.
        assert_eq!(lines(&[(Pair::Ours, 1.0), (Pair::Clients, 1.0)]).len(), 2);
        // The other Deployment, update, namespace, Services, Jobs twice; memory three times.
        assert_eq!(lines(&[(Pair::Ours, 1.0), (Pair::Theirs, 1.0)]).len(), 1 + 6 + 3);
    }

    #[test]
    fn a_deployment_of_a_thousand_is_held_to_what_the_server_takes() {
        let found = lines(&[(Pair::Ours, 90.0), (Pair::Clients, 100.0)]);
        assert!(
            found[0]
                .starts_with("reached  deployment 1000, objects/s, at least 0.8 of 64 clients on ours: 0.90"),
            "{found:#?}"
        );
        assert!(found[1].starts_with("reached  control, memory, MiB, below 120: 91"), "{found:#?}");
    }

    #[test]
    fn all_else_is_held_to_the_original_without_limits() {
        let found = lines(&[(Pair::Ours, 199.0), (Pair::Theirs, 99.0)]);
        let words = |start: &str| found.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!((words("reached "), words("MISSED")), (6, 4), "{found:#?}");
        let found = lines(&[(Pair::Ours, 10.0), (Pair::Theirs, 99.0)]);
        let memory = found.iter().filter(|line| line.contains("at most a fifth"));
        assert_eq!(memory.filter(|line| line.starts_with("reached")).count(), 3, "{found:#?}");
    }
}
