//! TUN devices: opened, adopted, made persistent, removed. Addresses, MTU and up are [`crate::netlink`]'s business.
//!
//! Owns: nothing but the descriptor that it hands out. Begin at [`Tun::open`]. Everything happens in the network
//! namespace of the calling thread. What a TUN that we do not hold is like, netlink says ([`crate::netlink::TunLink`]).
//!
//! Plain ioctls and not a crate: docs/decisions/0004-tun-ioctls.md.

mod sys;

use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::error::HostError;
use crate::netlink::TunLink;

/// The bytes of `struct virtio_net_hdr` before each packet of a TUN with [`Options::vnet_hdr`].
pub const VNET_HDR_LEN: usize = 10;

const DEVICE: &str = "/dev/net/tun";

/// How a TUN is to be. IP packets without the four bytes of packet information, one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// 1 to 15 bytes; `%d` in it becomes the first free number, and then it never adopts.
    pub name: String,
    /// Each packet has a `virtio_net_hdr` of [`VNET_HDR_LEN`] bytes before it, both ways.
    pub vnet_hdr: bool,
    /// The kernel may hand over packets without a checksum, and TCP segments of up to 64 KiB (`TUN_F_CSUM`,
    /// `TUN_F_TSO4`, `TUN_F_TSO6`). Needs `vnet_hdr`, which tells of it.
    pub offload: bool,
    /// It stays when the descriptor is closed, with its addresses and routes, and the next [`Tun::open`] adopts it.
    pub persistent: bool,
}

impl Options {
    /// A bare TUN that goes with its descriptor.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), vnet_hdr: false, offload: false, persistent: false }
    }
}

/// A TUN that we hold: reads give packets that the kernel sends into it, writes are packets that come out of it.
#[derive(Debug)]
pub struct Tun {
    file: OwnedFd,
    name: String,
    adopted: bool,
}

impl Tun {
    /// Makes a TUN, or adopts a persistent one of that name; either is as the options say when this returns.
    ///
    /// Needs CAP_NET_ADMIN. Fails with `EBUSY` when another process holds it, with `EINVAL` when something of that
    /// name is no TUN of one queue. The descriptor is blocking, and closes on exec.
    pub fn open(options: &Options) -> Result<Self, HostError> {
        if options.offload && !options.vnet_hdr {
            return Err(refused(
                options,
                "segments cannot be told from packets without a vnet header",
                "ask for vnet_hdr too",
                Errno::EINVAL,
            ));
        }
        let existed = exists(&options.name);
        let file = open_device(options)?;
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | if options.vnet_hdr { libc::IFF_VNET_HDR } else { 0 };
        let name =
            sys::attach(file.as_fd(), &options.name, flags).map_err(|e| explain(options, e, existed))?;
        let tun = Self { file, name, adopted: existed };
        tun.configure(options).map_err(|e| HostError::io("set up TUN", &tun.name, e))?;
        Ok(tun)
    }

    /// Whoever held it before may have left any of these behind, so all are set. Persistence comes last: a TUN that
    /// could not be set up goes with its descriptor.
    fn configure(&self, options: &Options) -> nix::Result<()> {
        let fd = self.file.as_fd();
        if options.vnet_hdr {
            sys::set_vnet_header_size(fd, VNET_HDR_LEN as i32)?;
        }
        let offload =
            if options.offload { libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 } else { 0 };
        sys::set_offload(fd, offload)?;
        sys::set_persistent(fd, options.persistent)
    }

    /// The kernel's name for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It was there before, with whatever addresses and routes it had.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Its index, as netlink counts.
    pub fn index(&self) -> Result<u32, HostError> {
        if_nametoindex(self.name.as_str()).map_err(|e| HostError::io("look up TUN", &self.name, e))
    }

    /// How it is, read back from the kernel.
    pub fn observe(&self) -> Result<TunLink, HostError> {
        let flags = sys::flags(self.file.as_fd()).map_err(|e| HostError::io("observe TUN", &self.name, e))?;
        Ok(decode(flags))
    }

    /// Makes it stay, or go with its descriptor.
    pub fn set_persistent(&self, persistent: bool) -> Result<(), HostError> {
        sys::set_persistent(self.file.as_fd(), persistent)
            .map_err(|e| HostError::io("set up TUN", &self.name, e))
    }

