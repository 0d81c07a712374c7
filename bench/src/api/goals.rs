//! What this release promises of the API server (issue 9). Pure.

use super::metric::Metric;
use super::mode::{Mode, Part, Server};
use super::sample::{CLIENTS, Report};
use crate::goals::Verdict;
use crate::metric::Number;
use crate::stats::{self, Spread};

/// Watchers of the goal about watches.
const WATCHERS: u32 = 1000;
/// Creates: so many times the original's, or such a part of what etcd takes.
const TIMES: f64 = 2.0;
const OF_ETCD: f64 = 0.8;

/// The part, its load and metric, and which part of the original's time or memory it may take at most.
const AT_MOST: [(Part, u32, Metric, &str, f64); 9] = [
    (Part::Start, 0, Metric::FirstStart, "a sixth of", 1.0 / 6.0),
    (Part::Start, 0, Metric::LaterStart, "a sixth of", 1.0 / 6.0),
    (Part::Memory, 0, Metric::Idle, "a sixth of", 1.0 / 6.0),
    (Part::Memory, 0, Metric::Tenth, "a sixth of", 1.0 / 6.0),
    (Part::Memory, 0, Metric::Full, "a sixth of", 1.0 / 6.0),
    (Part::Memory, 0, Metric::Watched, "a sixth of", 1.0 / 6.0),
    (Part::Lists, 0, Metric::Json, "a fifth of", 0.2),
    (Part::Lists, 0, Metric::Protobuf, "a fifth of", 0.2),
    (Part::Watches, WATCHERS, Metric::P99, "a fifth of", 0.2),
];

/// The goals of which the run has all sides.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let at_most = AT_MOST.iter().filter_map(|(part, load, metric, words, most)| {
        let have = ratio(report, *part, *load, *metric, Server::Original)?;
        let who = Server::Original.title();
        let goal = format!("{}, {}, at most {words} {who}", subject(*part, *load), metric.title());
        Some(Verdict { goal, have, reached: have.median <= *most })
    });
    let creates = CLIENTS.into_iter().filter_map(|clients| {
        let have = ratio(report, Part::Creates, clients, Metric::Rate, Server::Original)?;
        let of_etcd = ratio(report, Part::Creates, clients, Metric::Rate, Server::Etcd);
        let of_etcd = of_etcd.map(|of_etcd| of_etcd.median);
        let takes = of_etcd.map_or_else(|| "was not measured".to_owned(), |part| format!("here {part:.2}"));
        let goal = format!(
            "{}, at least {TIMES} times {}, or {OF_ETCD} of etcd alone ({takes})",
            subject(Part::Creates, clients),
            Server::Original.title()
        );
        let reached = have.median >= TIMES || of_etcd.is_some_and(|part| part >= OF_ETCD);
        Some(Verdict { goal, have, reached })
    });
    at_most.chain(creates).collect()
}

fn subject(part: Part, load: u32) -> String {
    let text = Mode { part, load, server: Server::Ours }.to_string();
    text.replacen(" of ours", "", 1)
}

fn ratio(report: &Report, part: Part, load: u32, metric: Metric, below: Server) -> Option<Spread> {
    let series = |server| report.series(Mode { part, load, server }, metric);
    stats::ratio(&series(Server::Ours), &series(below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::sample::fixture::report;

    #[test]
    fn only_goals_with_all_sides_are_judged() {
        assert_eq!(judge(&report(&[(Server::Ours, 1.0)])), []);
        assert_eq!(judge(&report(&[(Server::Original, 1.0), (Server::Etcd, 1.0)])), []);
        // Start, lists, watches to 1,000, and creates by each number of clients; memory was not measured.
        assert_eq!(judge(&report(&[(Server::Ours, 1.0), (Server::Original, 1.0)])).len(), 2 + 2 + 1 + 3);
    }

    #[test]
    fn creates_are_held_to_the_original_or_to_etcd() {
        let lines = |servers: &[(Server, f64)]| -> Vec<String> {
            judge(&report(servers)).iter().map(ToString::to_string).collect()
        };
        let slow = lines(&[(Server::Ours, 10.0), (Server::Original, 10.0), (Server::Etcd, 30.0)]);
        assert_eq!(
            slow[5],
            "MISSED   creates by 1 clients, at least 2 times kube-apiserver, or 0.8 of etcd alone (here 0.35): \
             1.000 [1.000..1.000]"
        );
        let near_etcd = lines(&[(Server::Ours, 10.0), (Server::Original, 10.0), (Server::Etcd, 11.0)]);
        assert!(near_etcd[5].starts_with("reached"), "{near_etcd:#?}");
        let fast = lines(&[(Server::Ours, 30.0), (Server::Original, 10.0)]);
        assert!(fast[5].starts_with("reached") && fast[0].starts_with("MISSED"), "{fast:#?}");
    }
}
