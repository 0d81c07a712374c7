//! Two proxies on one node by mistake.

use nix::sys::signal::Signal;

use super::testbed::*;

#[test]
fn two_proxies_with_different_flags_name_one_another_once_and_the_last_one_repairs() {
    let testbed = Testbed::new("contest");
    let first = testbed.start();
    let other = testbed.start_with(&[
        "--cluster-cidr=10.0.0.0/8",
        "--healthz-bind-address=",
        "--metrics-bind-address=",
    ]);
    let reports = || {
        let log = testbed.log();
        log.lines()
            .filter(|line| line.contains("changed again and again"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    until("both proxies to name the other", || match reports() {
        both if both.len() >= 2 => Ok(()),
        _ => Err(testbed.log()),
    });
    let both = reports();
    assert!(
        both.iter().all(|line| line.contains("the nftables table weft-proxy") && line.contains("weft proxy"))
    );
    assert!(both.iter().all(|line| line.contains("(process ") && line.contains("end the other")), "{both:?}");
    assert_eq!(other.end(Signal::SIGTERM), Some(0));
    until("the one that is left to repair", || {
        let found = testbed.tool(&["proxy", "diff"]);
        if found.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&found.stdout).into()) }
    });
    assert_eq!(reports().len(), 2);
    drop(first);
}

/// Nobody hears of others' changes in iptables mode: each looks from time to time.
#[test]
fn two_proxies_with_different_flags_report_the_contest_in_iptables_mode() {
    let testbed = Testbed::new("contest-ipt");
    let flags = ["--proxy-mode=iptables", "--iptables-sync-period=100ms", "--iptables-min-sync-period=0s"];
    let first = testbed.start_with(&flags);
    let more = ["--nodeport-addresses=192.168.0.0/24", "--healthz-bind-address=", "--metrics-bind-address="];
    let other = testbed.start_with(&[&flags[..], &more].concat());
    let reports = || testbed.log().matches("changed again and again by another program").count();
    until("both proxies to report", || if reports() >= 2 { Ok(()) } else { Err(testbed.log()) });
    assert!(testbed.log().contains("iptables' KUBE- chains are changed again and again"));
    assert_eq!(other.end(Signal::SIGTERM), Some(0));
    until("the one that is left to repair", || {
        let found = testbed.tool(&["proxy", "diff", "--proxy-mode=iptables"]);
        if found.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&found.stdout).into()) }
    });
    assert_eq!(reports(), 2);
    drop(first);
}
