//! Guests: another Linux kernel in a virtual machine, for what this machine's kernel cannot show.
//!
//! A [`Guest`] boots one of Debian's cloud kernels (`scripts/kernels --fetch` unpacks them) in QEMU without KVM, from an
//! initramfs that is made for one run: busybox, the modules and the programs that are asked for, with their libraries. It
//! runs one command and brings back its output and its exit status. Emulation is slow: guests show what is right, not
//! how fast it is. Begin at [`Guest::run`].
//! Never: waits without a deadline, or needs anything of this machine's network.

mod archive;
mod kernel;
mod programs;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use archive::Archive;
pub use kernel::Kernel;
pub use programs::test_program;

/// Where the tools in a guest are, besides those of busybox.
const TOOLS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What the last line of a guest says before its command's exit status.
const STATUS: &str = "guest: exit status ";

/// The first process of a guest. What the command says goes to the second serial line, and to nothing else.
const INIT: &str = include_str!("init.sh");

/// A machine that is still to boot.
pub struct Guest {
    kernel: Kernel,
    memory: u32,
    archive: Archive,
    modules: Vec<String>,
}

/// What a command in a guest came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: i32,
    pub output: String,
    /// From the start of the machine to its end.
    pub took: Duration,
}

impl Guest {
    /// A guest of this kernel with nothing in it but busybox.
    ///
    /// # Panics
    /// There is no busybox that needs no libraries.
    pub fn new(kernel: Kernel) -> Self {
        let mut archive = Archive::default();
        for folder in ["proc", "sys", "dev", "tmp", "run", "busybox", "modules"] {
            archive.folder(Path::new(folder));
        }
        archive.program(&programs::busybox());
        archive.bytes(Path::new("init"), INIT.as_bytes(), 0o755);
        Self { kernel, memory: 1024, archive, modules: Vec::new() }
    }

    /// With these modules, and those that they need, in the kernel before the command begins.
    ///
    /// # Panics
    /// The kernel has no such module.
    pub fn modules(mut self, names: &[&str]) -> Self {
        for file in names.iter().flat_map(|name| self.kernel.module(name)) {
            let name = file.file_name().expect("a module's file").to_string_lossy().into_owned();
            if !self.modules.contains(&name) {
                self.archive.file(&Path::new("modules").join(&name), &file, 0o644);
                self.modules.push(name);
            }
        }
        self
    }

    /// With a program of this machine, in the same place, with the libraries that it is linked with.
    ///
    /// # Panics
    /// It is not there.
    pub fn program(mut self, path: &Path) -> Self {
        self.archive.program(path);
        for library in programs::libraries(path) {
            self.archive.program(&library);
        }
        self
    }

    /// The same by name, looked for where this machine has its tools.
    ///
    /// # Panics
    /// None of that name is there.
    pub fn tools(self, names: &[&str]) -> Self {
        names.iter().fold(self, |guest, name| {
            let mut places = TOOLS.iter().map(|folder| Path::new(folder).join(name));
            let found = places.find(|path| path.exists());
            guest.program(&found.unwrap_or_else(|| panic!("no {name} in {TOOLS:?}: run scripts/setup")))
        })
    }

    /// Boots, runs a shell's command, and switches off. The shell is busybox's, which takes its own applets before tools of
    /// the same names: in the command these are named by their path. Programs find the tools first.
    ///
    /// # Panics
    /// The machine does not come to the command's end within `limit`: with what it said up to there.
    pub fn run(mut self, command: &str, limit: Duration) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder for the guest's files");
        let modules: String = self.modules.iter().map(|name| format!("/modules/{name}\n")).collect();
        self.archive.bytes(Path::new("modules/order"), modules.as_bytes(), 0o644);
        let path = format!("PATH={}:/busybox", TOOLS.join(":"));
        self.archive.bytes(Path::new("command"), format!("{path}\n{command}\n").as_bytes(), 0o644);
        let initramfs = folder.path().join("initramfs");
        self.archive.write(&initramfs).expect("the guest's initramfs");
        let began = Instant::now();
        let machine = Machine::start(&self.kernel, self.memory, &initramfs, folder.path());
        machine.wait(limit);
        let took = began.elapsed();
        let said = text(&folder.path().join("said")).replace('\r', "");
        let Some((output, status)) = said.rsplit_once(STATUS) else {
            panic!(
                "a guest with Linux {} did not end its command within {limit:?}; it said:\n{said}\nits kernel:\n{}",
                self.kernel.release,
                text(&folder.path().join("console"))
            );
        };
        let status = status.trim().parse().expect("an exit status");
        Outcome { status, output: output.to_owned(), took }
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A running QEMU; it ends with this value.
struct Machine {
    qemu: Child,
    log: PathBuf,
}

impl Machine {
    fn start(kernel: &Kernel, memory: u32, initramfs: &Path, folder: &Path) -> Self {
        let log = folder.join("qemu");
        let serial = |name: &str| format!("file:{}", folder.join(name).display());
        let qemu = Command::new("qemu-system-x86_64")
            .args([
                "-M",
                "q35",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                &memory.to_string(),
            ])
            .args(["-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"])
            .args(["-serial", &serial("console"), "-serial", &serial("said")])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            // Five-level page tables and the mitigations of real processors cost an emulated one half of its speed.
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off no5lvl random.trust_cpu=on"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("QEMU's log"))
            .spawn()
            .unwrap_or_else(|error| panic!("qemu-system-x86_64 (Debian package qemu-system-x86): {error}"));
        Self { qemu, log }
    }

    /// Until it switches itself off, at most `limit`.
    fn wait(mut self, limit: Duration) {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.qemu.try_wait().expect("a child of ours") {
                assert!(status.success(), "QEMU: {status}\n{}", text(&self.log));
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
