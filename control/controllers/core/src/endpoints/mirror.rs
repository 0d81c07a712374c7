//! EndpointSlices of Endpoints that somebody writes for a Service without a selector.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{self, at, list, text};
use serde_json::{Value, json};

use super::packing::{self, Draft, EndpointKey};
use super::{Family, MANAGED_BY, PortKey, SERVICE_NAME, TRIGGERED, legacy, subsets};
use crate::kinds::{ENDPOINT_SLICES, ENDPOINTS, SERVICES};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Addresses of one subset that are mirrored (`--mirroring-max-endpoints-per-subset`).
const MOST: usize = 1000;

/// Keys are Endpoints.
#[derive(Debug)]
pub struct Mirror;

/// What a slice is for: its family and ports.
type Key = (Family, PortKey);

/// What the slice of a key should hold.
#[derive(Default)]
struct Wanted {
    ports: Vec<Value>,
    endpoints: BTreeMap<EndpointKey, Value>,
}

impl Controller for Mirror {
    fn name(&self) -> &'static str {
        "endpointslice-mirroring-controller"
    }

    fn account(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[ENDPOINTS, SERVICES, ENDPOINT_SLICES]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        match change.kind {
            ENDPOINTS if change.both().any(|endpoints| may_mirror(endpoints)) => {
                keys.push(object::key(change.object()));
            }
            SERVICES if change.both().any(|service| without_selector(service)) => {
                keys.push(object::key(change.object()));
            }
            ENDPOINT_SLICES => super::services_of_slices(change, MANAGER, keys),
            _ => {}
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let existing: Vec<Arc<Value>> = super::slices_of(world, key, MANAGER).cloned().collect();
        let service = world.get(SERVICES, key).filter(|service| without_selector(service));
        let endpoints = world.get(ENDPOINTS, key).filter(|endpoints| may_mirror(endpoints));
        let (Some(_), Some(endpoints)) = (service, endpoints) else {
            return Decision::nothing()
                .all(existing.iter().map(|slice| Act::delete(ENDPOINT_SLICES, slice)).collect());
        };
        let (wanted, notes) = wanted(endpoints);
        let (written, spare) = drafts(endpoints, &existing, wanted);
        let mut decision = Decision::nothing();
        decision.stages.extend(notes.into_iter().map(Stage::Tell));
        let (mut creates, mut updates) = (Vec::new(), Vec::new());
        for (nth, (family, draft)) in written.iter().enumerate() {
            let slice = slice(endpoints, *family, draft, nth, context);
            match draft.of {
                Some(_) => updates.push(Act::update(ENDPOINT_SLICES, slice)),
                None if object::is_deleting(endpoints) => {}
                None => creates.push(Act::create(ENDPOINT_SLICES, slice)),
            }
        }
        let deletes = spare.iter().map(|slice| Act::delete(ENDPOINT_SLICES, slice));
        decision.all(creates).all(updates).all(deletes.collect())
    }
}

fn may_mirror(endpoints: &Value) -> bool {
    object::label(endpoints, "endpointslice.kubernetes.io/skip-mirror") != Some("true")
        && object::annotation(endpoints, legacy::LEADER).is_none()
}

fn without_selector(service: &Value) -> bool {
    at(service, &["spec", "selector"]).as_object().is_none_or(serde_json::Map::is_empty)
}

/// What is to be mirrored, and what is told of what is not.
fn wanted(endpoints: &Arc<Value>) -> (BTreeMap<Key, Wanted>, Vec<Note>) {
    let mut wanted: BTreeMap<Key, Wanted> = BTreeMap::new();
    let (mut invalid, mut skipped) = (0, 0);
    for subset in subsets::repack(list(endpoints, &["subsets"])) {
        let ports = list(&subset, &["ports"]);
        let ports_key = super::port_key(ports);
        let mut added = 0;
        let all = [("addresses", true), ("notReadyAddresses", false)].into_iter();
        for (address, ready) in
            all.flat_map(|(field, ready)| list(&subset, &[field]).iter().map(move |a| (a, ready)))
        {
            if added >= MOST {
                skipped += 1;
                continue;
            }
            let Some((family, endpoint)) = endpoint(address, ready) else {
                (invalid, skipped) = (invalid + 1, skipped + 1);
                continue;
            };
            added += 1;
            let of = wanted.entry((family, ports_key.clone())).or_default();
            of.ports = ports.to_vec();
            of.endpoints.insert(packing::key(&endpoint), endpoint);
        }
    }
    let mut notes = Vec::new();
    if invalid > 0 {
        let text = format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
        notes.push(Note::warning(ENDPOINTS, endpoints, "InvalidIPAddress", text));
    }
    if skipped > invalid {
        let text = format!(
            "A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
        );
        notes.push(Note::warning(ENDPOINTS, endpoints, "TooManyAddressesToMirror", text));
    }
    (wanted, notes)
}

