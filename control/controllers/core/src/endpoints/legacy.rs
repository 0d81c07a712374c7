//! Endpoints of Services with a selector: for clients that do not know slices.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{self, at, list, text};
use serde_json::{Value, json};

use super::{Family, HEADLESS, TRIGGERED, subsets};
use crate::kinds::{ENDPOINTS, PODS, SERVICES};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, World, object, pods};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Leaders of old times are elected by Endpoints without a Service.
pub(super) const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Keys are Services.
#[derive(Debug)]
pub struct Endpoints;

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        "endpoints-controller"
    }

    fn account(&self) -> &'static str {
        "endpoint-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[SERVICES, PODS, ENDPOINTS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        match change.kind {
            SERVICES => keys.push(object::key(changed)),
            PODS => super::services_of(world, change, keys),
            // What is deleted comes back. Of new ones only our own matter: those whose Service has gone meanwhile.
            _ if change.new.is_none() => keys.push(object::key(changed)),
            _ if change.old.is_none() && object::label(changed, MANAGED_BY) == Some(MANAGER) => {
                keys.push(object::key(changed));
            }
            _ => {}
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let known = world.get(ENDPOINTS, key);
        let Some(service) = world.get(SERVICES, key) else {
            let leftover = known
                .filter(|known| object::annotation(known, LEADER).is_none() && !object::is_deleting(known));
            let act =
                leftover.map(|known| Act::delete(ENDPOINTS, known).while_absent(SERVICES, key.clone(), ""));
            return Decision::nothing().all(act.into_iter().collect());
        };
        if super::selector(service).is_none() {
            return Decision::nothing();
        }
        let (wanted, pods) = wanted(world, service);
        if known.is_some_and(|known| is_right(known, service, &wanted)) {
            return Decision::nothing();
        }
        let written = written(service, known, wanted, &pods);
        let (namespace, name) = (object::namespace(service), object::name(service));
        let about = Arc::new(written.clone());
        let (act, note) = match known {
            None if object::is_deleting(service) => return Decision::nothing(),
            None => {
                let text = format!("Failed to create endpoint for service {namespace}/{name}: ");
                (
                    Act::create(ENDPOINTS, written),
                    Note::warning(ENDPOINTS, &about, "FailedToCreateEndpoint", text),
                )
            }
            Some(_) => {
                let text = format!("Failed to update endpoint {namespace}/{name}: ");
                (
                    Act::update(ENDPOINTS, written),
                    Note::warning(ENDPOINTS, &about, "FailedToUpdateEndpoint", text),
                )
            }
        };
        Decision::nothing().then(act.telling_refusals(note))
    }
}

/// The subsets of a Service, and its pods.
fn wanted<'a>(world: &'a World, service: &'a Value) -> (Vec<Value>, Vec<&'a Arc<Value>>) {
    let unready = service["spec"]["publishNotReadyAddresses"] == true;
    let pods = super::pods_of(world, service).filter(|pod| unready || !object::is_deleting(pod));
    let pods: Vec<&Arc<Value>> = pods.collect();
    let portless = list(service, &["spec", "ports"]).is_empty();
    let mut all = Vec::new();
    for pod in &pods {
        let Some(address) = address(pod, service) else { continue };
        let field = if unready || pods::is_ready(pod) { "addresses" } else { "notReadyAddresses" };
        if portless {
            all.push(json!({field: [address]}));
        }
        all.extend(
            super::ports(service, pod).into_iter().map(|port| json!({field: [address], "ports": [port]})),
        );
    }
    (subsets::repack(&all), pods)
}

/// Of the Service's first family.
fn address(pod: &Value, service: &Value) -> Option<Value> {
    let family = match list(service, &["spec", "ipFamilies"]).first().and_then(Value::as_str) {
        Some("IPv6") => Family::V6,
        Some(_) => Family::V4,
        None => {
            let own = Family::of(text(service, &["spec", "clusterIP"]));
            own.or_else(|| Family::of(text(pod, &["status", "podIP"])))
                .map_or(Family::V4, |(family, _)| family)
        }
    };
    let mut address = json!({
        "ip": super::addresses(pod, family).into_iter().next()?,
        "nodeName": pods::node(pod), "targetRef": super::target(pod),
    });
    if let Some(hostname) = super::hostname(pod, service) {
        address["hostname"] = hostname.into();
    }
    Some(address)
}

