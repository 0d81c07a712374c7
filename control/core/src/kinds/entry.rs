//! How the entries of the table of kinds are written: short, and only what is not the same for most.
//!
//! ```text
//! let apps = Group { library, name: "apps", package: "io.k8s.api.apps", versions: &["v1"] };
//! apps.kind("ReplicaSet", "replicasets").short(&["rs"]).in_all().subresources(&[Scale, Status])
//!     .columns(&columns::REPLICA_SET, columns::replica_set).strategy(ReplicaSet)
//! ```
//!
//! An entry is namespaced, served in the versions of its group and stored in the first of them, under its plural, has no
//! subresources and the columns of a kind without a printer, until it says otherwise.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::{Library, Schema};
use serde_json::Value;

use crate::kind::{Kind, Strategy, Subresource, Traits, Version};
use crate::table::{BuiltIn, Columns};

/// What the kinds of one group have in common.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    pub library: &'a Arc<Library>,
    /// Empty for the core kinds.
    pub name: &'static str,
    /// Before the version in the names of schemas: `io.k8s.api.core`.
    pub package: &'static str,
    /// The preferred one first.
    pub versions: &'static [&'static str],
}

/// A kind in the making.
#[derive(Debug)]
pub struct Entry<'a> {
    group: Group<'a>,
    kind: Kind,
}

/// The strategy of a kind without any particulars.
#[derive(Debug)]
struct Plain;

impl Strategy for Plain {}

impl<'a> Group<'a> {
    /// A kind whose objects are in a namespace.
    ///
    /// # Panics
    /// The library has no struct of this name: its data and the table of kinds are of different versions.
    pub fn kind(&self, kind: &'static str, plural: &'static str) -> Entry<'a> {
        let versions = self.versions.iter().map(|version| self.version(version, kind)).collect();
        let kind = Kind {
            group: self.name.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase().into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            versions,
            storage_version: 0,
            storage: plural.into(),
            subresources: Vec::new(),
            traits: Traits::default(),
            strategy: Arc::new(Plain),
        };
        Entry { group: *self, kind }
    }

    /// A kind whose objects are the cluster's.
    ///
    /// # Panics
    /// As [`Group::kind`].
    pub fn cluster_kind(&self, kind: &'static str, plural: &'static str) -> Entry<'a> {
        let mut entry = self.kind(kind, plural);
        entry.kind.namespaced = false;
        entry
    }

    fn version(&self, version: &'static str, kind: &str) -> Version {
        let name = format!("{}.{version}.{kind}", self.package);
        let root = self.library.find(&name);
        let root = root.unwrap_or_else(|| panic!("the library has no struct {name}"));
        let schema = Schema { library: Arc::clone(self.library), root };
        Version { name: version.into(), schema, columns: Columns::Plain }
    }
}

impl Entry<'_> {
    /// Short names, the preferred one first.
    #[must_use]
    pub fn short(mut self, names: &[&'static str]) -> Self {
        self.kind.short_names = names.iter().map(|name| (*name).into()).collect();
        self
    }

    /// Part of `kubectl get all`.
    #[must_use]
    pub fn in_all(self) -> Self {
        self.category("all")
    }

    #[must_use]
    pub fn category(mut self, name: &'static str) -> Self {
        self.kind.categories.push(name.into());
        self
    }

    /// In other versions than the rest of the group, the preferred one first.
    ///
    /// # Panics
    /// As [`Group::kind`].
    #[must_use]
    pub fn versions(mut self, versions: &[&'static str]) -> Self {
        let of = |version: &&'static str| self.group.version(version, &self.kind.kind);
        self.kind.versions = versions.iter().map(of).collect();
        self
    }

    /// Stored in this version, and not in the preferred one.
    ///
    /// # Panics
    /// The kind is not served in it.
    #[must_use]
    pub fn stored_in(mut self, version: &str) -> Self {
        let place = self.kind.versions.iter().position(|own| own.name == version);
        self.kind.storage_version = place.unwrap_or_else(|| panic!("{version} is not served"));
        self
    }

    /// Stored as objects of another group's version ([`Version::name`]) with this struct, and not in one of its own.
    ///
    /// # Panics
    /// As [`Group::kind`].
    #[must_use]
    pub fn stored_elsewhere(mut self, version: &'static str, name: &str) -> Self {
        let root = self.group.library.find(name);
        let root = root.unwrap_or_else(|| panic!("the library has no struct {name}"));
        let schema = Schema { library: Arc::clone(self.group.library), root };
        self.kind.storage_version = self.kind.versions.len();
        self.kind.versions.push(Version { name: version.into(), schema, columns: Columns::Plain });
        self
    }

    /// Where it is stored, if not under its plural.
    #[must_use]
    pub fn stored_under(mut self, storage: &'static str) -> Self {
        self.kind.storage = storage.into();
        self
    }

    #[must_use]
    pub fn subresources(mut self, subresources: &[Subresource]) -> Self {
        self.kind.subresources = subresources.to_vec();
        self
    }

    #[must_use]
    pub fn traits(mut self, traits: Traits) -> Self {
        self.kind.traits = traits;
        self
    }

    /// The columns of all versions.
    #[must_use]
    pub fn columns(
        mut self,
        columns: &'static [BuiltIn],
        cells: fn(&Value, SystemTime) -> Vec<Value>,
    ) -> Self {
        for version in &mut self.kind.versions {
            version.columns = Columns::BuiltIn { columns, cells };
        }
        self
    }

    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.kind.strategy = Arc::new(strategy);
        self
    }
}

impl From<Entry<'_>> for Kind {
    fn from(entry: Entry<'_>) -> Self {
        entry.kind
    }
}
