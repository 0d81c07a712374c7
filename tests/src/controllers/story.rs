//! What happens in a story, and its telling to both clusters.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::normal;
use super::{Cluster, Whose};
use crate::apiserver::difference::{Allowed, compare};
use crate::wait::until_explained;

/// How long a step may take until what it waits for is so.
const PATIENCE: Duration = Duration::from_secs(180);

/// For how long nothing may change at a point that is compared, and how often that is waited for.
const STANDS_STILL: Duration = Duration::from_secs(2);
const LOOKS: usize = 20;

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
    /// A command that must fail, and says this among other things.
    Refused { words: String, says: String },
    /// The kinds whose objects are compared at this point.
    Compare(Vec<String>),
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
        let kinds = |list: &Value| list.as_array().expect("kinds").iter().map(text).collect();
        let step = |step: &Value| {
            let field = |field: &str| text(&step[field]);
            let has = |act: &str| !step[act].is_null();
            match () {
                () if has("apply") => Step::Apply(field("apply")),
                () if has("run") => Step::Run(field("run")),
                () if has("refused") => Step::Refused { words: field("refused"), says: field("says") },
                () if has("compare") => Step::Compare(kinds(&step["compare"])),
                () if has("until") => {
                    Step::Until { what: field("until"), path: field("path"), says: field("says") }
                }
                () => panic!("{name}: {step} is no step"),
            }
        };
        Self {
            name: name.to_owned(),
            steps: story["steps"].as_array().expect("steps").iter().map(step).collect(),
            compared: kinds(&story["compared"]),
        }
    }

    /// All that there is where the story compares, and in the end.
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
        let mut seen = BTreeMap::new();
        for (nth, step) in self.steps.iter().enumerate() {
            match step {
                Step::Apply(objects) => self.must(cluster, &["apply", "-n", namespace, "-f", "-"], objects),
                Step::Run(words) => self.must(cluster, &self.placed(words), ""),
                Step::Refused { words, says } => {
                    let output = cluster.kubectl(&self.placed(words), "");
                    let said = String::from_utf8_lossy(&output.stderr);
                    let refused = !output.status.success() && said.contains(says);
                    assert!(refused, "{}: kubectl {words}: {said}\n{}", self.name, cluster.logs());
                }
                Step::Compare(kinds) => _ = seen.insert(format!("step {nth}"), self.settled(cluster, kinds)),
                Step::Until { what, path, says } => {
                    let query = format!("jsonpath={path}");
                    let mut words = vec!["get", "-n", namespace, "-o", &query];
                    words.extend(what.split(' '));
                    let last = RefCell::new(String::new());
                    let look = || {
                        let output = cluster.kubectl(&words, "");
                        *last.borrow_mut() = said(&output);
                        (*last.borrow() == *says).then_some(())
                    };
                    let wish = format!("{}: {what} at {path} to say {says:?}", self.name);
                    let explain = || format!("it says {:?}\n{}", last.borrow(), cluster.logs());
                    until_explained(&wish, PATIENCE, look, explain);
                }
            }
        }
        seen.insert("end".to_owned(), self.settled(cluster, &self.compared));
        normal::story(&seen)
    }

    /// Words of a command, and where it acts.
    fn placed<'a>(&'a self, words: &'a str) -> Vec<&'a str> {
        words.split(' ').chain(["-n", &self.name]).collect()
    }

    /// What is left once it stands still: events and counts come after what they are about.
    fn settled(&self, cluster: &Cluster, kinds: &[String]) -> Value {
        let mut before = self.left(cluster, kinds);
        for _ in 0..LOOKS {
            thread::sleep(STANDS_STILL);
            let now = self.left(cluster, kinds);
            if now == before {
                break;
            }
            before = now;
        }
        before
    }

    /// Objects of these kinds. A kind may have a name or a selector behind it.
    fn left(&self, cluster: &Cluster, kinds: &[String]) -> Value {
        let mut left = serde_json::Map::new();
        for kind in kinds {
            let mut words = vec!["get", "-n", &self.name, "-o", "json"];
            words.extend(kind.split(' '));
            let output = cluster.kubectl(&words, "");
            let found: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{}: {kind}: {error}: {}", self.name, said(&output)));
            let items = found["items"].as_array().cloned();
            left.insert(kind.clone(), items.unwrap_or_else(|| vec![found]).into());
        }
        left.into()
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

/// What a command has answered, without warnings.
fn said(output: &Output) -> String {
    let (answer, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let errors: Vec<&str> = errors.lines().filter(|line| !line.starts_with("Warning: ")).collect();
    answer.trim().to_owned() + errors.join("\n").trim()
}

/// What a thread panicked with.
fn problem(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a step failed").to_owned()
}

/// Tells stories to both clusters, and says what differs in their ends, and which of them came to none.
pub fn tell(stories: &[&str], allowed: &Allowed) -> String {
    let stories: Vec<Story> = stories.iter().map(|name| Story::read(name)).collect();
    let told = |whose: Whose| {
        let cluster = Cluster::up(whose);
        // They do not wait for each other.
        thread::scope(|scope| {
            let running: Vec<_> = stories.iter().map(|story| scope.spawn(|| story.run(&cluster))).collect();
            let ends = running.into_iter().map(|one| one.join().map_err(|panic| problem(&*panic)));
            ends.collect::<Vec<_>>()
        })
    };
    let (originals, ours) = (told(Whose::Originals), told(Whose::Ours));
    let mut report = String::new();
    for ((story, original), own) in stories.iter().zip(originals).zip(ours) {
        let title = format!("story: {}", story.name);
        let mut say = |what: &dyn Display| report.push_str(&format!("{title}\n    {what}\n"));
        match (original, own) {
            (Ok(original), Ok(own)) => {
                let found = compare(&original, &own);
                found.iter().filter(|one| !allowed.holds(&title, one)).for_each(|one| say(one));
            }
            (original, own) => {
                original.err().iter().for_each(|problem| say(&format!("with the originals: {problem}")));
                own.err().iter().for_each(|problem| say(&format!("with ours: {problem}")));
            }
        }
    }
    report
}
