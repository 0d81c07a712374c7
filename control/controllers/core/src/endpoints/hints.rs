//! Which zone or node an endpoint is for.
//!
//! By `trafficDistribution` (KEP-4444, KEP-3015) each endpoint is for where it is. By the older annotation
//! (KEP-2433) each zone gets endpoints by its share of the nodes' CPUs, or nobody gets hints where that would overload some.

use std::collections::BTreeMap;

use apiclient_core::quantity::Quantity;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use super::packing::{Draft, Drafts};
use crate::{World, kinds, object};

/// By how much the load of an endpoint may exceed the average.
const OVERLOAD: f64 = 0.2;

const ZONE: &str = "topology.kubernetes.io/zone";

/// What decides about hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    None,
    SameZone,
    SameNode,
    ByCpu,
}

pub fn mode(service: &Value) -> Mode {
    let annotation = object::annotation(service, "service.kubernetes.io/topology-aware-hints")
        .or_else(|| object::annotation(service, "service.kubernetes.io/topology-mode"));
    if matches!(annotation, Some("Auto" | "auto")) {
        return Mode::ByCpu;
    }
    match text(service, &["spec", "trafficDistribution"]) {
        "PreferClose" | "PreferSameZone" => Mode::SameZone,
        "PreferSameNode" => Mode::SameNode,
        _ => Mode::None,
    }
}

fn is_ready(endpoint: &Value) -> bool {
    endpoint["conditions"]["ready"] == true
}

/// What is wanted of an endpoint's hints where they follow its place; absent for none.
fn of_place(endpoint: &Value, mode: Mode) -> Option<Value> {
    let mut hints = json!({});
    if let Some(zone) = endpoint["zone"].as_str() {
        hints["forZones"] = json!([{"name": zone}]);
    }
    if let (Mode::SameNode, Some(node)) = (mode, endpoint["nodeName"].as_str()) {
        hints["forNodes"] = json!([{"name": node}]);
    }
    hints.as_object().is_some_and(|hints| !hints.is_empty()).then_some(hints)
}

fn set(endpoint: &mut Value, hints: Option<Value>) {
    match hints {
        Some(hints) => edit::set(endpoint, "hints", hints),
        None => edit::remove(endpoint, "hints"),
    }
}

/// Hints by place, or none. Slices whose hints are others are written, too.
pub fn by_place(drafts: &mut Drafts, mode: Mode) {
    let wanted = |endpoint: &Value| match mode {
        Mode::SameZone | Mode::SameNode if is_ready(endpoint) => of_place(endpoint, mode),
        _ => None,
    };
    let wrong = |endpoint: &Value| {
        // The hints of what is not ready count for nobody, unless there are to be none at all.
        (mode == Mode::None || is_ready(endpoint))
            && !edit::semantic_eq(&endpoint["hints"], &wanted(endpoint).unwrap_or_default())
    };
    rewrite(drafts, |slice| list(slice, &["endpoints"]).iter().any(wrong));
    for endpoint in endpoints(drafts) {
        let hints = wanted(endpoint);
        set(endpoint, hints);
    }
}

/// Moves the unchanged slices that are wrong to those that are written.
fn rewrite(drafts: &mut Drafts, mut wrong: impl FnMut(&Value) -> bool) {
    let (moved, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut drafts.unchanged).into_iter().partition(|s| wrong(s));
    drafts.unchanged = kept;
    drafts.update.extend(moved.iter().map(Draft::unchanged));
}

fn endpoints(drafts: &mut Drafts) -> impl Iterator<Item = &mut Value> {
    drafts.create.iter_mut().chain(&mut drafts.update).flat_map(|draft| &mut draft.endpoints)
}

/// Each zone's share of the CPUs of ready nodes; `None` where that cannot be said, or there is but one zone.
fn shares(world: &World) -> Option<BTreeMap<String, f64>> {
    let mut cpus: BTreeMap<String, i64> = BTreeMap::new();
    for node in world.all(kinds::NODES) {
        let excluded = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
        if excluded.iter().any(|label| object::label(node, label).is_some())
            || !object::condition_is(node, "Ready", "True")
        {
            continue;
        }
        let cpu = text(node, &["status", "allocatable", "cpu"]).parse().map_or(0, Quantity::milli_value);
        let zone = object::label(node, ZONE).filter(|zone| !zone.is_empty() && cpu > 0)?;
        *cpus.entry(zone.to_owned()).or_default() += cpu;
    }
    let total: i64 = cpus.values().sum();
    #[allow(clippy::cast_precision_loss)]
    let share = |cpu: i64| cpu as f64 / total as f64;
    (cpus.len() > 1).then(|| cpus.into_iter().map(|(zone, cpu)| (zone, share(cpu))).collect())
}

/// How many endpoints a zone gets.
#[derive(Debug)]
struct Allocation {
    most: usize,
    desired: f64,
}

