//! From one mode to the other under traffic.

use nix::sys::signal::Signal;
use serde_json::json;

use super::testbed::*;
use super::traffic::{RATE, Traffic, echo};

const TCP: &[&str] = &["10.96.0.20:90", "[fd00:10:96::20]:90", "192.168.0.1:30090"];
const UDP: &[&str] = &["10.96.0.20:91", "[fd00:10:96::20]:91", "192.168.0.1:30091"];

/// Adds the service that the traffic goes through, and what answers behind it.
pub fn serve(testbed: &Testbed) {
    let ports = json!([
        { "name": "talk", "port": 90, "targetPort": 9090, "nodePort": 30090, "protocol": "TCP" },
        { "name": "ping", "port": 91, "targetPort": 9091, "nodePort": 30091, "protocol": "UDP" },
    ]);
    let directory = testbed.directory.path();
    write(directory, "talk.json", &service("talk", 20, json!({ "type": "NodePort", "ports": ports })));
    let ports = json!([
        { "name": "talk", "port": 9090, "protocol": "TCP" }, { "name": "ping", "port": 9091, "protocol": "UDP" },
    ]);
    write(directory, "talk-slices.json", &slices("talk", &PODS, ports));
    for (name, place) in PODS.into_iter().zip(&testbed.pods) {
        echo(name, place);
    }
}

/// Through that service, from the client.
pub fn traffic(testbed: &Testbed) -> Traffic {
    Traffic::start(&testbed.client, TCP, UDP)
}

/// What serves, and how it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nftables,
    IptablesNft,
    IptablesLegacy,
}

/// Chains by which kubelet shows which flavour it uses; the proxy goes by them.
const HINT: &str = "KUBE-IPTABLES-HINT";

impl Kind {
    const IPTABLES: [(Kind, &str); 2] = [(Kind::IptablesNft, "nft"), (Kind::IptablesLegacy, "legacy")];

    fn start(self, testbed: &Testbed) -> Proxy {
        for (kind, flavour) in Kind::IPTABLES {
            for program in ["iptables", "ip6tables"] {
                let action = if self == kind { "-N" } else { "-X" };
                let program = format!("{program}-{flavour}");
                let mut command = testbed.node.command(program);
                // Deleting what is not there fails, which is as good.
                let _ = command.args(["-w", "-t", "mangle", action, HINT]).output().unwrap();
            }
        }
        match self {
            Kind::Nftables => testbed.start(),
            Kind::IptablesNft | Kind::IptablesLegacy => testbed.start_with(&["--proxy-mode=iptables"]),
        }
    }

    /// What is in the kernel of the services, by who wrote it.
    fn found(testbed: &Testbed) -> Vec<Kind> {
        let mut found = Vec::new();
        if testbed.nft("list tables").contains("weft-proxy") {
            found.push(Kind::Nftables);
        }
        for (kind, flavour) in Kind::IPTABLES {
            let save = |program: &str| {
                let mut command = testbed.node.command(format!("{program}-{flavour}-save"));
                run(&mut command)
            };
            if ["iptables", "ip6tables"].iter().any(|program| save(program).contains("KUBE-SERVICES")) {
                found.push(kind);
            }
        }
        found
    }
}

#[test]
fn moving_between_the_modes_fails_none_of_200_connections_a_second() {
    let testbed = Testbed::new("switch");
    serve(&testbed);
    let mut proxy = Kind::Nftables.start(&testbed);
    let traffic = traffic(&testbed);
    for kind in [
        Kind::IptablesNft,
        Kind::Nftables,
        Kind::IptablesLegacy,
        Kind::IptablesNft,
        Kind::IptablesLegacy,
        Kind::Nftables,
    ] {
        assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
        proxy = kind.start(&testbed);
        until(&format!("{kind:?} to serve alone"), || {
            let found = Kind::found(&testbed);
            if found == [kind] { Ok(()) } else { Err(format!("{found:?}")) }
        });
        traffic.flow();
    }
    let tally = traffic.end();
    println!("{} connections, {} questions on {} flows", tally.connections, tally.questions, 6);
    assert_eq!(tally.failures, Vec::<String>::new(), "of {} connections", tally.connections);
    assert!(tally.connections >= 7 * RATE as usize && tally.questions >= 100, "{tally:?}");
}
