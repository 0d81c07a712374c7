//! Pinned BPF links: aya does not say on which interface a link sits.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

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
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = GetPinned { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    let link = match bpf(BPF_OBJ_GET, &attr) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut info = LinkInfo::default();
    let attr = GetInfo {
        fd: link.as_raw_fd() as u32,
        len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attr)?;
    Ok(Some(info))
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads size_of::<T>() bytes of the union and zeroes the rest; pointers inside
    // point at values that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
