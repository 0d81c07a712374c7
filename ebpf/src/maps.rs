//! What the maps of all programs have in common: taking them out of a loaded object, writing elements, addresses.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::MapError;

use crate::error::EbpfError;

/// For how long a write waits for the kernel to find room.
const ROOM: Duration = Duration::from_secs(1);

/// A map of a loaded object, by its name.
pub fn take<M: TryFrom<aya::maps::Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, EbpfError> {
    let map = object.take_map(name).expect("the embedded object holds every map");
    M::try_from(map).map_err(map_error("open", name))
}

/// Writes an element. The kernel takes the room for new ones from a small store that it fills up in the background
/// (bpf_mem_alloc), and says ENOMEM while that is empty: on a busy machine, with many elements at once. Waits for
/// [`ROOM`] at most.
pub fn write(map: &'static str, mut insert: impl FnMut() -> Result<(), MapError>) -> Result<(), EbpfError> {
    let end = Instant::now() + ROOM;
    loop {
        match insert() {
            Err(MapError::SyscallError(call))
                if call.io_error.raw_os_error() == Some(libc::ENOMEM) && Instant::now() < end =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done.map_err(map_error("write", map)),
        }
    }
}

/// What is to be deleted may be gone.
pub fn ignore_absent(error: MapError) -> Result<(), MapError> {
    match error {
        MapError::KeyNotFound | MapError::ElementNotFound => Ok(()),
        MapError::SyscallError(ref call) if call.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => Err(other),
    }
}

/// An address as the maps hold it: network byte order in memory.
pub fn be(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// The other way.
pub fn address(be: u32) -> Ipv4Addr {
    Ipv4Addr::from(be.to_ne_bytes())
}

pub fn map_error(op: &'static str, map: &'static str) -> impl Fn(MapError) -> EbpfError {
    move |source| EbpfError::Map { op, map, source }
}
