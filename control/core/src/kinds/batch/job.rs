//! Job.

use std::time::SystemTime;

use apiclient_core::time;
use serde_json::{Map, Value};

use super::{job_spec, job_status, job_update};
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, existing, list, remove, restore, set, set_generation, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::kinds::apps::workload;
use crate::kinds::core::cells;
use crate::kinds::core::pod::template;
use crate::kinds::status;
use crate::names;
use crate::selectors::{self, Selector};
use crate::table::BuiltIn;

/// Labels of a job's pods, each with the name that it had before; the values are the job's uid and name.
const UID: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, job: &mut Value) {
        default(job, "spec", Map::new());
        if let Some(spec) = existing(job, "spec") {
            set_spec_defaults(spec);
        }
        workload::set_template_defaults(job);
        // Before it is created its pods have not all of their labels yet.
        if !at(job, &["metadata", "creationTimestamp"]).is_null() {
            default_labels(job);
        }
    }

    fn prepare_create(&self, job: &mut Value, _: &Context<'_>) {
        if !at(job, &["spec", "manualSelector"]).as_bool().unwrap_or_default() {
            generate_selector(job);
        }
        workload::drop_disabled(job);
        remove(job, "status");
        set_generation(job, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        workload::drop_disabled(new);
        status::prepare_update(new, old, context);
        if status::is_status(context) {
            restore(new, old, "spec");
        }
    }

    /// The original's default, which it has from reading what it stored: validation does not see it.
    fn canonicalize(&self, job: &mut Value) {
        default_labels(job);
    }

    fn validate_create(&self, job: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(job), true, false)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let job = At::object(new);
        if status::is_status(context) {
            return job_status::validate_update(new, old);
        }
        let before = At::object(old).get("spec").get("selector");
        let lenient = !selectors::validate(&before, false).is_empty();
        let labels = at(old, &["spec", "template", "metadata", "labels"]);
        let prefixed = labels.get(UID[1]).is_some() && labels.get(NAME[1]).is_some();
        let mut errors = validate(&job, prefixed, lenient);
        errors.extend(with_selector(&job.get("spec"), lenient));
        errors.extend(job_update::validate(&job.get("spec"), old));
        errors
    }

    fn warnings(&self, job: &Value, old: Option<&Value>) -> Vec<String> {
        let name = old.is_none().then(|| workload::name_warning(job)).flatten();
        let indexes = job_spec::is_indexed(&At::object(job).get("spec"));
        let int = |field| at(job, &["spec", field]).as_i64().unwrap_or_default();
        let many = (indexes && int("completions") > 100_000 && int("parallelism") > 10_000).then(|| {
            "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail".to_owned()
        });
        let pods = workload::template_warnings(job, old, &["spec", "template"]);
        name.into_iter().chain(many).chain(pods).collect()
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn unknown_selector(&self, field: &str) -> String {
        format!("field label {} not supported for Job", crate::field::quote(field))
    }

    fn deletion_warning(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        )
    }

    fn selected(&self, job: &Value, _: &str) -> String {
        at(job, &["status", "succeeded"]).as_i64().unwrap_or_default().to_string()
    }
}

/// A job without labels has those of its pods.
fn default_labels(job: &mut Value) {
    let labels = at(job, &["spec", "template", "metadata", "labels"]).clone();
    let is_empty = |labels: &Value| labels.as_object().is_none_or(Map::is_empty);
    if is_empty(at(job, &["metadata", "labels"]))
        && !is_empty(&labels)
        && let Some(metadata) = child(job, "metadata")
    {
        set(metadata, "labels", labels);
    }
}

