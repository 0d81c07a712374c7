//! kubectl over both servers: the same commands, the same words, the same exit status.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::difference::{Allowed, compare};
use super::{Pair, Side, normal};

/// Seconds that one command may take.
const LIMIT: &str = "60";

/// Times since something happened, as kubectl writes them.
static AGE: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[0-9]+(?:ms|s|m|h|d)(?:[0-9]+(?:s|m|h))?\b"));
static BLANKS: LazyLock<Regex> = LazyLock::new(|| regex("(?: {2,}|\t+)"));
static VERSION: LazyLock<Regex> = LazyLock::new(|| regex(r#"(resourceVersion"?: ?"?)[0-9]+"#));
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?:[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8}|[0-9-]{10} [0-9:]{8}\.[0-9]{9}) [+-][0-9]{4}",
    )
});
static SCRATCH: LazyLock<Regex> =
    LazyLock::new(|| regex("/tmp/(?:LIVE|MERGED)-[0-9]+|debugger-[a-z0-9]{5}|edit-[a-z0-9]+"));

fn regex(text: &str) -> Regex {
    Regex::new(&format!("(?-u){text}")).expect("a legal expression")
}

/// A command of `tests/apiserver/kubectl.yaml`.
#[derive(Clone, Debug)]
pub struct Line {
    pub words: Vec<String>,
    pub input: String,
    /// One of those that run always.
    pub short: bool,
}

/// All of them, in their order.
///
/// # Panics
/// The file is not as it should be.
pub fn lines() -> Vec<Line> {
    lines_of("kubectl")
}

/// Those of another file.
///
/// # Panics
/// As [`lines`].
pub fn lines_of(file: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("apiserver/{file}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let documents = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{error}"));
    let entries = documents.iter().flat_map(|document| document.as_array().expect("a list"));
    entries
        .map(|entry| Line {
            words: match &entry["run"] {
                Value::Array(words) => {
                    words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
                }
                // A schedule is one word.
                line => {
                    line.as_str().expect("words").split(' ').map(|word| word.replace("_*", " *")).collect()
                }
            },
            input: entry["input"].as_str().unwrap_or_default().to_owned(),
            short: entry["short"].as_bool().unwrap_or(false),
        })
        .collect()
}

/// kubectl with a home of its own.
struct Kubectl<'a> {
    side: &'a Side,
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl<'a> Kubectl<'a> {
    fn new(side: &'a Side) -> Self {
        let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
        Self { side, program, kubeconfig: side.kubeconfig("admin") }
    }

    /// Exit status and both outputs, without what must differ.
    fn run(&self, line: &Line) -> Value {
        let mut command = self.side.command("timeout");
        command.arg(LIMIT).arg(&self.program).args(&line.words);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.side.directory()).env("KUBECONFIG", &self.kubeconfig);
        command.env("KUBE_EDITOR", "sed -i s/again/edited/").current_dir(self.side.directory());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("kubectl: {error}"));
        if let Some(mut input) = child.stdin.take() {
            // kubectl may not read it.
            let _ = input.write_all(line.input.as_bytes());
        }
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("kubectl: {error}"));
        let lines = |bytes: &[u8]| -> Value { self.normal(bytes).lines().map(str::to_owned).collect() };
        json!({"status": output.status.code(), "out": lines(&output.stdout), "err": lines(&output.stderr)})
    }

    fn normal(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let mut text = normal::text(&text, self.side.address);
        text = text.replace(&self.side.directory().display().to_string(), "HOME");
        for (pattern, word) in [
            (&VERSION, "${1}VERSION"),
            (&DATE, "TIME"),
            (&AGE, "AGE"),
            (&SCRATCH, "SCRATCH"),
            (&BLANKS, "  "),
        ] {
            text = pattern.replace_all(&text, word).into_owned();
        }
        text
    }
}

/// Runs commands over both servers, and says what differs.
pub fn differences(pair: &Pair, lines: &[Line], allowed: &Allowed) -> String {
    let (original, ours) = (Kubectl::new(&pair.original), Kubectl::new(&pair.ours));
    let mut report = String::new();
    let mut differing = 0;
    for line in lines {
        let (theirs, own) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| original.run(line));
            let own = ours.run(line);
            (theirs.join().expect("no panic"), own)
        });
        let title = format!("kubectl: {}", line.words.join(" "));
        let found = compare(&theirs, &own);
        let found: Vec<_> = found.into_iter().filter(|one| !allowed.holds(&title, one)).collect();
        if found.is_empty() {
            continue;
        }
        differing += 1;
        report.push_str(&format!("{title}\n"));
        // What follows the first lines that differ, differs for the same reason.
        for one in found.iter().take(6) {
            report.push_str(&format!("    {one}\n"));
        }
    }
    if differing > 0 {
        report.push_str(&format!("{differing} of {} commands differ", lines.len()));
    }
    if let Some(path) = std::env::var_os("WEFT_COMPARE_REPORT") {
        let _ = std::fs::write(path, &report);
    }
    report
}
