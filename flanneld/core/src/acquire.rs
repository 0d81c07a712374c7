//! Which subnets this node takes: decided here, done by the shell.
//!
//! Begin at [`plan`]. It never talks to etcd: it sees everything that is stored there and says what to do next. After
//! a lost race, or a [`Plan::Delete`], the shell looks again and asks again.

mod free;
mod identity;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{NetworkConfig, Pool};
use crate::lease::{Stored, Subnets};

pub use identity::{BadNote, Identity, Note, Previous};

/// How many free subnets the pick chooses from, as in flannel.
const CHOICE: usize = 100;

/// What the shell does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Take over the key that is already ours: write our attributes to it, without an etcd lease if it is `reserved`,
    /// else with a new one. `former`: it has another public IP, which was ours.
    Reuse { subnets: Subnets, reserved: bool, former: Option<Ipv4Addr> },
    /// Remove our own key, which does not fit the config any more; then ask again.
    Delete { subnets: Subnets },
    /// Create the key of the earlier run. If it exists by then, ask again.
    Previous { subnets: Subnets },
    /// Create this key. If it exists by then, ask again.
    Pick { subnets: Subnets },
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reuse { subnets, reserved: true, former: None } => {
                write!(f, "take the subnet reserved for us, {subnets}")
            }
            Self::Reuse { subnets, former: None, .. } => write!(f, "reuse our lease {subnets}"),
            Self::Reuse { subnets, former: Some(former), .. } => {
                write!(f, "reuse our lease {subnets}, which we held at {former}")
            }
            Self::Delete { subnets } => {
                write!(f, "delete our lease {subnets}, which does not fit the config")
            }
            Self::Previous { subnets } => write!(f, "take our previous subnet again, {subnets}"),
            Self::Pick { subnets } => write!(f, "take a free subnet, {subnets}"),
        }
    }
}

/// No subnet of a pool is free.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "out of subnets: {pool} has {count}, and none is free; they are held by {holders}. Delete the leases of nodes \
     that are gone, or change the config: a larger network, a larger SubnetLen (smaller subnets), or a wider \
     SubnetMin to SubnetMax"
)]
pub struct OutOfSubnets {
    pub pool: Box<Pool>,
    pub count: u128,
    /// The first few keys that are in the way, each with its public IP.
    pub holders: String,
}

/// Decides what to do next. `random` gives a number below its argument, each with equal chance.
///
/// In this order: a fitting key that is ours (the one of the earlier run before others); the removal of our
/// own key that does not fit, unless it is a reservation, which belongs to whoever made it; the subnets of
/// the earlier run where they are free; one of the first 100 free ones. Each family is decided for itself, so that a
/// node keeps its IPv4 subnet when IPv6 is turned on (flannel would give it another).
///
/// # Errors
///
/// If a pool has no free subnet.
///
/// # Panics
///
/// If the config has no IPv4 pool; [`NetworkConfig::parse`] gives none like that.
pub fn plan(
    config: &NetworkConfig,
    node: &Identity,
    stored: &[&Stored],
    mut random: impl FnMut(usize) -> usize,
) -> Result<Plan, OutOfSubnets> {
    if let Some(plan) = own(config, node, stored) {
        return Ok(plan);
    }
    let mut picked = false;
    let mut choose = |pool: &Pool, previous: Option<IpNet>| {
        let free = free::Free::new(pool, stored.iter().filter_map(|one| family(&one.subnets, pool)));
        if let Some(previous) = previous.filter(|previous| free.has(*previous)) {
            return Ok(previous);
        }
        picked = true;
        let choice: Vec<IpNet> = free.iter().take(CHOICE).collect();
        match choice.len() {
            0 => Err(out_of_subnets(pool, stored)),
            len => Ok(choice[random(len) % len]),
        }
    };
    let Previous { v4, v6 } = node.previous;
    let v4_pool = config.v4.as_ref().expect("a config for etcd has an IPv4 pool");
    let v4 = choose(v4_pool, v4.map(IpNet::V4))?;
    let v6 = config.v6.as_ref().map(|pool| choose(pool, v6.map(IpNet::V6))).transpose()?;
    let subnets = Subnets { v4: as_v4(v4).expect("a subnet of the IPv4 pool"), v6: v6.and_then(as_v6) };
    Ok(if picked { Plan::Pick { subnets } } else { Plan::Previous { subnets } })
}

/// What to do about keys that are ours already.
fn own(config: &NetworkConfig, node: &Identity, stored: &[&Stored]) -> Option<Plan> {
    let ours = || stored.iter().filter(|one| node.owns(one));
    let fitting = ours().filter(|one| fits(config, &one.subnets));
    let best = fitting.min_by_key(|one| (Some(one.subnets.v4) != node.previous.v4, one.subnets));
    if let Some(&&Stored { subnets, reserved, ref attrs, .. }) = best {
        let holder = attrs.as_ref().ok().map(|attrs| attrs.public_ip);
        let former = holder.filter(|holder| *holder != node.public_ip);
        return Some(Plan::Reuse { subnets, reserved, former });
    }
    ours().find(|one| !one.reserved).map(|one| Plan::Delete { subnets: one.subnets })
}

/// Whether the config would give out these subnets.
fn fits(config: &NetworkConfig, subnets: &Subnets) -> bool {
    let v4 = config.v4.as_ref().is_some_and(|pool| pool.admits(subnets.v4.into()));
    let v6 = match (&config.v6, subnets.v6) {
        (Some(pool), Some(v6)) => pool.admits(v6.into()),
        (None, None) => true,
        _ => false,
    };
    v4 && v6
}

/// The subnet of the pool's family.
fn family(subnets: &Subnets, pool: &Pool) -> Option<IpNet> {
    match pool.network {
        IpNet::V4(_) => Some(subnets.v4.into()),
        IpNet::V6(_) => subnets.v6.map(IpNet::V6),
    }
}

fn as_v4(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}

fn as_v6(net: IpNet) -> Option<Ipv6Net> {
    match net {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    }
}

fn out_of_subnets(pool: &Pool, stored: &[&Stored]) -> OutOfSubnets {
    const NAMED: usize = 5;
    let in_the_way = |one: &&&Stored| family(&one.subnets, pool).is_some_and(|net| pool.slots(net).is_some());
    let mut names: Vec<String> =
        stored.iter().filter(in_the_way).take(NAMED).map(|one| holder(one)).collect();
    let more = stored.iter().filter(in_the_way).count() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    OutOfSubnets { pool: Box::new(pool.clone()), count: pool.count(), holders: names.join(", ") }
}

fn holder(one: &Stored) -> String {
    let reserved = if one.reserved { ", reserved" } else { "" };
    match &one.attrs {
        Ok(attrs) => format!("{} ({}{reserved})", one.subnets, attrs.public_ip),
        Err(_) => format!("{} (unreadable{reserved})", one.subnets),
    }
}
