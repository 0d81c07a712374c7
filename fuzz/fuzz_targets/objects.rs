//! The objects of the API, one a line: whatever they hold, each is served or named in an error, and a table kept up with
//! them is the table made afresh.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::objects::{Kind, Object};
use proxy_core::options::{DetectLocal, NodePortAddresses, Options};
use proxy_core::table::ServiceTable;

fuzz_target!(|text: &[u8]| {
    let options = Options {
        node_name: "here".into(),
        detect_local: DetectLocal::NodeCidr,
        nodeport_addresses: NodePortAddresses::Primary,
        ..Options::default()
    };
    let (mut cluster, mut kept) = (Cluster::default(), ServiceTable::default());
    for line in text.split(|byte| *byte == b'\n').take(16) {
        let decoded = match line {
            [b'-', line @ ..] => Kind::ALL.iter().filter_map(|kind| kind.decode(line).ok()).next().map(Ok),
            line => Object::decode(line),
        };
        let change = match decoded {
            None => continue,
            Some(Err(error)) => {
                assert!(!error.problem.is_empty());
                assert!(error.to_string().contains(error.kind.as_str()));
                continue;
            }
            Some(Ok(checked)) if line.starts_with(b"-") => {
                Change::Delete(checked.object.kind(), checked.object.name())
            }
            Some(Ok(checked)) => Change::Put(checked.object),
        };
        let touched = cluster.apply(change);
        kept.rebuild(&cluster, &options, &touched);
    }
    let fresh = ServiceTable::build(&cluster, &options);
    assert_eq!(kept.ports, fresh.ports);
    assert_eq!(kept.health, fresh.health);
    assert_eq!(kept.reports, fresh.reports);
});
