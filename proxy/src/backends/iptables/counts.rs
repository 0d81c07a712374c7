//! New connections of each service port, from the counters of the rules that lead to it.
//!
//! Reading them takes the whole table nat (with the nft flavour a second at 10,000 services), so it is done aside and not
//! often ([`pause`]), and who asks gets what is known. A rule that was written again begins at 0; totals do not.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use host::error::HostError;
use host::iptables::{Iptables, Rule, Saved};
use host::netns::Namespace;
use proxy_core::names::Family;
use proxy_core::table::{PortKey, ServiceTable};

use super::names::{ENDS_IN, Kind, NODE_PORTS, Names, SERVICES, Table, is_owned};

/// For how long a reading is good enough at least.
pub const FRESH: Duration = Duration::from_secs(10);

/// From the begin of a reading that took so long to the next: counting takes a fiftieth of a processor at most.
fn pause(took: Duration) -> Duration {
    FRESH.max(50 * took)
}

/// For how long who asks waits: enough for some hundred services, and no pass is late by more.
const PATIENCE: Duration = Duration::from_millis(50);

/// A rule that leads to a service port: which rule, the digits of the port's chains, and its packets.
type Lead = (u64, (Family, String), u64);

/// Of all families.
struct Reading {
    leads: Vec<Lead>,
    /// Rules of ours.
    rules: BTreeMap<(Family, Table), usize>,
}

/// A reading, and how long it took.
type Timed = (Reading, Duration);

#[derive(Default)]
pub struct Counts {
    begun: Option<Instant>,
    /// Of the last reading.
    took: Duration,
    under_way: Option<Receiver<Result<Timed, HostError>>>,
    /// Packets of each rule at the last reading.
    seen: HashMap<u64, u64>,
    totals: HashMap<(Family, String), u64>,
    /// Of the last reading.
    rules: BTreeMap<(Family, Table), usize>,
}

