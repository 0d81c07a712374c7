use std::sync::Arc;
use std::time::Duration;

use control_core::edit::text;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::CronJobs;
use crate::job::Jobs;
use crate::kinds::{CRON_JOBS, JOBS};
use crate::trial::Trial;
use crate::{Controller, object};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(CronJobs), Box::new(Jobs)]
}

/// Every ten minutes, from the beginning of 2026 on.
fn cron(image: &str, spec: Value) -> Value {
    let mut cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": "d", "name": "c"},
        "spec": {
            "schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "suspend": false,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}},
                "spec": {
                    "parallelism": 1, "completions": 1, "backoffLimit": 0, "completionMode": "NonIndexed",
                    "selector": {"matchLabels": {"job": "j"}},
                    "template": {
                        "metadata": {"labels": {"job": "j"}}, "spec": {"containers": [{"name": "c", "image": image}]},
                    },
                },
            },
        },
    });
    for (name, value) in spec.as_object().expect("fields") {
        cron["spec"][name] = value.clone();
    }
    cron
}

fn of(trial: &Trial) -> Arc<Value> {
    trial.get(CRON_JOBS, "d", "c").expect("it is there")
}

fn jobs(trial: &Trial) -> Vec<String> {
    trial.all(JOBS).iter().map(|job| object::name(job).to_owned()).collect()
}

fn count(trial: &Trial, told: &str) -> usize {
    trial.told.iter().filter(|found| found.starts_with(told)).count()
}

/// The name of the Job of a time so many minutes after the beginning.
fn name(minutes: u64) -> String {
    format!("c-{}", 1_767_225_600 / 60 + minutes)
}

#[test]
fn a_job_is_made_at_each_time_and_the_last_ones_are_kept() {
    let mut trial = Trial::new(make, 1);
    trial.create(CRON_JOBS, cron("succeeds", json!({"timeZone": "Asia/Kolkata"})));
    trial.settle(MINUTE * 9);
    assert!(jobs(&trial).is_empty());
    trial.settle(MINUTE * 2);
    assert_eq!(jobs(&trial), [name(10)]);
    let job = trial.all(JOBS).remove(0);
    assert_eq!(
        job["metadata"]["annotations"],
        json!({
            "x": "y", "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T05:40:00+05:30",
        })
    );
    assert_eq!(
        (object::label(&job, "a"), object::controller_uid(&job)),
        (Some("b"), Some(object::uid(&of(&trial))))
    );
    let status = of(&trial)["status"].clone();
    assert_eq!(
        (&status["lastScheduleTime"], &status["active"]),
        (&json!("2026-01-01T00:10:00Z"), &Value::Null)
    );
    assert!(text(&status, &["lastSuccessfulTime"]).starts_with("2026-01-01T00:10:0"));
    trial.settle(HOUR * 3);
    assert_eq!(jobs(&trial), [name(170), name(180), name(190)]);
    assert_eq!(count(&trial, "SuccessfulCreate Created job c-"), 19);
    assert_eq!(count(&trial, "SawCompletedJob Saw completed job: c-"), 19);
    assert_eq!(count(&trial, "SuccessfulDelete Deleted job c-"), 16);
}

#[test]
fn failed_ones_are_kept_by_a_limit_of_their_own() {
    let mut trial = Trial::new(make, 2);
    trial.create(CRON_JOBS, cron("fails", json!({})));
    trial.settle(HOUR + MINUTE);
    assert_eq!(jobs(&trial), [name(60)]);
    assert_eq!(of(&trial)["status"]["lastSuccessfulTime"], Value::Null);
    assert!(
        trial.told.iter().any(
            |told| told == &format!("SawCompletedJob Saw completed job: {}, condition: Failed", name(10))
        )
    );
}

#[test]
fn a_job_that_runs_when_the_next_is_due_stays_goes_or_holds_it_up() {
    let cases = [("Allow", vec![10, 20, 30]), ("Forbid", vec![10]), ("Replace", vec![30])];
    for (policy, expected) in cases {
        let mut trial = Trial::new(make, 3);
        trial.create(CRON_JOBS, cron("runs", json!({"concurrencyPolicy": policy})));
        trial.settle(MINUTE * 31);
        assert_eq!(
            jobs(&trial),
            expected.iter().map(|minutes| name(*minutes)).collect::<Vec<_>>(),
            "{policy}"
        );
        let active = of(&trial)["status"]["active"].as_array().cloned().unwrap_or_default();
        assert_eq!(active.len(), expected.len(), "{policy}");
        assert_eq!(text(&active[0], &["name"]), name(expected[0]));
        assert_eq!(
            count(&trial, "JobAlreadyActive Not starting job because prior execution") > 0,
            policy == "Forbid"
        );
    }
}

