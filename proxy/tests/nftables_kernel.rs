//! The behavioural cases through nftables and the kernel. Needs root.

use proxy::backends::Backend;
use proxy::backends::nftables::NftablesBackend;
use proxy::backends::nftables::layout::Settings;
use proxy::cases::{self, Subject};
use proxy_core::cases::Case;
use proxy_core::names::Family;

/// One backend for all cases: each comes to what the one before has left.
#[derive(Default)]
struct Ours(Option<NftablesBackend>);

impl Subject for Ours {
    fn implementation(&self) -> &str {
        "nftables"
    }

    fn program(&mut self, case: &Case) -> Result<(), String> {
        let open = || NftablesBackend::open(&Family::BOTH, Settings::default()).unwrap();
        let backend = self.0.get_or_insert_with(open);
        backend.sync_full(&case.table_in("nftables")).map(drop).map_err(|error| error.to_string())
    }
}

#[test]
fn every_case_holds_for_real_packets() {
    let asked = cases::run(&mut Ours::default());
    assert!(asked >= 430, "{asked}");
}
