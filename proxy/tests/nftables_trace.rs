//! The behavioural cases against rendered rules, and the rules themselves. Needs nothing.

mod nftables_common;
#[path = "nftables_common/tracer.rs"]
mod tracer;

use std::net::IpAddr;

use proxy::backends::nftables::NftablesBackend;
use proxy::backends::nftables::layout::Settings;
use proxy_core::cases::{self, world};
use proxy_core::names::Family;

#[test]
fn every_case_holds_for_the_rendered_rules() {
    let (mut asked, mut wrong) = (0, Vec::new());
    for case in cases::all() {
        let table = case.table_in("nftables");
        let nodes = world::NODES.iter().find(|node| *node.name == *case.options.node_name);
        let own: Vec<IpAddr> = match nodes {
            Some(node) => {
                let all = node.primary.iter().chain(&node.secondary).map(|ip| nftables_common::ip(ip));
                all.chain(case.options.node_ips.iter().copied()).collect()
            }
            None => case.options.node_ips.clone(),
        };
        for probe in &case.probes {
            let [want] = probe.wants_of("nftables") else { continue };
            let mut own = own.clone();
            if probe.packet.from == proxy_core::question::Origin::Node {
                own.push(probe.packet.src);
            }
            let have = tracer::trace(&table, probe.packet, &own, world::BRIDGE);
            asked += 1;
            if have != *want {
                let (file, name, text) = (case.file, &case.name, &probe.text);
                wrong.push(format!("{file}: {name}: {text}\n    want {want}\n    have {have}"));
            }
        }
    }
    assert!(asked >= 120, "{asked}");
    assert!(wrong.is_empty(), "{} of {asked} packets went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// `UPDATE=1 cargo test -p proxy --test nftables_trace` writes the file again.
#[test]
fn rendered_rules_are_as_they_were() {
    let text = NftablesBackend::render(&nftables_common::sample(), &Family::BOTH, Settings::default());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/nftables-sample.nft");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let differs = golden.lines().zip(text.lines()).enumerate().find(|(_, (a, b))| a != b);
    assert_eq!(differs, None, "see `git diff` after UPDATE=1");
    assert_eq!(golden.lines().count(), text.lines().count());
}
