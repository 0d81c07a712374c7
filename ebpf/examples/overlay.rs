//! One end of an overlay by hand, for experiments in a network namespace:
//!
//! `overlay TUN UNDERLAY LOCAL PIN_DIR SUBNET=PEER...`: attach and set the leases;
//! `overlay --down PIN_DIR`: take it all away; `overlay --probe`: say whether it can work here.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use ebpf::ensure_bpffs;
use ebpf::overlay::{Overlay, Spec, detach_and_unpin, probe};
use nix::net::if_::if_nametoindex;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--probe"] => probe()?,
        ["--down", pin_dir] => detach_and_unpin(pin_dir.as_ref())?,
        [tun, underlay, local, pin_dir, leases @ ..] => {
            let pin_dir = PathBuf::from(pin_dir);
            ensure_bpffs(pin_dir.parent().ok_or("the pin directory needs a parent")?)?;
            let spec = Spec {
                tun: if_nametoindex(*tun)?,
                underlay: if_nametoindex(*underlay)?,
                local: local.parse()?,
                port: 8285,
                check_source: true,
                pin_dir,
            };
            let mut overlay = Overlay::open(&spec)?;
            let mut want = BTreeMap::new();
            for lease in leases {
                let (subnet, peer) = lease.split_once('=').ok_or("a lease is SUBNET=PEER")?;
                want.insert(subnet.parse()?, peer.parse()?);
            }
            println!("{:?} {:?}", overlay.set_peers(&want)?, overlay.kind());
            overlay.vouch()?;
            println!("{:#?}", overlay.counters()?);
        }
        _ => return Err("see the head of examples/overlay.rs".into()),
    }
    Ok(())
}
