//! What the server knows of a kind: one entry of one table, whether built in or defined at run time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Schema;
use serde_json::Value;

use crate::access::User;
use crate::field::FieldError;
use crate::jsonpath::JsonPath;
use crate::table::Columns;

/// A kind of objects. Names are as in discovery: `pods`, `pod`, `Pod`.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Empty for the core kinds.
    pub group: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub singular: Cow<'static, str>,
    pub short_names: Vec<Cow<'static, str>>,
    /// `all`, `api-extensions`.
    pub categories: Vec<Cow<'static, str>>,
    pub namespaced: bool,
    /// Served versions, the preferred one first. All have the same objects, converted by [`Strategy::convert`].
    pub versions: Vec<Version>,
    /// The one that is stored and that strategies see: an index into `versions`.
    pub storage_version: usize,
    /// Under `/registry/`, before `/NAMESPACE/NAME`: `configmaps`, `services/specs`, `minions`,
    /// `GROUP/PLURAL` for CustomResourceDefinitions and aggregated kinds.
    pub storage: Cow<'static, str>,
    pub subresources: Vec<Subresource>,
    pub traits: Traits,
    pub strategy: Arc<dyn Strategy>,
}

#[derive(Clone, Debug)]
pub struct Version {
    /// `v1`; with a `/` in it the whole apiVersion of another group's version, which objects are stored in and which is
    /// not served for this kind: `/v1` for Events of `events.k8s.io`.
    pub name: Cow<'static, str>,
    pub schema: Schema,
    pub columns: Columns,
}

/// Subresources that behave in one of the ways that the engine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subresource {
    Status,
    Scale,
    Binding,
    Eviction,
    EphemeralContainers,
    Resize,
    Log,
    Exec,
    Attach,
    PortForward,
    Proxy,
    Token,
    Finalize,
    Approval,
}

impl Subresource {
    const NAMES: [(&str, Subresource); 14] = [
        ("status", Subresource::Status),
        ("scale", Subresource::Scale),
        ("binding", Subresource::Binding),
        ("eviction", Subresource::Eviction),
        ("ephemeralcontainers", Subresource::EphemeralContainers),
        ("resize", Subresource::Resize),
        ("log", Subresource::Log),
        ("exec", Subresource::Exec),
        ("attach", Subresource::Attach),
        ("portforward", Subresource::PortForward),
        ("proxy", Subresource::Proxy),
        ("token", Subresource::Token),
        ("finalize", Subresource::Finalize),
        ("approval", Subresource::Approval),
    ];

    /// The subresource that a path calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(own, _)| *own == name).map(|(_, subresource)| *subresource)
    }

    /// What a path calls it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| *name)
    }
}

/// What is not the same for all kinds, and no strategy's to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// PUT creates what is not there.
    pub create_on_update: bool,
    /// PUT without a resourceVersion is refused.
    pub needs_resource_version: bool,
    /// `DELETE` of the collection is not offered (namespaces).
    pub no_delete_collection: bool,
    /// `DELETE` waits for `gracePeriodSeconds` (pods).
    pub graceful: bool,
    /// A deletion that says nothing of dependents leaves them (`v1` ReplicationControllers and Jobs, for what was once).
    pub orphans: bool,
    /// Preconditions of a deletion are checked by the kind itself, in words of its own (namespaces, definitions).
    pub own_deletion: bool,
    /// Propagation policies leave no finalizer (events, IP addresses).
    pub no_garbage_collection: bool,
    /// The answer to a `DELETE` is the object that has gone, and not a `Status` (pods, services).
    pub returns_deleted: bool,
    /// Only `get` and `list` (component statuses).
    pub only_read: bool,
    /// Only `create`: the answer is the object with a status (reviews).
    pub only_create: bool,
    /// Stored as JSON, also where others are stored as protobuf (definitions, aggregated groups).
    pub json: bool,
    /// Seconds after which an object goes by itself (events: 3600).
    pub ttl: Option<u32>,
}

/// Who changes an object, and when: a strategy has no clock of its own.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: SystemTime,
    pub namespace: &'a str,
    /// Empty for the object itself.
    pub subresource: Option<Subresource>,
    pub user: &'a User,
}

/// What creating and changing means for a kind. Objects are in the storage version, decoded and defaulted by the
/// schema. All methods have a default: the strategy of a kind without any particulars.
/// [`crate::lifecycle`] calls them, and validates the metadata of all kinds itself, before theirs.
pub trait Strategy: std::fmt::Debug + Send + Sync {
    /// Defaults that depend on other fields. Runs after the schema's own, on create, update and read.
    fn set_defaults(&self, _object: &mut Value) {}

