//! The kinds that are served, by the names in paths.
//!
//! Owns: which kind and version a path means, and the names and slots that follow from it. A table is immutable; a
//! change makes another. Begin at [`Registry::table`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use apiclient_core::wire::Status;
use control_core::kind::{Kind, Version};
use control_core::kinds::metrics::GROUP;
use control_store::{Settings, Slot};

use crate::negotiation::{Encoding, Offer, Shape};

/// The table of kinds of a server. Kinds come and go at run time.
#[derive(Debug, Default)]
pub struct Registry(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    kinds: Vec<Arc<Kind>>,
    /// Groups that another server serves.
    left: BTreeSet<&'static str>,
    table: Arc<Table>,
}

impl Known {
    fn make(&mut self) {
        let own = self.kinds.iter().filter(|kind| !self.left.contains(kind.group.as_ref()));
        self.table = Arc::new(Table::new(own.cloned()));
    }
}

/// All kinds at one moment.
#[derive(Debug, Default)]
pub struct Table {
    /// By group and version; versions of a group in the order in which discovery has them.
    groups: BTreeMap<String, Group>,
}

/// A group of the API; its name is empty for the core kinds.
#[derive(Debug, Default)]
pub struct Group {
    /// The preferred one first.
    pub versions: Vec<GroupVersion>,
}

/// What one version of a group serves.
#[derive(Debug)]
pub struct GroupVersion {
    pub name: String,
    /// By plural.
    pub resources: BTreeMap<String, Arc<Served>>,
}

/// A kind in one of its versions.
#[derive(Debug)]
pub struct Served {
    pub kind: Arc<Kind>,
    /// An index into the kind's versions.
    pub version: usize,
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `PodList`.
    pub list_kind: String,
    /// What the keys of all objects begin with: `configmaps/`.
    pub prefix: String,
    pub offer: Offer,
}

/// How storage is to be set up for these kinds: each has a tree and watches of its own, and what goes by itself after a
/// while is kept out of memory.
pub fn settings(kinds: &[Kind]) -> Settings {
    let stored = kinds.iter().filter(|kind| !kind.traits.only_create && kind.group != GROUP);
    let (mut own, mut direct) = (Vec::new(), Vec::new());
    for kind in stored {
        let prefix = format!("{}/", kind.storage);
        let into = if kind.traits.ttl.is_some() { &mut direct } else { &mut own };
        if !into.contains(&prefix) {
            into.push(prefix);
        }
    }
    Settings { kinds: own, direct, ..Settings::default() }
}

/// The groups of the original by their priority in discovery (its aggregator's `apiVersionPriorities`).
const ORDER: [&str; 21] = [
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

impl Registry {
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let registry = Self::default();
        registry.replace(kinds.into_iter().map(Arc::new));
        registry
    }

    /// The kinds at this moment.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).table)
    }

    /// All kinds that it has, also those that are left to another server.
    pub fn kinds(&self) -> Vec<Arc<Kind>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).kinds.clone()
    }

    /// Serves other kinds from now on.
    pub fn replace(&self, kinds: impl IntoIterator<Item = Arc<Kind>>) {
        let kinds = kinds.into_iter().collect();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.kinds = kinds;
        known.make();
    }

    /// Leaves a group to another server, or serves it again.
    pub fn leave(&self, group: &'static str, elsewhere: bool) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changes = if elsewhere { known.left.insert(group) } else { known.left.remove(group) };
        if changes {
            known.make();
        }
    }
}

impl Table {
    fn new(kinds: impl IntoIterator<Item = Arc<Kind>>) -> Self {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for kind in kinds {
            let group = groups.entry(kind.group.to_string()).or_default();
            for (nth, version) in kind.versions.iter().enumerate().filter(|(_, own)| own.is_served()) {
                let served = Arc::new(Served::new(&kind, nth));
                let known = group.versions.iter().position(|own| own.name == version.name);
                let place = known.unwrap_or_else(|| {
                    let resources = BTreeMap::new();
                    group.versions.push(GroupVersion { name: version.name.to_string(), resources });
                    group.versions.len() - 1
                });
                if let Some(own) = group.versions.get_mut(place) {
                    own.resources.insert(kind.plural.to_string(), served);
                }
            }
        }
        for group in groups.values_mut() {
            group.versions.sort_by_key(|version| priority(&version.name));
        }
        Self { groups }
    }

    /// All groups in the order in which the original tells them: its own by their priority, then the others by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().map(|(name, group)| (name.as_str(), group)).collect();
        let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
        // Stable: those of one rank stay in the order of their names.
        groups.sort_by_key(|(name, _)| rank(name));
        groups.into_iter()
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    pub fn version(&self, group: &str, version: &str) -> Option<&GroupVersion> {
        self.group(group)?.versions.iter().find(|own| own.name == version)
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.version(group, version)?.resources.get(plural)
    }

