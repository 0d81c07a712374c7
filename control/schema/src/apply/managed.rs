//! `metadata.managedFields`: who set which fields, as a list of entries.

use std::borrow::Cow;
use std::collections::BTreeMap;

use apiclient_core::names::quoted;
use serde_json::{Map, Value};

use super::fields_v1;
use super::set::Set;

/// More entries of updates than these are not kept apart: the oldest become one of [`ANCIENT`].
pub const MAX_UPDATERS: usize = 10;

const ANCIENT: &str = "ancient-changes";

/// Who an entry is of. The order is that in which entries of one time stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager<'a> {
    pub name: Cow<'a, str>,
    pub applies: bool,
    /// Empty for those that apply: they have one entry, whatever version they used.
    pub version: Cow<'a, str>,
    pub subresource: Cow<'a, str>,
}

#[derive(Clone, Debug)]
pub(super) struct Owned<'a> {
    pub set: Set<'a>,
    pub version: Cow<'a, str>,
    /// RFC 3339 in UTC, with seconds.
    pub time: Option<Cow<'a, str>>,
}

/// All entries of an object.
pub(super) type Managed<'a> = BTreeMap<Manager<'a>, Owned<'a>>;

impl<'a> Manager<'a> {
    pub fn new(name: &'a str, applies: bool, version: &'a str, subresource: &'a str) -> Self {
        Self {
            name: if name.is_empty() { "unknown" } else { name }.into(),
            applies,
            version: if applies { "" } else { version }.into(),
            subresource: subresource.into(),
        }
    }

    /// As a conflict names it: `"m1" with subresource "status" using v1`.
    pub fn shown(&self) -> String {
        let mut out = quoted(&self.name);
        if !self.subresource.is_empty() {
            out += &format!(" with subresource {}", quoted(&self.subresource));
        }
        if !self.applies {
            out += &format!(" using {}", self.version);
        }
        out
    }
}

/// # Errors
/// An entry that the original cannot read either.
pub(super) fn read(entries: Option<&Value>) -> Result<Managed<'_>, String> {
    let mut managed = Managed::new();
    for (n, entry) in entries.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let applies = match text("operation") {
            "Apply" => true,
            "Update" => false,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let version = text("apiVersion");
        if version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {n}")),
            other => return Err(format!("invalid fieldsType {} in managed fields entry {n}", quoted(other))),
        }
        let set = match entry.get("fieldsV1") {
            Some(fields) => fields_v1::read(fields).map_err(|error| {
                format!("error decoding versioned set from {entry}: error decoding set: {error}")
            })?,
            None => Set::default(),
        };
        let manager = Manager {
            name: text("manager").into(),
            applies,
            version: if applies { "" } else { version }.into(),
            subresource: text("subresource").into(),
        };
        let time = entry.get("time").and_then(Value::as_str).map(Cow::Borrowed);
        managed.insert(manager, Owned { set, version: version.into(), time });
    }
    Ok(managed)
}

/// The entries in the original's order: those that apply first, then by time, name, version and subresource.
pub(super) fn write(managed: &Managed<'_>) -> Value {
    let mut entries: Vec<_> = managed.iter().collect();
    entries.sort_by(|(a, x), (b, y)| {
        let by_kind = b.applies.cmp(&a.applies).then_with(|| x.time.cmp(&y.time));
        let by_name = by_kind.then_with(|| a.name.cmp(&b.name)).then_with(|| x.version.cmp(&y.version));
        by_name.then_with(|| a.subresource.cmp(&b.subresource))
    });
    let entries = entries.into_iter().map(|(manager, owned)| {
        let mut entry = Map::new();
        let mut put = |name: &str, text: &str| {
            if !text.is_empty() {
                entry.insert(name.to_owned(), text.into());
            }
        };
        put("apiVersion", &owned.version);
        put("fieldsType", "FieldsV1");
        put("manager", &manager.name);
        put("operation", if manager.applies { "Apply" } else { "Update" });
        put("subresource", &manager.subresource);
        put("time", owned.time.as_deref().unwrap_or_default());
        entry.insert("fieldsV1".to_owned(), fields_v1::write(&owned.set));
        Value::Object(entry)
    });
    Value::Array(entries.collect())
}

/// Merges the oldest entries of updates, by their versions, until few enough are left.
pub(super) fn cap(managed: &mut Managed<'_>) {
    let mut updaters: Vec<_> = managed.iter().filter(|(manager, _)| !manager.applies).collect();
    if updaters.len() <= MAX_UPDATERS {
        return;
    }
    updaters.sort_by(|(a, x), (b, y)| x.time.cmp(&y.time).then_with(|| a.cmp(b)));
    let updaters: Vec<_> = updaters.into_iter().map(|(manager, _)| manager.clone()).collect();
    let mut left = updaters.len();
    let mut first_of = BTreeMap::new();
    for manager in updaters {
        if left <= MAX_UPDATERS {
            return;
        }
        let version = manager.version.clone();
        let bucket = Manager {
            name: ANCIENT.into(),
            applies: false,
            version: version.clone(),
            subresource: "".into(),
        };
        let Some(first) = first_of.get(&version) else {
            first_of.insert(version, manager);
            continue;
        };
        if !managed.contains_key(&bucket)
            && let Some(owned) = managed.remove(first)
        {
            managed.insert(bucket.clone(), owned);
        }
        // The one that is merged is more recent than those that were.
        if let Some(owned) = managed.remove(&manager)
            && let Some(ancient) = managed.get_mut(&bucket)
        {
            ancient.set = std::mem::take(&mut ancient.set).union(owned.set);
            ancient.time = owned.time;
            left -= 1;
        }
    }
}
