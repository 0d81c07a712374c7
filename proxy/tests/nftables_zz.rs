mod nftables_common;
use host::nftables::*;
use nftables_common::*;
use proxy::backends::nftables::layout::{shape::*, *};
use proxy_core::names::Family;
use proxy_core::table::*;
#[test]
fn bisect() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let layout = Layout::new(Family::V4, &view().v4, Settings::default());
        let mut all = Batch::new();
        all.fresh_table(Table::new(&layout.table));
        layout.sets().for_each(|s| {
            all.add_set(s);
        });
        for (chain, _) in layout.chains() {
            all.add_chain(Chain::regular(&layout.table, &chain.name));
        }
        all.add_chain(Chain::regular(&layout.table, "zz"));
        nf.apply(&all).unwrap();
        let mut rules: Vec<Rule> = layout.chains().into_iter().flat_map(|(_, r)| r).collect();
        for by in [By::Destination, By::NodePort] {
            for sticky in [false, true] {
                rules.extend(
                    layout
                        .chain(&Shape::Balance(Balance {
                            by,
                            over: Over::Cluster,
                            slots: Slots::for_group(2),
                            masquerade: Masquerade::Never,
                            sticky,
                        }))
                        .1,
                );
            }
        }
        rules.extend(layout.chain(&Shape::Remember(By::Destination, 60000)).1);
        rules.extend(layout.chain(&Shape::Remember(By::NodePort, 60000)).1);
        for mut rule in rules {
            rule.chain = "zz".into();
            let mut b = Batch::new();
            b.flush_chain(&layout.table, "zz").add_rule(rule.clone());
            if let Err(e) = nf.apply(&b) {
                println!("KERNEL {e}");
                continue;
            }
            let out = std::process::Command::new("nft")
                .args(["list", "chain", "ip", "weft-proxy", "zz"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stdout).lines().nth(2).unwrap_or("-").trim().to_owned();
            println!("{} {rule}\n    => {text}", if out.status.success() { "ok  " } else { "CRASH" });
        }
    });
}
