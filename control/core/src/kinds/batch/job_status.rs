//! What the status of a job must be, and how it may change. Each rule looks only at what an update changes: a status that
//! was stored may stay.

use serde_json::Value;

use super::{indexes, job_spec};
use crate::at::{At, Errors};
use crate::edit::{at, list, semantic_eq, text};
use crate::field::FieldError;
use crate::metadata::not_negative;

/// A job with the questions that its rules ask.
struct Job<'a>(&'a Value);

impl Job<'_> {
    fn is(&self, condition: &str, status: &str) -> bool {
        list(self.0, &["status", "conditions"])
            .iter()
            .any(|own| (text(own, &["type"]), text(own, &["status"])) == (condition, status))
    }

    fn is_true(&self, condition: &str) -> bool {
        self.is(condition, "True")
    }

    fn is_finished(&self) -> bool {
        self.is_true("Complete") || self.is_true("Failed")
    }

    fn status(&self, field: &str) -> &Value {
        at(self.0, &["status", field])
    }

    fn count(&self, field: &str) -> i64 {
        self.status(field).as_i64().unwrap_or_default()
    }
}

pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new, old);
    errors.extend(changes(new, old));
    errors
}

fn validate(new: &Value, old: &Value) -> Errors {
    let status = At::object(new).get("status");
    let mut errors = Errors::new();
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        errors.extend(not_negative(&status.get(field)));
    }
    errors.extend(uncounted(&status.get("uncountedTerminatedPods")));
    let (new, old) = (Job(new), Job(old));
    errors.extend(conditions(&new, &old, &status));
    errors.extend(finished(&new, &old, &status));
    errors.extend(index_lists(&new, &old, &status));
    let (ready, active) = (status.get("ready"), new.count("active"));
    if changed(&new, &old, "terminating") || new.is_finished() != old.is_finished() {
        let terminating = status.get("terminating");
        if new.is_finished() && terminating.int().is_some_and(|pods| pods > 0) {
            errors.push(terminating.invalid("terminating>0 is invalid for finished job"));
        }
    }
    let counts = changed(&new, &old, "ready") || changed(&new, &old, "active");
    if counts && ready.int().is_some_and(|ready| ready > active) {
        errors.push(ready.invalid("cannot set more ready pods than active"));
    }
    errors.extend(success_criteria(&new, &status));
    errors
}

fn changed(new: &Job<'_>, old: &Job<'_>, field: &str) -> bool {
    !semantic_eq(new.status(field), old.status(field))
}

/// Pods that ended and are not counted yet: each once, in either list.
fn uncounted(pods: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for pod in pods.get("succeeded").items().chain(pods.get("failed").items()) {
        match pod.text() {
            "" => errors.push(pod.invalid("must not be empty")),
            uid if seen.contains(&uid) => errors.push(pod.duplicate()),
            uid => seen.push(uid),
        }
    }
    errors
}

fn conditions(new: &Job<'_>, old: &Job<'_>, status: &At<'_>) -> Errors {
    let path = status.get("conditions").path;
    let wrong = |problem: &str| FieldError::invalid_all(&path, problem);
    let differs = |condition: &str| new.is_true(condition) != old.is_true(condition);
    let (complete, failed, target) = (differs("Complete"), differs("Failed"), differs("FailureTarget"));
    let mut errors = Errors::new();
    let end = status.get("completionTime");
    if (complete || failed) && new.is_true("Complete") && new.is_true("Failed") {
        errors.push(wrong("cannot set Complete=True and Failed=true conditions"));
    }
    if (complete || target) && new.is_true("Complete") && new.is_true("FailureTarget") {
        errors.push(wrong("cannot set Complete=True and FailureTarget=true conditions"));
    }
    if complete || changed(new, old, "completionTime") {
        if !end.is_absent() && !new.is_true("Complete") {
            errors.push(end.invalid("cannot set completionTime when there is no Complete=True condition"));
        }
        if end.is_absent() && new.is_true("Complete") {
            errors.push(end.required("completionTime is required for Complete jobs"));
        }
    }
    // Times are in one form: they sort as texts.
    let times = changed(new, old, "startTime") || changed(new, old, "completionTime");
    if times && status.has("startTime") && !end.is_absent() && end.text() < status.get("startTime").text() {
        errors.push(end.invalid("must be equal to or after `startTime`"));
    }
    if (failed || changed(new, old, "failedIndexes"))
        && new.is_true("Failed")
        && !new.is_true("FailureTarget")
    {
        errors.push(wrong("cannot set Failed=True condition without the FailureTarget=true condition"));
    }
    if (complete || differs("SuccessCriteriaMet"))
        && new.is_true("Complete")
        && !new.is_true("SuccessCriteriaMet")
    {
        errors
            .push(wrong("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"));
    }
    errors
}

