//! The key of a lease: whatever is under the prefix in etcd.
#![no_main]

use flanneld_core::lease::Subnets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|key: &str| {
    let Ok(subnets) = key.parse::<Subnets>() else { return };
    // flannel prints an IPv4-mapped subnet in dotted form and then cannot read it; so must we.
    if subnets.v6.is_none_or(|v6| v6.addr().to_ipv4_mapped().is_none()) {
        assert_eq!(subnets.to_string().parse(), Ok(subnets));
    }
    assert!(subnets.overlaps(&subnets));
});
