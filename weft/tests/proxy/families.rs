//! A dual-stack service over IPv6, in both modes.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use super::flows::Client;
use super::testbed::*;

const UDP_V6: [&str; 2] = ["[fd00:10:96::10]:53", "[fd00:192::1]:30053"];

fn a_dual_stack_service(tag: &str, more: &[&str]) {
    let testbed = Testbed::new(tag);
    let _proxy = testbed.start_with(more);
    for address in [CLUSTER_IP, CLUSTER_IP_V6, NODE_PORT, NODE_PORT_V6] {
        testbed.until_answered_by(address, &["one", "two"]);
    }
    let clients = UDP_V6.map(|to| Client::new(&testbed, to));
    let before: Vec<String> = clients.iter().map(|client| client.ask().unwrap()).collect();
    testbed.endpoints(&["two"]);
    for address in [CLUSTER_IP_V6, NODE_PORT_V6] {
        testbed.until_answered_by(address, &["two"]);
    }
    for (client, before) in clients.iter().zip(before) {
        assert!(PODS.contains(&&*before), "{before}");
        client.until("two");
    }
    // A pod reaches itself by the service: the answer comes back through the node.
    let itself = testbed.pods[1].run(|| connect(CLUSTER_IP_V6)).unwrap();
    assert_eq!(itself.as_deref(), Ok("two"));
    testbed.endpoints(&[]);
    testbed.until_answered_by(CLUSTER_IP_V6, &["Connection refused (os error 111)"]);

    // The kernel sends only so many ICMPv6 errors in a second.
    until("UDP to be refused", || {
        let refused = testbed.client.run(|| {
            let socket = UdpSocket::bind("[::]:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket.connect(UDP_V6[0]).unwrap();
            socket.send(b"who").unwrap();
            socket.recv(&mut [0; 16]).unwrap_err().kind()
        });
        let kind = refused.unwrap();
        if kind == ErrorKind::ConnectionRefused { Ok(()) } else { Err(kind.to_string()) }
    });
    let diff = testbed.tool(&[&["proxy", "diff"], more].concat());
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn ipv6_services_are_reached_and_udp_flows_move_on_in_nftables_mode() {
    a_dual_stack_service("six", &[]);
}

#[test]
fn ipv6_services_are_reached_and_udp_flows_move_on_in_iptables_mode() {
    a_dual_stack_service("sixipt", &["--proxy-mode=iptables"]);
}
