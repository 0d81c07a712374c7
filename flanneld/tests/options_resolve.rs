//! The command line of flanneld: Go's syntax, flannel's names and defaults, and what is refused.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use flanneld::options::{self, Action, FirewallChoice, Options, OptionsError, Source, table};
use proptest::prelude::*;

const NOTHING: [(&str, &str); 0] = [];

/// One line of arguments, parted at blanks.
fn line(arguments: &str) -> Result<Options, OptionsError> {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    options::resolve(&arguments, &NOTHING)
}

fn good(arguments: &str) -> Options {
    line(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"))
}

fn complaint(arguments: &str) -> String {
    line(arguments).expect_err(arguments).to_string()
}

fn with_env(arguments: &[&str], env: &[(&str, &str)]) -> Result<Options, OptionsError> {
    options::resolve(arguments, &env)
}

/// Names and defaults as `flanneld --help` of 0.28.4 prints them.
const FLANNEL_FLAGS: &[(&str, &str)] = &[
    ("etcd-cafile", ""),
    ("etcd-certfile", ""),
    ("etcd-endpoints", "http://127.0.0.1:4001,http://127.0.0.1:2379"),
    ("etcd-keyfile", ""),
    ("etcd-password", ""),
    ("etcd-prefix", "/coreos.com/network"),
    ("etcd-username", ""),
    ("healthz-ip", "0.0.0.0"),
    ("healthz-port", "0"),
    ("iface", ""),
    ("iface-can-reach", ""),
    ("iface-regex", ""),
    ("ip-blackhole-route", "false"),
    ("ip-masq", "false"),
    ("ip-masq-fully-random-disable", "false"),
    ("iptables-forward-rules", "true"),
    ("iptables-resync", "5"),
    ("kube-annotation-prefix", "flannel.alpha.coreos.com"),
    ("kube-api-url", ""),
    ("kube-subnet-mgr", "false"),
    ("kubeconfig-file", ""),
    ("log_backtrace_at", ""),
    ("net-config-path", "/etc/kube-flannel/net-conf.json"),
    ("public-ip", ""),
    ("public-ipv6", ""),
    ("set-node-network-unavailable", "true"),
    ("subnet-file", "/run/flannel/subnet.env"),
    ("subnet-lease-renew-margin", "60"),
    ("v", "0"),
    ("version", "false"),
    ("vmodule", ""),
];

#[test]
fn every_flag_of_flannel_is_there_with_its_default() {
    for (name, default) in FLANNEL_FLAGS {
        let flag = options::PROGRAM.flag(name).unwrap_or_else(|| panic!("-{name} is missing"));
        assert_eq!(flag.default, *default, "-{name}");
        assert!(!flag.ours, "-{name}");
    }
    let ours = table::FLAGS.iter().filter(|flag| flag.ours).count();
    assert_eq!(
        ours + FLANNEL_FLAGS.len(),
        table::FLAGS.len(),
        "a flag is neither flannel's nor marked as ours"
    );
}

#[test]
fn defaults_are_flannels() {
    let options = good("");
    assert_eq!(options.action, Action::Run);
    assert_eq!(options.etcd.endpoints, ["http://127.0.0.1:4001", "http://127.0.0.1:2379"]);
    assert_eq!(options.etcd.prefix, "/coreos.com/network");
    assert_eq!(options.subnet_file, Path::new("/run/flannel/subnet.env"));
    assert_eq!(options.lease_ttl, Duration::from_secs(24 * 3600));
    assert_eq!(options.renew_margin, Duration::from_secs(3600));
    assert!(!options.ip_masq && options.masq_random_fully && options.forward_rules && options.check_source);
    assert_eq!(options.healthz, None);
    assert_eq!(options.firewall, FirewallChoice::Auto);
    assert_eq!(options.probe_interval, Some(Duration::from_secs(15)));
}

#[test]
fn every_spelling_means_the_same() {
    let want = good("-public-ip 192.0.2.7 -ip-masq");
    for spelling in [
        "--public-ip 192.0.2.7 --ip-masq",
        "-public-ip=192.0.2.7 -ip-masq=true",
        "--public-ip=192.0.2.7 --ip-masq=T",
        "--ip-masq=1 -public-ip=192.0.2.7 --",
        "--ip-masq=0 -public-ip=192.0.2.1 -public-ip=192.0.2.7 -ip-masq",
    ] {
        let have = good(spelling);
        assert_eq!(have.public_ip, want.public_ip, "{spelling}");
        assert_eq!(have.ip_masq, want.ip_masq, "{spelling}");
    }
    assert_eq!(want.public_ip, Some(Ipv4Addr::new(192, 0, 2, 7)));
}

#[test]
fn lists_keep_their_order_and_a_variable_is_one_element() {
    assert_eq!(good("-iface eth1 --iface=10.0.0.1 -iface eth0").iface, ["eth1", "10.0.0.1", "eth0"]);
    let env = [("FLANNELD_IFACE", "eth1,eth2"), ("FLANNELD_IFACE_REGEX", "^en.*")];
    let options = with_env(&[], &env).unwrap();
    assert_eq!(options.iface, ["eth1,eth2"]);
    assert_eq!(options.iface_regex, ["^en.*"]);
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let env = [("FLANNELD_PUBLIC_IP", "192.0.2.1"), ("FLANNELD_IFACE", "eth9"), ("FLANNELD_IP_MASQ", "true")];
    let options = with_env(&["-public-ip=192.0.2.2", "-iface", "eth0", "-ip-masq=false"], &env).unwrap();
    assert_eq!(options.public_ip, Some(Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(options.iface, ["eth0"]);
    assert!(!options.ip_masq);
    let options = with_env(&[], &env).unwrap();
    assert!(options.ip_masq);
    assert_eq!(options.settings.get("ip-masq").source, Source::Environment);
}

#[test]
fn an_empty_variable_is_none_and_a_bad_one_is_named() {
    assert!(!with_env(&[], &[("FLANNELD_IP_MASQ", "")]).unwrap().ip_masq);
    let error = with_env(&[], &[("FLANNELD_IP_MASQ", "yes")]).unwrap_err();
    assert!(error.to_string().starts_with("FLANNELD_IP_MASQ=\"yes\": want true or false"), "{error}");
}

#[test]
fn a_variable_cannot_ask_for_the_version_or_a_cleanup() {
    let env = [("FLANNELD_VERSION", "true"), ("FLANNELD_CLEANUP", "true")];
    assert_eq!(with_env(&[], &env).unwrap().action, Action::Run);
}

#[test]
fn actions() {
    for (arguments, action) in [
        ("-h", Action::Help),
        ("--help", Action::Help),
        ("-ip-masq --help --no-such-flag", Action::Help),
        ("-version", Action::Version),
        ("--version=false", Action::Run),
        ("--cleanup", Action::Cleanup),
    ] {
        assert_eq!(good(arguments).action, action, "{arguments}");
    }
}

#[test]
fn numbers_are_gos() {
    for (text, minutes) in [("0x3c", 60), ("0b10", 2), ("010", 8), ("1_4_3_9", 1439)] {
        let options = good(&format!("-subnet-lease-renew-margin={text}"));
        assert_eq!(options.renew_margin, Duration::from_secs(60 * minutes), "{text}");
    }
}

#[test]
fn an_unknown_flag_names_the_nearest_and_fails() {
    for (arguments, text) in [
        ("--ifcae eth0", "unknown flag -ifcae; did you mean -iface?; `flanneld --help` lists all flags"),
        ("-etcd_endpoints=x", "unknown flag -etcd_endpoints; did you mean -etcd-endpoints?; "),
        ("-frobnicate", "unknown flag -frobnicate; `flanneld --help` lists all flags"),
    ] {
        let error = line(arguments).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn slips_of_the_pen_are_explained() {
    for (arguments, text) in [
        ("-ip-masq true -iface eth0", "-ip-masq is a switch: write -ip-masq=true, without a space"),
        ("-ip-masq eth0", "-ip-masq is a switch and takes no value"),
        ("eth0", "\"eth0\" is not a flag, and flanneld takes no other arguments"),
        ("-- -iface", "\"-iface\" is not a flag"),
        ("---iface eth0", "not how a flag is written"),
        ("-=eth0", "not how a flag is written"),
        ("-", "not how a flag is written"),
        ("-iface", "-iface needs a value: -iface=NAME|IP"),
        ("-ip-masq=yes", "-ip-masq=\"yes\": want true or false"),
        ("-healthz-port=http", "-healthz-port=\"http\": want a whole number"),
        ("-healthz-port=65536", "want a number from 0 to 65535"),
        ("-healthz-ip=localhost", "want an IPv4 or IPv6 address"),
        ("-public-ip=fd00::1", "want an IPv4 address"),
        ("-iface-can-reach=example.com", "want an IPv4 or IPv6 address"),
        ("-iptables-resync=0", "want a number from 1"),
        ("-bridge=a/b", "want an interface name"),
        ("-bridge=sixteen-letters-", "want an interface name"),
        ("-firewall=ufw", "want auto, nftables or iptables"),
        ("-etcd-endpoints=,", "want at least one address"),
        ("-etcd-keyfile=k.pem", "-etcd-keyfile without -etcd-certfile"),
        ("-etcd-certfile=c.pem", "-etcd-certfile without -etcd-keyfile"),
        ("-etcd-password=x", "-etcd-password without -etcd-username"),
        ("-v=loud", "want a whole number"),
        ("-bpf-pin-dir=pins", "want an absolute path"),
    ] {
        let said = complaint(arguments);
        assert!(said.contains(text), "{arguments}: {said}");
    }
}

#[test]
fn the_margin_stays_within_a_day_and_below_the_ttl() {
    for margin in ["0", "-1", "1440"] {
        let error = line(&format!("-subnet-lease-renew-margin={margin}")).unwrap_err();
        assert!(error.to_string().contains("want a number from 1 to 1439"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
    for margin in ["1", "1439"] {
        good(&format!("-subnet-lease-renew-margin={margin}"));
    }
    let said = complaint("-subnet-lease-renew-margin=2 -subnet-lease-ttl=120");
    assert!(said.contains("the margin must be shorter than the lease"), "{said}");
    assert_eq!(good("-subnet-lease-ttl=30").renew_margin, Duration::from_secs(10));
}

#[test]
fn what_is_not_supported_says_so_unless_it_is_the_default() {
    for (arguments, text) in [
        ("-kube-subnet-mgr", "write the network configuration to <etcd-prefix>/config"),
        (
            "-kube-api-url=https://10.0.0.1",
            "-kube-api-url=\"https://10.0.0.1\" is not supported in this release",
        ),
        ("-kubeconfig-file=/etc/k", "is not supported in this release"),
        ("-kube-annotation-prefix=a.b", "--etcd-prefix"),
        ("-net-config-path=/etc/n", "etcdctl put"),
        ("-set-node-network-unavailable=false", "leave it out"),
    ] {
        let said = complaint(arguments);
        assert!(said.contains(text), "{arguments}: {said}");
    }
    let error = with_env(&[], &[("FLANNELD_KUBE_SUBNET_MGR", "true")]).unwrap_err();
    assert!(error.to_string().starts_with("FLANNELD_KUBE_SUBNET_MGR="), "{error}");
    good(
        "-kube-subnet-mgr=f -kube-api-url= -kubeconfig-file= -kube-annotation-prefix=flannel.alpha.coreos.com \
         -net-config-path=/etc/kube-flannel/net-conf.json -set-node-network-unavailable",
    );
}

#[test]
fn klogs_flags_are_taken() {
    for (arguments, level) in [("", "info"), ("-v 2", "debug"), ("--v=10", "trace"), ("-v=-1", "info")] {
        assert_eq!(good(arguments).log_level(), level, "{arguments}");
    }
    let options = good("-vmodule=vxlan=4 -log_backtrace_at=main.go:10");
    let said = options.without_effect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("-vmodule has no effect")), "{said:?}");
    assert!(good("-v=2").without_effect().is_empty());
}

#[test]
fn addresses_and_names() {
    let options = good("-healthz-port=8471 -healthz-ip=::1 -iface-can-reach=192.0.2.1 -bridge=docker0");
    assert_eq!(options.healthz, Some("[::1]:8471".parse().unwrap()));
    assert_eq!(options.iface_can_reach, Some(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(options.bridge.as_deref(), Some("docker0"));
    let arguments = ["-healthz-port=1", "-healthz-ip="];
    assert_eq!(with_env(&arguments, &[]).unwrap().healthz, Some("[::]:1".parse().unwrap()));
    let endpoints = with_env(&["-etcd-endpoints", " http://a:1 , http://b:2,"], &[]).unwrap().etcd.endpoints;
    assert_eq!(endpoints, ["http://a:1", "http://b:2"]);
}

#[test]
fn peers_are_counted_for_readers_on_this_host_unless_told_otherwise() {
    for (arguments, here, elsewhere) in [
        ("", true, false),
        ("--peer-accounting=local", true, false),
        ("--peer-accounting=any", true, true),
        ("--peer-accounting=off", false, false),
    ] {
        let whom = good(arguments).peer_accounting;
        assert_eq!((whom.is_for(true), whom.is_for(false)), (here, elsewhere), "{arguments}");
    }
    assert!(complaint("--peer-accounting=all").contains("want local, any or off"));
}

#[test]
fn no_form_of_printing_shows_a_secret() {
    let env = [("FLANNELD_ETCD_PASSWORD", "hush")];
    let endpoints = "-etcd-endpoints=http://root:hush@10.0.0.1:2379,http://10.0.0.2:2379";
    let options = with_env(&["-etcd-username=root", endpoints], &env).unwrap();
    assert_eq!(options.etcd.password.as_ref().map(|secret| secret.reveal()), Some("hush"));
    let display = options.to_string();
    assert!(!display.contains("hush"), "{display}");
    assert!(display.contains("etcd-password=(hidden)"), "{display}");
    assert!(
        display.contains("etcd-endpoints=http://(hidden)@10.0.0.1:2379,http://10.0.0.2:2379"),
        "{display}"
    );
    let debug = format!("{:?}", options.settings);
    assert!(!debug.contains("hush"), "{debug}");
    assert!(!format!("{:?}", options.etcd.password).contains("hush"));
}

#[test]
fn help_names_every_flag_within_eighty_columns() {
    let help = options::help();
    for flag in table::FLAGS {
        assert!(help.contains(&format!(" --{}", flag.name)), "-{}", flag.name);
        assert!(options::markdown().contains(&format!("| `--{}`", flag.name)), "-{}", flag.name);
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(help.contains("  + --bridge NAME\n"));
    assert!(help.contains("    --iface NAME|IP ...\n"));
    assert!(options::version().starts_with("weft "));
}

proptest! {
    /// Whatever is typed, the answer is a value or an error that prints.
    #[test]
    fn never_panics(arguments in prop::collection::vec("-{0,3}[a-z=-]{0,12}|[ -~]{0,20}|-[a-z-]+=.*", 0..6)) {
        if let Err(error) = options::resolve(&arguments, &NOTHING) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    /// A text flag gives back what it was given, in each spelling.
    #[test]
    fn text_survives(text in "[^\\x00]{1,30}") {
        for arguments in [vec!["-etcd-prefix".to_owned(), text.clone()], vec![format!("--etcd-prefix={text}")]] {
            let options = options::resolve(&arguments, &NOTHING).unwrap();
            prop_assert_eq!(&options.etcd.prefix, &text);
        }
    }
}
