//! A lab: brought up, found again, taken down.

use std::fs;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use host::programs::{Etcd, Output, ProgramError, Signal, wait_for};

use crate::down::{self, Removed};
use crate::error::LabError;
use crate::etcd::NetworkKeys;
use crate::name::LabName;
use crate::node::{Node, Pod, Proxied};
use crate::plan::{ETCD_PORT, Plan};
use crate::progress::Progress;
use crate::services::{self, Services};
use crate::spec::{Spec, Topology};
use crate::state::State;
use crate::wire::Wiring;

/// How long etcd may take to answer after its start.
const ETCD_LIMIT: Duration = Duration::from_secs(60);
/// How long the nodes may take from their start until they are ready.
pub const READY_LIMIT: Duration = Duration::from_secs(60);

/// A lab that is there. Dropping the value leaves it running: [`Lab::down`] takes it away.
#[derive(Debug)]
pub struct Lab {
    spec: Spec,
    hub: Namespace,
    etcd: Etcd,
    nodes: Vec<Node>,
    services: Option<Services>,
}

impl Lab {
    /// Makes the lab and waits until every node is ready and every pod is connected. What an error or a
    /// cancellation leaves half made is removed again.
    ///
    /// # Errors
    /// A spec that cannot be, a name that is taken, a tool that is missing, a daemon that does not start (with the end
    /// of its log).
    pub fn up(spec: &Spec, progress: &mut dyn Progress) -> Result<Self, LabError> {
        spec.validate()?;
        for node in spec.node_names() {
            spec.flanneld_of(&node).map(|options| options.binary.program()).transpose()?;
        }
        spec.proxy.as_ref().map(|options| options.binary.program()).transpose()?;
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        host::programs::require(if spec.etcd {
            &[("etcd", "etcd-server"), ("etcdctl", "etcd-client")]
        } else {
            &[]
        })?;
        if crate::state::list()?.contains(&spec.name) {
            return Err(LabError::NameTaken(spec.name.clone()));
        }
        let state = State::of(&spec.name);
        let lock = state.create()?;
        let built = state.save(spec).and_then(|()| Self::build(spec, &state, progress));
        if built.is_err() {
            // The first error is the one to tell; what cannot be removed is found by `down`.
            if let Err(error) = down::remove(&spec.name) {
                tracing::warn!(%error, lab = %spec.name, "removing what was half made");
            }
        }
        drop(lock);
        built
    }

    fn build(spec: &Spec, state: &State, progress: &mut dyn Progress) -> Result<Self, LabError> {
        let plan = Plan::of(spec);
        progress.begin("namespaces and wires");
        let mut wiring = Wiring::new()?;
        for step in &plan.steps {
            go_on(progress)?;
            wiring.apply(step)?;
        }
        drop(wiring);
        let lab = Self::assemble(spec, state, plan)?;
        let nodes = count(usize::from(spec.nodes), "node");
        progress.done(&format!("{nodes}, {}", count(usize::from(spec.nodes * spec.pods), "pod")));
        if spec.etcd {
            progress.begin("etcd");
            lab.etcd.start()?;
            lab.etcd.wait_ready(ETCD_LIMIT)?;
            go_on(progress)?;
            let config = spec.network_config_json();
            lab.etcd.put_network_config(&config)?;
            progress.done(&config);
        }
        if lab.nodes.iter().any(|node| spec.flanneld_of(node.name()).is_some()) {
            lab.start_nodes(progress)?;
        }
        if spec.proxy.is_some() {
            lab.start_services(progress)?;
        }
        Ok(lab)
    }

    fn start_nodes(&self, progress: &mut dyn Progress) -> Result<(), LabError> {
        progress.begin("flanneld");
        let daemons = self.nodes.iter().filter_map(|node| Some((node, self.spec.flanneld_of(node.name())?)));
        let daemons: Vec<_> = daemons.collect();
        for (node, options) in &daemons {
            go_on(progress)?;
            node.start_flanneld(options)?;
        }
        let deadline = Instant::now() + READY_LIMIT;
        for (count, (node, _)) in daemons.iter().enumerate() {
            wait_for(deadline, || {
                go_on(progress)?;
                if node.flanneld_pid().is_none() {
                    return Err(LabError::from(node.flanneld().died()));
                }
                Ok(node.is_ready().then_some(()))
            })?
            .ok_or_else(|| node.not_ready(READY_LIMIT))?;
            progress.note(&format!("{} of {} ready", count + 1, daemons.len()));
        }
        progress.done(&format!("ready on {}", count(daemons.len(), "node")));
        if self.spec.pods > 0 {
            progress.begin("pods");
            for (node, _) in &daemons {
                go_on(progress)?;
                node.connect_pods()?;
            }
            progress
                .done(&format!("{} connected", count(daemons.len() * usize::from(self.spec.pods), "pod")));
        }
        Ok(())
    }

