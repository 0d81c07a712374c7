//! The network config: anybody who can write to etcd can write it.
#![no_main]

use flanneld_core::config::NetworkConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let config = match NetworkConfig::parse(json) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(!config.to_string().is_empty());
    for pool in [&config.v4, &config.v6].into_iter().flatten() {
        assert!(pool.min <= pool.max && pool.count() > 0);
        for slot in [0, pool.count() / 2, pool.count() - 1] {
            let subnet = pool.subnet(slot);
            assert!(pool.admits(subnet) && pool.network.contains(&subnet));
        }
    }
});