    /// The descriptor alone, for whoever moves packets.
    pub fn into_fd(self) -> OwnedFd {
        self.file
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Removes a TUN that nobody holds; says whether there was one. `EBUSY` when somebody holds it.
pub fn remove(name: &str) -> Result<bool, HostError> {
    if !exists(name) {
        return Ok(false);
    }
    // To attach and let go is what removes it.
    Tun::open(&Options::new(name)).map(|tun| tun.adopted)
}

fn exists(name: &str) -> bool {
    if_nametoindex(name).is_ok()
}

fn open_device(options: &Options) -> Result<OwnedFd, HostError> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(DEVICE);
    opened.map(OwnedFd::from).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => refused(
            options,
            "there is no /dev/net/tun",
            "load the driver (modprobe tun), or give the container the device",
            Errno::from_raw(e.raw_os_error().unwrap_or_default()),
        ),
        _ => HostError::io("open", DEVICE, e),
    })
}

fn explain(options: &Options, errno: Errno, existed: bool) -> HostError {
    match errno {
        Errno::EBUSY => {
            let holders = holders_of(&options.name);
            let who = if holders.is_empty() { "another process".to_owned() } else { holders.join(", ") };
            refused(
                options,
                &format!("it is held by {who}"),
                "stop that process, or take another name",
                errno,
            )
        }
        Errno::EINVAL if existed => refused(
            options,
            "what has this name is no TUN of one queue",
            &format!(
                "look at it (ip -details link show {}) and delete it, or take another name",
                options.name
            ),
            errno,
        ),
        Errno::EINVAL => {
            refused(options, "this is no name for an interface", "use 1 to 15 letters and digits", errno)
        }
        Errno::EPERM => refused(options, "not allowed", "run as root, or with CAP_NET_ADMIN", errno),
        _ => HostError::io("open TUN", &options.name, errno),
    }
}

fn refused(options: &Options, reason: &str, advice: &str, errno: Errno) -> HostError {
    HostError::Refused {
        op: "open TUN",
        object: options.name.clone(),
        reason: reason.to_owned(),
        advice: advice.to_owned(),
        errno: errno as i32,
    }
}

/// The processes that hold a TUN of this name: `process PID (COMMAND)`. The kernel does not say in which namespace the
/// TUN is, so processes in ours come first, and others only where there is none.
fn holders_of(name: &str) -> Vec<String> {
    let wanted = format!("iff:\t{name}");
    let holds = |pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .filter(|d| fs::read_link(d.path()).is_ok_and(|target| target.as_os_str() == DEVICE))
            .filter_map(|d| {
                fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", d.file_name().to_string_lossy())).ok()
            })
            .any(|info| info.lines().any(|line| line == wanted))
    };
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| holds(*pid))
        .collect();
    pids.sort_unstable();
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let ours = namespace("thread-self");
    let (near, far): (Vec<u32>, Vec<u32>) =
        pids.into_iter().partition(|pid| namespace(&pid.to_string()) == ours);
    let likely = if near.is_empty() { far } else { near };
    likely
        .iter()
        .map(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({})", command.trim_end())
        })
        .collect()
}

/// `IFF_*` of `linux/if_tun.h`, as `TUNGETIFF` gives them.
fn decode(flags: libc::c_int) -> TunLink {
    const IFF_PERSIST: libc::c_int = 0x0800;
    TunLink {
        tap: flags & libc::IFF_TAP != 0,
        packet_info: flags & libc::IFF_NO_PI == 0,
        vnet_hdr: flags & libc::IFF_VNET_HDR != 0,
        persistent: flags & IFF_PERSIST != 0,
        multi_queue: flags & libc::IFF_MULTI_QUEUE != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offload_needs_the_header_that_tells_of_it() {
        let options = Options { offload: true, ..Options::new("weft-t") };
        let error = Tun::open(&options).unwrap_err();
        assert!(error.to_string().contains("ask for vnet_hdr too"), "{error}");
    }

    #[test]
    fn flags_are_decoded() {
        assert_eq!(decode(0x1001), TunLink::default());
        let all =
            TunLink { tap: true, packet_info: true, vnet_hdr: true, persistent: true, multi_queue: true };
        assert_eq!(decode(0x4902), all);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let options = Options::new("weft-nobodys");
        let cases = [
            (Errno::EBUSY, true, "it is held by another process; stop that process, or take another name"),
            (Errno::EINVAL, true, "delete it, or take another name"),
            (Errno::EINVAL, false, "use 1 to 15 letters and digits"),
            (Errno::EPERM, false, "run as root, or with CAP_NET_ADMIN"),
        ];
        for (errno, existed, want) in cases {
            let error = explain(&options, errno, existed);
            assert!(error.to_string().ends_with(want), "{error}");
            assert_eq!(error.errno(), Some(errno as i32));
        }
    }
}
