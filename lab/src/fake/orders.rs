//! What a test tells fake nodes of a pod or of a node: annotations.
//!
//! `weft.dev/KEY` is for all containers of a pod, `CONTAINER.weft.dev/KEY` for one of them, and goes before. They may change
//! at any time. Keys: [`KEYS`].

use std::time::Duration;

use goflags::duration;
use serde_json::Value;

use super::usage::Usage;

const DOMAIN: &str = "weft.dev";

/// All keys, each with an example and what it does.
pub const KEYS: [(&str, &str, &str); 9] = [
    (
        "run-for",
        "5s",
        "a container ends after this time; without it, it runs until it is stopped (init containers end at once)",
    ),
    (
        "exit-code",
        "1",
        "what it ends with, 0 where nothing is said; 1/0 fails the first time and succeeds from then on",
    ),
    ("ready", "false", "its readiness does not come, or goes again; true is as without it"),
    ("start-delay", "2s", "how long it takes until it can start, as pulling an image does"),
    (
        "stop-delay",
        "5s",
        "how long it goes on after it was told to stop; beyond the grace period it is killed",
    ),
    (
        "restart-delay",
        "1s",
        "the first pause before a restart, in the place of 10s; the longest is thirty times that",
    ),
    (
        "pull",
        "fail",
        "its image cannot be pulled; so can none of a registry whose name begins with `invalid.`, or with the tag `missing`",
    ),
    ("usage", "cpu=250m,memory=64Mi", "what each container uses; on a Node, what its system uses"),
    (
        "lost",
        "true",
        "on a Node: it renews no lease, and nothing happens to its pods, as if the machine were gone",
    ),
];

/// The annotations of an object.
#[derive(Clone, Copy)]
pub struct Orders<'a>(&'a Value);

/// An annotation that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {DOMAIN}/{key}: {value:?} is not {want}")]
pub struct BadOrder {
    pub key: &'static str,
    pub value: String,
    pub want: &'static str,
}

/// What one container is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerOrders {
    pub run_for: Option<Duration>,
    /// Of its first run, its second and so on; the last one counts from there.
    pub exit_codes: Vec<i32>,
    pub ready: bool,
    pub start_delay: Duration,
    pub stop_delay: Duration,
    pub restart_delay: Duration,
    pub pull_fails: bool,
}

/// The kubelet's first pause before a restart.
const RESTART_DELAY: Duration = Duration::from_secs(10);

impl Default for ContainerOrders {
    fn default() -> Self {
        Self {
            run_for: None,
            exit_codes: vec![0],
            ready: true,
            start_delay: Duration::ZERO,
            stop_delay: Duration::ZERO,
            restart_delay: RESTART_DELAY,
            pull_fails: false,
        }
    }
}

impl<'a> Orders<'a> {
    pub fn of(object: &'a Value) -> Self {
        Self(&object["metadata"]["annotations"])
    }

    /// On a Node.
    pub fn lost(self) -> bool {
        self.text("", "lost") == Some("true")
    }

    /// # Errors
    /// An annotation that makes no sense.
    pub fn container(self, name: &str) -> Result<ContainerOrders, BadOrder> {
        // Nearly all pods have none.
        let default = ContainerOrders::default();
        let Some(all) = self.0.as_object() else { return Ok(default) };
        if !all.keys().any(|key| key.contains(DOMAIN)) {
            return Ok(default);
        }
        let time = |key| self.read(name, key, "a duration such as 5s, 200ms or 1m30s", duration::parse);
        let word = |key, want, yes: &'static str, no: &'static str| {
            self.read(name, key, want, move |text| (text == yes || text == no).then_some(text == yes))
        };
        Ok(ContainerOrders {
            run_for: time("run-for")?,
            exit_codes: self
                .read(name, "exit-code", "a number from 0 to 255, or several with / between them", codes)?
                .unwrap_or(default.exit_codes),
            ready: word("ready", "true or false", "true", "false")?.unwrap_or(true),
            start_delay: time("start-delay")?.unwrap_or_default(),
            stop_delay: time("stop-delay")?.unwrap_or_default(),
            restart_delay: time("restart-delay")?.unwrap_or(RESTART_DELAY),
            pull_fails: word("pull", "fail or succeed", "fail", "succeed")?.unwrap_or(false),
        })
    }

