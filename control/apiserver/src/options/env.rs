//! What the options need from outside: this machine's name and the address of its default route, or what a test hands in
//! for them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// A source of facts about this machine.
pub trait Env {
    /// The host's name, as `uname -n` says it.
    ///
    /// # Errors
    /// Those of the system call.
    fn hostname(&self) -> io::Result<String>;

    /// The address from which packets to the default route leave. None where there is no such route.
    fn own_address(&self) -> Option<IpAddr>;
}

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Env for Machine {
    fn hostname(&self) -> io::Result<String> {
        std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
    }

    fn own_address(&self) -> Option<IpAddr> {
        // Connecting a UDP socket sends nothing: the kernel only looks the route up. 192.0.2.0/24 is for documentation.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
    }
}

/// For tests and examples.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    pub hostname: String,
    pub own_address: Option<IpAddr>,
}

impl Env for Fixture {
    fn hostname(&self) -> io::Result<String> {
        Ok(self.hostname.clone())
    }

    fn own_address(&self) -> Option<IpAddr> {
        self.own_address
    }
}