    fn start_services(&self, progress: &mut dyn Progress) -> Result<(), LabError> {
        let (Some(services), Some(options)) = (&self.services, &self.spec.proxy) else { return Ok(()) };
        progress.begin("services");
        services.write(&self.spec, &self.nodes)?;
        for node in &self.nodes {
            go_on(progress)?;
            node.start_proxy(options)?;
        }
        go_on(progress)?;
        if self.spec.pods > 0 {
            services.answer(&self.spec.name, self.pods(), &options.binary.program()?)?;
        }
        let deadline = Instant::now() + READY_LIMIT;
        for (done, node) in self.nodes.iter().enumerate() {
            node.wait_proxy(deadline, || go_on(progress))?;
            progress.note(&format!("{} of {} proxies ready", done + 1, self.nodes.len()));
        }
        let ready = format!("{} by a proxy on {}", options.mode, count(self.nodes.len(), "node"));
        progress.done(&match services::cluster_ips(&self.spec).first() {
            Some(ip) if self.spec.pods > 0 => {
                format!("{ready}; {} is {ip}:{}", services::SERVICE, services::PORT)
            }
            _ => ready,
        });
        Ok(())
    }

    /// Finds a lab that is up.
    ///
    /// # Errors
    /// There is none of this name, or only its ruins.
    pub fn open(name: &LabName) -> Result<Self, LabError> {
        let state = State::of(name);
        let spec = state.load()?;
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let plan = Plan::of(&spec);
        Self::assemble(&spec, &state, plan)
    }

    fn assemble(spec: &Spec, state: &State, plan: Plan) -> Result<Self, LabError> {
        let hub = Namespace::open(&plan.hub)?;
        let iface = (spec.topology == Topology::Direct).then_some("eth0");
        let endpoint = plan.etcd_endpoint;
        let proxied = Proxied { feed: state.services(), pod_networks: spec.pod_networks() };
        let nodes = plan.nodes.into_iter().map(|node| {
            let directory = state.node(&node.name);
            Node::open(node, directory, &endpoint, iface, proxied.clone())
        });
        let nodes = nodes.collect::<Result<_, LabError>>()?;
        let directory = state.etcd();
        fs::create_dir_all(&directory).map_err(LabError::io("create", &directory))?;
        let services = || Services::new(hub.clone(), state.directory(), state.services());
        Ok(Self {
            services: spec.proxy.is_some().then(services),
            etcd: Etcd::new(hub.clone(), &directory, &endpoint, ETCD_PORT),
            spec: spec.clone(),
            hub,
            nodes,
        })
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The namespace of the switch.
    pub fn hub(&self) -> &Namespace {
        &self.hub
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every pod of every node.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.nodes.iter().flat_map(Node::pods)
    }

    /// The node of this name.
    ///
    /// # Panics
    /// There is none: for tests, which know what they asked for. See [`Lab::find_node`].
    pub fn node(&self, name: &str) -> &Node {
        self.find_node(name).unwrap_or_else(|| panic!("{}", self.no_such_member(name)))
    }

    /// The pod of this name: `n1-p2`.
    ///
    /// # Panics
    /// There is none. See [`Lab::find_pod`].
    pub fn pod(&self, name: &str) -> &Pod {
        self.find_pod(name).unwrap_or_else(|| panic!("{}", self.no_such_member(name)))
    }

    pub fn find_node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    pub fn find_pod(&self, name: &str) -> Option<&Pod> {
        self.pods().find(|pod| pod.name() == name)
    }

    /// The namespace of a node, a pod or `hub`.
    ///
    /// # Errors
    /// [`LabError::NoSuchMember`], with those that there are.
    pub fn member(&self, name: &str) -> Result<&Namespace, LabError> {
        let node = self.find_node(name).map(Node::namespace);
        let pod = || self.find_pod(name).map(Pod::namespace);
        let hub = || (name == "hub").then_some(&self.hub);
        node.or_else(pod).or_else(hub).ok_or_else(|| self.no_such_member(name))
    }

    fn no_such_member(&self, wanted: &str) -> LabError {
        let nodes = self.nodes.iter().map(Node::name);
        let known = std::iter::once("hub").chain(nodes).chain(self.pods().map(Pod::name)).map(str::to_owned);
        LabError::NoSuchMember {
            lab: self.spec.name.clone(),
            wanted: wanted.to_owned(),
            known: known.collect(),
        }
    }

    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Runs `etcdctl` beside etcd; see [`Etcd::etcdctl`].
    ///
    /// # Errors
    /// It is not installed, or takes too long.
    pub fn etcdctl<S: Into<String>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output, ProgramError> {
        self.etcd.etcdctl(arguments)
    }

    /// Starts etcd on the data that it had, and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn start_etcd(&self) -> Result<(), LabError> {
        self.etcd.start()?;
        Ok(self.etcd.wait_ready(ETCD_LIMIT)?)
    }

    /// Ends etcd, cleanly or, with SIGKILL, as a crash does.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_etcd(&self, signal: Signal) -> Result<(), LabError> {
        Ok(self.etcd.stop(signal).map(drop)?)
    }

    /// Waits until flanneld is ready on every node that runs it.
    ///
    /// # Errors
    /// One has ended or is not ready within the limit.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + limit;
        let running = self.nodes.iter().filter(|node| self.spec.flanneld_of(node.name()).is_some());
        for node in running {
            node.wait_ready(deadline.saturating_duration_since(Instant::now()))?;
        }
        Ok(())
    }

    /// What feeds the service proxies; None where the lab has none.
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }

    /// Takes everything away. The value is of no use afterwards.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn down(&self) -> Result<Removed, LabError> {
        down::down(&self.spec.name)
    }
}

/// Stops here if somebody wants to.
fn go_on(progress: &dyn Progress) -> Result<(), LabError> {
    if progress.cancelled() { Err(LabError::Interrupted) } else { Ok(()) }
}

/// `1 pod`, `2 pods`.
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
