use clap::{CommandFactory, Parser};

use super::*;
use crate::flanneld::Binary;
use crate::spec::{Backend, Datapath};

#[derive(Debug, Parser)]
struct Lab {
    #[command(flatten)]
    lab: LabCli,
}

fn parse(line: &str) -> Result<Command, String> {
    let words = std::iter::once("lab").chain(line.split_whitespace());
    Lab::try_parse_from(words).map(|lab| lab.lab.command).map_err(|error| error.to_string())
}

fn spec(line: &str) -> crate::Spec {
    match parse(line).unwrap() {
        Command::Up(up) => up.spec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_finds_nothing_wrong() {
    Lab::command().debug_assert();
}

#[test]
fn up_without_flags_is_the_default_lab() {
    let proxy = Some(crate::ProxyOptions::default());
    assert_eq!(spec("up"), crate::Spec { proxy, ..crate::Spec::named("lab").unwrap() });
    assert_eq!(spec("up --proxy-mode none"), crate::Spec::named("lab").unwrap());
}

#[test]
fn up_with_everything() {
    let spec = spec(
        "up --nodes 2 --pods 1 --backend udp --datapath simple --name x --mtu 9000 \
         --proxy-mode iptables --proxy-arg=-v=4 --service-cidr 10.112.0.0/16 \
         --flanneld n2=/opt/flanneld --flanneld-arg=-v=5 --network-config {\"Backend\":{\"Port\":9}}",
    );
    assert_eq!((spec.nodes, spec.pods, spec.mtu), (2, 1, 9000));
    assert_eq!((spec.backend, spec.datapath), (Backend::Udp, Datapath::Simple));
    let proxy = spec.proxy.as_ref().unwrap();
    assert_eq!((proxy.mode.to_string(), &proxy.args[..]), ("iptables".to_owned(), &["-v=4".to_owned()][..]));
    assert_eq!(proxy.service_cidr.to_string(), "10.112.0.0/16");
    assert_eq!(spec.flanneld_of("n1").unwrap().binary, Binary::ThisProgram);
    assert_eq!(spec.flanneld_of("n2").unwrap().binary, Binary::Original("/opt/flanneld".into()));
    assert_eq!(spec.flanneld_of("n2").unwrap().args, ["-v=5"]);
    assert!(spec.network_config_json().contains("\"Port\":9"));
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    assert!(parse("up --backend wireguard").unwrap_err().contains("udp, vxlan, host-gw"));
    assert!(parse("up --proxy-mode ipvs").unwrap_err().contains("nftables, iptables, none"));
    assert!(parse("up --service-cidr 10.96.0.0").unwrap_err().contains("10.96.0.0/12"));
    assert!(parse("ask n1-p1 web").unwrap_err().contains("10.96.0.10:80/udp"));
    assert!(parse("up --name My-Lab").unwrap_err().contains("lower-case letters"));
    assert!(parse("up --network-config 7").unwrap_err().contains("has to be an object"));
    assert!(parse("down --all --name x").is_err());
}

#[test]
fn exec_leaves_the_command_alone() {
    for line in ["exec --name x n1-p1 -- ping -c 3 --help", "exec --name x n1-p1 ping -c 3 --help"] {
        match parse(line).unwrap() {
            Command::Exec(exec) => {
                assert_eq!((exec.member.as_str(), exec.lab.name.as_str()), ("n1-p1", "x"));
                assert_eq!(exec.command, ["ping", "-c", "3", "--help"]);
            }
            other => panic!("{other:?}"),
        }
    }
}
