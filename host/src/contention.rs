//! Two programs that undo one another: whose turn it is, and when to say so.
//!
//! Owns: the count of repairs that were undone, and the wait before the next one. Begin at [`Contention::undone`].
//! Never: reads the clock, logs, repairs anything.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use crate::nftables::Writer;

/// So many repairs within [`WINDOW`] are made at once: somebody may load a firewall in several steps.
pub const FREE: usize = 3;
pub const WINDOW: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// A repair that holds for so long ends the contest. Longer than [`LONGEST`], because the other side may wait as well.
const QUIET: Duration = Duration::from_secs(150);
/// So many repairs of which none held are a contest, however slow: reported, though none of them has to wait.
const STREAK: usize = 10;
/// Writers that are remembered as reported: names of programs, so a few.
const REPORTED: usize = 32;

/// The repairs of one kind of object.
#[derive(Clone, Debug, Default)]
pub struct Contention {
    /// When repairs were undone, as far as it matters for [`FREE`].
    recent: VecDeque<Instant>,
    /// How many repairs have been undone since one held.
    streak: usize,
    /// The wait before the last repair, while there is a contest.
    wait: Option<Duration>,
    /// When the repair that is due may be made.
    due: Option<Instant>,
    repaired: Option<Instant>,
    /// Of this contest: who has been reported. The empty name is the writer that nobody knows.
    reported: BTreeSet<String>,
}

/// The news of a contest, said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who undid the last repair, where the kernel tells.
    pub writer: Option<Writer>,
    /// How long the next repair waits; `None`: repairs are undone so slowly that none has to wait.
    pub wait: Option<Duration>,
}

/// What to do about a repair that was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// When the next repair may be made; not before the instant that was handed in.
    pub at: Instant,
    /// To be logged, where this is news: a contest has begun, or somebody else has joined it.
    pub report: Option<Report>,
}

impl Contention {
    /// Somebody changed what is ours. Several changes before the next repair count as one.
    pub fn undone(&mut self, writer: Option<&Writer>, now: Instant) -> Undone {
        if let Some(at) = self.due {
            return Undone { at: at.max(now), report: self.news(writer) };
        }
        if self.repaired.is_some_and(|at| now.saturating_duration_since(at) >= QUIET) {
            *self = Self::default();
        }
        let recent = |at: &Instant| now.saturating_duration_since(*at) < WINDOW;
        self.recent.retain(recent);
        self.recent.push_back(now);
        // Doubled here and not by telemetry's Backoff, which this tier cannot know and which has no free repairs.
        self.wait = match self.wait {
            Some(wait) => Some((wait * 2).min(LONGEST)),
            None if self.recent.len() > FREE => Some(SHORTEST),
            None => None,
        };
        self.streak += 1;
        let at = now + self.wait.unwrap_or_default();
        self.due = Some(at);
        Undone { at, report: self.news(writer) }
    }

    /// When the repair that is due may be made; `None`: none is due.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The last repair has held, so that nothing needs to be remembered.
    pub fn is_over(&self, now: Instant) -> bool {
        self.due.is_none() && self.repaired.is_none_or(|at| now.saturating_duration_since(at) >= QUIET)
    }

    /// The repair has been made, early or late.
    pub fn repaired(&mut self, now: Instant) {
        self.due = None;
        self.repaired = Some(now);
    }

    /// A program that is started for each change has another process number each time: its name tells it.
    fn news(&mut self, writer: Option<&Writer>) -> Option<Report> {
        if self.wait.is_none() && self.streak < STREAK {
            return None;
        }
        let name = writer.map_or("", |writer| &writer.name);
        // Once somebody is known, one who is not tells nothing.
        let known = self.reported.contains(name) || (name.is_empty() && !self.reported.is_empty());
        if known || self.reported.len() >= REPORTED {
            return None;
        }
        self.reported.insert(name.to_owned());
        Some(Report { writer: writer.cloned(), wait: self.wait })
    }
}

