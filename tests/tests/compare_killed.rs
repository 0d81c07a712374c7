//! Scheduler, controllers, API server and etcd as programs of their own, killed at any moment: what was asked for becomes true,
//! and nothing is done twice.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and root.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tests::apiserver::{Side, Which};
use tests::history::creations;
use tests::scheduler::random::Random;
use tests::testbed::weft;
use tests::wait::until_explained;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// For a roll-out of all, on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// For a program that was started.
const READY: Duration = Duration::from_secs(120);

const MANY: usize = 100;
const REPLICAS: usize = 3;

/// One of our programs beside a server.
struct Program {
    daemon: Daemon,
    arguments: Vec<OsString>,
}

impl Program {
    fn start(side: &Side, name: &str, words: &[&str]) -> Self {
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        let daemon = Daemon::new(name.to_owned(), here, side.directory(), name);
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        arguments.extend([OsString::from("--kubeconfig"), side.kubeconfig("admin").into()]);
        let program = Self { daemon, arguments };
        program.go();
        program
    }

    fn go(&self) {
        let path: PathBuf = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        self.daemon.start(&path, &self.arguments, &[]).unwrap_or_else(|error| panic!("{error}"));
    }

    fn kill(&self) {
        self.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}

/// What can be killed.
#[derive(Clone, Copy, Debug)]
enum Part {
    Etcd,
    Server,
    Scheduler,
    Controllers,
}

struct Plane {
    side: Side,
    scheduler: Program,
    controllers: Program,
    nodes: Program,
}

impl Plane {
    fn up() -> Self {
        let side = Side::new(Which::Ours, &["--etcd-compaction-interval=0s"]);
        side.start();
        let alone = ["--leader-elect=false", "--secure-port=0"];
        let program = |name: &str| Program::start(&side, name, &[name, alone[0], alone[1]]);
        let (scheduler, controllers) = (program("scheduler"), program("controller-manager"));
        let nodes = Program::start(&side, "nodes", &["lab", "nodes", "5"]);
        Self { side, scheduler, controllers, nodes }
    }

    /// Kills a part, and starts it again a moment later.
    fn strike(&self, part: Part, moment: Duration) {
        let pause = || std::thread::sleep(moment);
        match part {
            Part::Etcd => {
                let etcd = self.side.etcd();
                etcd.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
                pause();
                etcd.start().unwrap_or_else(|error| panic!("{error}"));
                etcd.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
            }
            Part::Server => {
                self.side.stop(Signal::SIGKILL);
                pause();
                self.side.start_only();
                // It answers before it is ready, and may be killed again by then.
                let answers = || self.list(DEPLOYMENTS).map(drop);
                until_explained("the API server to answer", READY, answers, || self.side.log());
            }
            Part::Scheduler => {
                self.scheduler.kill();
                pause();
                self.scheduler.go();
            }
            Part::Controllers => {
                self.controllers.kill();
                pause();
                self.controllers.go();
            }
        }
    }

    /// `None`: nobody answers.
    fn list(&self, path: &str) -> Option<Vec<Value>> {
        let headers = tests::apiserver::authorization("admin");
        let reply = self.side.client().ask("GET", path, &headers, &[]).ok()?;
        let list: Value = serde_json::from_slice(&reply.body).ok()?;
        list["items"].as_array().filter(|_| reply.status == 200).cloned()
    }

    /// Asks for something of each Deployment while no controller runs, so that none is done before all are asked for.
    fn ask_of_all(&self, method: &str, kind: &str, of: impl Fn(usize) -> (String, Value)) {
        self.controllers.kill();
        let mut client = self.side.client();
        let mut headers = tests::apiserver::authorization("admin");
        headers.push(("Content-Type".to_owned(), kind.to_owned()));
        for nth in 0..MANY {
            let (path, body) = of(nth);
            let reply = client.ask(method, &path, &headers, body.to_string().as_bytes());
            let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            let text = String::from_utf8_lossy(&reply.body);
            assert!((200..300).contains(&reply.status), "{method} {path}: {text}");
        }
        self.controllers.go();
    }

    /// All Deployments have what they ask for, and nothing else is there.
    fn is_done(&self) -> Option<()> {
        let deployments = self.list(DEPLOYMENTS)?;
        let done = deployments.iter().all(|deployment| {
            let status = &deployment["status"];
            let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
            counts.iter().all(|count| status[count] == REPLICAS)
                && status["observedGeneration"] == deployment["metadata"]["generation"]
        });
        let pods = self.list(PODS)?;
        (deployments.len() == MANY && done && pods.len() == MANY * REPLICAS).then_some(())
    }

