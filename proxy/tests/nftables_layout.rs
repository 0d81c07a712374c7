//! What the kernel and `nft` make of what we render. Needs root and `nft`.

mod nftables_common;

use nftables_common::*;
use proxy::backends::Backend;

#[test]
fn what_is_written_reads_back_the_same_and_nft_can_show_it() {
    in_namespace(|| {
        let mut backend = open();
        backend.probe().unwrap();
        assert_eq!(nft(&["list", "ruleset"]), "", "a probe leaves nothing");
        let want = sample();
        let applied = backend.sync_full(&want).unwrap();
        assert!(applied.writes > 100, "{applied:?}");
        let have = backend.observe().unwrap();
        assert_eq!(backend.plan(&want, &have).to_string(), "");
        for family in ["ip", "ip6"] {
            let text = nft(&["list", "table", family, "weft-proxy"]);
            println!("{text}");
            for comment in [
                "Kubernetes services, kept by weft proxy",
                "frontends, and how each is balanced",
                "affinity: for so long after the last connection",
            ] {
                assert!(text.contains(&format!("comment \"{comment}\"")), "{comment}");
            }
        }
        assert_eq!(backend.sync_full(&want).unwrap().writes, 0);
    });
}
