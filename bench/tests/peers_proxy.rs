//! The benchmark of service proxies with kube-proxy, over the real API server. Needs root, the originals (scripts/peers),
//! etcd, iperf3, nft and both flavours of iptables, and weft beside it (`cargo build -p weft`).

use std::time::Duration;

use bench::interrupt::Interrupt;
use bench::proxy::metric::Metric;
use bench::proxy::mode::Kind;
use bench::proxy::run::{Wanted, proxy};
use bench::proxy::sample::{FeedKind, Settings};
use bench::proxy::{Programs, table};
use lab::Binary;

#[test]
fn kube_proxy_and_ours_are_measured_over_one_api_server() {
    let proxies = vec![Kind::OursNftables, Kind::KubeProxyNftables, Kind::KubeProxyIptablesLegacy];
    let settings = Settings {
        proxies: proxies.clone(),
        services: vec![50, 100],
        repetitions: 1,
        feed: FeedKind::Api,
        changes: 2,
        connects: 50,
        seconds: 1,
        patience: 60,
        left_out: Vec::new(),
    };
    let programs = Programs {
        weft: Binary::beside_test().unwrap().program().unwrap(),
        kube_proxy: Some(originals::program("kube-proxy").unwrap()),
    };
    let wanted = Wanted { settings, programs, quiet: Duration::ZERO };
    let report = proxy(&wanted, &Interrupt::default()).unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.samples.len(), 2 * proxies.len());
    for sample in &report.samples {
        for metric in [Metric::Start, Metric::Change, Metric::MemoryPeak, Metric::LastP50, Metric::Throughput]
        {
            assert!(sample.values.contains_key(&metric), "{} has no {metric:?}", sample.mode);
        }
    }
    let text = table::render(&report);
    assert!(text.contains("kube-proxy, iptables-legacy"), "{text}");
    println!("{text}");
}