    /// No set has more pods than it was ever to have.
    fn check(&self) {
        let mut counts = BTreeMap::<String, usize>::new();
        for pod in self.list(PODS).unwrap_or_default() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            *counts.entry(set_of(name)).or_default() += 1;
        }
        let many: Vec<_> = counts.iter().filter(|(_, count)| **count > REPLICAS).collect();
        assert!(many.is_empty(), "sets with more pods than {REPLICAS}: {many:?}");
    }

    /// Strikes until all is done. Returns how many strikes fell before that.
    fn strike_until_done(&self, random: &mut Random) -> usize {
        let mut parts = [Part::Controllers, Part::Server, Part::Etcd, Part::Scheduler];
        let (began, mut strikes) = (Instant::now(), 0);
        for round in 0..5 {
            for nth in (1..parts.len()).rev() {
                parts.swap(nth, usize::try_from(random.below(nth as u64 + 1)).expect("small"));
            }
            for part in parts {
                std::thread::sleep(Duration::from_millis(random.below(400)));
                self.check();
                if self.is_done().is_some() {
                    println!("done after {:?}, {round} rounds, {strikes} strikes", began.elapsed());
                    return strikes;
                }
                println!("{:?}: {part:?}", began.elapsed());
                self.strike(part, Duration::from_millis(random.below(400)));
                strikes += 1;
            }
        }
        until_explained("the Deployments to be as asked for", LIMIT, || self.is_done(), || self.explain());
        println!("done after {:?}, {strikes} strikes", began.elapsed());
        strikes
    }

    fn explain(&self) -> String {
        let short = |deployment: &Value| {
            let status = &deployment["status"];
            (status["updatedReplicas"] != REPLICAS || status["availableReplicas"] != REPLICAS)
                .then(|| format!("{}: {status}", deployment["metadata"]["name"]))
        };
        let late: Vec<String> =
            self.list(DEPLOYMENTS).unwrap_or_default().iter().filter_map(short).take(3).collect();
        let pods = self.list(PODS).map(|pods| pods.len());
        let logs = [&self.controllers, &self.scheduler, &self.nodes].map(|one| one.daemon.log_tail(12));
        format!("{pods:?} pods; {}\n{}", late.join("\n"), logs.join("\n"))
    }
}

/// The ReplicaSet of a pod, by its name.
fn set_of(pod: &str) -> String {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set).to_owned()
}

fn deployment(nth: usize) -> Value {
    let name = format!("web{nth}");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "example.org/app:1"}]},
            },
        },
    })
}

#[test]
fn a_hundred_deployments_roll_while_everything_is_killed() {
    let seed = std::env::var("WEFT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut random = Random::new(seed);
    let plane = Plane::up();
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let ready = || {
        let headers = tests::apiserver::authorization("admin");
        let reply = plane.side.client().ask("GET", account, &headers, &[]).ok()?;
        (reply.status == 200).then_some(())
    };
    until_explained("the account of pods", READY, ready, || plane.controllers.daemon.log_tail(20));
    plane.ask_of_all("POST", "application/json", |nth| (DEPLOYMENTS.to_owned(), deployment(nth)));
    let mut strikes = plane.strike_until_done(&mut random);
    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.org/app:2"}]);
    let patch = |nth| (format!("{DEPLOYMENTS}/web{nth}"), image.clone());
    plane.ask_of_all("PATCH", "application/json-patch+json", patch);
    strikes += plane.strike_until_done(&mut random);
    assert!(strikes >= 4, "{strikes} strikes: all was done before each part was killed");
    let pods = plane.list(PODS).expect("it serves");
    for pod in &pods {
        assert_eq!(pod["spec"]["containers"][0]["image"], "example.org/app:2", "{pod}");
        assert_eq!(pod["status"]["phase"], "Running", "{pod}");
    }
    let made = creations(plane.side.etcd(), "/registry/pods/default/", set_of);
    let wrong: Vec<_> = made.iter().filter(|(_, count)| **count != REPLICAS).collect();
    assert!(wrong.is_empty(), "pods of a set that were made, {REPLICAS} were asked for: {wrong:?}");
    assert_eq!(made.len(), 2 * MANY, "sets");
}
