//! Two backends that want different things of one table. Needs root.

mod nftables_common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nftables_common::*;
use proxy::backends::Backend;
use proxy::backends::nftables::NftablesBackend;
use proxy::backends::nftables::layout::Settings;
use proxy_core::names::Family;
use proxy_core::table::ServiceTable;

/// Repairs whenever it is disturbed, until the time is over; counts its passes.
fn keep(settings: Settings, want: &ServiceTable, time: Duration, passes: &AtomicUsize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut backend = NftablesBackend::open(&Family::BOTH, settings).unwrap();
        let work = async {
            loop {
                // A pass in which the other was faster each time is tried again, as the daemon does.
                let _ = backend.sync_full(want);
                passes.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                backend.disturbed().await.unwrap();
            }
        };
        let _ = tokio::time::timeout(time, work).await;
    });
}

#[test]
fn two_that_want_different_rules_repair_less_and_less_often() {
    // Waits of 0.5, 1, 2 and 4 s: the time is that of the fifth.
    const TIME: Duration = Duration::from_secs(6);
    let name = format!("weft-contest-{}", std::process::id());
    let place = host::netns::Namespace::create(&name).expect("this test needs root");
    let passes = [const { AtomicUsize::new(0) }; 2];
    std::thread::scope(|scope| {
        for (mark, passes) in [1 << 14, 1 << 15].into_iter().zip(&passes) {
            let place = &place;
            let settings = Settings { masquerade_mark: mark, ..Settings::default() };
            scope.spawn(move || place.run(|| keep(settings, &sample(), TIME, passes)).unwrap());
        }
    });
    host::netns::Namespace::delete(&name).unwrap();
    let passes = passes.map(AtomicUsize::into_inner);
    assert!(passes.iter().all(|passes| (2..=12).contains(passes)), "{passes:?}");
}

#[test]
fn a_flush_now_and_then_is_repaired_without_a_wait() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut backend, want) = (open(), sample());
            backend.sync_full(&want).unwrap();
            for _ in 0..3 {
                nft(&["flush ruleset"]);
                // Not even once around the runtime's timers.
                tokio::select! {
                    biased;
                    heard = backend.disturbed() => heard.unwrap(),
                    () = tokio::time::sleep(Duration::from_secs(60)) => panic!("nobody heard of it"),
                }
                assert!(backend.sync_full(&want).unwrap().writes > 0);
            }
        });
    });
}
