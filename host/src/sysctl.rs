//! Kernel settings below `/proc/sys`, as seen from the network namespace of the calling thread.
//!
//! Owns: nothing. Begin at [`read`]. For another namespace call it inside [`crate::netns::Namespace::run`]: the kernel
//! chooses the instance of a `net.` setting by the thread that opens the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::HostError;

/// The value of a setting, without the line's end.
///
/// `key` is a path below `/proc/sys` with slashes, such as `net/ipv4/ip_forward`, because an interface's name may hold
/// a dot. `ENOENT` where the kernel does not have it (for `net/bridge/...`: br_netfilter is not loaded).
pub fn read(key: &str) -> Result<String, HostError> {
    const OP: &str = "read sysctl";
    let text = fs::read_to_string(path_of(OP, key)?).map_err(|e| explain(OP, key, e))?;
    Ok(text.trim_end().to_owned())
}

/// Sets a setting.
pub fn write(key: &str, value: &str) -> Result<(), HostError> {
    let op = "write sysctl";
    fs::write(path_of(op, key)?, value).map_err(|e| explain(op, key, e))
}

/// Sets a setting unless it already has that value; says whether it wrote. For a container whose `/proc/sys` is
/// read-only, where somebody else has set it.
pub fn ensure(key: &str, value: &str) -> Result<bool, HostError> {
    if read(key)? == value {
        return Ok(false);
    }
    write(key, value).map(|()| true)
}

/// Whether the kernel has this setting.
pub fn exists(key: &str) -> bool {
    path_of("look up sysctl", key).is_ok_and(|path| path.exists())
}

fn path_of(op: &'static str, key: &str) -> Result<PathBuf, HostError> {
    let legal = !key.is_empty() && key.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !legal {
        return Err(HostError::io(op, format!("{key:?}"), io::Error::from_raw_os_error(libc::EINVAL)));
    }
    Ok(Path::new("/proc/sys").join(key))
}

fn explain(op: &'static str, key: &str, source: io::Error) -> HostError {
    let refused = |reason: &str, advice: String, errno| HostError::Refused {
        op,
        object: key.to_owned(),
        reason: reason.to_owned(),
        advice,
        errno,
    };
    match source.raw_os_error() {
        Some(libc::EROFS) => refused(
            "/proc/sys is read-only here",
            format!("set it on the host (sysctl -w {}=...), or run privileged", key.replace('/', ".")),
            libc::EROFS,
        ),
        Some(libc::ENOENT) if key.starts_with("net/bridge/") => refused(
            "the kernel has no bridge filter",
            "load it (modprobe br_netfilter)".to_owned(),
            libc::ENOENT,
        ),
        _ => HostError::io(op, key, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_proc_sys() {
        for bad in ["", "/net", "net//ipv4", "../etc/passwd", "net/../../x", "net/"] {
            assert_eq!(read(bad).unwrap_err().errno(), Some(libc::EINVAL), "{bad:?}");
        }
        assert_eq!(read("kernel/ostype").unwrap(), "Linux");
        assert!(!ensure("kernel/ostype", "Linux").unwrap(), "an equal value is not written");
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = read("net/ipv4/conf/weft.none/forwarding").unwrap_err();
        assert_eq!(error.to_string(), "read sysctl net/ipv4/conf/weft.none/forwarding");
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(!exists("net/ipv4/conf/weft.none/forwarding"));
    }

    #[test]
    fn a_missing_bridge_filter_names_the_module() {
        let error = explain("read sysctl", "net/bridge/x", io::Error::from_raw_os_error(libc::ENOENT));
        assert!(error.to_string().ends_with("load it (modprobe br_netfilter)"), "{error}");
    }
}
