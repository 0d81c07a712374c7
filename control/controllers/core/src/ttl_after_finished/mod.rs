//! Jobs that are deleted some time after their end (`ttlSecondsAfterFinished`).
//!
//! Facts: kube-controller-manager 1.36, `pkg/controller/ttlafterfinished`.

use std::time::Duration;

use apiclient_core::names::ObjectName;
use serde_json::{Value, json};

use crate::job::is_finished;
use crate::kinds::JOBS;
use crate::{Act, Change, Context, Controller, Decision, Kind, World, Write, object};

/// The controller.
#[derive(Debug)]
pub struct TtlAfterFinished;

impl Controller for TtlAfterFinished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[JOBS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        keys.extend(change.new.iter().filter(|job| lifetime(job).is_some()).map(|job| object::key(job)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some((job, lifetime)) = world.get(JOBS, key).and_then(|job| Some((job, lifetime(job)?))) else {
            return Decision::nothing();
        };
        let mut ends = ["Complete", "Failed"].into_iter().filter(|of| object::condition_is(job, of, "True"));
        let end = ends.find_map(|of| object::moment(object::condition(job, of)?, &["lastTransitionTime"]));
        let Some(end) = end else { return Decision::nothing() };
        match (end + lifetime).duration_since(context.now) {
            Ok(wait) if !wait.is_zero() => Decision::nothing().again_in(wait),
            // Another lifetime that the news have not brought yet is another version.
            _ => Decision::nothing().then(Act::new(
                JOBS,
                Write::Delete {
                    name: key.clone(),
                    options: json!({
                        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
                        "preconditions": {"uid": object::uid(job)},
                    }),
                },
            )),
        }
    }
}

/// How long a Job that has ended stays.
fn lifetime(job: &Value) -> Option<Duration> {
    let ends = is_finished(job) && !object::is_deleting(job);
    job["spec"]["ttlSecondsAfterFinished"].as_u64().filter(|_| ends).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Trial;

    fn make() -> Vec<Box<dyn Controller>> {
        vec![Box::new(TtlAfterFinished)]
    }

    #[test]
    fn a_job_goes_when_its_time_is_over_and_no_sooner() {
        let mut trial = Trial::new(make, 1);
        let now = apiclient_core::time::seconds(trial.now());
        let ended = json!([{"type": "Failed", "status": "True", "lastTransitionTime": now}]);
        let job = |name: &str, conditions: Value, lifetime: Value| {
            json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "d", "name": name},
                "spec": {"ttlSecondsAfterFinished": lifetime}, "status": {"conditions": conditions},
            })
        };
        trial.create(JOBS, job("over", ended.clone(), json!(100)));
        trial.create(JOBS, job("now", ended.clone(), json!(0)));
        trial.create(JOBS, job("stays", ended, Value::Null));
        trial.create(JOBS, job("runs", json!([]), json!(100)));
        let names = |trial: &Trial| {
            trial.all(JOBS).iter().map(|job| object::name(job).to_owned()).collect::<Vec<_>>()
        };
        trial.settle(Duration::from_secs(90));
        assert_eq!(names(&trial), ["over", "runs", "stays"]);
        trial.settle(Duration::from_secs(90));
        assert_eq!(names(&trial), ["runs", "stays"]);
    }
}
