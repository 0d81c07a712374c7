//! The pin directory: what it holds, and the BPF file system below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::error::EbpfError;
use crate::object::Program;
use crate::sys;

/// Where the TCX link of a program is pinned.
pub fn link(pin_dir: &Path, program: Program) -> PathBuf {
    pin_dir.join(format!("{}_link", program.name))
}

/// Mounts a BPF file system at `path` unless there is one already. Makes the folder where it is missing; a folder
/// with something in it is left alone, since the mount would hide that.
pub fn ensure_bpffs(path: &Path) -> Result<(), EbpfError> {
    fs::create_dir_all(path).map_err(file_error("create", path))?;
    if on_bpffs(path)? {
        return Ok(());
    }
    if fs::read_dir(path).map_err(file_error("read", path))?.next().is_some() {
        return Err(EbpfError::NotBpffs { path: path.to_owned() });
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|errno| file_error("mount a BPF file system on", path)(errno.into()))
}

/// Makes the pin directory. Fails when it would not lie on a BPF file system.
pub fn create(pin_dir: &Path) -> Result<(), EbpfError> {
    let existing = pin_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !on_bpffs(existing)? {
        return Err(EbpfError::NotBpffs { path: pin_dir.to_owned() });
    }
    fs::create_dir_all(pin_dir).map_err(file_error("create", pin_dir))
}

/// Detaches a program's link and removes its pin; that there is none is no error.
pub fn remove_link(pin_dir: &Path, program: Program) -> Result<(), EbpfError> {
    let path = link(pin_dir, program);
    sys::link::detach(&path).map_err(file_error("detach the link", &path))?;
    remove(&path)
}

/// Removes one pin; that there is none is no error.
pub fn remove(path: &Path) -> Result<(), EbpfError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn on_bpffs(path: &Path) -> Result<bool, EbpfError> {
    let found = statfs(path).map_err(|errno| file_error("look at", path)(errno.into()))?;
    Ok(found.filesystem_type() == BPF_FS_MAGIC)
}

pub fn file_error(op: &'static str, path: &Path) -> impl Fn(io::Error) -> EbpfError {
    move |source| EbpfError::File { op, path: path.to_owned(), source }
}
