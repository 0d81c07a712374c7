//! Who gets which address: for all Services at once, so that no two get one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use control_core::allocation::Family;
use control_core::edit::text;
use serde_json::Value;

use super::Pools;
use super::wish::{addresses, is_balanced, is_ours, wish};
use crate::object;

/// What a Service of type LoadBalancer comes to.
#[derive(Debug, PartialEq)]
pub enum Fate {
    /// These are to be its addresses, in the order of its families. It may have them already.
    Has(Vec<IpAddr>),
    /// It keeps what it has; why it gets no other, in words.
    Lacks(String),
}

/// Whose an address is.
type Ledger<'a> = BTreeMap<IpAddr, &'a Arc<Value>>;

/// What an address of a family is to be: kept, or chosen.
type Parts = Vec<(Family, Part)>;

enum Part {
    Kept(IpAddr),
    Wanted(IpAddr),
    Any,
}

/// Decides about all Services that want an address here. An address belongs to the oldest that has it, whatever is asked
/// for; then come those that name one, then the others, by age.
pub fn choose<'a>(
    pools: &Pools,
    services: impl Iterator<Item = &'a Arc<Value>>,
) -> Vec<(&'a Arc<Value>, Fate)> {
    let mut services: Vec<&Arc<Value>> = services.collect();
    let wants = |service: &Value| is_balanced(service) && is_ours(service) && !object::is_deleting(service);
    // What others have is never ours to give.
    services.sort_by_cached_key(|service| {
        let created = text(service, &["metadata", "creationTimestamp"]).to_owned();
        (wants(service), created, object::key(service))
    });
    let mut ledger = Ledger::new();
    for service in &services {
        addresses(service).for_each(|address| _ = ledger.entry(address).or_insert(service));
    }
    let mut fates = Vec::new();
    let mut waiting: Vec<(&Arc<Value>, Parts)> = Vec::new();
    for service in services.into_iter().filter(|service| wants(service)) {
        match wish(service, pools) {
            Err(problem) => fates.push((service, Fate::Lacks(problem))),
            // A server says which families it has.
            Ok(wish) if wish.is_empty() => {}
            Ok(wish) => {
                let part = |(family, wanted)| (family, part(pools, &ledger, service, family, wanted));
                waiting.push((service, wish.into_iter().map(part).collect()));
            }
        }
    }
    waiting.sort_by_key(|(_, parts)| !parts.iter().any(|(_, part)| matches!(part, Part::Wanted(_))));
    let mut free =
        [Family::V4, Family::V6].map(|family| Free { back: Vec::new(), rest: pools.addresses(family) });
    for (service, parts) in waiting {
        let mut found = Vec::with_capacity(parts.len());
        let mut problem = None;
        for (family, part) in &parts {
            let address = match part {
                Part::Kept(address) => Ok(*address),
                Part::Wanted(address) => wanted(pools, &ledger, *address),
                Part::Any => free[place(*family)].next(&ledger).ok_or_else(|| used_up(pools, *family)),
            };
            match address {
                Ok(address) => found.push(address),
                Err(why) => problem = problem.or(Some(why)),
            }
        }
        match problem {
            None => {
                found.iter().for_each(|address| _ = ledger.insert(*address, service));
                fates.push((service, Fate::Has(found)));
            }
            // All of its families or none: what it would have got, another may have.
            Some(why) => {
                for address in found.into_iter().filter(|address| !ledger.contains_key(address)) {
                    free[place(Family::of(address))].back.push(address);
                }
                fates.push((service, Fate::Lacks(why)));
            }
        }
    }
    fates
}

fn place(family: Family) -> usize {
    usize::from(family == Family::V6)
}

/// Free addresses of a family.
struct Free<I> {
    /// Looked at already, and not taken.
    back: Vec<IpAddr>,
    rest: I,
}

impl<I: Iterator<Item = IpAddr>> Free<I> {
    fn next(&mut self, ledger: &Ledger<'_>) -> Option<IpAddr> {
        let is_free = |address: &IpAddr| !ledger.contains_key(address);
        let back = std::iter::from_fn(|| self.back.pop()).find(is_free);
        back.or_else(|| self.rest.find(is_free))
    }
}

fn part(
    pools: &Pools,
    ledger: &Ledger<'_>,
    service: &Arc<Value>,
    family: Family,
    wanted: Option<IpAddr>,
) -> Part {
    let own = |address: &IpAddr| ledger.get(address).is_some_and(|holder| Arc::ptr_eq(holder, service));
    let kept = addresses(service).find(|address| {
        let meant = wanted.is_none_or(|wanted| wanted == *address);
        Family::of(*address) == family && meant && pools.contains(*address) && own(address)
    });
    match (kept, wanted) {
        (Some(kept), _) => Part::Kept(kept),
        (None, Some(wanted)) => Part::Wanted(wanted),
        (None, None) => Part::Any,
    }
}

fn wanted(pools: &Pools, ledger: &Ledger<'_>, address: IpAddr) -> Result<IpAddr, String> {
    if !pools.contains(address) {
        return Err(format!(
            "{address} is in no pool: ask for one of {pools}, or add it to --load-balancer-pool"
        ));
    }
    match ledger.get(&address) {
        None => Ok(address),
        Some(holder) => {
            let (namespace, name) = (object::namespace(holder), object::name(holder));
            Err(format!("{address} is in use by Service {namespace}/{name}: ask for another address"))
        }
    }
}

fn used_up(pools: &Pools, family: Family) -> String {
    let remedy = "--load-balancer-pool";
    match pools.texts(family) {
        none if none.is_empty() => {
            format!("there is no pool of {} addresses: add one to {remedy}, which is {pools}", family.name())
        }
        texts => format!(
            "no {} address is free, all of {texts} are in use: add a range to {remedy}, or delete a Service of type \
             LoadBalancer",
            family.name()
        ),
    }
}
