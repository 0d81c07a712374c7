//! What is asked of both servers, as data: files of `tests/apiserver`, one for each theme.
//!
//! A file is a list of steps:
//!
//! ```yaml
//! - step: a second one of the same name is refused
//!   ask: POST /api/v1/namespaces/default/configmaps   # or follow: PATH, for a watch
//!   as: alice                 # a user of the token file, or nobody; admin where it is left out
//!   type: application/json    # Content-Type; that is the default
//!   headers: {Accept: application/yaml}
//!   body: {kind: ConfigMap}   # a value is sent as JSON, a text as it is
//!   save: {rv: /metadata/resourceVersion}             # for ${rv} in later steps of the theme
//!   events: 2                 # how many a followed watch waits for
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::difference::{Allowed, compare};
use super::http::{Client, Reply};
use super::{Pair, Side, normal, side};

/// How long a watch may be quiet before it is taken for complete.
const QUIET: Duration = Duration::from_secs(5);

/// How long it takes until a controller is asked again whether it has seen an object.
const AGAIN: Duration = Duration::from_millis(20);

/// One request to both servers.
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub name: String,
    pub method: String,
    pub path: String,
    pub user: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Name of a variable, and a JSON pointer into the reply.
    pub save: Vec<(String, String)>,
    /// Some: the reply is a stream of so many events.
    pub events: Option<usize>,
    /// Some: it is asked again until the reply has this value at this pointer, for a controller has to see it first.
    pub until: Option<(String, Value)>,
}

/// Steps that build on one another.
#[derive(Clone, Debug, Default)]
pub struct Theme {
    pub name: String,
    pub steps: Vec<Step>,
}

impl Theme {
    /// Reads a file of `tests/apiserver`, without its ending.
    ///
    /// # Panics
    /// It is not as it should be.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("apiserver/{name}.yaml"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let documents = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let steps = documents.iter().flat_map(|document| document.as_array().expect("a list of steps"));
        Self { name: name.to_owned(), steps: steps.map(Step::read).collect() }
    }
}

