//! EndpointSlices of Services with a selector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use super::packing::{self, Draft, Drafts, EndpointKey};
use super::{Family, HEADLESS, MANAGED_BY, PortKey, SERVICE_NAME, TRIGGERED, hints};
use crate::kinds::{ENDPOINT_SLICES, NODES, PODS, SERVICES};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object, pods};

const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Endpoints of a slice (`--max-endpoints-per-slice`).
const MOST: usize = 100;

const ZONE: &str = "topology.kubernetes.io/zone";

/// A pod may be known before its node is.
const NODE_UNKNOWN: Duration = Duration::from_secs(1);

/// Keys are Services.
#[derive(Debug)]
pub struct EndpointSlices;

impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[SERVICES, PODS, NODES, ENDPOINT_SLICES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        match change.kind {
            SERVICES => keys.push(object::key(change.object())),
            PODS => super::services_of(world, change, keys),
            NODES => of_node(world, change, keys),
            _ => super::services_of_slices(change, MANAGER, keys),
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(service) = world.get(SERVICES, key).filter(|service| super::selector(service).is_some())
        else {
            return Decision::nothing();
        };
        let mut pass = Pass { world, service, made: 0, context, decision: Decision::nothing() };
        let families = families(service);
        let existing: Vec<&Arc<Value>> = super::slices_of(world, key, MANAGER).collect();
        let is_new = existing.is_empty();
        let mut acts = Acts::default();
        for family in &families {
            let of_family = existing.iter().filter(|slice| text(slice, &["addressType"]) == family.name());
            let existing: Vec<Arc<Value>> = of_family.map(|slice| Arc::clone(slice)).collect();
            pass.family(*family, &existing, is_new, &mut acts);
        }
        let strangers = existing
            .iter()
            .filter(|slice| !families.iter().any(|family| text(slice, &["addressType"]) == family.name()));
        acts.delete.extend(strangers.map(|slice| Act::delete(ENDPOINT_SLICES, slice)));
        let refused = |(what, act): (&str, Act)| {
            let name = act.target().name;
            let (namespace, of) = (object::namespace(service), object::name(service));
            let text = format!(
                "Error updating Endpoint Slices for Service {namespace}/{of}: failed to {what} {name} EndpointSlice for \
                 Service {namespace}/{of}: "
            );
            act.telling_refusals(Note::warning(SERVICES, service, "FailedToUpdateEndpointSlices", text))
        };
        let Acts { create, update, delete } = acts;
        pass.decision
            .all(create.into_iter().map(|act| refused(("create", act))).collect())
            .all(update.into_iter().map(|act| refused(("update", act))).collect())
            .all(delete.into_iter().map(|act| refused(("delete", act))).collect())
    }
}

#[derive(Default)]
struct Acts {
    create: Vec<Act>,
    update: Vec<Act>,
    delete: Vec<Act>,
}

/// The Services that a change of a node may matter to: hints by CPU depend on all nodes, an endpoint's zone on its own.
fn of_node(world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
    let zone = |node: &Option<Arc<Value>>| {
        node.as_ref().and_then(|node| object::label(node, ZONE).map(str::to_owned))
    };
    let ready = |node: &Option<Arc<Value>>| {
        node.as_ref().is_some_and(|node| object::condition_is(node, "Ready", "True"))
    };
    let moved = zone(&change.old) != zone(&change.new);
    if !moved && ready(&change.old) == ready(&change.new) {
        return;
    }
    let services = world.all(SERVICES).filter(|service| hints::mode(service) == hints::Mode::ByCpu);
    keys.extend(services.map(|service| object::key(service)));
    // A new node has no pods yet, as a rule; where it has, their Services are looked at again.
    if moved && change.old.is_some() {
        let name = object::name(change.object());
        for pod in world.all(PODS).filter(|pod| pods::node(pod) == name) {
            let services = world.within(SERVICES, object::namespace(pod));
            let services = services.filter(|service| super::selects(service, object::labels(pod)));
            keys.extend(services.map(|service| object::key(service)));
        }
    }
}

