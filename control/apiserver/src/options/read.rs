//! From the text of one setting, or of some that belong together, to what it means.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use goflags::{Setting, Settings, duration, words};
use ipnet::IpNet;

pub use control_serving::options::{front_proxy, pair, path, sni, texts, tls13_only};

use super::OptionsError;
use super::values::{Action, EndpointReconciler, NodePorts, StorageMediaType};

pub fn action(version: &Setting) -> Action {
    match version.text() {
        text if words::boolean(text) == Some(false) => Action::Run,
        _ => Action::Version,
    }
}

pub fn paths(setting: &Setting) -> Vec<PathBuf> {
    setting.list().filter(|text| !text.is_empty()).map(PathBuf::from).collect()
}

pub fn address(setting: &Setting) -> Result<Option<IpAddr>, OptionsError> {
    match setting.text() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| setting.refuse("want an IPv4 or IPv6 address")),
    }
}

pub fn port(setting: &Setting) -> Result<u16, OptionsError> {
    setting.within(1, 65_535).map(|port| port as u16)
}

/// None for 0.
pub fn time(setting: &Setting) -> Option<Duration> {
    duration::parse(setting.text()).filter(|time| !time.is_zero())
}

pub fn positive(setting: &Setting) -> Result<Duration, OptionsError> {
    time(setting).ok_or_else(|| setting.refuse("want a time above 0"))
}

pub fn seconds(setting: &Setting) -> Result<i64, OptionsError> {
    setting.within(0, i64::MAX)
}

pub fn limit(setting: &Setting) -> Result<Option<usize>, OptionsError> {
    let most = setting.within(0, i64::from(i32::MAX))?;
    Ok(usize::try_from(most).ok().filter(|most| *most > 0))
}

pub fn etcd(settings: &Settings) -> Result<etcd::Settings, OptionsError> {
    let servers = settings.get("etcd-servers");
    let endpoints = texts(servers);
    if endpoints.is_empty() {
        return Err(OptionsError::Conflict(
            "--etcd-servers is needed: where etcd is, http://127.0.0.1:2379 for instance".to_owned(),
        ));
    }
    let identity = pair(settings.get("etcd-certfile"), settings.get("etcd-keyfile"))?;
    let ca = path(settings.get("etcd-cafile"));
    let settings = etcd::Settings { endpoints, ca, identity, server_name: None, user: None };
    Ok(settings)
}

pub fn prefix(setting: &Setting) -> Result<String, OptionsError> {
    let trimmed = setting.text().trim_matches('/');
    if trimmed.is_empty() {
        return Err(setting.refuse("want a path such as /registry"));
    }
    Ok(format!("/{trimmed}"))
}

pub fn media_type(setting: &Setting) -> Result<StorageMediaType, OptionsError> {
    match setting.text() {
        "application/vnd.kubernetes.protobuf" => Ok(StorageMediaType::Protobuf),
        "application/json" => Ok(StorageMediaType::Json),
        _ => Err(setting.refuse("want application/vnd.kubernetes.protobuf or application/json")),
    }
}

pub fn issuers(setting: &Setting) -> Result<Vec<String>, OptionsError> {
    let issuers = texts(setting);
    // The original's rule: what has a colon must be a URL.
    let wrong = issuers.iter().find(|issuer| issuer.contains(':') && issuer.parse::<http::Uri>().is_err());
    match wrong {
        Some(_) => Err(setting.refuse("what contains a colon must be a URL")),
        None => Ok(issuers),
    }
}

pub fn max_expiration(setting: &Setting) -> Result<Option<Duration>, OptionsError> {
    let found = time(setting);
    let legal =
        found.is_none_or(|time| time >= Duration::from_secs(3600) && time <= Duration::from_secs(1 << 32));
    if legal { Ok(found) } else { Err(setting.refuse("want 1h to 2^32 seconds, or 0")) }
}

pub fn networks(setting: &Setting) -> Result<Vec<IpNet>, OptionsError> {
    let wrong =
        || setting.refuse("want one network, or two of different families: 10.96.0.0/12,fd00:96::/108");
    let words = setting.text().split(',').map(str::trim);
    let found: Vec<IpNet> = words
        .map(|word| word.parse::<IpNet>().map(|network| network.trunc()))
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    match found.as_slice() {
        [_] => {}
        [one, two] if one.addr().is_ipv4() != two.addr().is_ipv4() => {}
        _ => return Err(wrong()),
    }
    for network in &found {
        let bits = network.max_prefix_len() - network.prefix_len();
        if bits < 3 {
            return Err(setting.refuse(format!("{network} has room for fewer than 8 addresses")));
        }
        if bits > 20 {
            let least = network.max_prefix_len() - 20;
            return Err(setting.refuse(format!("{network} is too large: want /{least} or longer")));
        }
    }
    Ok(found)
}

/// `FIRST-LAST`, `FIRST+COUNT` or one port, as kube-apiserver reads it.
pub fn node_ports(setting: &Setting) -> Result<NodePorts, OptionsError> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let read = || {
        let text = setting.text();
        if let Some((first, more)) = text.split_once('+') {
            let first = number(first)?;
            return Some(NodePorts { first, last: first.checked_add(number(more)?)? });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(NodePorts { first: number(first)?, last: number(last)? })
    };
    let found = read().filter(|ports| ports.first > 0 && ports.first <= ports.last);
    found.ok_or_else(|| setting.refuse("want ports such as 30000-32767"))
}

pub fn reconciler(setting: &Setting) -> Result<EndpointReconciler, OptionsError> {
    match setting.text() {
        "lease" => Ok(EndpointReconciler::Lease),
        "none" => Ok(EndpointReconciler::None),
        "master-count" => Err(setting.refuse("master-count is deprecated and not there; use lease")),
        _ => Err(setting.refuse("want lease or none")),
    }
}

pub fn address_types(setting: &Setting) -> Result<Vec<String>, OptionsError> {
    const KNOWN: [&str; 5] = ["Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"];
    let found = texts(setting);
    match found.iter().all(|text| KNOWN.contains(&text.as_str())) {
        true => Ok(found),
        false => Err(setting.refuse(format!("want some of {}", KNOWN.join(", ")))),
    }
}