fn set_spec_defaults(spec: &mut Value) {
    if at(spec, &["completions"]).is_null() && at(spec, &["parallelism"]).is_null() {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let per_index = !at(spec, &["backoffLimitPerIndex"]).is_null();
    default(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    let policy = !at(spec, &["podFailurePolicy"]).is_null();
    default(spec, "podReplacementPolicy", if policy { "Failed" } else { "TerminatingOrFailed" });
    default(spec, "manualSelector", false);
    set_policy_defaults(spec);
}

/// Conditions in a failure policy are about what is true.
pub fn set_policy_defaults(spec: &mut Value) {
    let Some(policy) = existing(spec, "podFailurePolicy") else {
        return;
    };
    for rule in crate::edit::items(policy, "rules") {
        for pattern in crate::edit::items(rule, "onPodConditions") {
            crate::edit::default_text(pattern, "status", "True");
        }
    }
}

/// The job selects its pods by its uid, and the template has labels with uid and name. What is there stays, and is
/// refused later where it is wrong.
fn generate_selector(job: &mut Value) {
    let (uid, name) =
        (text(job, &["metadata", "uid"]).to_owned(), text(job, &["metadata", "name"]).to_owned());
    let Some(spec) = child(job, "spec") else {
        return;
    };
    let metadata = child(spec, "template").and_then(|template| child(template, "metadata"));
    if let Some(labels) = metadata.and_then(|metadata| child(metadata, "labels")) {
        for (label, value) in
            NAME.map(|label| (label, &name)).into_iter().chain(UID.map(|label| (label, &uid)))
        {
            default(labels, label, value.as_str());
        }
    }
    if let Some(labels) = child(spec, "selector").and_then(|selector| child(selector, "matchLabels")) {
        default(labels, UID[1], uid);
    }
}

fn validate(job: &At<'_>, prefixed: bool, lenient: bool) -> Errors {
    let mut errors = generated_selector(job, prefixed);
    let spec = job.get("spec");
    errors.extend(with_selector(&spec, lenient));
    let (name, completions) =
        (job.get("metadata").get("name"), spec.get("completions").int().unwrap_or_default());
    if job_spec::is_indexed(&spec) && completions > 0 {
        let longest = format!("{}-{}", name.text(), completions - 1);
        if !names::dns1123_label(&longest).is_empty() {
            let problem = format!("will not able to create pod with invalid DNS label: {longest}");
            errors.push(name.invalid_text(&problem));
        }
    }
    errors
}

/// The spec with its selector, which must select the template.
fn with_selector(spec: &At<'_>, lenient: bool) -> Errors {
    let mut errors = job_spec::validate(spec);
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_absent() {
        errors.push(selector.required(""));
    }
    errors.extend(selectors::validate(&selector, lenient));
    errors.extend(Selector::of(selector.value).and_then(|of| workload::selects(&of, &template)));
    errors
}

/// The selector is what [`generate_selector`] made, unless the client says that it is its own.
fn generated_selector(job: &At<'_>, prefixed: bool) -> Errors {
    let mut errors = Errors::new();
    let (metadata, spec) = (job.get("metadata"), job.get("spec"));
    let selector = spec.get("selector");
    if spec.get("manualSelector").is_true() || selector.is_absent() {
        return errors;
    }
    let (uid, name) = (metadata.get("uid"), metadata.get("name"));
    if uid.is_empty() {
        errors.push(uid.required(""));
    }
    let labels = spec.get("template").get("metadata").get("labels");
    let mut expected = Map::new();
    for nth in 0..=usize::from(prefixed) {
        for (label, value) in [(UID[nth], uid.text()), (NAME[nth], name.text())] {
            expected.insert(label.to_owned(), value.into());
            let path = labels.path.key(label);
            let must = format!("must be '{value}'");
            match labels.value.get(label) {
                None => errors.push(FieldError::required(&path, &must)),
                Some(found) if found.as_str() != Some(value) => {
                    errors.push(FieldError::invalid(&path, labels.value, &must));
                }
                Some(_) => {}
            }
        }
    }
    if Selector::of(selector.value).is_some_and(|of| !of.matches(&Value::Object(expected))) {
        let shown = selectors::json(selector.value);
        errors.push(FieldError::invalid_shown(&selector.path, &shown, "`selector` not auto-generated"));
    }
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Status", "string", "What the job is doing, or how it ended."),
    BuiltIn::new("Completions", "string", "How many of the wanted pods succeeded."),
    BuiltIn::new("Duration", "string", "How long it took, or takes by now."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The containers of the template.").wide(),
    BuiltIn::new("Images", "string", "Their images.").wide(),
    BuiltIn::new("Selector", "string", "Which pods are the job's.").wide(),
];

pub fn row(job: &Value, now: SystemTime) -> Vec<Value> {
    let int = |path: &[&str]| at(job, path).as_i64();
    let succeeded = int(&["status", "succeeded"]).unwrap_or_default();
    let completions = match (int(&["spec", "completions"]), int(&["spec", "parallelism"])) {
        (Some(all), _) => format!("{succeeded}/{all}"),
        (None, Some(pods)) if pods > 1 => format!("{succeeded}/1 of {pods}"),
        _ => format!("{succeeded}/1"),
    };
    let stamp = |field| time::parse(text(job, &["status", field]));
    let duration = match (stamp("startTime"), stamp("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => ages::between(start, end.unwrap_or(now)),
    };
    let [names, images] = cells::containers(at(job, &["spec", "template", "spec"]));
    vec![
        cells::name(job),
        state(job).into(),
        completions.into(),
        duration.into(),
        ages::of(job, now).into(),
        names,
        images,
        selectors::shown(at(job, &["spec", "selector"])).into(),
    ]
}

fn state(job: &Value) -> &'static str {
    let conditions = list(job, &["status", "conditions"]);
    let is = |kind: &str| {
        let condition = conditions.iter().find(|condition| text(condition, &["type"]) == kind);
        condition.is_some_and(|condition| text(condition, &["status"]) == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !at(job, &["metadata", "deletionTimestamp"]).is_null() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

/// The template in a job of a CronJob: it has no selector yet.
pub fn validate_template(spec: &At<'_>) -> Errors {
    let mut errors = job_spec::validate(spec);
    let (selector, manual) = (spec.get("selector"), spec.get("manualSelector"));
    if !selector.is_absent() {
        let shown = selectors::json(selector.value);
        errors.push(FieldError::invalid_shown(&selector.path, &shown, "`selector` will be auto-generated"));
    }
    if manual.is_true() {
        errors.push(FieldError::not_supported(&manual.path, manual.value, &["nil", "false"]));
    }
    errors
}

/// The defaults of the pods in a job of a CronJob.
pub fn set_template_defaults(job_spec: &mut Value) {
    set_policy_defaults(job_spec);
    if let Some(pods) = child(job_spec, "template") {
        template::set_defaults(pods);
    }
}
