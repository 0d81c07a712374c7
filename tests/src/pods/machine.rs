//! A node with real pods: a network of the lab, and mounts, processes and control groups of its own.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::netns::Namespace;
use host::programs::{self, Daemon, Output, Signal};
use lab::Node;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::cgroups::Cgroups;
use super::{file, text};
use crate::testbed::weft;
use crate::wait::until_explained;

/// How long one of its programs may take until it answers, on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// What runs on one node. It ends with this value.
pub struct Machine {
    name: String,
    address: String,
    namespace: Namespace,
    folder: PathBuf,
    /// The first process of its own; all others end with it.
    first: Daemon,
    containerd: Daemon,
    kubelet: Daemon,
    proxy: Daemon,
    cgroup: String,
    _cgroups: Cgroups,
}

impl Machine {
    /// A node of the lab as a machine with nothing but its first process. Its flanneld leaves the configuration of the
    /// pods' network in `folder/cni`.
    ///
    /// # Panics
    /// Not as root.
    pub fn boot(node: &Node, folder: &Path) -> Self {
        let namespace = node.namespace().clone();
        let cgroup = node.plan().netns.clone();
        let daemon =
            |what: &str| Daemon::new(format!("{what} on {}", node.name()), namespace.clone(), folder, what);
        let machine = Self {
            name: node.name().to_owned(),
            address: node.underlay().to_string(),
            first: daemon("machine"),
            containerd: daemon("containerd"),
            kubelet: daemon("kubelet"),
            proxy: daemon("proxy"),
            namespace,
            folder: folder.to_owned(),
            _cgroups: Cgroups::make(&cgroup),
            cgroup,
        };
        let script = file("machine.sh");
        let words =
            ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation=private", "sh"];
        let words = words.iter().map(OsString::from).chain([script.into(), folder.into()]);
        start(&machine.first, Path::new("unshare"), words);
        let up = || machine.first.log().contains("up\n").then_some(());
        until_explained("a machine", READY, up, || machine.first.log_tail(20));
        let network = machine.namespace.path().unwrap_or_default();
        let enter = machine.enter().join(" ");
        println!("{}: nsenter --net={} {enter} bash", machine.name, network.display());
        machine
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What begins a command that runs on it.
    fn enter(&self) -> Vec<String> {
        let first = child(self.first.pid().expect("it runs")).to_string();
        ["nsenter", "--target", &first, "--mount", "--pid", "--"].map(str::to_owned).to_vec()
    }

    /// Runs a command on it, as root.
    ///
    /// # Panics
    /// It is not there, or does not end.
    pub fn run(&self, words: &[&str]) -> Output {
        let words = self.enter().into_iter().chain(words.iter().map(|word| (*word).to_owned()));
        programs::run(&programs::inside(&self.namespace, words)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn start(&self, daemon: &Daemon, program: &str, words: impl IntoIterator<Item = String>) {
        let mut all = self.enter();
        all.push(program.to_owned());
        all.extend(words);
        start(daemon, Path::new(&all[0]), all[1..].iter().map(OsString::from));
    }

    /// With one image.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_containerd(&self, image: &Path) {
        let config = self.folder.join("containerd.toml");
        write(&config, &text("containerd.toml").replace("FOLDER", &self.folder.display().to_string()));
        self.start(&self.containerd, "containerd", [format!("--config={}", config.display())]);
        let ready = || self.run(&["ctr", "version"]).status.success().then_some(());
        until_explained("containerd", READY, ready, || self.containerd.log_tail(20));
        let image = image.display().to_string();
        self.run(&["ctr", "--namespace=k8s.io", "images", "import", &image])
            .ok()
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// The original, with the configuration in `deploy/` and what is particular here; it joins by itself.
    ///
    /// # Panics
    /// It is not built.
    pub fn start_kubelet(&self, authority: &Path, bootstrap: &Path) {
        let drop_in = self.folder.join("kubelet.d");
        fs::create_dir_all(&drop_in).expect("a folder");
        let particular = text("kubelet.conf").replace("AUTHORITY", &authority.display().to_string());
        write(&drop_in.join("10-test.conf"), &particular.replace("CGROUP", &self.cgroup));
        let program = originals::program("kubelet").unwrap_or_else(|error| panic!("{error}"));
        let flags = [
            format!("--config={}", crate::deploy::file("kubelet.yaml").display()),
            format!("--config-dir={}", self.folder.join("kubelet.d").display()),
            format!("--bootstrap-kubeconfig={}", bootstrap.display()),
            "--kubeconfig=/var/lib/kubelet/kubeconfig".to_owned(),
            format!("--hostname-override={}", self.name),
            format!("--node-ip={}", self.address),
        ];
        self.start(&self.kubelet, &program.display().to_string(), flags);
    }

    /// Ends the kubelet as a crash does. Its pods stay.
    ///
    /// # Panics
    /// It does not run, or does not end.
    pub fn kill_kubelet(&self) {
        let outer = self.kubelet.pid().expect("it runs");
        kill(child(outer), Signal::SIGKILL).unwrap_or_else(|errno| panic!("{errno}"));
        self.kubelet.wait_exit(READY).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Ours, fed by the API server.
    ///
    /// # Panics
    /// It is not built.
    pub fn start_proxy(&self, kubeconfig: &Path) {
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        let flags = [
            "proxy".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={}", self.name),
            format!("--cluster-cidr={}", lab::spec::NETWORK),
            // Limits of the whole machine are no business of a node.
            "--conntrack-max-per-core=0".to_owned(),
            "--oom-score-adj=0".to_owned(),
        ];
        start(&self.proxy, &program, flags.into_iter().map(OsString::from));
    }

    /// What an HTTP server says to somebody on this node: the body of a 200.
    pub fn ask(&self, server: SocketAddr) -> Option<String> {
        let (status, body) = programs::get(&self.namespace, server, "/").ok()?;
        (status == 200).then(|| body.trim().to_owned())
    }

    /// What pods have here: running processes, and links.
    pub fn in_use(&self) -> String {
        let tasks = self.run(&["ctr", "--namespace=k8s.io", "tasks", "list", "--quiet"]).stdout;
        let links = self.run(&["ip", "-brief", "link", "show", "master", lab::plan::POD_BRIDGE]).stdout;
        tasks + &links
    }

    /// The last lines of all logs.
    pub fn logs(&self) -> String {
        let tail = |daemon: &Daemon| format!("{}:\n{}\n", daemon.what(), daemon.log_tail(15));
        [&self.containerd, &self.kubelet, &self.proxy].map(tail).concat()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for daemon in [&self.first, &self.proxy, &self.kubelet, &self.containerd] {
            let _ = daemon.stop(Signal::SIGKILL);
        }
    }
}

/// What a process has forked: into a namespace of processes, one enters by a fork.
fn child(parent: Pid) -> Pid {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    Pid::from_raw(child.unwrap_or_else(|| panic!("process {parent} has no child")))
}

fn start(daemon: &Daemon, program: &Path, words: impl IntoIterator<Item = OsString>) {
    let words: Vec<OsString> = words.into_iter().collect();
    daemon.start(program, &words, &[]).unwrap_or_else(|error| panic!("{error}"));
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
