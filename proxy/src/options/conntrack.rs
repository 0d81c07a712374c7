//! The kernel's connection tracking limits that kube-proxy sets (pkg/proxy/conntrack/sysctls.go).

use std::time::Duration;

/// Never more connections than this, however many CPUs (kube-proxy's cap, against memory use).
const MOST: u64 = 1_048_576;

/// What was chosen. Zero leaves the kernel's value alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    pub max_per_core: u32,
    pub min: u32,
    pub tcp_established: Duration,
    pub tcp_close_wait: Duration,
    pub tcp_be_liberal: bool,
    pub udp: Duration,
    pub udp_stream: Duration,
}

/// One wanted sysctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Below `/proc/sys/net/netfilter/`.
    pub name: &'static str,
    pub value: u64,
}

impl Conntrack {
    /// Buckets that the hash table wants (`/sys/module/nf_conntrack/parameters/hashsize`) where it has `have`: a quarter
    /// of the connections, as kube-proxy has it. `None` where they are enough.
    pub fn buckets(&self, cpus: usize, have: u64) -> Option<u64> {
        self.max(cpus).map(|max| max / 4).filter(|wanted| *wanted > have)
    }

    /// `nf_conntrack_max` for a machine of that many CPUs; `None` leaves it alone, and `min` with it.
    pub fn max(&self, cpus: usize) -> Option<u64> {
        if self.max_per_core == 0 {
            return None;
        }
        let scaled = u64::from(self.max_per_core).saturating_mul(cpus as u64);
        Some(if scaled > MOST { MOST } else { scaled.max(u64::from(self.min)) })
    }

    /// Everything to set, in the original's order.
    pub fn sysctls(&self, cpus: usize) -> Vec<Sysctl> {
        let time = |name, time: Duration| (!time.is_zero()).then_some(Sysctl { name, value: time.as_secs() });
        [
            self.max(cpus).map(|value| Sysctl { name: "nf_conntrack_max", value }),
            time("nf_conntrack_tcp_timeout_established", self.tcp_established),
            time("nf_conntrack_tcp_timeout_close_wait", self.tcp_close_wait),
            self.tcp_be_liberal.then_some(Sysctl { name: "nf_conntrack_tcp_be_liberal", value: 1 }),
            time("nf_conntrack_udp_timeout", self.udp),
            time("nf_conntrack_udp_timeout_stream", self.udp_stream),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_is_kube_proxys() {
        for (max_per_core, min, cpus, want) in [
            (32_768, 131_072, 2, Some(131_072)),
            (32_768, 131_072, 8, Some(262_144)),
            (32_768, 131_072, 64, Some(1_048_576)),
            (0, 131_072, 8, None),
            (1, 0, 4, Some(4)),
            (1_000_000, 2_000_000, 2, Some(1_048_576)),
            (1, 2_000_000, 2, Some(2_000_000)),
        ] {
            let chosen = Conntrack { max_per_core, min, ..Conntrack::default() };
            assert_eq!(chosen.max(cpus), want, "{max_per_core} {min} {cpus}");
        }
    }

    #[test]
    fn a_quarter_as_many_buckets_as_connections_and_never_fewer_than_there_are() {
        let chosen = Conntrack { max_per_core: 32_768, min: 131_072, ..Conntrack::default() };
        assert_eq!(chosen.buckets(2, 16_384), Some(32_768));
        assert_eq!(chosen.buckets(2, 32_768), None);
        assert_eq!(Conntrack::default().buckets(2, 1), None);
    }

    #[test]
    fn zero_leaves_alone() {
        assert_eq!(Conntrack::default().sysctls(4), []);
        let chosen = Conntrack { udp: Duration::from_secs(5), tcp_be_liberal: true, ..Conntrack::default() };
        assert_eq!(
            chosen.sysctls(4),
            [
                Sysctl { name: "nf_conntrack_tcp_be_liberal", value: 1 },
                Sysctl { name: "nf_conntrack_udp_timeout", value: 5 }
            ]
        );
    }
}