    /// Takes away what a client may not set at creation (the status), and sets `metadata.generation`.
    fn prepare_create(&self, _object: &mut Value, _context: &Context<'_>) {}

    /// Takes back what a client may not change, and counts `metadata.generation` on.
    fn prepare_update(&self, _new: &mut Value, _old: &Value, _context: &Context<'_>) {}

    fn validate_create(&self, _object: &Value, _context: &Context<'_>) -> Vec<FieldError> {
        Vec::new()
    }

    fn validate_update(&self, _new: &Value, _old: &Value, _context: &Context<'_>) -> Vec<FieldError> {
        Vec::new()
    }

    /// Lines for the client's `Warning` headers; `old` is what an update replaces.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Brings a valid object into its one form, before it is stored.
    fn canonicalize(&self, _object: &mut Value) {}

    /// Finalizers without a domain must be ones that the system knows. Not so for CustomResourceDefinitions' kinds.
    fn checks_legacy_finalizers(&self) -> bool {
        true
    }

    /// Objects in a table stand in the order of this number, and those of one number in that of their names.
    fn row_order(&self, _object: &Value) -> i64 {
        0
    }

    /// Takes from metadata that is shown without its object what the original keeps in the object's own fields.
    fn metadata_alone(&self, _metadata: &mut Value) {}

    /// What a table says of an object besides its cells: `conditions` of its row.
    fn row_conditions(&self, _object: &Value) -> Vec<Value> {
        Vec::new()
    }

    /// Which rule a name follows.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// Fields that field selectors may ask for besides `metadata.name` and `metadata.namespace`.
    fn selectable(&self) -> &'static [&'static str] {
        &[]
    }

    /// The same of kinds that are defined at run time, which say themselves where the values are.
    fn defined_fields(&self) -> &[DefinedField] {
        &[]
    }

    /// Why a field is refused that is none of [`Strategy::selectable`]. The original has these words for kinds that name
    /// their fields in a conversion, and others for all else.
    fn unknown_selector(&self, field: &str) -> String {
        match self.selectable().is_empty() {
            true => format!(
                "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ),
            false => format!("field label not supported: {field}"),
        }
    }

    /// The value of one of [`Strategy::selectable`]; empty where the object has none.
    fn selected(&self, _object: &Value, _field: &str) -> String {
        String::new()
    }

    /// How long a deletion waits, in seconds, where [`Traits::graceful`]; `asked` is what the client wants.
    fn grace_period(&self, _object: &Value, _asked: Option<i64>) -> i64 {
        0
    }

    /// What a client is told that deletes where [`Traits::orphans`] and says nothing of dependents.
    fn deletion_warning(&self) -> Option<&'static str> {
        None
    }

    /// The object has finalizers of its own kind, outside of its metadata, and stays until they have gone (namespaces).
    fn holds_deletion(&self, _object: &Value) -> bool {
        false
    }

    /// Notes in an object that [`Strategy::holds_deletion`] that it is to be deleted.
    fn mark_deletion(&self, _object: &mut Value) {}

    /// An object that was found in storage in a version that is no longer served, in that of storage. None: the version is
    /// not known, and the object is taken as it is.
    fn revive(&self, _object: Value, _api_version: &str) -> Option<Value> {
        None
    }

    /// From one version of the kind to another. Called only between different ones.
    fn convert(&self, object: Value, _from: &str, _to: &str) -> Value {
        object
    }
}

/// A field that a definition lets field selectors ask for (`selectableFields`).
#[derive(Clone, Debug, PartialEq)]
pub struct DefinedField {
    /// `spec.size`.
    pub name: String,
    pub path: JsonPath,
    /// Names of the versions in which it may be asked for.
    pub versions: Vec<String>,
}

impl DefinedField {
    /// Its value in an object, as a text; empty where it has none.
    pub fn value(&self, object: &Value) -> String {
        match self.path.first(object).as_deref() {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// What a name must be (`ValidateNameFunc` of the original).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS-1123 subdomain, up to 253 characters.
    Subdomain,
    /// As [`NameRule::Subdomain`], told by the original's declarative validation, which counts bytes.
    LongName,
    /// DNS-1123 label, up to 63 characters.
    Label,
    /// DNS-1035 label (services).
    Dns1035,
    /// One segment of a path: no `/`, no `%`, not `.` or `..` (RBAC, events).
    PathSegment,
    /// An IP address in its one true form (IP addresses).
    Ip,
}

impl Version {
    pub fn is_served(&self) -> bool {
        !self.name.contains('/')
    }
}

impl Kind {
    /// `apps/v1`, `v1`: as objects of the version name it.
    pub fn api_version(&self, version: &Version) -> String {
        match (version.name.strip_prefix('/'), self.group.as_ref()) {
            (Some(core), _) => core.to_owned(),
            (None, "") => version.name.to_string(),
            (None, _) if !version.is_served() => version.name.to_string(),
            (None, group) => format!("{group}/{}", version.name),
        }
    }

    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    pub fn stored(&self) -> &Version {
        &self.versions[self.storage_version]
    }

    /// `deployments.apps`, `pods`: as errors name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The group that errors about an object's fields name: that of the version it is stored in (Events of
    /// `events.k8s.io` are stored as the core group's).
    pub fn group_in_work(&self) -> &str {
        self.stored().name.split_once('/').map_or(self.group.as_ref(), |(group, _)| group)
    }

    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }
}