/// `changed again and again by kube-proxy (process 4711); repairs wait longer and longer, up to 60 s`, to follow the name
/// of what is changed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("changed again and again by ")?;
        match &self.writer {
            Some(writer) => match writer.command() {
                Some(command) => write!(f, "`{command}` (process {})", writer.pid)?,
                None => writer.fmt(f)?,
            },
            None => f.write_str("another program")?,
        }
        match self.wait {
            Some(_) => write!(f, "; repairs wait longer and longer, up to {} s", LONGEST.as_secs()),
            None => f.write_str("; repairs are made each time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn writer(name: &str, pid: u32) -> Writer {
        Writer { pid, name: name.to_owned() }
    }

    /// Undoes each repair at once, and repairs when it is due: the waits, and the reports.
    fn fight(contention: &mut Contention, now: &mut Instant, times: usize) -> (Vec<Duration>, Vec<Report>) {
        let (mut waits, mut reports) = (Vec::new(), Vec::new());
        for pid in 0..times {
            *now += Duration::from_millis(20);
            let Undone { at, report } = contention.undone(Some(&writer("nft", pid as u32)), *now);
            waits.push(at - *now);
            reports.extend(report);
            *now = at;
            contention.repaired(at);
        }
        (waits, reports)
    }

    #[test]
    fn what_is_undone_slowly_is_repaired_at_once_and_reported_once_when_it_does_not_end() {
        let (mut contention, mut now) = (Contention::default(), Instant::now());
        for time in 1..100 {
            now += Duration::from_secs(30);
            let report = (time == STREAK).then_some(Report { writer: None, wait: None });
            assert_eq!(contention.undone(None, now), Undone { at: now, report });
            contention.repaired(now);
        }
    }

    #[test]
    fn what_holds_in_between_is_never_reported() {
        let (mut contention, mut now) = (Contention::default(), Instant::now());
        for _ in 0..100 {
            now += QUIET;
            assert_eq!(contention.undone(None, now), Undone { at: now, report: None });
            contention.repaired(now);
        }
    }

    #[test]
    fn a_contest_is_reported_once_and_its_repairs_wait_longer_and_longer() {
        let (mut contention, mut now) = (Contention::default(), Instant::now());
        let (waits, reports) = fight(&mut contention, &mut now, 14);
        let expected = [0, 0, 0, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000];
        assert_eq!(waits, expected.map(Duration::from_millis));
        let first = Report { writer: Some(writer("nft", 3)), wait: Some(SHORTEST) };
        assert_eq!(reports, [first]);
    }

    #[test]
    fn a_contest_is_forgotten_after_a_repair_that_held() {
        let (mut contention, mut now) = (Contention::default(), Instant::now());
        assert_eq!(fight(&mut contention, &mut now, 8).1.len(), 1);
        now += QUIET;
        let (waits, reports) = fight(&mut contention, &mut now, 4);
        assert_eq!(waits, [0, 0, 0, 500].map(Duration::from_millis));
        assert_eq!(reports.len(), 1);
    }

    #[test]
    fn another_writer_is_reported_and_an_unknown_one_only_where_nobody_is_known() {
        let (mut contention, mut now) = (Contention::default(), Instant::now());
        fight(&mut contention, &mut now, 4);
        let mut ask = |writer: Option<Writer>| {
            now += SHORTEST;
            let report = contention.undone(writer.as_ref(), now).report;
            contention.repaired(now);
            report.map(|report| report.writer)
        };
        assert_eq!(ask(None), None);
        assert_eq!(ask(Some(writer("nft", 99))), None);
        assert_eq!(ask(Some(writer("kube-proxy", 7))), Some(Some(writer("kube-proxy", 7))));
        assert_eq!(ask(Some(writer("nft", 100))), None);
    }

    #[test]
    fn changes_before_the_next_repair_are_one() {
        let (mut contention, now) = (Contention::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(contention.undone(None, now), Undone { at: now, report: None });
        }
        assert_eq!(contention.due(), Some(now));
        contention.repaired(now);
        assert_eq!(contention.due(), None);
    }

    #[test]
    fn a_report_names_the_writer() {
        let report = Report { writer: Some(writer("nft", u32::MAX)), wait: Some(SHORTEST) };
        let text =
            "changed again and again by nft (process 4294967295); repairs wait longer and longer, up to 60 s";
        assert_eq!(report.to_string(), text);
    }

    proptest! {
        /// Whatever happens when: no repair waits for more than a minute, and few are made, and little is said.
        #[test]
        fn repairs_are_few_and_none_waits_for_ever(
            steps in prop::collection::vec((0u64..30_000, prop::option::of(0u8..3), any::<bool>()), 1..300),
        ) {
            let (mut contention, start) = (Contention::default(), Instant::now());
            let (mut now, mut reports, mut at_once, mut repairs) = (start, 0, 0u64, 0u64);
            for (pause, who, early) in steps {
                now += Duration::from_millis(pause);
                let who = who.map(|who| writer(&who.to_string(), 1));
                let undone = contention.undone(who.as_ref(), now);
                prop_assert!(undone.at >= now && undone.at - now <= LONGEST);
                prop_assert_eq!(contention.due().map(|at| at.max(now)), Some(undone.at));
                reports += usize::from(undone.report.is_some());
                at_once += u64::from(undone.at == now);
                if early || undone.at == now {
                    contention.repaired(now);
                    repairs += 1;
                }
            }
            prop_assert!(repairs >= at_once);
            // Three names and no name; a contest ends only by a quiet time.
            let contests = 1 + now.duration_since(start).as_secs() / QUIET.as_secs();
            prop_assert!(reports as u64 <= 4 * contests, "{} reports, {} contests", reports, contests);
        }

        /// Against a program that never gives in, for an hour.
        #[test]
        fn a_stubborn_opponent_costs_a_repair_a_minute(pause in 1u64..5_000) {
            let (mut contention, mut now) = (Contention::default(), Instant::now());
            let (end, mut repairs, mut reports) = (now + Duration::from_secs(3600), 0, 0);
            while now < end {
                now += Duration::from_millis(pause);
                let undone = contention.undone(Some(&writer("other", 1)), now);
                reports += usize::from(undone.report.is_some());
                now = undone.at;
                contention.repaired(now);
                repairs += 1;
            }
            prop_assert!(repairs < 75 || pause > 3_300, "{} repairs", repairs);
            prop_assert_eq!(reports, 1);
        }
    }
}
