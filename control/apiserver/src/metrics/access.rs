//! Who got in and who did not: handshakes, authentication, authorization, admission.

use std::time::{Duration, SystemTime};

use control_core::access::{Decision, User};
use control_core::admission::Operation;
use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;

/// Every value is one of few, and none is made for a request.
type Set<const N: usize> = [(&'static str, &'static str); N];

type Histograms<const N: usize> = Family<Set<N>, Histogram, fn() -> Histogram>;

/// Seconds, as the original's buckets of admission.
const ADMISSION: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

/// A day, in seconds.
const DAY: f64 = 86_400.0;

/// What is left of certificates' lives, in seconds, as the original's buckets: from nothing to a year.
const LIVES: [f64; 14] = [
    0.0,
    1_800.0,
    3_600.0,
    7_200.0,
    21_600.0,
    43_200.0,
    DAY,
    2.0 * DAY,
    4.0 * DAY,
    7.0 * DAY,
    30.0 * DAY,
    90.0 * DAY,
    180.0 * DAY,
    360.0 * DAY,
];

/// From a millisecond on, each bucket twice the last one.
fn doubling() -> Histogram {
    Histogram::new((0..15).map(|nth| 0.001 * f64::from(1 << nth)))
}

fn of_admission() -> Histogram {
    Histogram::new(ADMISSION)
}

/// The metrics of access.
#[derive(Clone, Debug)]
pub struct Access {
    handshakes: Counter,
    certificates: Histogram,
    // Counters whose names do not end like a counter's: that is how dashboards know them.
    attempts: Family<Set<1>, Gauge>,
    durations: Histograms<1>,
    users: Family<Set<1>, Gauge>,
    decisions: Family<Set<1>, Counter>,
    decided: Histograms<1>,
    steps: Histograms<3>,
    plugins: Histograms<4>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            handshakes: Counter::default(),
            certificates: Histogram::new(LIVES),
            attempts: Family::default(),
            durations: Family::new_with_constructor(doubling),
            users: Family::default(),
            decisions: Family::default(),
            decided: Family::new_with_constructor(doubling),
            steps: Family::new_with_constructor(of_admission),
            plugins: Family::new_with_constructor(of_admission),
        }
    }
}

/// A step of admission, for its labels.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub operation: Operation,
    /// Filling in; otherwise looking at what would be written.
    pub mutates: bool,
    pub refused: bool,
}

impl Step {
    fn labels(self) -> Set<3> {
        let operation = match self.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        };
        let (step, refused) = (["validate", "admit"], ["false", "true"]);
        [
            ("type", step[usize::from(self.mutates)]),
            ("operation", operation),
            ("rejected", refused[usize::from(self.refused)]),
        ]
    }
}

/// A user's label: few names are told, as with the original.
fn known(name: &str) -> &'static str {
    const KNOWN: [&str; 5] =
        ["admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"];
    let other = if name.contains('@') { "email_id" } else { "other" };
    KNOWN.into_iter().find(|known| *known == name).unwrap_or(other)
}

impl Access {
    pub fn register(&self, registry: &mut Registry) {
        let mut counts = |name, help, family: &Family<Set<1>, Gauge>| {
            registry.register(name, help, Family::clone(family));
        };
        counts("authentication_attempts", "Requests by whether their user is known", &self.attempts);
        counts("authenticated_user_requests", "Requests by users that few names tell apart", &self.users);
        let help = "Requests by whether they may be made";
        registry.register("authorization_attempts", help, Family::clone(&self.decisions));
        let mut times = |name, help, family: &Histograms<1>| registry.register(name, help, family.clone());
        times("authentication_duration_seconds", "Time until a user was known", &self.durations);
        times("authorization_duration_seconds", "Time until it was decided who may", &self.decided);
        let help = "Time of all plugins of a step";
        registry.register("apiserver_admission_step_admission_duration_seconds", help, self.steps.clone());
        let help = "Time of each plugin";
        registry.register(
            "apiserver_admission_controller_admission_duration_seconds",
            help,
            self.plugins.clone(),
        );
        let help = "Connections that did not come to be for want of a TLS handshake";
        registry.register("apiserver_tls_handshake_errors", help, self.handshakes.clone());
        let help = "What is left of the lives of the certificates by which clients are known";
        registry.register("apiserver_client_certificate_expiration_seconds", help, self.certificates.clone());
    }

    /// A client spoke no TLS that we speak, was silent, or did not believe our certificate.
    pub fn handshake_failed(&self) {
        self.handshakes.inc();
    }

    /// A client came with a certificate that is good until `end`.
    pub fn certificate(&self, end: SystemTime, now: SystemTime) {
        let left = match end.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        self.certificates.observe(left);
    }

    /// It was decided who somebody is; `None`: by no credential.
    pub fn authenticated(&self, user: Option<&User>, took: Duration) {
        if let Some(user) = user {
            self.users.get_or_create(&[("username", known(&user.name))]).inc();
        }
        let result = [("result", if user.is_some() { "success" } else { "error" })];
        self.attempts.get_or_create(&result).inc();
        self.durations.get_or_create(&result).observe(took.as_secs_f64());
    }

    /// It was decided whether a request may be made.
    pub fn decided(&self, decision: Decision, took: Duration) {
        let result = match decision {
            Decision::Allow => "allowed",
            Decision::Deny => "denied",
            Decision::NoOpinion => "no-opinion",
        };
        self.decisions.get_or_create(&[("result", result)]).inc();
        self.decided.get_or_create(&[("result", result)]).observe(took.as_secs_f64());
    }

    /// A step of admission is over.
    pub fn step(&self, step: Step, took: Duration) {
        self.steps.get_or_create(&step.labels()).observe(took.as_secs_f64());
    }

    /// A plugin has looked.
    pub fn plugin(&self, name: &'static str, step: Step, took: Duration) {
        let [a, b, c] = step.labels();
        self.plugins.get_or_create(&[("name", name), a, b, c]).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_users_are_told_apart() {
        let names = ["admin", "kubelet", "a@example.org", "alice", "system:serviceaccount:default:x"];
        assert_eq!(names.map(known), ["admin", "kubelet", "email_id", "other", "other"]);
    }
}
