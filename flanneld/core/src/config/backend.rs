//! The `Backend` object: which backend, by its name. Its options are read in its own module, see
//! [`crate::overlay::backend`].

use super::ConfigError;
use super::fields::{Fields, bad};
use crate::overlay::Backend;

pub(super) fn read(config: &Fields<'_>, ipv6: bool) -> Result<Backend, ConfigError> {
    // As in flannel, no Backend at all means udp, and a Backend without a Type is a mistake.
    let Some(raw) = config.last("Backend") else {
        let nothing = Fields::parse(b"{}")?;
        return Backend::read(Backend::UNNAMED, &nothing, ipv6).expect("a backend of the list");
    };
    let legal = "an object such as {\"Type\":\"vxlan\"}";
    let wrong = |_| bad("Backend", raw.get(), legal, "correct it, or leave it out for udp");
    let options = Fields::parse(raw.get().as_bytes()).map_err(wrong)?;
    let Some(name) = options.text("Backend.Type", &choice())? else {
        let example = r#""Backend":{"Type":"vxlan"}"#.to_owned();
        return Err(ConfigError::Missing { key: "Backend.Type", example });
    };
    let name = name.to_lowercase();
    Backend::read(&name, &options, ipv6).unwrap_or_else(|| Err(unknown(&name)))
}

/// "udp, vxlan, host-gw or alloc".
fn choice() -> String {
    let (last, others) = Backend::NAMES.split_last().expect("there are backends");
    format!("{} or {last}", others.join(", "))
}

const ONLY_IN_FLANNEL: [&str; 5] = ["wireguard", "ipip", "ipsec", "extension", "tencent-vpc"];

fn unknown(name: &str) -> ConfigError {
    if let Some(known) = ONLY_IN_FLANNEL.into_iter().find(|known| *known == name) {
        return ConfigError::MissingBackend { name: known, choice: choice() };
    }
    let nearest = Backend::NAMES.iter().copied().min_by_key(|known| distance(known, name));
    let nearest = nearest.filter(|known| distance(known, name) <= 2);
    ConfigError::UnknownBackend { value: format!("{name:?}"), known: Backend::NAMES.join(", "), nearest }
}

/// How many letters have to be added, removed or replaced to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
