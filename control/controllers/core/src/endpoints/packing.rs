//! How endpoints are put into slices: with few writes, not into as few slices as there could be.
//!
//! Endpoints stay where they are. New ones fill slices that are written in any case, then the one slice that has just room for
//! them, then new slices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control_core::edit::{list, text};
use serde_json::Value;

/// What tells endpoints apart. All else of one can change in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKey {
    addresses: Vec<String>,
    hostname: String,
    namespace: String,
    name: String,
}

/// A slice that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The slice that it is now; none for a new one.
    pub of: Option<Arc<Value>>,
    pub ports: Vec<Value>,
    pub endpoints: Vec<Value>,
}

/// What becomes of the slices of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drafts {
    pub create: Vec<Draft>,
    pub update: Vec<Draft>,
    pub delete: Vec<Arc<Value>>,
    pub unchanged: Vec<Arc<Value>>,
}

pub fn key(endpoint: &Value) -> EndpointKey {
    let mut addresses: Vec<String> =
        list(endpoint, &["addresses"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    addresses.sort();
    EndpointKey {
        addresses,
        hostname: text(endpoint, &["hostname"]).to_owned(),
        namespace: text(endpoint, &["targetRef", "namespace"]).to_owned(),
        name: text(endpoint, &["targetRef", "name"]).to_owned(),
    }
}

/// Two endpoints of one key are the same in all else, but for hints and the version of what they refer to.
pub fn same(a: &Value, b: &Value) -> bool {
    let target = |endpoint: &Value| {
        let mut target = endpoint["targetRef"].clone();
        if let Some(fields) = target.as_object_mut() {
            fields.remove("resourceVersion");
        }
        target
    };
    let fields = ["ready", "serving", "terminating"].iter();
    a["nodeName"] == b["nodeName"]
        && a["zone"] == b["zone"]
        && fields.into_iter().all(|field| a["conditions"][field] == b["conditions"][field])
        && target(a) == target(b)
}

impl Draft {
    pub fn of(slice: &Arc<Value>, endpoints: Vec<Value>) -> Self {
        Self { of: Some(Arc::clone(slice)), ports: list(slice, &["ports"]).to_vec(), endpoints }
    }

    pub fn unchanged(slice: &Arc<Value>) -> Self {
        Self::of(slice, list(slice, &["endpoints"]).to_vec())
    }
}

impl Drafts {
    pub fn append(&mut self, mut more: Self) {
        self.create.append(&mut more.create);
        self.update.append(&mut more.update);
        self.delete.append(&mut more.delete);
        self.unchanged.append(&mut more.unchanged);
    }
}

/// Slices of the same ports. `outdated`: something besides its endpoints has to change in a slice.
pub fn pack(
    existing: &[Arc<Value>],
    mut wanted: BTreeMap<EndpointKey, Value>,
    ports: &[Value],
    outdated: impl Fn(&Value) -> bool,
    most: usize,
) -> Drafts {
    let mut drafts = Drafts::default();
    for slice in existing {
        let (mut kept, mut changed) = (Vec::new(), false);
        let endpoints = list(slice, &["endpoints"]);
        for endpoint in endpoints {
            if let Some(wanted) = wanted.remove(&key(endpoint)) {
                changed |= !same(&wanted, endpoint);
                kept.push(wanted);
            }
        }
        if changed || kept.len() != endpoints.len() {
            if kept.is_empty() {
                drafts.delete.push(Arc::clone(slice));
            } else {
                drafts.update.push(Draft::of(slice, kept));
            }
        } else if outdated(slice) {
            drafts.update.push(Draft::unchanged(slice));
        } else {
            drafts.unchanged.push(Arc::clone(slice));
        }
    }
    // The fullest first.
    drafts.update.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
    drafts.update.iter_mut().for_each(|draft| fill(draft, &mut wanted, most));
    while !wanted.is_empty() {
        let room = |slice: &Arc<Value>| most.checked_sub(list(slice, &["endpoints"]).len() + wanted.len());
        let fits = drafts.unchanged.iter().enumerate().filter_map(|(at, slice)| Some((room(slice)?, at)));
        let mut draft = match fits.min() {
            Some((_, at)) if wanted.len() < most => Draft::unchanged(&drafts.unchanged.remove(at)),
            _ => Draft { of: None, ports: ports.to_vec(), endpoints: Vec::new() },
        };
        fill(&mut draft, &mut wanted, most);
        if draft.of.is_some() { drafts.update.push(draft) } else { drafts.create.push(draft) }
    }
    drafts
}

fn fill(draft: &mut Draft, wanted: &mut BTreeMap<EndpointKey, Value>, most: usize) {
    while draft.endpoints.len() < most
        && let Some((_, endpoint)) = wanted.pop_first()
    {
        draft.endpoints.push(endpoint);
    }
}

/// A slice that would be deleted becomes one that would be made: one write in the place of two.
pub fn reuse(drafts: &mut Drafts, may: impl Fn(&Value) -> bool) {
    let mut kept = Vec::new();
    for slice in std::mem::take(&mut drafts.delete) {
        match drafts.create.pop_if(|_| may(&slice)) {
            Some(draft) => drafts.update.push(Draft { of: Some(slice), ..draft }),
            None => kept.push(slice),
        }
    }
    drafts.delete = kept;
}

/// The endpoints that a write adds or changes.
pub fn changed(drafts: &Drafts) -> BTreeSet<EndpointKey> {
    let mut changed = BTreeSet::new();
    for draft in drafts.create.iter().chain(&drafts.update) {
        let known = draft.of.iter().flat_map(|slice| list(slice, &["endpoints"]));
        let known: BTreeMap<EndpointKey, &Value> = known.map(|endpoint| (key(endpoint), endpoint)).collect();
        let new = draft.endpoints.iter().map(|endpoint| (key(endpoint), endpoint));
        let new = new.filter(|(key, endpoint)| known.get(key).is_none_or(|known| !same(known, endpoint)));
        changed.extend(new.map(|(key, _)| key));
    }
    changed
}
