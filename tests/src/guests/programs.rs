//! Programs of this machine for a guest: where they are, and what they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A busybox that needs no libraries.
///
/// # Panics
/// There is none.
pub fn busybox() -> PathBuf {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let found = places.into_iter().find(|path| path.exists());
    let found = found.expect("no busybox (Debian package busybox-static): run scripts/setup --ci");
    let needs = libraries(&found);
    assert!(
        needs.is_empty(),
        "{} needs {needs:?}: Debian's package busybox-static is wanted",
        found.display()
    );
    PathBuf::from("/bin/busybox")
}

/// The libraries that a program is linked with, and what loads them, as `ldd` finds them here.
///
/// # Panics
/// One of them is missing.
pub fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd (Debian package libc-bin)");
    // A program without any is an error to ldd.
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!listed.contains("not found"), "{} lacks a library:\n{listed}", program.display());
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listed.lines().filter_map(path).collect()
}

/// The newest test program built from `source`, `ebpf/tests/traffic.rs` say, beside the one that asks.
///
/// # Panics
/// It has not been built.
pub fn test_program(source: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this program's own path");
    let folder = own.parent().expect("a folder of test programs");
    let built = |path: &Path| -> Option<(SystemTime, PathBuf)> {
        // What a program was built from, its own source first.
        let text = fs::read_to_string(path).ok()?;
        let (_, sources) = text.lines().next()?.split_once(": ")?;
        sources.split_whitespace().next().filter(|first| first.ends_with(source))?;
        let program = path.with_extension("");
        Some((program.metadata().ok()?.modified().ok()?, program))
    };
    let entries = fs::read_dir(folder).expect("a folder that can be read");
    let lists = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "d"));
    let newest = lists.filter_map(|path| built(&path)).max();
    newest
        .unwrap_or_else(|| panic!("no test program of {source} in {}: run scripts/test", folder.display()))
        .1
}