/// # Errors
/// Why nobody gets hints.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn allocations(
    shares: Option<BTreeMap<String, f64>>,
    count: usize,
) -> Result<BTreeMap<String, Allocation>, String> {
    let shares = shares
        .ok_or("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")?;
    let about = format!("({count} endpoints, {} zones)", shares.len());
    if shares.len() > count {
        return Err(format!("Insufficient number of endpoints {about}"));
    }
    let desired = |share: f64| share * count as f64;
    let least = |share: f64| (desired(share) / (1.0 + OVERLOAD)).ceil() as usize;
    let total: usize = shares.values().map(|share| least(*share)).sum();
    if total > count {
        return Err(format!(
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {about}"
        ));
    }
    let allocation = |share: f64| Allocation {
        most: least(share) + count - total,
        desired: desired(share).max(least(share) as f64),
    };
    Ok(shares.into_iter().map(|(zone, share)| (zone, allocation(share))).collect())
}

/// Hints by the share of CPUs.
///
/// # Errors
/// Why nobody gets hints.
pub fn by_cpu(drafts: &mut Drafts, world: &World) -> Result<(), String> {
    let done = allocate(drafts, world);
    if done.is_err() {
        by_place(drafts, Mode::None);
    }
    done
}

fn allocate(drafts: &mut Drafts, world: &World) -> Result<(), String> {
    let unchanged = drafts.unchanged.iter().flat_map(|slice| list(slice, &["endpoints"]));
    let count = unchanged.filter(|endpoint| is_ready(endpoint)).count()
        + endpoints(drafts).filter(|endpoint| is_ready(endpoint)).count();
    let allocations = allocations(shares(world), count)?;
    // Slices keep the hints that they have, as long as no zone gets too many by them.
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    rewrite(drafts, |slice| match hinted(slice, &given, &allocations) {
        Some(more) => {
            more.into_iter().for_each(|(zone, count)| *given.entry(zone).or_default() += count);
            false
        }
        None => true,
    });
    for endpoint in endpoints(drafts) {
        if !is_ready(endpoint) {
            set(endpoint, None);
            continue;
        }
        let zone = text(endpoint, &["zone"]).to_owned();
        if zone.is_empty() {
            return Err("One or more endpoints do not have a zone specified".to_owned());
        }
        edit::set(endpoint, "hints", json!({"forZones": [{"name": zone}]}));
        *given.entry(zone).or_default() += 1;
    }
    if given.is_empty() {
        return Err("No hints allocated for zones".to_owned());
    }
    redistribute(drafts, &allocations, &given);
    Ok(())
}

/// The zones that the hints of a slice are for; `None` where they have to be others.
fn hinted(
    slice: &Value,
    given: &BTreeMap<String, usize>,
    allocations: &BTreeMap<String, Allocation>,
) -> Option<BTreeMap<String, usize>> {
    hints_of(slice, allocations)?
        .into_iter()
        .map(|(zone, count)| {
            let sum = count + given.get(&zone).copied().unwrap_or_default();
            (sum <= allocations.get(&zone)?.most).then_some((zone, count))
        })
        .collect()
}

fn hints_of(slice: &Value, allocations: &BTreeMap<String, Allocation>) -> Option<BTreeMap<String, usize>> {
    let mut hinted: BTreeMap<String, usize> = BTreeMap::new();
    for endpoint in list(slice, &["endpoints"]).iter().filter(|endpoint| is_ready(endpoint)) {
        let zones = list(endpoint, &["hints", "forZones"]);
        if zones.is_empty() {
            return None;
        }
        for zone in zones {
            let zone = text(zone, &["name"]);
            allocations.get(zone)?;
            *hinted.entry(zone.to_owned()).or_default() += 1;
        }
    }
    Some(hinted)
}

/// Zones with more endpoints than they need give some to those with fewer.
#[allow(clippy::cast_precision_loss)]
fn redistribute(
    drafts: &mut Drafts,
    allocations: &BTreeMap<String, Allocation>,
    given: &BTreeMap<String, usize>,
) {
    let (mut over, mut under): (BTreeMap<&str, f64>, BTreeMap<&str, f64>) =
        (BTreeMap::new(), BTreeMap::new());
    for (zone, allocation) in allocations {
        let surplus = given.get(zone).copied().unwrap_or_default() as f64 - allocation.desired;
        if surplus > 0.0 {
            over.insert(zone, surplus);
        } else if surplus < 0.0 {
            under.insert(zone, -surplus);
        }
    }
    let most = |zones: &BTreeMap<&str, f64>| -> Option<(String, f64)> {
        let most = zones.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
        (*most.1 > 0.0).then(|| ((*most.0).to_owned(), *most.1))
    };
    while let (Some((from, give)), Some((to, take))) = (most(&over), most(&under)) {
        if (give < 1.0 && take < 1.0) || give < 0.5 || take < 0.5 {
            break;
        }
        for (zones, zone) in [(&mut over, &from), (&mut under, &to)] {
            if let Some(left) = zones.get_mut(&**zone) {
                *left -= 1.0;
            }
        }
        let moved = endpoints(drafts).find(|endpoint| {
            is_ready(endpoint)
                && text(endpoint, &["zone"]) == from
                && endpoint["hints"]["forZones"][0]["name"] == *from
        });
        if let Some(endpoint) = moved {
            edit::set(endpoint, "hints", json!({"forZones": [{"name": to}]}));
        }
    }
}
