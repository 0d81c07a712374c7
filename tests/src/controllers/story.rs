//! What happens in a story, and its telling to both clusters.

use std::path::Path;
use std::thread;

use serde_json::Value;

use super::normal;
use super::{Cluster, Whose};
use crate::apiserver::difference::{Allowed, compare};
use crate::wait::until_explained;

/// How long a step may take until what it waits for is so.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(180);

/// A story as `tests/controllers` has it.
#[derive(Debug)]
pub struct Story {
    name: String,
    steps: Vec<Step>,
    /// The kinds whose objects are compared in the end.
    compared: Vec<String>,
}

#[derive(Debug)]
enum Step {
    /// Objects, as `kubectl apply` takes them.
    Apply(String),
    /// A command that must succeed.
    Run(String),
    /// What `kubectl get WHAT -o jsonpath=PATH` says at last.
    Until { what: String, path: String, says: String },
}

impl Story {
    /// # Panics
    /// The file is not as it should be.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("controllers/{name}.yaml"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let documents = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{error}"));
        let story = documents.first().expect("a document");
        let text =
            |value: &Value| value.as_str().unwrap_or_else(|| panic!("{name}: no text: {value}")).to_owned();
        let step = |step: &Value| match (&step["apply"], &step["run"], &step["until"]) {
            (Value::String(objects), ..) => Step::Apply(objects.clone()),
            (_, Value::String(words), _) => Step::Run(words.clone()),
            (_, _, Value::String(what)) => {
                Step::Until { what: what.clone(), path: text(&step["path"]), says: text(&step["says"]) }
            }
            _ => panic!("{name}: {step} is no step"),
        };
        Self {
            name: name.to_owned(),
            steps: story["steps"].as_array().expect("steps").iter().map(step).collect(),
            compared: story["compared"].as_array().expect("compared kinds").iter().map(text).collect(),
        }
    }

    /// All that is left in the end, as it compares.
    fn run(&self, cluster: &Cluster) -> Value {
        let namespace = self.name.as_str();
        self.must(cluster, &["create", "namespace", namespace], "");
        // Pods are refused until it has its account.
        let account = || {
            cluster
                .kubectl(&["get", "serviceaccount", "default", "-n", namespace], "")
                .status
                .success()
                .then_some(())
        };
        until_explained("the account of a namespace", PATIENCE, account, || cluster.logs());
        for step in &self.steps {
            match step {
                Step::Apply(objects) => self.must(cluster, &["apply", "-n", namespace, "-f", "-"], objects),
                Step::Run(words) => {
                    let words: Vec<&str> = words.split(' ').chain(["-n", namespace]).collect();
                    self.must(cluster, &words, "");
                }
                Step::Until { what, path, says } => {
                    let query = format!("jsonpath={path}");
                    let mut words = vec!["get", "-n", namespace, "-o", &query];
                    words.extend(what.split(' '));
                    let mut last = String::new();
                    let look = || {
                        let output = cluster.kubectl(&words, "");
                        last = String::from_utf8_lossy(&output.stdout).trim().to_owned()
                            + String::from_utf8_lossy(&output.stderr).trim();
                        (last == *says).then_some(())
                    };
                    let wish = format!("{}: {what} at {path} to say {says:?}", self.name);
                    until_explained(&wish, PATIENCE, look, || cluster.logs());
                }
            }
        }
        let mut end = serde_json::Map::new();
        for kind in &self.compared {
            let output = cluster.kubectl(&["get", kind, "-n", namespace, "-o", "json"], "");
            let list: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{}: {kind}: {error}", self.name));
            end.insert(kind.clone(), list["items"].clone());
        }
        normal::objects(Value::Object(end))
    }

    fn must(&self, cluster: &Cluster, words: &[&str], input: &str) {
        let output = cluster.kubectl(words, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: kubectl {}: {said}\n{}",
            self.name,
            words.join(" "),
            cluster.logs()
        );
    }
}

/// Tells stories to both clusters, and says what differs in their ends.
///
/// # Panics
/// A step fails in one of them.
pub fn tell(stories: &[&str], allowed: &Allowed) -> String {
    let stories: Vec<Story> = stories.iter().map(|name| Story::read(name)).collect();
    let told = |whose: Whose| {
        let cluster = Cluster::up(whose);
        // They do not wait for each other.
        thread::scope(|scope| {
            let running: Vec<_> = stories.iter().map(|story| scope.spawn(|| story.run(&cluster))).collect();
            running.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
        })
    };
    let (originals, ours) = (told(Whose::Originals), told(Whose::Ours));
    let mut report = String::new();
    for ((story, original), own) in stories.iter().zip(&originals).zip(&ours) {
        let title = format!("story: {}", story.name);
        let found = compare(original, own);
        for one in found.iter().filter(|one| !allowed.holds(&title, one)) {
            report.push_str(&format!("{title}\n    {one}\n"));
        }
    }
    report
}