/// The families that a Service has addresses of.
fn families(service: &Value) -> Vec<Family> {
    let named: Vec<Family> = list(service, &["spec", "ipFamilies"])
        .iter()
        .filter_map(|family| match family.as_str() {
            Some("IPv4") => Some(Family::V4),
            Some("IPv6") => Some(Family::V6),
            _ => None,
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    match Family::of(text(service, &["spec", "clusterIP"])) {
        Some((family, _)) => vec![family],
        None => vec![Family::V4, Family::V6],
    }
}

/// Endpoints of the same ports.
#[derive(Default)]
struct Group {
    ports: Vec<Value>,
    endpoints: BTreeMap<EndpointKey, Value>,
}

struct Pass<'a> {
    world: &'a World,
    service: &'a Arc<Value>,
    /// Slices that got a name.
    made: usize,
    context: &'a Context,
    decision: Decision,
}

impl Pass<'_> {
    /// The slices of one family.
    fn family(&mut self, family: Family, existing: &[Arc<Value>], is_new: bool, acts: &mut Acts) {
        let uid = object::uid(self.service);
        let owned = |slice: &Value| {
            let mut owners = list(slice, &["metadata", "ownerReferences"]).iter();
            owners.any(|owner| text(owner, &["uid"]) == uid && text(owner, &["kind"]) == "Service")
        };
        let mut drafts = Drafts::default();
        let mut by_ports: BTreeMap<PortKey, Vec<Arc<Value>>> = BTreeMap::new();
        for slice in existing {
            if owned(slice) {
                by_ports.entry(super::port_key(list(slice, &["ports"]))).or_default().push(Arc::clone(slice));
            } else {
                drafts.delete.push(Arc::clone(slice));
            }
        }
        let labels = labels(self.service);
        let outdated = |slice: &Value| !same_labels(object::labels(slice), &labels);
        for (ports, group) in self.groups(family) {
            let of_ports = by_ports.remove(&ports).unwrap_or_default();
            drafts.append(packing::pack(&of_ports, group.endpoints, &group.ports, outdated, MOST));
        }
        drafts.delete.extend(by_ports.into_values().flatten());
        if existing.len() == drafts.delete.len() && drafts.create.is_empty() {
            // A Service without endpoints has an empty slice, so that clients can tell it from one that nobody looked at.
            let placeholder = |slice: &Value| {
                owned(slice)
                    && list(slice, &["ports"]).is_empty()
                    && list(slice, &["endpoints"]).is_empty()
                    && edit::semantic_eq(object::labels(slice), &labels)
            };
            if drafts.delete.len() == 1 && placeholder(&drafts.delete[0]) {
                drafts.unchanged.append(&mut drafts.delete);
            } else {
                drafts.create.push(Draft { of: None, ports: Vec::new(), endpoints: Vec::new() });
            }
        }
        self.hints(family, existing, &mut drafts);
        packing::reuse(&mut drafts, owned);
        let triggered = self.triggered(&drafts, is_new);
        if !object::is_deleting(self.service) {
            for draft in &drafts.create {
                let slice = self.slice(draft, family, &labels, triggered);
                acts.create.push(Act::create(ENDPOINT_SLICES, slice));
            }
        }
        for draft in &drafts.update {
            let slice = self.slice(draft, family, &labels, triggered);
            acts.update.push(Act::update(ENDPOINT_SLICES, slice));
        }
        acts.delete.extend(drafts.delete.iter().map(|slice| Act::delete(ENDPOINT_SLICES, slice)));
    }

    fn groups(&mut self, family: Family) -> BTreeMap<PortKey, Group> {
        let mut groups: BTreeMap<PortKey, Group> = BTreeMap::new();
        let unready = self.service["spec"]["publishNotReadyAddresses"] == true;
        let portless = list(self.service, &["spec", "ports"]).is_empty();
        for pod in super::pods_of(self.world, self.service) {
            let ports = if portless { Vec::new() } else { super::ports(self.service, pod) };
            let group =
                groups.entry(super::port_key(&ports)).or_insert_with(|| Group { ports, ..Group::default() });
            let node = self.world.get(NODES, &ObjectName::new("", pods::node(pod)));
            if node.is_none() && !unready {
                // It may be gone, and the pod with it soon; or it is not known yet.
                let decision = std::mem::take(&mut self.decision);
                self.decision = decision.again_in(NODE_UNKNOWN);
                continue;
            }
            if let Some(endpoint) = endpoint(pod, node, self.service, family, unready) {
                group.endpoints.insert(packing::key(&endpoint), endpoint);
            }
        }
        groups
    }

    fn hints(&mut self, family: Family, existing: &[Arc<Value>], drafts: &mut Drafts) {
        let mode = hints::mode(self.service);
        let mut had = existing.iter().flat_map(|slice| list(slice, &["endpoints"]));
        let had = had.any(|endpoint| !endpoint["hints"].is_null());
        let tell = |warning: bool, reason: &'static str, text: &str| {
            let text = format!("{text}, addressType: {}", family.name());
            let note = Note::normal(SERVICES, self.service, reason, text);
            Stage::Tell(Note { warning, ..note })
        };
        if mode != hints::Mode::ByCpu {
            hints::by_place(drafts, mode);
            return;
        }
        match hints::by_cpu(drafts, self.world) {
            Ok(()) if !had => self.decision.stages.push(tell(
                false,
                "TopologyAwareHintsEnabled",
                "Topology Aware Hints has been enabled",
            )),
            Ok(()) => {}
            Err(problem) => self.decision.stages.push(tell(true, "TopologyAwareHintsDisabled", &problem)),
        }
    }

    /// When that happened which led to these writes, where it can be said.
    fn triggered(&self, drafts: &Drafts, is_new: bool) -> Option<SystemTime> {
        if is_new {
            return object::moment(self.service, &["metadata", "creationTimestamp"]);
        }
        let changed = packing::changed(drafts);
        let pods = super::pods_of(self.world, self.service);
        let times = pods.filter_map(|pod| {
            let families = [Family::V4, Family::V6].into_iter();
            let mut keys = families.filter_map(|family| {
                endpoint(pod, None, self.service, family, false).map(|endpoint| packing::key(&endpoint))
            });
            keys.any(|key| changed.contains(&key)).then(|| {
                let ready = object::condition(pod, "Ready")?;
                object::moment(ready, &["lastTransitionTime"])
            })?
        });
        if changed.is_empty() { None } else { times.min() }
    }

    fn slice(
        &mut self,
        draft: &Draft,
        family: Family,
        labels: &Value,
        triggered: Option<SystemTime>,
    ) -> Value {
        let service = self.service;
        let mut slice = match &draft.of {
            Some(slice) => Value::clone(slice),
            None => {
                let base = format!("{}-", object::name(service));
                self.made += 1;
                json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family.name(),
                    "metadata": {
                        "name": self.context.generated(&base, self.made), "generateName": base,
                        "namespace": object::namespace(service),
                        "ownerReferences": [object::controller_reference(&SERVICES, service)],
                    },
                })
            }
        };
        let metadata = &mut slice["metadata"];
        edit::set(metadata, "labels", labels.clone());
        if let Some(annotations) = edit::child(metadata, "annotations") {
            match triggered {
                Some(triggered) => edit::set(annotations, TRIGGERED, time::seconds(triggered)),
                None => edit::remove(annotations, TRIGGERED),
            }
        }
        edit::set(&mut slice, "ports", draft.ports.clone());
        edit::set(&mut slice, "endpoints", draft.endpoints.clone());
        slice
    }
}

