//! What can be wrong with a network configuration.

/// Each message says what is wrong, what would be right, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "the network config is not a JSON object ({0}); write one such as \
         {{\"Network\":\"10.5.0.0/16\",\"Backend\":{{\"Type\":\"vxlan\"}}}}"
    )]
    Json(String),

    #[error("{key} is missing; add it, for example {example}")]
    Missing { key: &'static str, example: String },

    /// A value of the wrong kind or out of its range. `value` is the JSON text.
    #[error("{key} is {value}, legal is {legal}; {remedy}")]
    Bad { key: &'static str, value: String, legal: String, remedy: String },

    #[error("EnableIPv4 and EnableIPv6 are both false; set one of them to true")]
    NoFamily,

    #[error(
        "EnableIPv4 is false, but a lease in etcd needs an IPv4 subnet: its key begins with one, and nodes find \
         their own lease by their IPv4 address; set EnableIPv4 to true and give a Network beside IPv6Network"
    )]
    Ipv6Only,

    #[error(
        "EnableIPv6 is true, but the udp backend carries IPv4 only; set Backend.Type to vxlan or host-gw, or \
         EnableIPv6 to false"
    )]
    UdpIsIpv4Only,

    #[error(
        "Backend.Type is {value}, which is no backend of this release ({known}){}",
        .nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
    )]
    UnknownBackend { value: String, known: String, nearest: Option<&'static str> },

    #[error(
        "Backend.Type is {name}, a backend of flannel that this release does not have; take {choice}, or leave the \
         network to flannel"
    )]
    MissingBackend { name: &'static str, choice: String },
}
