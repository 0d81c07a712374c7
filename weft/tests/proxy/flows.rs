//! UDP: a client that keeps its socket is not left to an endpoint that is gone.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::testbed::*;

/// A client with one port, which is one flow.
pub struct Client(UdpSocket);

impl Client {
    pub fn new(testbed: &Testbed, to: &str) -> Self {
        let from = if to.starts_with('[') { "[fd00:192::9]:0" } else { "192.168.0.9:0" };
        let socket = testbed.client.run(|| UdpSocket::bind(from).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket.connect(to).unwrap();
        Self(socket)
    }

    /// Who answers; an error where nobody does.
    pub fn ask(&self) -> Result<String, String> {
        let mut buffer = [0; 64];
        // What came too late for an earlier question is no answer to this one.
        self.0.set_nonblocking(true).unwrap();
        while self.0.recv(&mut buffer).is_ok() {}
        self.0.set_nonblocking(false).unwrap();
        self.0.send(b"who").map_err(|error| error.to_string())?;
        let length = self.0.recv(&mut buffer).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    pub fn until(&self, pod: &str) {
        until(&format!("{pod} to answer"), || match self.ask() {
            Ok(found) if found == pod => Ok(()),
            found => Err(format!("{found:?}")),
        });
    }
}

const NODE_PORT_UDP: &str = "192.168.0.1:30053";

#[test]
fn a_udp_flow_moves_on_when_its_endpoint_is_gone() {
    let testbed = Testbed::new("udp");
    testbed.endpoints(&["one"]);
    let _proxy = testbed.start();
    let clients = [CLUSTER_IP_UDP, NODE_PORT_UDP].map(|to| Client::new(&testbed, to));
    clients.iter().for_each(|client| client.until("one"));
    testbed.endpoints(&["two"]);
    clients.iter().for_each(|client| client.until("two"));
    // A flow stays where its endpoint does.
    testbed.endpoints(&["one", "two"]);
    until("a flow to the new endpoint", || {
        let found = Client::new(&testbed, CLUSTER_IP_UDP).ask();
        if found.as_deref() == Ok("one") { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert!(clients.iter().all(|client| client.ask().as_deref() == Ok("two")));
}

#[test]
fn a_udp_flow_that_began_without_endpoints_finds_them() {
    let testbed = Testbed::new("udpnew");
    testbed.endpoints(&[]);
    let _proxy = testbed.start();
    let client = Client::new(&testbed, CLUSTER_IP_UDP);
    assert!(client.ask().is_err());
    testbed.endpoints(&["one"]);
    client.until("one");
}

#[test]
fn a_udp_flow_that_went_stale_while_no_proxy_ran_is_found_by_the_next() {
    let testbed = Testbed::new("udpaway");
    testbed.endpoints(&["one"]);
    let proxy = testbed.start();
    let client = Client::new(&testbed, CLUSTER_IP_UDP);
    client.until("one");
    assert_eq!(proxy.end(Signal::SIGKILL), None);
    testbed.endpoints(&["two"]);
    let _proxy = testbed.start();
    client.until("two");
}