/// What a slice says of a pod; `None` where the pod has no address of the family.
fn endpoint(
    pod: &Value,
    node: Option<&Arc<Value>>,
    service: &Value,
    family: Family,
    unready: bool,
) -> Option<Value> {
    let addresses = super::addresses(pod, family);
    if addresses.is_empty() {
        return None;
    }
    let (serving, terminating) = (pods::is_ready(pod), object::is_deleting(pod));
    let mut endpoint = json!({
        "addresses": addresses,
        "conditions": {
            "ready": unready || serving && !terminating, "serving": serving, "terminating": terminating,
        },
        "targetRef": super::target(pod),
    });
    if let Some(hostname) = super::hostname(pod, service) {
        endpoint["hostname"] = hostname.into();
    }
    if !pods::node(pod).is_empty() {
        endpoint["nodeName"] = pods::node(pod).into();
    }
    if let Some(zone) = node.and_then(|node| object::label(node, ZONE)).filter(|zone| !zone.is_empty()) {
        endpoint["zone"] = zone.into();
    }
    Some(endpoint)
}

/// Labels that are not the Service's.
const RESERVED: [&str; 3] = [SERVICE_NAME, MANAGED_BY, HEADLESS];

fn labels(service: &Value) -> Value {
    let mut labels = object::texts(object::labels(service));
    labels.retain(|key, _| !RESERVED.contains(&&**key));
    if super::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), object::name(service).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    json!(labels)
}

fn same_labels(a: &Value, b: &Value) -> bool {
    let own = |labels: &Value| {
        let mut labels = object::texts(labels);
        labels.retain(|key, _| !RESERVED.contains(&&**key));
        labels
    };
    own(a) == own(b)
}
