//! What a failed pod means to its Job (`podFailurePolicy`), and which indexes are enough (`successPolicy`).

use control_core::edit::{list, text};
use serde_json::Value;

use super::indexes::Indexes;
use crate::object;

/// What becomes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It counts.
    Counts,
    Ignored,
    /// Its index fails.
    FailsIndex,
    /// The Job fails, with this message.
    FailsJob(String),
}

/// The first rule that matches decides.
pub fn of(job: &Value, pod: &Value) -> Failure {
    for (place, rule) in list(job, &["spec", "podFailurePolicy", "rules"]).iter().enumerate() {
        let action = text(rule, &["action"]);
        let (namespace, name) = (object::namespace(pod), object::name(pod));
        let what = if rule["onExitCodes"].is_object() {
            exit_code(pod, &rule["onExitCodes"]).map(|(container, code)| {
                format!("Container {container} for pod {namespace}/{name} failed with exit code {code}")
            })
        } else {
            condition(pod, list(rule, &["onPodConditions"]))
                .map(|condition| format!("Pod {namespace}/{name} has condition {condition}"))
        };
        let Some(what) = what else { continue };
        return match action {
            "Ignore" => Failure::Ignored,
            "FailIndex" => Failure::FailsIndex,
            "FailJob" => Failure::FailsJob(format!("{what} matching FailJob rule at index {place}")),
            _ => Failure::Counts,
        };
    }
    Failure::Counts
}

/// The first container that ended with an error that a rule is about; other containers before init containers.
fn exit_code<'a>(pod: &'a Value, rule: &Value) -> Option<(&'a str, i64)> {
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut all = statuses.iter().flat_map(|field| list(pod, &["status", field]));
    all.find_map(|status| {
        let name = text(status, &["name"]);
        let code = status["state"]["terminated"]["exitCode"].as_i64().filter(|code| *code != 0)?;
        let of_rule = rule["containerName"].as_str().is_none_or(|wanted| wanted == name);
        let listed = list(rule, &["values"]).iter().any(|value| value.as_i64() == Some(code));
        let holds = match text(rule, &["operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        (of_rule && holds).then_some((name, code))
    })
}

fn condition<'a>(pod: &'a Value, patterns: &[Value]) -> Option<&'a str> {
    let mut conditions = list(pod, &["status", "conditions"]).iter();
    let matching = conditions.find(|condition| {
        patterns.iter().any(|pattern| {
            // The default is left out by some writers.
            let status = pattern["status"].as_str().unwrap_or("True");
            pattern["type"] == condition["type"] && text(condition, &["status"]) == status
        })
    });
    matching.map(|condition| text(condition, &["type"]))
}

/// The message of the first rule of the success policy that these indexes fulfil.
pub fn is_enough(job: &Value, succeeded: &Indexes, completions: i64) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let fulfils = |rule: &Value| {
        let count = rule["succeededCount"].as_i64();
        match rule["succeededIndexes"].as_str() {
            Some(indexes) => {
                let wanted = Indexes::parse(indexes, completions);
                let common = wanted.common(succeeded);
                !wanted.is_empty() && (common == wanted.total() || count.is_some_and(|count| common >= count))
            }
            None => count.is_some_and(|count| succeeded.total() >= count),
        }
    };
    let place = list(job, &["spec", "successPolicy", "rules"]).iter().position(fulfils)?;
    Some(format!("Matched rules at index {place}"))
}