impl Counts {
    /// Nothing before the first reading is complete.
    pub fn of(
        &mut self,
        table: &ServiceTable,
        tools: &[(Family, Iptables)],
        namespace: &Namespace,
    ) -> BTreeMap<PortKey, u64> {
        if self.under_way.is_none() && self.begun.is_none_or(|begun| begun.elapsed() >= pause(self.took)) {
            self.begun = Some(Instant::now());
            self.under_way = Some(begin(tools.to_vec(), namespace.clone()));
        }
        if let Some(reading) = self.under_way.take() {
            match reading.recv_timeout(PATIENCE) {
                Ok(Ok((reading, took))) => {
                    self.took = took;
                    self.take(reading);
                }
                Ok(Err(error)) => tracing::warn!(mode = "iptables", %error, "connections cannot be counted"),
                Err(RecvTimeoutError::Timeout) => self.under_way = Some(reading),
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        let total = |key: &PortKey| self.totals.get(&(key.0, Names::of(&key.1).digits().to_owned())).copied();
        if self.seen.is_empty() {
            return BTreeMap::new();
        }
        table.ports.keys().map(|key| (key.clone(), total(key).unwrap_or(0))).collect()
    }

    /// Rules of ours in a table; none before the first reading.
    pub fn rules(&self, family: Family, table: Table) -> Option<usize> {
        self.rules.get(&(family, table)).copied()
    }

    fn take(&mut self, reading: Reading) {
        self.rules = reading.rules;
        let mut totals = HashMap::new();
        let mut seen = HashMap::new();
        for (rule, port, packets) in reading.leads {
            let before = self.seen.get(&rule).copied().unwrap_or(0);
            // Fewer than before: it was written again meanwhile.
            let more = if packets >= before { packets - before } else { packets };
            let total =
                totals.entry(port).or_insert_with_key(|port| self.totals.get(port).copied().unwrap_or(0));
            *total += more;
            seen.insert(rule, packets);
        }
        // A port that nothing leads to any more may come back with its name; one that is gone for long starts again.
        (self.seen, self.totals) = (seen, totals);
    }
}

fn begin(tools: Vec<(Family, Iptables)>, namespace: Namespace) -> Receiver<Result<Timed, HostError>> {
    let (to, from) = sync_channel(1);
    std::thread::spawn(move || {
        let start = Instant::now();
        let read = || {
            let mut saved = Vec::new();
            for (family, tool) in &tools {
                for table in [Table::Filter, Table::Nat] {
                    saved.push((*family, table, tool.save_counted(table.as_str())?));
                }
            }
            Ok(saved)
        };
        let saved: Result<Vec<_>, HostError> = namespace.run(read).and_then(|saved| saved);
        // Who asked may be gone.
        let _ = to.send(saved.map(|saved| {
            let nat = saved.iter().filter(|(_, table, _)| *table == Table::Nat);
            let leads = nat.flat_map(|(family, _, saved)| leads(*family, saved).collect::<Vec<_>>());
            let rules = saved.iter().map(|(family, table, saved)| ((*family, *table), ours(*table, saved)));
            (Reading { leads: leads.collect(), rules: rules.collect() }, start.elapsed())
        }));
    });
    from
}

/// How many rules of a table are in chains of ours.
fn ours(table: Table, saved: &Saved) -> usize {
    let rules = saved.table(table.as_str()).into_iter().flat_map(|table| &table.rules);
    rules.filter(|rule| is_owned(&rule.chain)).count()
}

/// The rules by which connections come to service ports from outside of the services' own chains.
fn leads(family: Family, saved: &Saved) -> impl Iterator<Item = Lead> {
    let rules = saved.table(Table::Nat.as_str()).into_iter().flat_map(|table| &table.rules);
    rules.filter_map(move |rule| {
        let digits = port_of(rule)?;
        let mut hasher = DefaultHasher::new();
        (family, &rule.chain, &rule.spec).hash(&mut hasher);
        Some((hasher.finish(), (family, digits.to_owned()), rule.counts?.0))
    })
}

/// The digits of the service port that a rule leads to.
fn port_of(rule: &Rule) -> Option<&str> {
    let firewall = rule.chain.starts_with(Kind::Firewall.prefix());
    let first = rule.chain == SERVICES || rule.chain == NODE_PORTS || rule.chain.starts_with(ENDS_IN);
    let (_, target) = rule.spec.rsplit_once("-j ")?;
    let of = |kind: Kind| target.strip_prefix(kind.prefix());
    let inside = || of(Kind::Cluster).or_else(|| of(Kind::Local)).filter(|_| !target.starts_with(ENDS_IN));
    match (first, firewall) {
        (true, _) => of(Kind::External).or_else(inside),
        (_, true) => of(Kind::External),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        let saved = Saved::parse(text).unwrap();
        let rules = [((Family::V4, Table::Nat), ours(Table::Nat, &saved))].into();
        Reading { leads: leads(Family::V4, &saved).collect(), rules }
    }

    #[test]
    fn the_more_a_reading_takes_the_rarer_it_is() {
        assert_eq!(pause(Duration::from_millis(3)), FRESH);
        assert_eq!(pause(Duration::from_secs(1)), Duration::from_secs(50));
    }

    #[test]
    fn each_connection_is_counted_where_it_comes_to_a_service() {
        let text = "*nat\n\
            [5:300] -A KUBE-SERVICES -d 0.0.0.10/0.0.0.15 -j KUBE-SVC-ENDS-IN-A\n\
            [3:180] -A KUBE-SVC-ENDS-IN-A -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-AAAA\n\
            [2:120] -A KUBE-SERVICES -d 198.51.100.2/32 -p tcp -m tcp --dport 80 -j KUBE-FW-AAAA\n\
            [1:60] -A KUBE-FW-AAAA -s 203.0.113.0/24 -j KUBE-EXT-AAAA\n\
            [7:420] -A KUBE-NODEPORTS -p tcp -m comment --comment \"-j KUBE-SVL-X\" -m tcp --dport 30080 -j KUBE-EXT-BBBB\n\
            [8:480] -A KUBE-EXT-BBBB -j KUBE-SVC-BBBB\n\
            [4:240] -A KUBE-SERVICES -d 10.96.0.11/32 -p tcp -m tcp --dport 80 -j KUBE-SVL-BBBB\n\
            COMMIT\n";
        let mut counts = Counts::default();
        counts.take(reading(text));
        let port = |digits: &str| counts.totals[&(Family::V4, digits.to_owned())];
        assert_eq!((port("AAAA"), port("BBBB"), counts.totals.len()), (3 + 1, 7 + 4, 2));
        assert_eq!(counts.rules(Family::V4, Table::Nat), Some(7));
    }

    #[test]
    fn a_rule_that_is_written_anew_takes_nothing_from_the_total() {
        let mut counts = Counts::default();
        let mut total = |cluster: u64, node: u64| {
            counts.take(reading(&format!(
                "*nat\n[{cluster}:0] -A KUBE-SERVICES -j KUBE-SVC-AAAA\n[{node}:0] -A KUBE-NODEPORTS -j KUBE-EXT-AAAA\nCOMMIT\n"
            )));
            counts.totals[&(Family::V4, "AAAA".to_owned())]
        };
        assert_eq!(total(100, 50), 150);
        assert_eq!(total(100, 60), 160);
        assert_eq!(total(3, 60), 163);
        assert_eq!(total(5, 0), 165);
        assert_eq!(total(5, 2), 167);
    }
}