impl Step {
    /// A request with a JSON body, or without one.
    pub fn json(name: impl Into<String>, ask: &str, body: Option<&Value>) -> Self {
        let (method, path) = ask.split_once(' ').expect("a method and a path");
        Self {
            name: name.into(),
            method: method.to_owned(),
            path: path.to_owned(),
            user: "admin".to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks again until the reply has a value.
    #[must_use]
    pub fn until(mut self, pointer: &str, value: Value) -> Self {
        self.until = Some((pointer.to_owned(), value));
        self
    }

    fn read(entry: &Value) -> Self {
        const KNOWN: [&str; 9] = ["step", "ask", "follow", "as", "type", "headers", "body", "save", "events"];
        let fields = entry.as_object().unwrap_or_else(|| panic!("no step: {entry}"));
        let odd = fields.keys().find(|name| !KNOWN.contains(&name.as_str()));
        assert!(odd.is_none(), "unknown {odd:?} in {entry}");
        let text = |name: &str| entry[name].as_str();
        let follow = text("follow");
        let ask = text("ask").map(str::to_owned).or_else(|| follow.map(|path| format!("GET {path}")));
        let ask = ask.unwrap_or_else(|| panic!("nothing is asked in {entry}"));
        let mut step = Self::json(text("step").unwrap_or(&ask), &ask, None);
        step.user = text("as").unwrap_or("admin").to_owned();
        step.body = match &entry["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            value => value.to_string().into_bytes(),
        };
        if let Some(kind) = text("type") {
            step = step.header("Content-Type", kind);
        }
        let pairs = |name: &str| entry[name].as_object().into_iter().flatten();
        for (name, value) in pairs("headers") {
            step = step.header(name, value.as_str().expect("a text"));
        }
        step.save = pairs("save")
            .map(|(name, at)| (name.clone(), at.as_str().expect("a pointer").to_owned()))
            .collect();
        step.events = follow.map(|_| entry["events"].as_u64().unwrap_or(1) as usize);
        step
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: usize,
    pub differing: usize,
    /// One block of text for each step that differs.
    pub text: String,
}

/// One server in the course of a theme.
struct Course<'a> {
    side: &'a Side,
    client: Client,
    saved: BTreeMap<String, String>,
}

impl Report {
    /// Asks both servers all of a theme, and adds what differs.
    pub fn run(&mut self, pair: &Pair, theme: &Theme, allowed: &Allowed) {
        let mut original = Course::new(&pair.original);
        let mut ours = Course::new(&pair.ours);
        for step in &theme.steps {
            self.steps += 1;
            let (theirs, own) = std::thread::scope(|scope| {
                let theirs = scope.spawn(|| original.take(step));
                let own = ours.take(step);
                (theirs.join().expect("no panic"), own)
            });
            let title = format!("{}: {}", theme.name, step.name);
            let found = compare(&theirs, &own);
            let found: Vec<_> = found.into_iter().filter(|one| !allowed.holds(&title, one)).collect();
            if found.is_empty() {
                continue;
            }
            self.differing += 1;
            let path = ours.fill(&step.path);
            self.text.push_str(&format!("{title} ({} {path})\n", step.method));
            for one in found {
                self.text.push_str(&format!("    {one}\n"));
            }
        }
        self.write();
    }

    /// For whoever waits for it, after each theme.
    fn write(&self) {
        if let Some(path) = std::env::var_os("WEFT_COMPARE_REPORT") {
            let _ = std::fs::write(
                path,
                format!("{}{} of {} steps differ\n", self.text, self.differing, self.steps),
            );
        }
    }

    /// # Panics
    /// Something differs that is not meant to.
    pub fn check(&self) {
        assert!(self.steps > 0, "nothing was compared");
        assert!(self.differing == 0, "{}{} of {} steps differ", self.text, self.differing, self.steps);
    }
}

impl<'a> Course<'a> {
    fn new(side: &'a Side) -> Self {
        Self { side, client: side.client(), saved: BTreeMap::new() }
    }

    /// Takes a step, and gives the reply as it compares.
    fn take(&mut self, step: &Step) -> Value {
        let mut headers = side::authorization(&step.user);
        headers.extend(step.headers.iter().map(|(name, value)| (name.clone(), self.fill(value))));
        let path = self.fill(&step.path);
        let body = match std::str::from_utf8(&step.body) {
            Ok(text) => self.fill(text).into_bytes(),
            Err(_) => step.body.clone(),
        };
        let reply = match step.events {
            None => {
                let end = std::time::Instant::now() + QUIET;
                loop {
                    let reply = self.client.ask(&step.method, &path, &headers, &body);
                    let is_there = |(pointer, value): &(String, Value)| {
                        let body = reply.as_ref().ok().map(|reply| reply.body.as_slice()).unwrap_or_default();
                        let body: Value = serde_json::from_slice(body).unwrap_or_default();
                        body.pointer(pointer) == Some(value)
                    };
                    if step.until.as_ref().is_none_or(is_there) || std::time::Instant::now() > end {
                        break reply;
                    }
                    std::thread::sleep(AGAIN);
                }
            }
            Some(events) => self.client.follow(&path, &headers, QUIET, |body| {
                body.iter().filter(|byte| **byte == b'\n').count() >= events
            }),
        };
        match reply {
            Ok(mut reply) => {
                if let Some(events) = step.events {
                    first_lines(&mut reply.body, events);
                }
                self.save(step, &reply);
                normal::reply(&reply, self.side.address)
            }
            Err(error) => Value::from(format!("no answer: {error}")),
        }
    }

    fn save(&mut self, step: &Step, reply: &Reply) {
        if step.save.is_empty() {
            return;
        }
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        for (name, at) in &step.save {
            let found =
                body.pointer(at).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            self.saved.insert(name.clone(), found.unwrap_or_default());
        }
    }

    /// A text with the values of its variables.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.saved {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        text
    }
}

/// Cuts off what comes behind so many lines: a server may have sent half of the next event with the last one.
fn first_lines(body: &mut Vec<u8>, lines: usize) {
    let ends = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    if let Some(end) = ends.take(lines).last() {
        body.truncate(end);
    }
}
