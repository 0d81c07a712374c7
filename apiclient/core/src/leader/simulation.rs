//! Several candidates, a server, and everything that can go wrong between them: requests and answers that are late or
//! lost, candidates that stand still, clocks that are apart, run at different speeds or jump.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Election, Moment, Step, Timing};

const TICK: u64 = 50;

/// How long a candidate waits for an answer.
const PATIENCE: u64 = 5_000;

/// Chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// How bad things are.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// One request in so many is lost, and one answer.
    lost: u64,
    /// Longest way of a request, and of an answer, in milliseconds.
    slow: u64,
    /// One tick in so many a candidate stops, for up to 40 s.
    stops: u64,
    /// One tick in so many its wall clock jumps.
    jumps: u64,
}

const CALM: Weather = Weather { lost: u64::MAX, slow: 20, stops: u64::MAX, jumps: u64::MAX };

fn weather() -> impl Strategy<Value = Weather> {
    (2..40_u64, 1..9_000_u64, 100..2_000_u64, 20..200_u64).prop_map(|(lost, slow, stops, jumps)| Weather {
        lost,
        slow,
        stops,
        jumps,
    })
}

#[derive(Default)]
struct Server {
    version: u64,
    lease: Option<Value>,
}

impl Server {
    /// What it says to a request: an outcome, `None` for a refusal.
    fn ask(&mut self, step: &Step) -> Option<Option<Arc<Value>>> {
        let lease = match (step, &self.lease) {
            (Step::Read, lease) => return Some(lease.clone().map(Arc::new)),
            (Step::Create(lease), None) => lease,
            (Step::Replace(lease), Some(have)) if version(lease) == version(have) => lease,
            _ => return None,
        };
        self.version += 1;
        let mut lease = lease.clone();
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(Some(Arc::new(lease)))
    }
}

fn version(lease: &Value) -> &Value {
    &lease["metadata"]["resourceVersion"]
}

/// A request on its way. It goes on when nobody waits for its answer any more.
struct Request {
    owner: usize,
    number: u64,
    step: Step,
    arrives: u64,
    /// Of the answer, from its arrival on; `None`: it is lost.
    back: Option<u64>,
}

struct Answer {
    owner: usize,
    number: u64,
    read: bool,
    outcome: Option<Option<Arc<Value>>>,
    arrives: u64,
}

struct Candidate {
    election: Election,
    /// Its clock since boot: when it began, and how much faster than real time it runs, in thousandths.
    began: u64,
    rate: u64,
    wall: u64,
    stopped_until: u64,
    /// The number of the request it waits for, and until when.
    waits: Option<(u64, u64)>,
    wakes: Duration,
}

impl Candidate {
    fn boot(&self, now: u64) -> Duration {
        Duration::from_micros((self.began + now) * self.rate)
    }

    fn holds(&self, now: u64) -> bool {
        self.election.leads_until().is_some_and(|end| self.boot(now) < end)
    }
}

struct World {
    dice: Dice,
    now: u64,
    server: Server,
    candidates: Vec<Candidate>,
    requests: Vec<Request>,
    answers: Vec<Answer>,
    sent: u64,
    /// How often somebody began to lead.
    terms: u64,
}

impl World {
    fn new(seed: u64, candidates: usize) -> Self {
        let mut dice = Dice(seed);
        let candidates = (0..candidates).map(|nth| Candidate {
            election: Election::new("kube-system", "a", &format!("candidate-{nth}"), Timing::default()),
            began: dice.below(1 << 30),
            rate: 900 + dice.below(200),
            wall: dice.below(1 << 40),
            stopped_until: 0,
            waits: None,
            wakes: Duration::ZERO,
        });
        let candidates = candidates.collect();
        let (requests, answers) = (Vec::new(), Vec::new());
        Self { dice, now: 0, server: Server::default(), candidates, requests, answers, sent: 0, terms: 0 }
    }

