//! Kernels that are no part of this machine: an image and its modules, unpacked by `scripts/kernels --fetch`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of them.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// As in `uname -r`.
    pub release: String,
    pub image: PathBuf,
    /// Holds `lib/modules/RELEASE`.
    folder: PathBuf,
}

impl Kernel {
    /// The kernel of a line, `6.1` say, in the folder that `scripts/kernels` fills or WEFT_KERNELS names.
    ///
    /// # Panics
    /// It has not been fetched.
    pub fn find(line: &str) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("peers");
        let kernels = std::env::var_os("WEFT_KERNELS").map_or_else(|| peers.join("kernels"), PathBuf::from);
        let folder = kernels.join(line);
        let missing = || -> ! {
            panic!(
                "there is no Linux {line} at {}: run scripts/kernels --fetch, or let WEFT_KERNELS name its folder",
                folder.display()
            )
        };
        let Ok(release) = fs::read_to_string(folder.join("release")) else { missing() };
        let release = release.trim().to_owned();
        let image = folder.join("boot").join(format!("vmlinuz-{release}"));
        if !image.exists() {
            missing();
        }
        Self { release, image, folder }
    }

    /// The files of a module and of what it needs, in the order in which they go into the kernel; none where it is a
    /// part of the image.
    ///
    /// # Panics
    /// The kernel has no such module.
    pub fn module(&self, name: &str) -> Vec<PathBuf> {
        let output = Command::new("/sbin/modprobe")
            .arg("-d")
            .arg(&self.folder)
            .args(["-S", &self.release, "--show-depends", name])
            .output()
            .expect("modprobe (Debian package kmod)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Linux {} has no module {name}: {said}", self.release);
        let files = String::from_utf8_lossy(&output.stdout).into_owned();
        files.lines().filter_map(|line| Some(line.strip_prefix("insmod ")?.trim().into())).collect()
    }
}