    /// Each kind once, in its version of storage where that is served.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Served>> {
        let versions = self.groups.values().flat_map(|group| &group.versions);
        let all = versions.flat_map(|version| version.resources.values());
        all.filter(|served| served.stands_for_its_kind())
    }

    /// The kind whose plural and group are joined as refusals have them: `pods`, `deployments.apps`.
    pub fn by_qualified(&self, qualified: &str) -> Option<&Arc<Served>> {
        let (plural, group) = qualified.split_once('.').unwrap_or((qualified, ""));
        let versions = &self.groups.get(group)?.versions;
        let mut all = versions.iter().filter_map(|version| version.resources.get(plural));
        all.find(|served| served.stands_for_its_kind())
    }
}

/// Stable versions before beta ones before alpha ones, newer ones first (apimachinery's `version.CompareKubeAwareVersionStrings`).
fn priority(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>, String) {
    use std::cmp::Reverse;
    let number = |text: &str| text.parse::<u32>().ok();
    let parsed = version.strip_prefix('v').and_then(|rest| {
        for (stage, word) in [(1, "beta"), (2, "alpha")] {
            if let Some((major, minor)) = rest.split_once(word) {
                return Some((stage, Reverse(number(major)?), Reverse(number(minor)?)));
            }
        }
        Some((0, Reverse(number(rest)?), Reverse(0)))
    });
    let (stage, major, minor) = parsed.unwrap_or((3, Reverse(0), Reverse(0)));
    (stage, major, minor, version.to_owned())
}

impl Served {
    fn new(kind: &Arc<Kind>, version: usize) -> Self {
        let name = kind.versions.get(version).map(|own| own.name.as_ref()).unwrap_or_default();
        let api_version =
            if kind.group.is_empty() { name.to_owned() } else { format!("{}/{name}", kind.group) };
        let has_numbers = kind
            .versions
            .get(version)
            .is_some_and(|own| own.schema.root().fields.iter().any(|field| field.number > 0));
        let offer = match has_numbers {
            true if kind.traits.only_create => Offer::NoRows,
            true => Offer::All,
            false => Offer::Text,
        };
        Self {
            api_version,
            list_kind: format!("{}List", kind.kind),
            prefix: format!("{}/", kind.storage),
            offer,
            version,
            kind: Arc::clone(kind),
        }
    }

    pub fn of(&self) -> &Version {
        self.kind.versions.get(self.version).unwrap_or_else(|| self.kind.stored())
    }

    /// Not defined at run time: it has a protobuf form.
    pub fn is_built_in(&self) -> bool {
        self.offer != Offer::Text
    }

    /// One served version of each kind does: that of storage, or where it is not served the preferred one.
    fn stands_for_its_kind(&self) -> bool {
        self.is_stored() || (self.version == 0 && !self.kind.stored().is_served())
    }

    pub fn is_stored(&self) -> bool {
        self.version == self.kind.storage_version
    }

    /// `apps/v1`: of the version that is stored.
    pub fn stored_api_version(&self) -> String {
        self.kind.api_version(self.kind.stored())
    }

    /// What the keys of a namespace's objects begin with; of all, for the empty namespace.
    pub fn prefix_of(&self, namespace: &str) -> String {
        if namespace.is_empty() { self.prefix.clone() } else { format!("{}{namespace}/", self.prefix) }
    }

    /// An object's key in storage.
    ///
    /// # Errors
    /// 400 for a name that cannot be one.
    pub fn key(&self, namespace: &str, name: &str) -> Result<String, Status> {
        use control_core::refusal::bad_request;
        if self.kind.namespaced && namespace.is_empty() {
            return Err(bad_request("Namespace parameter required."));
        }
        if name.is_empty() {
            return Err(bad_request("Name parameter required."));
        }
        let faults = control_core::names::path_segment(name);
        if !faults.is_empty() {
            return Err(bad_request(format!("Name parameter invalid: {name:?}: {}", faults.join(";"))));
        }
        Ok(match self.kind.namespaced {
            true => format!("{}{namespace}/{name}", self.prefix),
            false => format!("{}{name}", self.prefix),
        })
    }

    /// Where the encoded form of an object in this version is kept beside it. `event` is 0 for the object itself, and
    /// else tells which event of a watch it is framed as.
    pub fn slot(&self, encoding: Encoding, shape: Shape, event: u16) -> Slot {
        let encoding = match encoding {
            Encoding::Json => 0,
            Encoding::Yaml => 1,
            Encoding::Protobuf => 2,
        };
        let shape = match shape {
            Shape::Whole => 0,
            Shape::Table => 1,
            Shape::Metadata => 2,
        };
        let version = u16::try_from(self.version).unwrap_or(u16::MAX / 64);
        Slot(version.saturating_mul(64) + event * 9 + encoding * 3 + shape)
    }
}