fn endpoint(address: &Value, ready: bool) -> Option<(Family, Value)> {
    let (family, ip) = Family::of(text(address, &["ip"]))?;
    let mut endpoint = json!({"addresses": [ip], "conditions": {"ready": ready}});
    for field in ["targetRef", "nodeName", "hostname"] {
        if !address[field].is_null() && address[field] != "" {
            endpoint[field] = address[field].clone();
        }
    }
    Some((family, endpoint))
}

/// One slice for each family and set of ports: those to write, and those to delete.
fn drafts(
    endpoints: &Value,
    existing: &[Arc<Value>],
    wanted: BTreeMap<Key, Wanted>,
) -> (Vec<(Family, Draft)>, Vec<Arc<Value>>) {
    let mut by_key: BTreeMap<Key, Vec<&Arc<Value>>> = BTreeMap::new();
    for slice in existing {
        let family = if text(slice, &["addressType"]) == "IPv6" { Family::V6 } else { Family::V4 };
        by_key.entry((family, super::port_key(list(slice, &["ports"])))).or_default().push(slice);
    }
    let (mut written, mut spare) = (Vec::new(), Vec::new());
    for (key, wanted) in wanted {
        let mut known = by_key.remove(&key).unwrap_or_default().into_iter();
        let first = known.next();
        spare.extend(known.map(|slice| (key.0, slice)));
        if first.is_some_and(|slice| is_right(endpoints, slice, &wanted)) {
            continue;
        }
        let all = wanted.endpoints.into_values().take(MOST).collect();
        written.push((
            key.0,
            Draft { of: first.map(|slice| named(slice)), ports: wanted.ports, endpoints: all },
        ));
    }
    spare.extend(
        by_key.into_iter().flat_map(|((family, _), slices)| slices.into_iter().map(move |s| (family, s))),
    );
    // What would be deleted becomes what would be made.
    for (family, draft) in written.iter_mut().filter(|(_, draft)| draft.of.is_none()) {
        if let Some(at) = spare.iter().position(|(of, _)| of == family) {
            draft.of = Some(Arc::clone(spare.remove(at).1));
        }
    }
    (written, spare.into_iter().map(|(_, slice)| Arc::clone(slice)).collect())
}

/// The original writes a slice that it keeps as one that always had its name.
fn named(slice: &Value) -> Arc<Value> {
    let mut slice = slice.clone();
    edit::remove(&mut slice["metadata"], "generateName");
    Arc::new(slice)
}

fn is_right(endpoints: &Value, slice: &Value, wanted: &Wanted) -> bool {
    let has = list(slice, &["endpoints"]);
    let same = |endpoint: &Value| {
        let wanted = wanted.endpoints.get(&packing::key(endpoint));
        wanted.is_some_and(|wanted| packing::same(wanted, endpoint))
    };
    let owners = list(slice, &["metadata", "ownerReferences"]).iter();
    let mut owners = owners.filter(|owner| text(owner, &["kind"]) == "Endpoints");
    has.len() == wanted.endpoints.len()
        && has.iter().all(same)
        && owners.all(|owner| text(owner, &["uid"]) == object::uid(endpoints))
        && edit::semantic_eq(object::labels(slice), &labels(endpoints))
        && edit::semantic_eq(at(slice, &["metadata", "annotations"]), &annotations(endpoints))
}

fn labels(endpoints: &Value) -> Value {
    let mut labels = object::texts(object::labels(endpoints));
    labels.insert(SERVICE_NAME.to_owned(), object::name(endpoints).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    json!(labels)
}

fn annotations(endpoints: &Value) -> Value {
    let mut annotations = object::texts(at(endpoints, &["metadata", "annotations"]));
    annotations.retain(|name, _| name != TRIGGERED && name != APPLIED);
    json!(annotations)
}

fn slice(endpoints: &Value, family: Family, draft: &Draft, nth: usize, context: &Context) -> Value {
    let mut slice = match &draft.of {
        Some(slice) => Value::clone(slice),
        None => {
            let base = format!("{}-", object::name(endpoints));
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family.name(),
                "metadata": {
                    "name": context.generated(&base, nth), "generateName": base,
                    "namespace": object::namespace(endpoints),
                },
            })
        }
    };
    let metadata = &mut slice["metadata"];
    edit::set(metadata, "ownerReferences", json!([object::controller_reference(&ENDPOINTS, endpoints)]));
    edit::set(metadata, "labels", labels(endpoints));
    edit::set(metadata, "annotations", annotations(endpoints));
    edit::set(&mut slice, "ports", draft.ports.clone());
    edit::set(&mut slice, "endpoints", draft.endpoints.clone());
    slice
}