    fn run(&mut self, until: u64, weather: Weather) {
        while self.now < until {
            self.now += TICK;
            self.deliver();
            let first = self.dice.below(self.candidates.len() as u64) as usize;
            for nth in 0..self.candidates.len() {
                self.act((first + nth) % self.candidates.len(), weather);
                let leaders = self.candidates.iter().filter(|candidate| candidate.holds(self.now)).count();
                assert!(leaders <= 1, "{leaders} lead at {} ms", self.now);
            }
        }
    }

    fn deliver(&mut self) {
        let (mut there, on_their_way) =
            std::mem::take(&mut self.requests).into_iter().partition::<Vec<_>, _>(|r| r.arrives <= self.now);
        self.requests = on_their_way;
        there.sort_by_key(|request| request.arrives);
        for Request { owner, number, step, arrives, back } in there {
            let outcome = self.server.ask(&step);
            if let Some(back) = back {
                let read = step == Step::Read;
                self.answers.push(Answer { owner, number, read, outcome, arrives: arrives + back });
            }
        }
    }

    fn act(&mut self, nth: usize, weather: Weather) {
        let (now, dice, candidate) = (self.now, &mut self.dice, &mut self.candidates[nth]);
        candidate.wall += TICK;
        if dice.one_in(weather.jumps) {
            candidate.wall = dice.below(1 << 40);
        }
        if dice.one_in(weather.stops) {
            candidate.stopped_until = now + dice.below(40_000);
        }
        if now < candidate.stopped_until {
            return;
        }
        let chance = dice.below(1_000) as f64 / 1_000.0;
        let boot = candidate.boot(now);
        let (led, election) = (candidate.election.leads_until().is_some(), &mut candidate.election);
        if let Some((number, limit)) = candidate.waits {
            let found =
                self.answers.iter().position(|a| a.owner == nth && a.number == number && a.arrives <= now);
            match found.map(|found| self.answers.swap_remove(found)) {
                Some(Answer { outcome: None, .. }) => election.failed(boot, chance),
                Some(Answer { outcome: Some(lease), read: true, .. }) => election.read(boot, lease),
                Some(Answer { outcome: Some(lease), .. }) => {
                    election.written(boot, lease.expect("what was written"))
                }
                None if now >= limit => election.failed(boot, chance),
                None => return,
            }
            candidate.waits = None;
        } else if boot < candidate.wakes {
            return;
        }
        self.terms += u64::from(!led && election.leads_until().is_some());
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(candidate.wall);
        match election.next(Moment { boot, wall }, chance) {
            Step::Wait(until) => candidate.wakes = until,
            // The program ends, and the next one is another candidate.
            Step::Lost(_) => {
                let name = format!("candidate-{nth}-{}", self.sent);
                candidate.election = Election::new("kube-system", "a", &name, Timing::default());
                candidate.wakes = Duration::ZERO;
            }
            step => {
                self.sent += 1;
                candidate.waits = Some((self.sent, now + PATIENCE));
                if !dice.one_in(weather.lost) {
                    let back = (!dice.one_in(weather.lost)).then(|| dice.below(weather.slow));
                    let arrives = now + dice.below(weather.slow);
                    self.requests.push(Request { owner: nth, number: self.sent, step, arrives, back });
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn never_two_hold_and_in_the_end_one_does(seed in any::<u64>(), candidates in 2..5_usize, weather in weather()) {
        let mut world = World::new(seed, candidates);
        world.run(300_000, weather);
        // What is on its way arrives, and who stands still goes on, within 40 s; then the longest lease ends.
        world.run(400_000, CALM);
        prop_assert_eq!(world.candidates.iter().filter(|candidate| candidate.holds(world.now)).count(), 1);
    }
}

/// The simulation does what it is for: leaders come and go in it, and stay where nothing disturbs them.
#[test]
fn leaders_change_in_bad_weather_and_stay_in_good() {
    let mut bad = World::new(1, 3);
    bad.run(3_000_000, Weather { lost: 4, slow: 3_000, stops: 300, jumps: 50 });
    assert!(bad.terms > 20, "{}", bad.terms);
    let mut good = World::new(1, 3);
    good.run(3_000_000, CALM);
    assert_eq!(good.terms, 1);
}
