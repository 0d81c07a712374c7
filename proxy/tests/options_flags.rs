//! From a command line and a file to options, as kube-proxy reads them.

use std::net::IpAddr;
use std::time::Duration;

use proxy::options::{Action, Feed, Fixture, Options, OptionsError, resolve, write};
use proxy_core::options::{DetectLocal, NodePortAddresses};

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

fn flags(args: &[&str]) -> Result<Options, OptionsError> {
    resolve(args, &Fixture::named("Node-1\n"))
}

fn file(text: &str, args: &[&str]) -> Result<Options, OptionsError> {
    let env = Fixture::named("node-1").with("/c.yaml", &format!("{HEAD}{text}"));
    let args: Vec<&str> = ["--config=/c.yaml"].into_iter().chain(args.iter().copied()).collect();
    resolve(&args, &env)
}

fn good(found: Result<Options, OptionsError>) -> Options {
    found.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn defaults_are_kube_proxys_but_for_the_mode() {
    let options = good(flags(&[]));
    assert_eq!(options.action, Action::Run);
    assert_eq!(options.feed, Feed::Kubernetes { kubeconfig: None, master: None });
    assert_eq!(options.mode.as_str(), "nftables");
    assert_eq!(options.node_name, "node-1", "small letters, no blanks");
    assert_eq!(options.nodeport_addresses, NodePortAddresses::Primary);
    assert_eq!(options.detect_local, DetectLocal::None);
    assert_eq!(
        (options.sync_period, options.min_sync_period),
        (Duration::from_secs(30), Duration::from_secs(1))
    );
    assert_eq!(options.healthz, "0.0.0.0:10256".parse().ok());
    assert_eq!(options.metrics, "127.0.0.1:10249".parse().ok());
    assert_eq!((options.masquerade_bit, options.oom_score_adj), (14, -999));
    assert_eq!(options.conntrack.max(2), Some(131_072));
    assert!(options.node_ips.is_empty() && options.without_effect().is_empty());
    assert_eq!(good(flags(&["--proxy-mode=iptables"])).nodeport_addresses, NodePortAddresses::All);
}

#[test]
fn flags_are_read_as_pflag_reads_them() {
    let options = good(flags(&[
        "--proxy-mode",
        "iptables",
        "--masquerade_all",
        "--cluster-cidr=10.244.0.0/16,fd00:10:244::/56",
        "--nodeport-addresses=10.0.0.0/8",
        "--nodeport-addresses",
        "192.168.1.7/16",
        "-v4",
        "--iptables-sync-period=1m",
        "--iptables-min-sync-period=0",
        "--iptables-masquerade-bit=0x10",
        "--healthz-bind-address=::",
        "--healthz-port=99",
        "--metrics-bind-address=",
        "--hostname-override= NODE ",
        "--node-ips=10.0.0.1,fd00::1",
        "--kubeconfig=/k",
        "--iptables-localhost-nodeports=false",
    ]));
    assert!(options.masquerade_all);
    assert_eq!(options.mode.as_str(), "iptables");
    let net = |text: &str| text.parse().expect("a network");
    assert_eq!(
        options.detect_local,
        DetectLocal::ClusterCidr(vec![net("10.244.0.0/16"), net("fd00:10:244::/56")])
    );
    assert_eq!(
        options.nodeport_addresses,
        NodePortAddresses::Cidrs(vec![net("10.0.0.0/8"), net("192.168.0.0/16")])
    );
    assert_eq!(options.log_level(), "debug");
    assert_eq!((options.sync_period, options.min_sync_period), (Duration::from_secs(60), Duration::ZERO));
    assert_eq!(options.masquerade_bit, 16);
    assert_eq!(options.healthz, "[::]:99".parse().ok());
    assert_eq!((options.metrics, options.node_name.as_str()), (None, "node"));
    let ips: Vec<IpAddr> = vec!["10.0.0.1".parse().expect("IP"), "fd00::1".parse().expect("IP")];
    assert_eq!(options.node_ips, ips);
    let core = options.core();
    assert!(!core.localhost_nodeports && core.masquerade_all && &*core.node_name == "node");
}

#[test]
fn a_file_decides_and_flags_beside_it_say_that_they_do_not() {
    let options = good(file(
        "mode: iptables\niptables:\n  syncPeriod: 5s\n  masqueradeAll: true\nnftables:\n  syncPeriod: 9s\n\
         bindAddress: \"::\"\nclusterCIDR: 10.0.0.0/8\nlogging:\n  verbosity: 2\nhostnameOverride: a\n",
        &["--proxy-mode=nftables", "--hostname-override=b", "-v", "7", "--masquerade-all=false"],
    ));
    assert_eq!((options.mode.as_str(), options.sync_period), ("iptables", Duration::from_secs(5)));
    assert!(options.masquerade_all);
    assert_eq!((options.node_name.as_str(), options.verbosity), ("b", 7));
    assert_eq!(options.healthz, "[::]:10256".parse().ok());
    assert_eq!(options.metrics, "[::1]:10249".parse().ok());
    let notes = options.without_effect();
    assert_eq!(
        notes,
        [
            "--proxy-mode is ignored: --config is given, and the file decides",
            "--masquerade-all is ignored: --config is given, and the file decides"
        ]
    );
}

#[test]
fn kubeadms_file_is_read_whole() {
    let text = "bindAddress: 0.0.0.0\nbindAddressHardFail: false\nclientConnection:\n  acceptContentTypes: \"\"\n  \
        burst: 0\n  contentType: \"\"\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n  qps: 0\n\
        clusterCIDR: 10.244.0.0/16\nconfigSyncPeriod: 0s\nconntrack:\n  maxPerCore: null\n  min: null\n  \
        tcpBeLiberal: false\n  tcpCloseWaitTimeout: null\n  tcpEstablishedTimeout: null\n  udpStreamTimeout: 0s\n  \
        udpTimeout: 0s\ndetectLocal:\n  bridgeInterface: \"\"\n  interfaceNamePrefix: \"\"\ndetectLocalMode: \"\"\n\
        enableProfiling: false\nhealthzBindAddress: \"\"\nhostnameOverride: \"\"\niptables:\n  \
        localhostNodePorts: null\n  masqueradeAll: false\n  masqueradeBit: null\n  minSyncPeriod: 0s\n  \
        syncPeriod: 0s\nipvs:\n  excludeCIDRs: null\n  minSyncPeriod: 0s\n  scheduler: \"\"\n  strictARP: false\n  \
        syncPeriod: 0s\n  tcpFinTimeout: 0s\n  tcpTimeout: 0s\n  udpTimeout: 0s\nlogging:\n  flushFrequency: 0\n  \
        options:\n    json:\n      infoBufferSize: \"0\"\n    text:\n      infoBufferSize: \"0\"\n  verbosity: 0\n\
        metricsBindAddress: \"\"\nmode: \"\"\nnftables:\n  masqueradeAll: false\n  masqueradeBit: null\n  \
        minSyncPeriod: 0s\n  syncPeriod: 0s\nnodePortAddresses: null\noomScoreAdj: null\nportRange: \"\"\n\
        showHiddenMetricsForVersion: \"\"\nwinkernel:\n  enableDSR: false\n  forwardHealthCheckVip: false\n  \
        networkName: \"\"\n  rootHnsEndpointName: \"\"\n  sourceVip: \"\"\n";
    let options = good(file(text, &["--hostname-override=n2"]));
    assert!(options.without_effect().is_empty(), "{:?}", options.without_effect());
    assert_eq!(options.mode.as_str(), "nftables");
    assert!(matches!(options.feed, Feed::Kubernetes { kubeconfig: Some(_), .. }));
}

#[test]
fn what_has_no_effect_says_so_once() {
    let options = good(flags(&[
        "--profiling",
        "--ipvs-scheduler=rr",
        "--feature-gates=A=true",
        "--feature-gates=B=false",
    ]));
    let notes = options.without_effect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(
        notes.iter().any(|note| note == "--ipvs-scheduler has no effect: there is no ipvs mode"),
        "{notes:?}"
    );
    let notes = good(file("ipvs:\n  scheduler: rr\nconfigSyncPeriod: 1m", &[])).without_effect();
    assert!(notes.iter().any(|note| note.starts_with("/c.yaml: ipvs.scheduler has no effect")), "{notes:?}");
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn what_is_written_reads_the_same() {
    let options = good(flags(&[
        "--write-config-to=/out",
        "--cluster-cidr=10.0.0.0/8",
        "--masquerade-all",
        "--proxy-mode=iptables",
    ]));
    assert_eq!(options.action, Action::WriteConfig("/out".into()));
    let text = write(&options);
    let again =
        resolve(&["--config=/out"], &Fixture::named("node-1").with("/out", &text)).expect("our own file");
    assert_eq!(again.configuration(), options.configuration());
    assert_eq!(again.detect_local, options.detect_local);
    assert!(again.to_string().contains("clusterCIDR=10.0.0.0/8"), "{again}");
}

#[test]
fn actions() {
    for (args, action) in [
        (&["--help", "--nonsense"][..], Action::Help),
        (&["-h"], Action::Help),
        (&["--version"], Action::Version),
        (&["--version=raw"], Action::Version),
        (&["--cleanup"], Action::Cleanup),
        (&["--init-only"], Action::InitOnly),
        (&["--cleanup=false", ""], Action::Run),
    ] {
        assert_eq!(good(flags(args)).action, action, "{args:?}");
    }
    let feed = good(flags(&["--feed-dir=/objects"])).feed;
    assert_eq!(feed, Feed::Directory("/objects".into()));
}

#[test]
fn errors_name_what_was_written_and_what_was_wanted() {
    for (args, message, code) in [
        (&["--proxymode=x"][..], "unknown flag --proxymode; did you mean --proxy-mode?", 2),
        (&["-x"], "unknown flag -x in \"-x\"", 2),
        (&["-proxy-mode=x"], "unknown flag -p", 2),
        (&["start"], "\"start\" is not a flag", 2),
        (&["--cleanup", "false"], "write --cleanup=false, without a space", 2),
        (&["--cluster-cidr"], "--cluster-cidr needs a value: --cluster-cidr=CIDR[,CIDR]", 2),
        (&["--=x"], "is not how a flag is written", 2),
        (
            &["--proxy-mode=ipvs"],
            "--proxy-mode=\"ipvs\" is not supported in this release: there is no ipvs mode",
            1,
        ),
        (&["--proxy-mode=userspace"], "--proxy-mode=\"userspace\": want nftables or iptables", 1),
        (&["--masquerade-all=yes"], "--masquerade-all=\"yes\": want true or false", 1),
        (&["--iptables-masquerade-bit=32"], "want a number from 0 to 31", 1),
        (&["--iptables-sync-period=30"], "--iptables-sync-period=\"30\": want a duration", 1),
        (&["--iptables-sync-period=0s"], "want a time greater than 0", 1),
        (&["--iptables-min-sync-period=1h"], "the shortest time between syncs is longer than the longest", 1),
        (&["--cluster-cidr=10.0.0.0/8,11.0.0.0/8"], "want one network, or two of different families", 1),
        (&["--nodeport-addresses=primary,10.0.0.0/8"], "primary stands alone", 1),
        (&["--nodeport-addresses=10.0.0.1"], "want networks such as", 1),
        (&["--detect-local-mode=BridgeInterface"], "detectLocal.bridgeInterface", 1),
        (
            &["--detect-local-mode=Bridge"],
            "want ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix",
            1,
        ),
        (&["--healthz-bind-address=somewhere:1"], "want IP:PORT", 1),
        (&["--bind-address=somewhere"], "want an IPv4 or IPv6 address", 1),
        (&["--oom-score-adj=2000"], "want a number from -1000 to 1000", 1),
        (&["--conntrack-min=-1"], "want a number from 0", 1),
        (&["--hostname-override= "], "want a name, not blanks", 1),
        (&["--feed-dir=/d", "--kubeconfig=/k"], "--feed-dir and --kubeconfig name two sources", 1),
        (&["--config=/nowhere"], "the configuration file /nowhere cannot be read", 1),
    ] {
        let error = flags(args).expect_err(message);
        assert!(error.to_string().contains(message), "{args:?}: {error}");
        assert_eq!(error.exit_code(), code, "{args:?}");
    }
    let error = file("mode: ipvs", &[]).expect_err("ipvs").to_string();
    assert!(error.starts_with("/c.yaml: mode=\"ipvs\" is not supported"), "{error}");
}

#[test]
fn announcing_needs_an_api_server_and_names_that_can_be() {
    assert_eq!(good(flags(&["--announce-interfaces=eth1"])).announce, None, "it is off by default");
    let announce = good(flags(&["--announce-load-balancers", "--announce-interfaces=eth1,eth2"])).announce;
    let announce = announce.expect("it is on");
    assert_eq!(
        (announce.interfaces, announce.namespace.as_str()),
        (vec!["eth1".to_owned(), "eth2".to_owned()], "weft-load-balancers")
    );
    assert!(
        good(file("", &["--announce-load-balancers"])).announce.is_some(),
        "no field of the file is about it"
    );
    for (wrong, says) in [
        (
            "--feed-dir=/d",
            "--announce-load-balancers needs an API server, where the Leases are: leave --feed-dir out",
        ),
        ("--announce-interfaces=an-interface-that-is-long", "a name has 1 to 15 bytes"),
        ("--announce-namespace=", "want the name of a namespace"),
    ] {
        let error = flags(&["--announce-load-balancers", wrong]).expect_err(wrong).to_string();
        assert!(error.contains(says), "{error}");
    }
}