fn finished(new: &Job<'_>, old: &Job<'_>, status: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if !new.is_finished() {
        return errors;
    }
    let ended = !old.is_finished();
    if (ended || changed(new, old, "active")) && new.count("active") > 0 {
        errors.push(status.get("active").invalid("active>0 is invalid for finished job"));
    }
    let nothing_to_do = at(new.0, &["spec", "suspend"]).as_bool().unwrap_or_default()
        && at(new.0, &["spec", "completions"]).as_i64() == Some(0);
    if (ended || changed(new, old, "startTime")) && !nothing_to_do && !status.has("startTime") {
        errors.push(status.get("startTime").required("startTime is required for finished job"));
    }
    let uncounted = status.get("uncountedTerminatedPods");
    let some = uncounted.get("succeeded").len() + uncounted.get("failed").len() > 0;
    if (ended || changed(new, old, "uncountedTerminatedPods")) && some {
        let list = |field: &str| match uncounted.get(field).value {
            Value::Null => "null".to_owned(),
            list => list.to_string(),
        };
        let shown = format!("{{\"Succeeded\":{},\"Failed\":{}}}", list("succeeded"), list("failed"));
        errors.push(FieldError::invalid_shown(&uncounted.path, &shown, "must be empty for finished job"));
    }
    errors
}

fn index_lists(new: &Job<'_>, old: &Job<'_>, status: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (done, failed) = (status.get("completedIndexes"), status.get("failedIndexes"));
    let (done_changed, failed_changed) =
        (changed(new, old, "completedIndexes"), changed(new, old, "failedIndexes"));
    let all = at(new.0, &["spec", "completions"]).as_i64();
    let per_index = !at(new.0, &["spec", "backoffLimitPerIndex"]).is_null();
    let parse = |list: &At<'_>, name: &str| {
        let problem = indexes::count(list.text(), all?).err()?;
        Some(list.invalid_text(&format!("error parsing {name}: {problem}")))
    };
    if done_changed {
        errors.extend(parse(&done, "completedIndexes"));
    }
    if failed_changed && per_index && !failed.is_absent() {
        errors.extend(parse(&failed, "failedIndexes"));
    }
    let indexed = job_spec::is_indexed(&At::object(new.0).get("spec"));
    if done_changed && !done.is_empty() && !indexed {
        let problem = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(done.invalid(problem));
    }
    if failed_changed && !per_index && !failed.is_absent() {
        let problem = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(failed.invalid(problem));
    }
    if (done_changed || failed_changed)
        && let Some(all) = all
        && let Some(index) = indexes::overlap(done.text(), failed.text(), all)
    {
        let problem = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(failed.invalid(&problem));
    }
    errors
}

fn success_criteria(new: &Job<'_>, status: &At<'_>) -> Errors {
    let path = status.get("conditions").path;
    let met = new.is_true("SuccessCriteriaMet");
    let policy = !at(new.0, &["spec", "successPolicy"]).is_null();
    let rules = [
        (met && new.is_true("Failed"), "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (
            met && new.is_true("FailureTarget"),
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
        (
            policy && !met && new.is_true("Complete"),
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
    ];
    let broken = rules.into_iter().filter(|(broken, _)| *broken);
    broken.map(|(_, problem)| FieldError::invalid_all(&path, problem)).collect()
}

fn changes(new: &Value, old: &Value) -> Errors {
    let status = At::object(new).get("status");
    let path = status.get("conditions").path;
    let (new, old) = (Job(new), Job(old));
    let mut errors = Errors::new();
    for condition in ["Failed", "Complete", "FailureTarget"] {
        if old.is_true(condition) && !new.is_true(condition) {
            let problem = format!("cannot disable the terminal {condition}=True condition");
            errors.push(FieldError::invalid_all(&path, &problem));
        }
    }
    let spec = At::object(new.0).get("spec");
    let elastic =
        job_spec::is_indexed(&spec) && spec.get("completions").value == spec.get("parallelism").value;
    for (counter, may_fall) in [("failed", false), ("succeeded", elastic)] {
        if new.count(counter) < old.count(counter) && !may_fall {
            let problem = format!("cannot decrease the {counter} counter");
            errors.push(status.get(counter).invalid_int(&problem));
        }
    }
    let both = status.has("completionTime") && !old.status("completionTime").is_null();
    if both && changed(&new, &old, "completionTime") {
        errors.push(status.get("completionTime").invalid("field is immutable"));
    }
    let resumes = old.is_true("Suspended") && new.is("Suspended", "False");
    let running = !spec.get("suspend").is_true();
    if changed(&new, &old, "startTime") && !old.status("startTime").is_null() && running && !resumes {
        errors.push(status.get("startTime").invalid("field is immutable for unsuspended job once set"));
    }
    let (met, was_met) = (new.is_true("SuccessCriteriaMet"), old.is_true("SuccessCriteriaMet"));
    if was_met && !met {
        errors.push(FieldError::invalid_all(&path, "cannot disable the SuccessCriteriaMet=True condition"));
    }
    if old.is_true("Complete") && !was_met && met {
        let problem = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        errors.push(FieldError::invalid_all(&path, problem));
    }
    errors
}
