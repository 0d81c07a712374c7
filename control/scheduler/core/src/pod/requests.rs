//! What a pod asks for, as a sum over its containers.
//!
//! Facts: component-helpers' `resource/helpers.go`: containers and sidecars add up; an init container needs as much as it
//! asks for and the sidecars before it; the pod's own figures replace those sums; overhead comes on top. What a container
//! got by a resize counts where it is more than what it asks for.

use serde_json::Value;

use crate::read::{self, BadObject};
use crate::resources::Resources;

/// A container without a request for CPU counts as this many thousandths where nodes are scored.
pub const DEFAULT_CPU: i64 = 100;

/// The same of memory, in bytes.
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Sums of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub requests: Resources,
    /// CPU and memory, with defaults.
    pub nonzero: (i64, i64),
}

/// One container's: what it asks for, and that with defaults.
#[derive(Clone, Default)]
struct Both {
    plain: Resources,
    filled: Resources,
}

impl Both {
    fn add(&mut self, more: &Self) {
        self.plain.add(&more.plain);
        self.filled.add(&more.filled);
    }

    fn raise(&mut self, least: &Self) {
        self.plain.raise(&least.plain);
        self.filled.raise(&least.filled);
    }
}

impl Requests {
    /// # Errors
    /// A value that is no quantity.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let refused = read::list(&status["conditions"])
            .iter()
            .find(|condition| read::text(condition, "type") == "PodResizePending")
            .is_some_and(|condition| read::text(condition, "reason") == "Infeasible");
        let mut sum = Both::default();
        for container in read::list(&spec["containers"]) {
            sum.add(&of(container, &status["containerStatuses"], refused)?);
        }
        let (mut sidecars, mut most) = (Both::default(), Both::default());
        for container in read::list(&spec["initContainers"]) {
            let sidecar = read::text(container, "restartPolicy") == "Always";
            let known = if sidecar { &status["initContainerStatuses"] } else { &Value::Null };
            let mut one = of(container, known, refused)?;
            if sidecar {
                sum.add(&one);
                sidecars.add(&one);
                one = sidecars.clone();
            } else {
                one.add(&sidecars);
            }
            most.raise(&one);
        }
        sum.raise(&most);
        for set in [&mut sum.plain, &mut sum.filled] {
            own_figures(set, spec)?;
        }
        if read::is_set(&spec["overhead"]) {
            let plain = Resources::read("spec.overhead", &spec["overhead"])?;
            sum.add(&Both { filled: plain.clone(), plain });
        }
        Ok(Self { requests: sum.plain, nonzero: (sum.filled.cpu, sum.filled.memory) })
    }
}

fn of(container: &Value, statuses: &Value, refused: bool) -> Result<Both, BadObject> {
    let asked = &container["resources"]["requests"];
    let mut plain = Resources::read("resources.requests", asked)?;
    let (mut has_cpu, mut has_memory) = (!asked["cpu"].is_null(), !asked["memory"].is_null());
    if statuses.is_array() {
        let name = read::text(container, "name");
        let status = read::list(statuses).iter().find(|status| read::text(status, "name") == name);
        if let Some(status) = status.filter(|status| !status["resources"].is_null()) {
            let actual = &status["resources"]["requests"];
            let allocated = &status["allocatedResources"];
            if refused {
                plain = Resources::default();
                (has_cpu, has_memory) = (false, false);
            }
            for more in [actual, allocated] {
                plain.raise(&Resources::read("status.resources", more)?);
                has_cpu |= !more["cpu"].is_null();
                has_memory |= !more["memory"].is_null();
            }
        }
    }
    let mut filled = Resources { cpu: plain.cpu, memory: plain.memory, ..Resources::default() };
    if !has_cpu {
        filled.cpu = DEFAULT_CPU;
    }
    if !has_memory {
        filled.memory = DEFAULT_MEMORY;
    }
    Ok(Both { plain, filled })
}

/// CPU, memory and huge pages that the pod as a whole asks for.
fn own_figures(sum: &mut Resources, spec: &Value) -> Result<(), BadObject> {
    let asked = &spec["resources"]["requests"];
    for (name, value) in read::map(asked) {
        let amount = read::quantity("spec.resources.requests", value)?;
        match name.as_str() {
            "cpu" => sum.cpu = amount.milli_value(),
            "memory" => sum.memory = amount.value(),
            name if name.starts_with("hugepages-") => {
                sum.others.retain(|(known, _)| &**known != name);
                sum.others.push((name.into(), amount.value()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sums(spec: Value, status: Value) -> (i64, i64, (i64, i64)) {
        let found = Requests::read(&json!({"spec": spec, "status": status})).expect("a pod");
        (found.requests.cpu, found.requests.memory, found.nonzero)
    }

    fn ask(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "0"}}})
    }

    #[test]
    fn containers_and_sidecars_add_up_and_init_containers_set_a_minimum() {
        let sidecar = |cpu: &str| {
            let mut container = ask(cpu);
            container["restartPolicy"] = json!("Always");
            container
        };
        for (init, containers, cpu) in [
            (json!([]), json!([ask("100m"), ask("200m")]), 300),
            (json!([ask("500m")]), json!([ask("100m"), ask("200m")]), 500),
            (json!([sidecar("50m"), ask("400m")]), json!([ask("100m")]), 450),
            (json!([ask("400m"), sidecar("50m")]), json!([ask("100m")]), 400),
            (json!([sidecar("50m"), sidecar("60m")]), json!([ask("100m")]), 210),
        ] {
            let spec = json!({"initContainers": init, "containers": containers});
            assert_eq!(sums(spec.clone(), Value::Null).0, cpu, "{spec}");
        }
    }

    #[test]
    fn containers_without_requests_count_as_some_in_scores_only() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(sums(spec, Value::Null), (0, 0, (200, 2 * DEFAULT_MEMORY)));
        let overhead = json!({"containers": [ask("0")], "overhead": {"cpu": "10m", "memory": "1Mi"}});
        assert_eq!(sums(overhead, Value::Null), (10, 1 << 20, (10, 1 << 20)));
        let own = json!({"containers": [ask("1")], "resources": {"requests": {"cpu": "2"}}});
        assert_eq!(sums(own, Value::Null).0, 2000);
    }

    #[test]
    fn what_a_resize_gave_counts_where_it_is_more() {
        let status = |condition: &str| {
            json!({"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "300m"}},
                "allocatedResources": {"cpu": "400m"}}],
                "conditions": [{"type": "PodResizePending", "reason": condition}]})
        };
        let spec = |cpu: &str| json!({"containers": [ask(cpu)]});
        assert_eq!(sums(spec("100m"), status("Deferred")).0, 400);
        assert_eq!(sums(spec("900m"), status("Deferred")).0, 900);
        assert_eq!(sums(spec("900m"), status("Infeasible")).0, 400);
    }

    #[test]
    fn a_wrong_quantity_is_named() {
        let wrong = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "much"}}}]}});
        let error = Requests::read(&wrong).expect_err("no quantity").to_string();
        assert!(error.starts_with("resources.requests.cpu: \"much\" is not a quantity"), "{error}");
    }
}
