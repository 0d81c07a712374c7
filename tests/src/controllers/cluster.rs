//! A control plane with fake nodes: ours, or our API server with the originals' controllers and scheduler.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output};

use host::netns::Namespace;
use host::programs::{Daemon, Signal};

use crate::apiserver::control::Control;
use crate::apiserver::{Side, Which};
use crate::testbed::weft;
use crate::wait::until_explained;

/// Seconds that one command may take.
const LIMIT: &str = "120";

/// What `weft control` has by itself: the originals' controllers ask for it, too.
const METRICS: [&str; 2] = ["--serve-metrics-api=true", "--kubelet-preferred-address-types=InternalIP"];

/// Whose controllers and scheduler there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Originals,
    Ours,
}

enum Plane {
    Ours(Control),
    /// Kept for its end.
    Originals {
        side: Box<Side>,
        daemons: [Daemon; 2],
    },
}

/// It ends with this value.
pub struct Cluster {
    plane: Plane,
    nodes: Daemon,
    kubeconfig: PathBuf,
    /// kubectl's, for its cache.
    home: PathBuf,
}

impl Cluster {
    /// With three nodes that are ready.
    ///
    /// # Panics
    /// A program is missing, or does not come up.
    pub fn up(whose: Whose) -> Self {
        let plane = match whose {
            Whose::Ours => {
                let control = Control::new();
                control.start();
                control.wait_ready();
                Plane::Ours(control)
            }
            Whose::Originals => {
                let side = Side::new(Which::Ours, &METRICS);
                side.start();
                let daemons = ["kube-controller-manager", "kube-scheduler"].map(|name| original(&side, name));
                Plane::Originals { side: Box::new(side), daemons }
            }
        };
        let (directory, kubeconfig) = match &plane {
            Plane::Ours(control) => {
                (control.directory.path().to_owned(), control.root.join("admin.kubeconfig"))
            }
            Plane::Originals { side, .. } => (side.directory().to_owned(), side.kubeconfig("admin")),
        };
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        let nodes = Daemon::new("weft lab nodes".to_owned(), here, &directory, "nodes");
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        let arguments = ["lab", "nodes", "3", "--kubelets", "127.0.0.1", "--kubeconfig"].map(OsString::from);
        let arguments: Vec<OsString> = arguments.into_iter().chain([kubeconfig.clone().into()]).collect();
        nodes.start(&program, &arguments, &[]).unwrap_or_else(|error| panic!("{error}"));
        let cluster = Self { plane, nodes, kubeconfig, home: directory };
        let ready = || {
            let path = r"jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let output = cluster.kubectl(&["get", "nodes", "-o", path], "");
            (String::from_utf8_lossy(&output.stdout).trim() == "True True True").then_some(())
        };
        until_explained("three nodes to be ready", crate::testbed::READY, ready, || cluster.logs());
        cluster
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Panics
    /// It is not there.
    pub fn kubectl(&self, words: &[&str], input: &str) -> Output {
        let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new("timeout");
        command.arg(LIMIT).arg(program).args(words);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home);
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, input.as_bytes()).expect("room");
        std::io::Seek::rewind(&mut file).expect("a file");
        command.stdin(file).output().unwrap_or_else(|error| panic!("kubectl: {error}"))
    }

    /// The last lines of all logs.
    pub fn logs(&self) -> String {
        let control = match &self.plane {
            Plane::Ours(control) => control.daemon.log_tail(20),
            Plane::Originals { daemons, .. } => {
                daemons.each_ref().map(|daemon| daemon.log_tail(12)).join("\n")
            }
        };
        format!("{control}\n{}", self.nodes.log_tail(12))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.nodes.stop(Signal::SIGKILL);
        if let Plane::Originals { daemons, .. } = &self.plane {
            for daemon in daemons {
                let _ = daemon.stop(Signal::SIGKILL);
            }
        }
    }
}

/// Starts one of the originals beside a server.
fn original(side: &Side, name: &str) -> Daemon {
    let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
    let daemon = Daemon::new(name.to_owned(), here, side.directory(), name);
    let program = originals::program(name).unwrap_or_else(|error| panic!("{error}"));
    let kubeconfig = side.kubeconfig("admin");
    let mut flags = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=1000".to_owned(),
        "--kube-api-burst=2000".to_owned(),
    ];
    if name == "kube-controller-manager" {
        let pki = side.pki();
        flags.push(format!("--root-ca-file={}", pki.join("ca.crt").display()));
        flags.push(format!("--service-account-private-key-file={}", pki.join("sa.key").display()));
    }
    let flags: Vec<OsString> = flags.into_iter().map(OsString::from).collect();
    daemon.start(&program, &flags, &[]).unwrap_or_else(|error| panic!("{error}"));
    daemon
}
