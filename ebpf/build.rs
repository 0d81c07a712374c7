//! Compiles the BPF programs, one object for each folder of `c/` with a source of its name, and leaves the objects for
//! `include_bytes_aligned!`.
//!
//! The compiler is `$CLANG`, else `clang`, else the newest `clang-N` on the path.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The BPF back end of older ones does not write all the BTF that the loader reads.
const OLDEST_CLANG: u32 = 14;

/// `c/NAME/NAME.c` becomes `NAME.o`.
const OBJECTS: [&str; 1] = ["overlay"];

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-env-changed=CLANG");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let compiled = find_clang().and_then(|clang| {
        OBJECTS.iter().try_for_each(|name| {
            let source = PathBuf::from(format!("c/{name}/{name}.c"));
            compile(&clang, &source, &folder.join(format!("{name}.o")))
        })
    });
    if let Err(why) = compiled {
        println!("cargo::error={}", why.replace('\n', " / "));
    }
}

fn find_clang() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os("CLANG").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        check(&named).map_err(|why| format!("CLANG={}: {why}", named.display()))?;
        return Ok(named);
    }
    let mut refused = Vec::new();
    for candidate in std::iter::once(PathBuf::from("clang")).chain(numbered()) {
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(why) => refused.push(format!("{}: {why}", candidate.display())),
        }
    }
    Err(format!(
        "no clang {OLDEST_CLANG} or later for the BPF programs: install the Debian or Ubuntu package `clang`, \
         or name one with CLANG=/path/to/clang (tried {})",
        refused.join("; ")
    ))
}

/// Every `clang-N` on the path, the newest first.
fn numbered() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<(u32, PathBuf)> = env::split_paths(&path)
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("clang-")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

fn check(clang: &Path) -> Result<(), String> {
    let run = |argument| Command::new(clang).arg(argument).output().map_err(|error| error.to_string());
    let version = run("-dumpversion")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major: u32 = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .ok_or_else(|| format!("says version {version:?}"))?;
    if major < OLDEST_CLANG {
        return Err(format!("is {version}, older than {OLDEST_CLANG}"));
    }
    let targets = run("-print-targets")?;
    if !String::from_utf8_lossy(&targets.stdout).contains("bpfel") {
        return Err(format!("{version} was built without the BPF target"));
    }
    Ok(())
}

fn compile(clang: &Path, source: &Path, object: &Path) -> Result<(), String> {
    let big = env::var("CARGO_CFG_TARGET_ENDIAN").is_ok_and(|endian| endian == "big");
    let output = Command::new(clang)
        .args(["-target", if big { "bpfeb" } else { "bpfel" }, "-mcpu=v3", "-O2", "-g"])
        .args(["-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdinc"])
        // Names of this machine's folders do not belong into the object.
        .arg("-fdebug-compilation-dir=.")
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(object)
        .output()
        .map_err(|error| format!("{}: {error}", clang.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{} does not compile: {}", source.display(), String::from_utf8_lossy(&output.stderr)))
}
