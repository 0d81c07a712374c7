//! What the spec of a job must be, in a Job and in the template of a CronJob.

use super::policies;
use crate::at::{At, Errors};
use crate::domains;
use crate::field::FieldError;
use crate::kinds::core::pod::template;
use crate::metadata::not_negative;
use crate::shown;

const INDEXED: &str = "Indexed";
const MANAGED_BY: usize = 63;

/// How many pods of an indexed job may run, and how many may fail.
const PARALLEL: i64 = 100_000;
/// Above so many completions fewer may.
const MANY: i64 = 100_000;
const PARALLEL_OF_MANY: i64 = 10_000;

pub fn is_indexed(spec: &At<'_>) -> bool {
    spec.get("completionMode").text() == INDEXED
}

pub fn validate(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.extend(not_negative(&spec.get(field)));
    }
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        errors.push(spec.get("backoffLimitPerIndex").required("when maxFailedIndexes is specified"));
    }
    let managed = spec.get("managedBy");
    if !managed.is_absent() {
        errors.extend(domains::with_path(&managed));
        if managed.text().len() > MANAGED_BY {
            errors.push(FieldError::too_long(&managed.path, MANAGED_BY));
        }
    }
    errors.extend(mode(spec));
    if spec.has("podFailurePolicy") {
        errors.extend(policies::failure(spec));
    }
    if spec.has("successPolicy") {
        errors.extend(success_policy(spec));
    }
    errors.extend(replacement(spec));
    errors.extend(template::validate(&spec.get("template")));
    errors.extend(restart(spec));
    errors
}

fn mode(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mode = spec.get("completionMode");
    match mode.text() {
        INDEXED => return indexed(spec),
        "NonIndexed" => {}
        "" if mode.is_absent() => {}
        _ => {
            errors.push(mode.not_supported(&["NonIndexed", INDEXED]));
            return errors;
        }
    }
    for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
        if spec.has(field) {
            errors.push(spec.get(field).invalid("requires indexed completion mode"));
        }
    }
    errors
}

fn indexed(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let [completions, parallelism, failed] =
        ["completions", "parallelism", "maxFailedIndexes"].map(|field| spec.get(field));
    if completions.is_absent() {
        errors.push(completions.required("when completion mode is Indexed"));
    }
    if parallelism.int().is_some_and(|pods| pods > PARALLEL) {
        let problem = format!("must be less than or equal to {PARALLEL} when completion mode is Indexed");
        errors.push(parallelism.invalid(&problem));
    }
    if failed.int().zip(completions.int()).is_some_and(|(failed, all)| failed > all) {
        errors.push(failed.invalid("must be less than or equal to completions"));
    }
    if failed.int().is_some_and(|failed| failed > PARALLEL) {
        errors.push(failed.invalid(&format!("must be less than or equal to {PARALLEL}")));
    }
    if completions.int().is_some_and(|all| all > MANY) && spec.has("backoffLimitPerIndex") {
        if failed.is_absent() {
            errors.push(failed.required(&format!("must be specified when completions is above {MANY}")));
        }
        for field in [parallelism, failed] {
            if field.int().is_some_and(|pods| pods > PARALLEL_OF_MANY) {
                errors.push(field.invalid(&format!(
                    "must be less than or equal to {PARALLEL_OF_MANY} when completions are above {MANY} and used with backoff limit per index"
                )));
            }
        }
    }
    errors
}

fn success_policy(spec: &At<'_>) -> Errors {
    if is_indexed(spec) {
        return policies::success(spec);
    }
    let policy = spec.get("successPolicy");
    let rule = |rule: At<'_>| {
        shown::fields(&[
            ("SucceededIndexes", shown::any(&rule.get("succeededIndexes"))),
            ("SucceededCount", shown::any(&rule.get("succeededCount"))),
        ])
    };
    let rules: Vec<String> = policy.get("rules").items().map(rule).collect();
    let policy_shown = shown::fields(&[("Rules", format!("[{}]", rules.join(",")))]);
    vec![FieldError::invalid_shown(&policy.path, &policy_shown, "requires indexed completion mode")]
}

fn replacement(spec: &At<'_>) -> Option<FieldError> {
    let policy = spec.get("podReplacementPolicy");
    let supported: &[&str] =
        if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    (!policy.is_absent() && !supported.contains(&policy.text())).then(|| policy.not_supported(supported))
}

/// The pods of a job end.
fn restart(spec: &At<'_>) -> Option<FieldError> {
    let policy = spec.get("template").get("spec").get("restartPolicy");
    match policy.text() {
        "" | "Always" => Some(policy.required("valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if spec.has("podFailurePolicy") => {
            Some(policy.invalid("only \"Never\" is supported when podFailurePolicy is specified"))
        }
        "OnFailure" | "Never" => None,
        _ => Some(policy.not_supported(&["OnFailure", "Never"])),
    }
}