    /// # Errors
    /// The annotation makes no sense.
    pub fn usage(self, container: &str) -> Result<Option<Usage>, BadOrder> {
        self.read(container, "usage", "amounts such as cpu=250m,memory=64Mi", |text| text.parse().ok())
    }

    fn read<T>(
        self,
        container: &str,
        key: &'static str,
        want: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, BadOrder> {
        let Some(text) = self.text(container, key) else { return Ok(None) };
        let value = parse(text.trim());
        value.map(Some).ok_or_else(|| BadOrder { key, value: text.to_owned(), want })
    }

    fn text(self, container: &str, key: &str) -> Option<&'a str> {
        let own = (!container.is_empty()).then(|| self.0[format!("{container}.{DOMAIN}/{key}")].as_str());
        own.flatten().or_else(|| self.0[format!("{DOMAIN}/{key}")].as_str())
    }
}

fn codes(text: &str) -> Option<Vec<i32>> {
    let codes: Result<Vec<u8>, _> = text.split('/').map(|code| code.trim().parse::<u8>()).collect();
    Some(codes.ok()?.into_iter().map(i32::from).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(annotations: &Value) -> Value {
        json!({ "metadata": { "annotations": annotations } })
    }

    #[test]
    fn orders_are_for_all_containers_or_for_one() {
        let pod = pod(&json!({
            "weft.dev/run-for": "5s", "a.weft.dev/run-for": "200ms", "weft.dev/exit-code": "1/0", "weft.dev/ready": "false",
            "a.weft.dev/ready": "true", "weft.dev/restart-delay": "1s", "a.weft.dev/pull": "fail", "weft.dev/usage": "cpu=250m",
        }));
        let orders = Orders::of(&pod);
        let a = orders.container("a").expect("sound");
        assert_eq!((a.run_for, a.ready, a.pull_fails), (Some(Duration::from_millis(200)), true, true));
        let b = orders.container("b").expect("sound");
        assert_eq!((b.run_for, b.ready, b.pull_fails), (Some(Duration::from_secs(5)), false, false));
        assert_eq!((b.exit_codes, b.restart_delay), (vec![1, 0], Duration::from_secs(1)));
        assert!(orders.usage("a").is_ok_and(|usage| usage.is_some()));
    }

    #[test]
    fn without_orders_a_container_runs_and_is_ready() {
        for object in [json!({}), pod(&json!({"a": "b"})), pod(&json!(7))] {
            assert_eq!(Orders::of(&object).container("a"), Ok(ContainerOrders::default()));
        }
    }

    #[test]
    fn an_order_that_makes_no_sense_is_named_with_what_is_wanted() {
        for (key, value, want) in [
            (
                "run-for",
                "5",
                r#"annotation weft.dev/run-for: "5" is not a duration such as 5s, 200ms or 1m30s"#,
            ),
            (
                "exit-code",
                "300",
                r#"annotation weft.dev/exit-code: "300" is not a number from 0 to 255, or several with / between them"#,
            ),
            ("ready", "no", r#"annotation weft.dev/ready: "no" is not true or false"#),
            ("pull", "", r#"annotation weft.dev/pull: "" is not fail or succeed"#),
        ] {
            let pod = pod(&json!({ format!("weft.dev/{key}"): value }));
            assert_eq!(Orders::of(&pod).container("a").expect_err("no sense").to_string(), want);
        }
        let pod = pod(&json!({ "weft.dev/usage": "cpu=x" }));
        assert!(Orders::of(&pod).usage("a").is_err_and(|error| error.to_string().contains("cpu=250m")));
    }

    #[test]
    fn every_example_makes_sense() {
        for (key, example, _) in KEYS {
            let object = pod(&json!({ format!("weft.dev/{key}"): example }));
            let orders = Orders::of(&object);
            let changed = orders.container("a").expect("sound") != ContainerOrders::default();
            assert!(
                changed || orders.lost() || orders.usage("a").expect("sound").is_some(),
                "{key} has no effect"
            );
        }
    }
}
