//! Flags about nodes: ranges for their pods, and when they are lost.

use control_controllers_core::node_ipam::Network;
use control_controllers_core::node_lifecycle::Limits;
use goflags::{Error, Setting, Settings};

use super::{duration, positive};

/// How long the prefixes of nodes are if nobody says.
const PREFIXES: (u8, u8) = (24, 64);

/// Networks that nodes get their ranges of; none where no node gets any.
pub fn networks(settings: &Settings) -> Result<Vec<Network>, Error> {
    if !settings.get("allocate-node-cidrs").truth() {
        return Ok(Vec::new());
    }
    let given = settings.get("cluster-cidr");
    let texts = texts(given);
    let (all, v4, v6) = (
        size(settings.get("node-cidr-mask-size"), 128)?,
        size(settings.get("node-cidr-mask-size-ipv4"), 32)?,
        size(settings.get("node-cidr-mask-size-ipv6"), 128)?,
    );
    let is_v6 = |text: &&str| text.contains(':');
    let families = (texts.iter().any(|text| !is_v6(text)), texts.iter().any(is_v6));
    match texts.as_slice() {
        [] => {
            return Err(
                given.refuse("--allocate-node-cidrs needs it: want the network of pods, 10.244.0.0/16 say")
            );
        }
        [_] => {}
        [_, _] if families == (true, true) => {}
        _ => return Err(given.refuse("want one network, or one of IPv4 and one of IPv6")),
    }
    if all.is_some() && (texts.len() > 1 || v4.is_some() || v6.is_some()) {
        return Err(settings.get("node-cidr-mask-size").refuse(
            "it is for one network alone; give --node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6 instead",
        ));
    }
    for (size, family, name) in [(v4, families.0, "ipv4"), (v6, families.1, "ipv6")] {
        if size.is_some() && !family {
            let setting = settings.get(&format!("node-cidr-mask-size-{name}"));
            return Err(setting.refuse("--cluster-cidr has no network of this family"));
        }
    }
    let network = |text: &str| {
        let own = if is_v6(&text) { v6.unwrap_or(PREFIXES.1) } else { v4.unwrap_or(PREFIXES.0) };
        Network::new(text, all.unwrap_or(own)).map_err(|error| given.refuse(error.to_string()))
    };
    texts.into_iter().map(network).collect()
}

/// Ranges that no node may have.
pub fn reserved(settings: &Settings) -> Vec<String> {
    texts(settings.get("service-cluster-ip-range")).into_iter().map(str::to_owned).collect()
}

pub fn limits(settings: &Settings) -> Result<Limits, Error> {
    let part = |name: &str, most: f64| {
        let setting = settings.get(name);
        match setting.float() {
            given if (0.0..=most).contains(&given) => Ok(given),
            _ if most > 1.0 => Err(setting.refuse("want a number that is not below 0")),
            _ => Err(setting.refuse("want a number from 0 to 1")),
        }
    };
    let large = settings.get("large-cluster-size-threshold").within(0, i64::from(i32::MAX))?;
    Ok(Limits {
        grace: positive(settings.get("node-monitor-grace-period"))?,
        startup: duration(settings.get("node-startup-grace-period"))?,
        rate: part("node-eviction-rate", f64::MAX)?,
        secondary_rate: part("secondary-node-eviction-rate", f64::MAX)?,
        unhealthy: part("unhealthy-zone-threshold", 1.0)?,
        large: usize::try_from(large).unwrap_or(usize::MAX),
    })
}

fn texts(setting: &Setting) -> Vec<&str> {
    setting.text().split(',').map(str::trim).filter(|text| !text.is_empty()).collect()
}

/// `None` for 0.
fn size(setting: &Setting, most: i64) -> Result<Option<u8>, Error> {
    let given = setting.within(0, most)?;
    Ok(u8::try_from(given).ok().filter(|given| *given > 0))
}
