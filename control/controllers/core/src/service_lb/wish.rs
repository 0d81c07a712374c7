//! Which addresses a Service asks for.

use std::net::IpAddr;

use control_core::allocation::Family;
use control_core::edit::{list, text};
use control_core::names::sloppy_ip;
use serde_json::Value;

use super::Pools;
use crate::object;

/// The class of Services that are for nobody else. Those without a class are ours, too.
const CLASS: &str = "weft.dev/pool";

/// By which MetalLB's users ask for addresses, now and formerly.
const ANNOTATIONS: [&str; 2] = ["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];

/// Nobody else gives it addresses.
pub fn is_ours(service: &Value) -> bool {
    matches!(text(service, &["spec", "loadBalancerClass"]), "" | CLASS)
}

pub fn is_balanced(service: &Value) -> bool {
    text(service, &["spec", "type"]) == "LoadBalancer"
}

/// The addresses that a Service has, of which the API server is the memory.
pub fn addresses(service: &Value) -> impl Iterator<Item = IpAddr> {
    let ingress = list(service, &["status", "loadBalancer", "ingress"]).iter();
    ingress.filter_map(|one| sloppy_ip(text(one, &["ip"])))
}

/// The families that a Service is to have an address of, in its order, and the address where it names one.
///
/// # Errors
/// It asks for what cannot be, in words.
pub fn wish(service: &Value, pools: &Pools) -> Result<Vec<(Family, Option<IpAddr>)>, String> {
    let single = text(service, &["spec", "loadBalancerIP"]);
    let annotated = ANNOTATIONS.into_iter().find_map(|name| Some((name, object::annotation(service, name)?)));
    let (place, named) = match annotated {
        Some((name, _)) if !single.is_empty() => {
            return Err(format!("spec.loadBalancerIP and the annotation {name} are both set: remove one"));
        }
        Some((name, addresses)) => (name, addresses),
        None => ("spec.loadBalancerIP", single),
    };
    let families = list(service, &["spec", "ipFamilies"]).iter();
    let mut wish: Vec<(Family, Option<IpAddr>)> = families
        .filter_map(|name| match name.as_str()? {
            "IPv4" => Some((Family::V4, None)),
            "IPv6" => Some((Family::V6, None)),
            _ => None,
        })
        .collect();
    for word in named.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let address = sloppy_ip(word).ok_or_else(|| format!("{word:?} in {place} is no IP address"))?;
        let family = Family::of(address);
        match wish.iter_mut().find(|(of, _)| *of == family) {
            Some((_, wanted @ None)) => *wanted = Some(address),
            Some((_, Some(_))) => {
                return Err(format!("{place} has two addresses of {}: a Service gets one", family.name()));
            }
            None => return Err(format!("{address} in {place} is of none of the Service's ipFamilies")),
        }
    }
    // Who prefers two families is content with one.
    if text(service, &["spec", "ipFamilyPolicy"]) == "PreferDualStack"
        && wish.iter().any(|(family, _)| pools.has(*family))
    {
        wish.retain(|(family, wanted)| wanted.is_some() || pools.has(*family));
    }
    Ok(wish)
}
