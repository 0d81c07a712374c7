//! The bridge from client-side apply: the annotation in which kubectl keeps what it applied last.
//!
//! An apply by the manager `kubectl` may take what that annotation shows to be kubectl's own, and keeps it up to date.

use serde_json::{Map, Value};

use super::compare::compare;
use super::managed::Manager;
use super::path::Element;
use super::prune::Conflicts;
use super::set::Set;
use super::{Write, check, own, shown};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "kubectl";

/// All annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The conflicts that stand, with their paths in order; none where kubectl may take all that it wants.
pub(super) fn disallowed<'a>(
    write: &Write<'_>,
    live: &Value,
    conflicts: Conflicts<'a>,
) -> Vec<(Manager<'a>, Vec<String>)> {
    let annotation =
        (write.manager == MANAGER).then(|| annotations(live)?.get(ANNOTATION)?.as_str()).flatten();
    let applied: Option<Value> = annotation.and_then(|text| serde_json::from_str(text).ok());
    let allowed = applied.as_ref().and_then(|applied| allowed(write, live, applied)).unwrap_or_default();
    let left = conflicts.into_iter().map(|(manager, set)| {
        let mut paths = Vec::new();
        set.paths(&mut |path: &[Element<'_>]| {
            if !allowed.has(path) {
                paths.push(shown(path));
            }
        });
        (manager, paths)
    });
    left.filter(|(_, paths)| !paths.is_empty()).collect()
}

/// What was applied last and is still so.
fn allowed<'a>(write: &'a Write<'_>, live: &'a Value, applied: &'a Value) -> Option<Set<'a>> {
    if applied.get("apiVersion").and_then(Value::as_str) != Some(write.api_version) {
        return None;
    }
    check::check(write.schema, applied).ok()?;
    let set = own::set(write.schema, applied).ok()?;
    let difference = compare(write.schema, applied, live, false).ok()?;
    Some(set.difference(&difference.modified).difference(&difference.added).difference(&difference.removed))
}

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}

/// Writes the annotation again, where there is one and kubectl applied.
pub(super) fn refresh(write: &Write<'_>, object: &mut Value, patch: &Value) {
    let has = annotations(object)
        .and_then(|all| all.get(ANNOTATION)?.as_str())
        .is_some_and(|text| !text.is_empty());
    if write.manager != MANAGER || !has {
        return;
    }
    let mut applied = patch.clone();
    let own = applied.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(own) = own.and_then(Value::as_object_mut) {
        own.remove(ANNOTATION);
    }
    let all = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    let Some(all) = all.and_then(Value::as_object_mut) else { return };
    all.insert(ANNOTATION.to_owned(), (go_json(&applied) + "\n").into());
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if all.iter().map(size).sum::<usize>() > MAX_ANNOTATIONS {
        all.remove(ANNOTATION);
    }
}

/// JSON as Go's encoder writes it: `<`, `>` and `&`, which stand in texts only, are escaped.
fn go_json(value: &Value) -> String {
    let text = value.to_string();
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}
