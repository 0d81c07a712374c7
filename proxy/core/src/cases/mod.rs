//! The behavioural cases of `proxy/cases`, which every backend has to pass.
//!
//! Owns: reading them (the notation is in `proxy/cases/README.md`). Begin at [`all`]. A case gives its objects as the API
//! would, so that they take the same way as any others; a [`Probe`] says what has to become of one packet.

mod file;
mod probe;
mod shorthand;
pub mod world;

use std::collections::BTreeMap;

use serde_json::Value;

pub use probe::{Masquerade, Other, Probe, Want};

use crate::cluster::{Change, Cluster};
use crate::objects::{Object, ObjectError};
use crate::options::Options;
use crate::table::ServiceTable;

/// One situation and what is expected in it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique; says what is true.
    pub name: String,
    /// `cluster-ip.yaml`.
    pub file: &'static str,
    /// As the API has them.
    pub objects: Vec<Value>,
    pub options: Options,
    pub probes: Vec<Probe>,
    pub expect: Expect,
    /// Whose rules stay as they were when they meet these objects, and why.
    pub stuck: BTreeMap<String, String>,
}

/// What is expected of the table as such.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Each is part of one report, and there are no others.
    pub reports: Vec<String>,
    /// Each is part of one complaint about an object, and there are no others.
    pub refused: Vec<String>,
    /// `namespace/name` to seconds; all services that have affinity.
    pub affinity: BTreeMap<String, u64>,
    /// `namespace/name` to health-check node port and number of local endpoints, in any family; all that have one.
    pub health: BTreeMap<String, (u16, usize)>,
}

impl Case {
    /// What decodes is in the cluster; what does not is complained about.
    pub fn cluster(&self) -> (Cluster, Vec<ObjectError>) {
        let (mut cluster, mut complaints) = (Cluster::default(), Vec::new());
        for object in &self.objects {
            match Object::decode(object.to_string().as_bytes()) {
                None => {}
                Some(Err(error)) => complaints.push(error),
                Some(Ok(checked)) => {
                    complaints.extend(checked.left_out);
                    cluster.apply(Change::Put(checked.object));
                }
            }
        }
        (cluster, complaints)
    }

    pub fn table(&self) -> ServiceTable {
        ServiceTable::build(&self.cluster().0, &self.options)
    }

    /// As the program has it in a mode: only iptables mode has node ports on loopback.
    pub fn table_in(&self, mode: &str) -> ServiceTable {
        let localhost_nodeports = self.options.localhost_nodeports && mode == "iptables";
        ServiceTable::build(&self.cluster().0, &Options { localhost_nodeports, ..self.options.clone() })
    }
}

/// A cluster in the notation of the cases, in their world: for tests that need a small one.
pub fn cluster_of(services: &[&str], endpoints: &[&str]) -> Cluster {
    let slices =
        endpoints.iter().enumerate().flat_map(|(number, line)| shorthand::slices(line, number, services));
    let mut cluster = Cluster::default();
    for object in
        world::objects().into_iter().chain(services.iter().map(|line| shorthand::service(line))).chain(slices)
    {
        let checked = Object::decode(object.to_string().as_bytes())
            .map(|decoded| decoded.map(|checked| checked.object));
        cluster.apply(Change::Put(checked.expect("a kind in use").unwrap_or_else(|error| panic!("{error}"))));
    }
    cluster
}

/// The options of a case that says nothing about them.
pub fn usual_options() -> Options {
    file::options(file::WrittenOptions::default())
}

macro_rules! files {
    ($($name:literal)*) => {
        /// Name and text of every file of cases.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../cases/", $name)))),*];
    };
}

files! {
    "affinity.yaml"
    "cluster-ip.yaml"
    "contested.yaml"
    "dual-stack.yaml"
    "external-ip.yaml"
    "external-policy.yaml"
    "hairpin.yaml"
    "health-check.yaml"
    "internal-policy.yaml"
    "load-balancer.yaml"
    "malformed.yaml"
    "masquerade.yaml"
    "no-endpoints.yaml"
    "node-port.yaml"
    "not-ours.yaml"
    "overlap.yaml"
    "terminating.yaml"
    "topology.yaml"
    "wrong-address.yaml"
}

/// Every case. Panics, naming the line, where a file is not as the README says: these are tests.
pub fn all() -> Vec<Case> {
    FILES.iter().flat_map(|(name, text)| file::read(name, text)).collect()
}

/// The files that [`all`] reads.
pub fn files() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}
