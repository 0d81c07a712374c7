//! What a run leaves behind.

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::mode::{Mode, Part, Server};
use crate::sample;

/// Everything about one run.
pub type Report = sample::Report<Mode, Metric, Settings>;
/// One server in one part under one load, once.
pub type Sample = sample::Sample<Mode, Metric>;
/// What could not be measured.
pub type Failure = sample::Failure<Mode>;

/// Clients that ask at the same time.
pub const CLIENTS: [u32; 3] = [1, 16, 64];

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub servers: Vec<Server>,
    pub parts: Vec<Part>,
    pub repetitions: u32,
    /// Pods in the end; at least 100.
    pub pods: u32,
    /// Updates, gets and applies of several clients; one client makes a quarter.
    pub requests: u32,
    /// Ascending.
    pub watchers: Vec<u32>,
    /// Writes whose way to the watchers is measured.
    pub writes: u32,
    /// Lists in each encoding, whose median is taken; one more comes before and does not count.
    pub lists: u32,
    /// What etcd says it is.
    pub etcd: String,
}

impl Settings {
    /// Whether a part was asked for.
    pub fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// How many pods each number of clients creates: all together make all pods, and one client a tenth.
    pub fn creates(&self) -> [(u32, u32); 3] {
        let tenth = self.pods / 10;
        let half = (self.pods - tenth) / 2;
        [(CLIENTS[0], tenth), (CLIENTS[1], half), (CLIENTS[2], self.pods - tenth - half)]
    }

    /// How often each number of clients asks for anything else.
    pub fn asks(&self) -> [(u32, u32); 3] {
        CLIENTS.map(|clients| (clients, if clients == 1 { self.requests / 4 } else { self.requests }))
    }
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::*;

    pub fn settings() -> Settings {
        Settings {
            servers: vec![Server::Ours, Server::Original, Server::Etcd],
            parts: vec![Part::Start, Part::Creates, Part::Lists, Part::Watches],
            repetitions: 3,
            pods: 10_000,
            requests: 4000,
            watchers: vec![1, 1000],
            writes: 100,
            lists: 5,
            etcd: "etcd 3.6.0".to_owned(),
        }
    }

    /// Three repetitions of each server, every value `base`, `base` + 1 and `base` + 3 of it.
    pub fn report(servers: &[(Server, f64)]) -> Report {
        let settings = settings();
        let mut samples = Vec::new();
        for (repetition, add) in [(1, 0.0), (2, 1.0), (3, 3.0)] {
            for (server, base) in servers {
                for part in settings.parts.iter().filter(|part| *server != Server::Etcd || part.is_of_etcd())
                {
                    let loads = match part {
                        Part::Creates => CLIENTS.to_vec(),
                        Part::Watches => settings.watchers.clone(),
                        _ => vec![0],
                    };
                    samples.extend(loads.into_iter().map(|load| Sample {
                        mode: Mode { part: *part, load, server: *server },
                        repetition,
                        values: Metric::of(*part).iter().map(|metric| (*metric, base + add)).collect(),
                        busy_before: 0.02,
                    }));
                }
            }
        }
        Report { machine: sample::fixture::machine(), settings, samples, failures: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_json() {
        let report = fixture::report(&[(Server::Ours, 1.0), (Server::Etcd, 2.0)]);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""mode":{"part":"creates","load":16,"server":"ours"}"#), "{text}");
        assert!(text.contains(r#""later-start":1.0"#), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn all_creates_together_make_all_pods() {
        for pods in [100, 101, 999, 10_000] {
            let settings = Settings { pods, ..fixture::settings() };
            assert_eq!(settings.creates().map(|(_, count)| count).iter().sum::<u32>(), pods);
            assert_eq!(settings.creates()[0], (1, pods / 10));
        }
    }
}