#[test]
fn a_start_that_was_missed_is_made_up_for_within_its_deadline() {
    // Suspended until a minute; the deadline; the Jobs that follow at once.
    let cases = [
        (25, None, vec![20]),
        (25, Some(600), vec![20]),
        (25, Some(60), vec![]),
        (2000, Some(600), vec![2000]),
    ];
    for (until, deadline, expected) in cases {
        let mut trial = Trial::new(make, 4);
        trial.create(CRON_JOBS, cron("runs", json!({"suspend": true, "startingDeadlineSeconds": deadline})));
        trial.settle(MINUTE * until);
        assert!(jobs(&trial).is_empty());
        trial.change(CRON_JOBS, "d", "c", |cron| cron["spec"]["suspend"] = false.into());
        trial.settle(Duration::from_secs(1));
        assert_eq!(
            jobs(&trial),
            expected.iter().map(|minutes| name(*minutes)).collect::<Vec<_>>(),
            "{until} {deadline:?}"
        );
    }
    let mut trial = Trial::new(make, 4);
    trial.create(CRON_JOBS, cron("runs", json!({"suspend": true})));
    trial.settle(HOUR * 24);
    trial.change(CRON_JOBS, "d", "c", |cron| cron["spec"]["suspend"] = false.into());
    trial.settle(Duration::from_secs(1));
    assert_eq!(count(&trial, "TooManyMissedTimes too many missed start times"), 1);
    assert_eq!(jobs(&trial), [name(1440)]);
}

#[test]
fn what_cannot_be_meant_is_told() {
    let cases = [
        (
            json!({"schedule": "x"}),
            "UnparseableSchedule unparseable schedule: \"x\" : expected exactly 5 fields, found 1: [x]",
        ),
        (
            json!({"timeZone": "Middle/Earth"}),
            "UnknownTimeZone invalid timeZone: \"Middle/Earth\": unknown time zone Middle/Earth",
        ),
        (
            json!({"schedule": "0 0 31 2 *"}),
            "InvalidSchedule invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second",
        ),
        (
            json!({"schedule": "TZ=UTC 0 0 * * *"}),
            "UnsupportedSchedule CRON_TZ or TZ used in schedule \"TZ=UTC 0 0 * * *\" is not officially supported",
        ),
    ];
    for (spec, told) in cases {
        let mut trial = Trial::new(make, 5);
        trial.create(CRON_JOBS, cron("runs", spec));
        trial.settle(MINUTE);
        assert!(trial.told.iter().any(|found| found.starts_with(told)), "{told}: {:?}", trial.told);
    }
}

#[test]
fn a_job_that_somebody_deleted_is_listed_no_more_and_a_strange_one_is_told_of() {
    let mut trial = Trial::new(make, 6);
    trial.create(CRON_JOBS, cron("runs", json!({})));
    trial.settle(MINUTE * 11);
    trial.delete(JOBS, "d", &name(10));
    trial.settle(Duration::ZERO);
    assert_eq!(of(&trial)["status"]["active"], Value::Null);
    assert_eq!(count(&trial, &format!("MissingJob Active job went missing: {}", name(10))), 1);
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": object::uid(&of(&trial)), "controller": true}]);
    trial.create(JOBS, json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "d", "name": "by-hand", "ownerReferences": owner},
        "spec": of(&trial)["spec"]["jobTemplate"]["spec"],
    }));
    trial.settle(Duration::ZERO);
    assert!(
        count(&trial, "UnexpectedJob Saw a job that the controller did not create or forgot: by-hand") > 0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Any order of news, lost answers, refusals, crashes: a Job for each time, and none twice.
    #[test]
    fn each_time_has_its_job_once(
        seed in 1..u64::MAX, crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        trial.create(CRON_JOBS, cron("succeeds", json!({"successfulJobsHistoryLimit": 100})));
        trial.settle(HOUR);
        (trial.crashes, trial.refusals) = (0, 0);
        trial.settle(MINUTE * 11);
        let expected: Vec<String> = (1..=7).map(|nth| name(nth * 10)).collect();
        prop_assert_eq!(jobs(&trial), expected);
        prop_assert_eq!(&of(&trial)["status"]["active"], &Value::Null);
        prop_assert_eq!(&of(&trial)["status"]["lastScheduleTime"], "2026-01-01T01:10:00Z");
    }
}
