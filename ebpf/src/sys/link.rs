//! Pinned BPF links: aya does not say on which interface a link sits.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The head of `struct bpf_link_info`, with the `tcx` member of its union (Linux 6.6).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkInfo {
    pub kind: u32,
    pub id: u32,
    pub program: u32,
    pad: u32,
    /// 0 when the interface is gone.
    pub ifindex: u32,
    pub attach_type: u32,
    rest: [u32; 8],
}
const _: () = assert!(std::mem::offset_of!(LinkInfo, ifindex) == 16 && size_of::<LinkInfo>() == 56);

#[repr(C)]
struct GetPinned {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct GetInfo {
    fd: u32,
    len: u32,
    info: u64,
}

/// What the link pinned at `path` is; `None` when nothing is pinned there.
pub fn pinned(path: &Path) -> io::Result<Option<LinkInfo>> {
    let Some(link) = open(path)? else { return Ok(None) };
    let mut info = LinkInfo::default();
    let attr = GetInfo {
        fd: link.as_raw_fd() as u32,
        len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attr)?;
    Ok(Some(info))
}

/// Detaches the link pinned at `path`, at once: removing the pin alone does it some time later. The pin
/// stays. That nothing is pinned, or that its interface is gone, is no error.
pub fn detach(path: &Path) -> io::Result<()> {
    let Some(link) = open(path)? else { return Ok(()) };
    match bpf(BPF_LINK_DETACH, &(link.as_raw_fd() as u32)) {
        Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => Err(error),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = GetPinned { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    match bpf(BPF_OBJ_GET, &attr) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads size_of::<T>() bytes of the union and zeroes the rest; pointers inside
    // point at values that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
