//! A way to etcd on which somebody else is always a moment faster.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use lab::ScratchLab;

use crate::leases;

/// What stands before the subnet in a key.
const KEY: &[u8] = b"/coreos.com/network/subnets/";

/// A relay to a lab's etcd. The first request that would write a lease finds the key taken: the relay holds it back
/// until somebody else has that very subnet.
#[derive(Debug)]
pub struct Race {
    endpoint: String,
    lost: Arc<Mutex<Option<String>>>,
}

impl Race {
    /// Listens beside etcd. The relay ends with the test's process.
    ///
    /// # Panics
    /// There is no port.
    pub fn against(lab: &Arc<ScratchLab>) -> Self {
        let hub = lab.hub().clone();
        let listener =
            hub.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a namespace").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let etcd: SocketAddr =
            lab.etcd().endpoint().trim_start_matches("http://").parse().expect("etcd at an address");
        let lost = Arc::new(Mutex::new(None));
        let (lab, known) = (Arc::downgrade(lab), Arc::clone(&lost));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = hub.run(|| TcpStream::connect(etcd)).expect("a namespace").expect("etcd");
                let (mut from, mut to) =
                    (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let (lab, known) = (lab.clone(), Arc::clone(&known));
                thread::spawn(move || {
                    relay(client, server, |bytes| {
                        let mut known = known.lock().expect("no relay has panicked");
                        if let (None, Some(subnet), Some(lab)) = (&*known, wanted(bytes), lab.upgrade()) {
                            leases::put(&lab, &subnet, &leases::udp("172.30.0.99"));
                            *known = Some(subnet);
                        }
                    });
                });
            }
        });
        Self { endpoint: format!("http://{}:{port}", etcd.ip()), lost }
    }

    /// What a daemon is to take for etcd.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The key that a daemon wanted and did not get.
    ///
    /// # Panics
    /// The relay did.
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().expect("no relay has panicked").clone()
    }
}

/// Passes on what a client says, after `before` has seen it.
fn relay(mut client: TcpStream, mut server: TcpStream, before: impl Fn(&[u8])) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        before(&buffer[..length]);
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// The key of a lease that a request speaks of, if it does: a list of leases names none.
fn wanted(bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(KEY.len()).position(|window| window == KEY)?;
    let subnet =
        bytes[at + KEY.len()..].iter().take_while(|c| c.is_ascii_digit() || matches!(c, b'.' | b'-'));
    let subnet: String = subnet.map(|c| char::from(*c)).collect();
    subnet.contains('-').then_some(subnet)
}
