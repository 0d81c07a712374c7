//! CronJob.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{job, schedule, time_zone};
use crate::at::{At, Errors};
use crate::edit::{at, child, default, default_text, existing, list};
use crate::kind::Context;
use crate::kinds::apps::workload;
use crate::kinds::core::cells;
use crate::kinds::status;
use crate::metadata::not_negative;
use crate::table::BuiltIn;
use crate::{ages, selectors};

/// Bytes of a name: the names of its jobs are 11 longer.
const NAME: usize = 52;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, cron: &mut Value) {
        default(cron, "spec", Map::new());
        let Some(spec) = existing(cron, "spec") else {
            return;
        };
        default_text(spec, "concurrencyPolicy", "Allow");
        default(spec, "suspend", false);
        default(spec, "successfulJobsHistoryLimit", 3);
        default(spec, "failedJobsHistoryLimit", 1);
        if let Some(job) = child(spec, "jobTemplate").and_then(|template| child(template, "spec")) {
            job::set_template_defaults(job);
        }
    }

    fn prepare_create(&self, cron: &mut Value, _: &Context<'_>) {
        status::prepare_create(cron);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        status::prepare_update(new, old, context);
    }

    fn validate_create(&self, cron: &Value, _: &Context<'_>) -> Errors {
        let cron = At::object(cron);
        let mut errors = validate(&cron.get("spec"), None);
        let name = cron.get("metadata").get("name");
        if name.text().len() > NAME {
            errors.push(name.invalid(&format!("must be no more than {NAME} characters")));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if status::is_status(context) {
            return Errors::new();
        }
        validate(&At::object(new).get("spec"), Some(&At::object(old).get("spec")))
    }

    fn warnings(&self, cron: &Value, old: Option<&Value>) -> Vec<String> {
        let name = old.is_none().then(|| workload::name_warning(cron)).flatten();
        let pods = workload::template_warnings(cron, old, &["spec", "jobTemplate", "spec", "template"]);
        let zone = (old.is_some() && At::object(cron).get("spec").get("schedule").text().contains("TZ")).then(|| {
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".to_owned()
        });
        name.into_iter().chain(pods).chain(zone).collect()
    }
}

fn validate(spec: &At<'_>, old: Option<&At<'_>>) -> Errors {
    let mut errors = Errors::new();
    let (schedule, zone, policy) =
        (spec.get("schedule"), spec.get("timeZone"), spec.get("concurrencyPolicy"));
    if schedule.is_empty() {
        errors.push(schedule.required(""));
    } else {
        errors.extend(schedule::parse(schedule.text()).err().map(|problem| schedule.invalid(&problem)));
        // Where one was stored it may stay.
        let stored = old.is_some_and(|old| old.get("schedule").text().contains("TZ"));
        if schedule.text().contains("TZ") && !stored {
            errors.push(schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
        } else if schedule.text().contains("TZ") && !zone.is_absent() {
            let problem = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            errors.push(schedule.invalid(problem));
        }
    }
    errors.extend(not_negative(&spec.get("startingDeadlineSeconds")));
    if !zone.is_absent() && old.is_none_or(|old| old.get("timeZone").value != zone.value) {
        errors.extend(zone.invalid_each(time_zone::problems(zone.text())));
    }
    match policy.text() {
        "Allow" | "Forbid" | "Replace" => {}
        "" => errors.push(policy.required("")),
        _ => errors.push(policy.not_supported(&["Allow", "Forbid", "Replace"])),
    }
    errors.extend(job::validate_template(&spec.get("jobTemplate").get("spec")));
    errors.extend(workload::counts(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]));
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Schedule", "string", "When a job is made."),
    BuiltIn::new("Timezone", "string", "The time zone of the schedule."),
    BuiltIn::new("Suspend", "boolean", "Whether no jobs are made."),
    BuiltIn::new("Active", "integer", "How many jobs run."),
    BuiltIn::new("Last Schedule", "string", "How long ago a job was made last."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The containers of the template.").wide(),
    BuiltIn::new("Images", "string", "Their images.").wide(),
    BuiltIn::new("Selector", "string", "Which pods are the jobs'.").wide(),
];

pub fn row(cron: &Value, now: SystemTime) -> Vec<Value> {
    let spec = |field| at(cron, &["spec", field]);
    let job = at(cron, &["spec", "jobTemplate", "spec"]);
    let [names, images] = cells::containers(at(job, &["template", "spec"]));
    let last = at(cron, &["status", "lastScheduleTime"]);
    let suspend = match spec("suspend").as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    vec![
        cells::name(cron),
        spec("schedule").as_str().unwrap_or_default().into(),
        spec("timeZone").as_str().unwrap_or("<none>").into(),
        suspend.into(),
        list(cron, &["status", "active"]).len().into(),
        if last.is_null() { "<none>".into() } else { ages::since(last, now).into() },
        ages::of(cron, now).into(),
        names,
        images,
        selectors::shown(at(job, &["selector"])).into(),
    ]
}
