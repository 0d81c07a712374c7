//! Priority: the number behind a pod's priority class, and one default among the classes.

use apiclient_core::wire::Status;
use serde_json::{Value, json};

use super::{Admission, AdmissionRequest, Notes, World};
use crate::edit::{self, text};

#[derive(Debug)]
pub struct Priority;

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";

fn default_class(world: &World<'_>) -> Option<std::sync::Arc<Value>> {
    let all = world.objects.list(CLASSES, "");
    let defaults = all.into_iter().filter(|class| class["globalDefault"] == true);
    defaults.min_by_key(|class| class["value"].as_i64())
}

impl Admission for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if !request.is("", "pods") {
            return Ok(());
        }
        if let (true, Some(old)) = (request.is_update(), request.old) {
            if let Some(spec) = edit::existing(request.object, "spec") {
                for field in ["priority", "preemptionPolicy"] {
                    if !old["spec"][field].is_null() {
                        edit::default(spec, field, old["spec"][field].clone());
                    }
                }
            }
            return Ok(());
        }
        if !request.is_create() {
            return Ok(());
        }
        let name = text(request.object, &["spec", "priorityClassName"]);
        let class = if name.is_empty() {
            default_class(world)
        } else {
            let found = world.objects.get(CLASSES, "", name);
            let missing = || request.forbidden(&format!("no PriorityClass with name {name} was found"));
            Some(found.ok_or_else(missing)?)
        };
        let value = class.as_ref().map_or(0, |class| class["value"].as_i64().unwrap_or_default());
        let policy =
            class.as_ref().map_or("PreemptLowerPriority", |class| text(class, &["preemptionPolicy"]));
        let spec = &request.object["spec"];
        if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
            return Err(request.forbidden(&format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            )));
        }
        if let Some(given) =
            spec["preemptionPolicy"].as_str().filter(|given| !policy.is_empty() && *given != policy)
        {
            return Err(request.forbidden(&format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            )));
        }
        let (name, policy) =
            (class.as_ref().map(|class| text(class, &["metadata", "name"]).to_owned()), policy.to_owned());
        if let Some(spec) = edit::child(request.object, "spec") {
            if let Some(name) = name {
                edit::set(spec, "priorityClassName", name);
            }
            edit::set(spec, "priority", json!(value));
            if !policy.is_empty() {
                edit::set(spec, "preemptionPolicy", policy);
            }
        }
        Ok(())
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        let writes = request.is_create() || request.is_update();
        if !request.is("scheduling.k8s.io", "priorityclasses")
            || !writes
            || request.object["globalDefault"] != true
        {
            return Ok(());
        }
        let Some(other) = default_class(world) else { return Ok(()) };
        let name = text(&other, &["metadata", "name"]);
        if request.is_update() && name == text(request.object, &["metadata", "name"]) {
            return Ok(());
        }
        let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
        Err(request.forbidden(&why))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, Stored};
    use super::*;

    fn world() -> Stored {
        let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": "PreemptLowerPriority"});
        Stored::default().with(CLASSES, class("high", 1000, false)).with(CLASSES, class("usual", 5, true))
    }

    fn spec(given: Value) -> Result<Value, String> {
        let case = Case::create("", "pods", json!({"metadata": {"name": "p"}, "spec": given}));
        case.mutated(&Priority, &world()).map(|pod| pod["spec"].clone()).map_err(|refused| refused.message)
    }

    #[test]
    fn a_pod_gets_the_value_of_its_class() {
        let wanted = |name: &str, value: i64| json!({"priorityClassName": name, "priority": value, "preemptionPolicy": "PreemptLowerPriority"});
        assert_eq!(spec(json!({"priorityClassName": "high"})), Ok(wanted("high", 1000)));
        assert_eq!(spec(json!({})), Ok(wanted("usual", 5)));
        assert_eq!(
            spec(json!({"priorityClassName": "none"})).expect_err("a refusal"),
            r#"pods "p" is forbidden: no PriorityClass with name none was found"#
        );
        assert!(spec(json!({"priority": 7})).expect_err("a refusal").contains("(7) must not be provided"));
        let bare = Case::create("", "pods", json!({"spec": {}}))
            .mutated(&Priority, &Stored::default())
            .expect("admitted");
        assert_eq!(bare["spec"], json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}));
    }

    #[test]
    fn there_is_one_default_class() {
        let class = json!({"metadata": {"name": "second"}, "globalDefault": true});
        let case =
            Case { group: "scheduling.k8s.io", name: "second", ..Case::create("", "priorityclasses", class) };
        let refused = case.validated(&Priority, &world()).expect_err("a refusal").message;
        assert!(
            refused.ends_with("PriorityClass usual is already marked as default. Only one default can exist")
        );
    }
}