fn is_right(known: &Value, service: &Value, wanted: &[Value]) -> bool {
    let has = list(known, &["subsets"]);
    let (ready, unready) = subsets::count(has);
    let cut = || {
        let mut wanted = wanted.to_vec();
        let over = subsets::truncate(&mut wanted);
        (over, wanted)
    };
    let (over, wanted) = cut();
    over == object::annotation(known, OVER_CAPACITY).is_some()
        && ready + unready <= subsets::MOST
        && edit::semantic_eq(&bare(&subsets::repack(has)), &bare(&subsets::repack(&wanted)))
        && object::texts(object::labels(known)) == object::texts(&labels(service))
}

/// Without the versions of pods, which tell nothing.
fn bare(subsets: &[Value]) -> Value {
    let mut bare = Value::from(subsets);
    for subset in bare.as_array_mut().into_iter().flatten() {
        for field in ["addresses", "notReadyAddresses"] {
            for address in edit::items(subset, field) {
                if let Some(target) = edit::existing(address, "targetRef") {
                    edit::remove(target, "resourceVersion");
                }
            }
        }
    }
    bare
}

fn labels(service: &Value) -> Value {
    let mut labels = object::texts(object::labels(service));
    if super::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    json!(labels)
}

fn written(
    service: &Value,
    known: Option<&Arc<Value>>,
    mut wanted: Vec<Value>,
    pods: &[&Arc<Value>],
) -> Value {
    let mut written = match known {
        Some(known) => Value::clone(known),
        None => json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"namespace": object::namespace(service), "name": object::name(service)},
        }),
    };
    let triggered = triggered(service, known, &wanted, pods);
    let over = subsets::truncate(&mut wanted);
    edit::set(&mut written["metadata"], "labels", labels(service));
    if let Some(annotations) = edit::child(&mut written["metadata"], "annotations") {
        edit::remove(annotations, OVER_CAPACITY);
        edit::remove(annotations, TRIGGERED);
        if let Some(triggered) = triggered {
            edit::set(annotations, TRIGGERED, time::seconds(triggered));
        }
        if over {
            edit::set(annotations, OVER_CAPACITY, "truncated");
        }
    }
    edit::set(&mut written, "subsets", wanted);
    written
}

/// When that happened which led to this write: the first change of a pod that is not known, or known otherwise.
fn triggered(
    service: &Value,
    known: Option<&Arc<Value>>,
    wanted: &[Value],
    pods: &[&Arc<Value>],
) -> Option<SystemTime> {
    let Some(known) = known else { return object::moment(service, &["metadata", "creationTimestamp"]) };
    let ready = |subsets: &[Value]| -> std::collections::BTreeSet<(bool, String)> {
        let of = |subset: &Value, field: &str, is: bool| {
            let uids =
                list(subset, &[field]).iter().map(|address| text(address, &["targetRef", "uid"]).to_owned());
            uids.map(|uid| (is, uid)).collect::<Vec<_>>()
        };
        let both = |subset| [of(subset, "addresses", true), of(subset, "notReadyAddresses", false)].concat();
        subsets.iter().flat_map(both).collect()
    };
    let (has, wants) = (ready(list(known, &["subsets"])), ready(wanted));
    let changed = pods.iter().filter(|pod| {
        let uid = object::uid(pod).to_owned();
        [true, false].into_iter().any(|is| {
            let state = (is, uid.clone());
            wants.contains(&state) && !has.contains(&state)
        })
    });
    let since = changed
        .filter_map(|pod| object::condition(pod, "Ready").map(|ready| at(ready, &["lastTransitionTime"])));
    since.filter_map(|since| time::parse(since.as_str()?)).min()
}
