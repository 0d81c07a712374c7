//! The value of a lease, and the backend data in it: written by every node of the cluster.
#![no_main]

use flanneld_core::lease::{LeaseAttrs, VxlanData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let attrs = match LeaseAttrs::from_json(value) {
        Ok(attrs) => attrs,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(LeaseAttrs::from_json(attrs.to_json()).as_ref(), Ok(&attrs));
    for data in [&attrs.backend_data, &attrs.backend_v6_data].into_iter().flatten() {
        if let Ok(vxlan) = VxlanData::parse(data) {
            assert_eq!(VxlanData::parse(&vxlan.render()), Ok(vxlan));
        }
    }
});
