//! Which network a daemon serves: what tells its kernel objects from those of another flanneld on the same host.
//!
//! A host may run several daemons, each with an `--etcd-prefix` of its own (flannel's documented multi-network). The
//! daemon of flannel's default prefix uses flannel's own names, so that either program replaces what the other left.

/// flannel's default for `--etcd-prefix`.
const DEFAULT: &str = "/coreos.com/network";

/// The kernel keeps 255 bytes of a link's alias; a longer prefix is told by its hash alone.
const LONGEST_LABEL: usize = 200;

/// One network, by where its leases are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkId {
    label: String,
}

impl NetworkId {
    /// The network below an etcd prefix that has been cleaned as flannel does it.
    pub fn of_etcd_prefix(prefix: &str) -> Self {
        Self { label: prefix.to_owned() }
    }

    /// It is the one that flannel serves when it is told nothing.
    pub fn is_default(&self) -> bool {
        self.label == DEFAULT
    }

    /// The name of a table, chain or folder of this network: `base` for the default network, else with a hash behind
    /// it. At most nine bytes longer.
    pub fn name(&self, base: &str) -> String {
        if self.is_default() { base.to_owned() } else { format!("{base}-{:08x}", self.hash()) }
    }

    /// The alias of a link of this network (`ip link show` prints it).
    pub fn mark(&self) -> String {
        if self.label.len() <= LONGEST_LABEL {
            format!("{MARK}{}", self.label)
        } else {
            format!("{MARK}{:08x}", self.hash())
        }
    }

    /// FNV-1a, which is the same in every release and on every machine.
    fn hash(&self) -> u32 {
        self.label.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

impl Default for NetworkId {
    fn default() -> Self {
        Self::of_etcd_prefix(DEFAULT)
    }
}

const MARK: &str = "flanneld ";

/// Whether an alias says that a link belongs to some flanneld, of whatever network.
pub fn is_mark(alias: &str) -> bool {
    alias.starts_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_network_has_flannels_names_and_every_other_its_own() {
        let (default, two) = (NetworkId::default(), NetworkId::of_etcd_prefix("/two"));
        assert_eq!(default.name("flannel-ipv4"), "flannel-ipv4");
        assert_eq!(two.name("flannel-ipv4"), "flannel-ipv4-16d846ac");
        assert_ne!(two.name("x"), NetworkId::of_etcd_prefix("/three").name("x"));
        assert_eq!(two.mark(), "flanneld /two");
        assert!(is_mark(&two.mark()) && !is_mark("uplink to rack 7"));
    }

    #[test]
    fn a_chain_and_an_alias_fit_whatever_the_prefix() {
        let long = NetworkId::of_etcd_prefix(&"/x".repeat(300));
        assert!(long.name("FLANNEL-POSTRTG").len() <= 28);
        assert!(long.mark().len() <= 255);
    }
}
