//! What a CronJob's status says of its Jobs.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use super::SCHEDULED;
use crate::job::is_finished;
use crate::kinds::{CRON_JOBS, JOBS};
use crate::{Act, Note, World, object, status};

/// A status as it is to be.
#[derive(Debug)]
pub struct Draft<'a> {
    cron: &'a Arc<Value>,
    /// References to Jobs that have not ended.
    pub active: Vec<Value>,
    /// The time of the last Job.
    pub last: Option<SystemTime>,
    successful: Option<String>,
    pub notes: Vec<Note>,
}

impl<'a> Draft<'a> {
    pub fn of(world: &World, cron: &'a Arc<Value>, jobs: &[&Arc<Value>]) -> Self {
        let known = &cron["status"];
        let mut draft = Self {
            cron,
            active: list(known, &["active"]).to_vec(),
            last: object::moment(known, &["lastScheduleTime"]),
            successful: known["lastSuccessfulTime"].as_str().map(str::to_owned),
            notes: Vec::new(),
        };
        for job in jobs {
            draft.see(job);
        }
        draft.miss(world, jobs);
        draft
    }

    /// A Job of this CronJob. One that was made for a later time than the status knows was made by us, and is listed now.
    fn see(&mut self, job: &Value) {
        let place = self.active.iter().position(|active| text(active, &["uid"]) == object::uid(job));
        let scheduled = object::annotation(job, SCHEDULED).and_then(time::parse);
        let known = object::moment(self.cron, &["status", "lastScheduleTime"]);
        let is_new = place.is_none() && scheduled.is_some_and(|at| known.is_none_or(|known| at > known));
        if is_new {
            self.last = self.last.max(scheduled);
        }
        let name = object::name(job);
        if !is_finished(job) {
            if is_new {
                self.active.push(json!({
                    "apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": object::namespace(job),
                    "uid": object::uid(job), "resourceVersion": text(job, &["metadata", "resourceVersion"]),
                }));
            } else if place.is_none() && !object::is_deleting(job) {
                let text = format!("Saw a job that the controller did not create or forgot: {name}");
                self.notes.push(Note::warning(CRON_JOBS, self.cron, "UnexpectedJob", text));
            }
            return;
        }
        let of = if object::condition_is(job, "Complete", "True") { "Complete" } else { "Failed" };
        if place.is_some() || is_new {
            let text = format!("Saw completed job: {name}, condition: {of}");
            self.notes.push(Note::normal(CRON_JOBS, self.cron, "SawCompletedJob", text));
        }
        if let Some(place) = place {
            self.active.remove(place);
        }
        let ended = text(job, &["status", "completionTime"]);
        let before = self.successful.as_deref().and_then(time::parse);
        if of == "Complete"
            && time::parse(ended).is_some_and(|ended| before.is_none_or(|before| ended > before))
        {
            self.successful = Some(ended.to_owned());
        }
    }

    /// Jobs that are listed and are no more.
    fn miss(&mut self, world: &World, jobs: &[&Arc<Value>]) {
        let is_there = |active: &Value| {
            let key = ObjectName::new(text(active, &["namespace"]), text(active, &["name"]));
            jobs.iter().any(|job| object::uid(job) == text(active, &["uid"]))
                || world.get(JOBS, &key).is_some()
        };
        let (there, missing): (Vec<Value>, Vec<Value>) = self.active.drain(..).partition(is_there);
        self.active = there;
        for active in missing {
            let text = format!("Active job went missing: {}", text(&active, &["name"]));
            self.notes.push(Note::normal(CRON_JOBS, self.cron, "MissingJob", text));
        }
    }

    /// The write of what differs.
    pub fn act(self) -> Option<Act> {
        let mut is = json!({});
        if !self.active.is_empty() {
            is["active"] = self.active.into();
        }
        if let Some(last) = self.last {
            is["lastScheduleTime"] = time::seconds(last).into();
        }
        if let Some(successful) = self.successful {
            is["lastSuccessfulTime"] = successful.into();
        }
        status::update(CRON_JOBS, self.cron, is, &[])
    }
}

/// `Mon, 02 Jan 2006 15:04:05 UTC`.
pub fn shown(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(|| time::seconds(at), |stamp| stamp.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string())
}
