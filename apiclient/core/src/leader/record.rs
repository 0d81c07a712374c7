//! What a Lease says of its holder.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::time;

/// The part of a Lease's spec that an election is about. Times are kept as they are written: they are for people, and
/// only whether they change matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Empty where nobody holds it: given up, or never taken.
    pub holder: String,
    /// How long the others wait.
    pub seconds: u32,
    pub acquired: String,
    pub renewed: String,
    /// How often the holder changed.
    pub transitions: u32,
}

impl Record {
    /// Reads a Lease. What is missing or odd counts as nothing: such a Lease is anybody's.
    pub fn of(lease: &Value) -> Self {
        let spec = &lease["spec"];
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| spec[field].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Self {
            holder: text("holderIdentity"),
            seconds: number("leaseDurationSeconds"),
            acquired: text("acquireTime"),
            renewed: text("renewTime"),
            transitions: number("leaseTransitions"),
        }
    }

    /// How long a change of it has to be seen by nobody else.
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// A Lease that says this: `lease` with another spec, as client-go writes it, or a new one.
    pub fn put(&self, lease: Option<&Value>, namespace: &str, name: &str) -> Value {
        let mut written = lease.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": { "namespace": namespace, "name": name },
            })
        });
        written["spec"] = json!({
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.seconds,
            "acquireTime": self.acquired,
            "renewTime": self.renewed,
            "leaseTransitions": self.transitions,
        });
        written
    }

    /// Now, in words that differ from what it says: a renewal that changed nothing would be seen by nobody, and a clock
    /// that was set back can say the same time twice.
    pub(super) fn another_time(&self, wall: SystemTime) -> String {
        match time::micros(wall) {
            now if now == self.renewed => time::micros(wall + Duration::from_micros(1)),
            now => now,
        }
    }
}

/// The Lease as who leads leaves it, so that the next one need not wait. `None`: another one has it.
pub fn released(lease: &Value, identity: &str, wall: SystemTime) -> Option<Value> {
    let record = Record::of(lease);
    (record.holder == identity).then(|| {
        let now = record.another_time(wall);
        let left =
            Record { holder: String::new(), seconds: 1, acquired: now.clone(), renewed: now, ..record };
        left.put(Some(lease), "", "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Value {
        json!({
            "metadata": { "namespace": "kube-system", "name": "kube-scheduler", "resourceVersion": "7", "labels": { "a": "b" } },
            "spec": {
                "holderIdentity": "n1_1", "leaseDurationSeconds": 15, "leaseTransitions": 3, "strategy": "OldestEmulationVersion",
                "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:02.000000Z",
            },
        })
    }

    #[test]
    fn a_record_is_read_and_written_and_the_rest_of_the_lease_stays() {
        let record = Record::of(&lease());
        assert_eq!((record.holder.as_str(), record.seconds, record.transitions), ("n1_1", 15, 3));
        let written = record.put(Some(&lease()), "", "");
        assert_eq!(written["metadata"], lease()["metadata"]);
        assert_eq!(Record::of(&written), record);
        // Another kind of election's.
        assert_eq!(written["spec"].get("strategy"), None);
        let new = record.put(None, "kube-system", "a");
        assert_eq!(new["metadata"], json!({ "namespace": "kube-system", "name": "a" }));
    }

    #[test]
    fn an_odd_lease_is_anybodys() {
        for spec in [json!(null), json!({"holderIdentity": 7, "leaseDurationSeconds": -1}), json!([1])] {
            assert_eq!(Record::of(&json!({ "spec": spec })), Record::default());
        }
        assert_eq!(Record::of(&Value::Null), Record::default());
    }

    #[test]
    fn a_lease_that_is_given_up_is_nobodys_and_only_its_holder_gives_it_up() {
        let now = time::parse("2026-01-01T00:00:02Z").expect("a time");
        assert_eq!(released(&lease(), "n2_2", now), None);
        let left = Record::of(&released(&lease(), "n1_1", now).expect("its own"));
        // The clock was set back: the record changes all the same.
        let at = "2026-01-01T00:00:02.000001Z".to_owned();
        let want =
            Record { holder: String::new(), seconds: 1, acquired: at.clone(), renewed: at, transitions: 3 };
        assert_eq!(left, want);
    }
}
