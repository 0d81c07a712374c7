//! How the person at the terminal has called us, so that what we tell them to type works as it stands.

use std::path::Path;

/// Set by `scripts/lab`, to what was typed: commands of the lab are then told as `scripts/lab COMMAND`.
pub const CALLED_AS: &str = "WEFT_LAB_CALLED_AS";

/// `weft`, as it can be typed here: `weft`, `target/release/weft`, `sudo ./weft`.
pub fn weft() -> String {
    format!("{}{}", sudo(), program())
}

/// The same for a command that needs no root.
pub fn weft_without_root() -> String {
    program()
}

/// `weft lab`, as it can be typed here: `sudo scripts/lab`, `target/release/weft lab`.
pub fn lab() -> String {
    match std::env::var(CALLED_AS) {
        Ok(script) if !script.is_empty() => format!("{}{script}", sudo()),
        _ => format!("{} lab", weft()),
    }
}

/// `weft lab up`, as it can be typed here; `scripts/lab` needs no word for it.
pub fn up() -> String {
    match std::env::var(CALLED_AS) {
        Ok(script) if !script.is_empty() => lab(),
        _ => format!("{} up", lab()),
    }
}

/// Who came by sudo will want to come by it again.
fn sudo() -> &'static str {
    if std::env::var_os("SUDO_USER").is_some_and(|user| !user.is_empty() && user != "root") {
        "sudo "
    } else {
        ""
    }
}

fn program() -> String {
    let word = std::env::args_os().next().unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    typed(Path::new(&word), &here)
}

/// The first word of the command line as one would type it in the directory `here`. Another program that uses this
/// library is none that can be typed for it.
fn typed(word: &Path, here: &Path) -> String {
    if word.file_name().is_none_or(|name| name != "weft") {
        return "weft".to_owned();
    }
    let short = match word.strip_prefix(here) {
        Ok(below) if word.is_absolute() && below.components().count() > 1 => below.to_owned(),
        Ok(below) if word.is_absolute() => Path::new(".").join(below),
        _ => word.to_owned(),
    };
    short.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_as_it_can_be_typed() {
        let typed = |word: &str| typed(Path::new(word), Path::new("/home/me/weft"));
        assert_eq!(typed("weft"), "weft");
        assert_eq!(typed("target/release/weft"), "target/release/weft");
        assert_eq!(typed("/home/me/weft/target/release/weft"), "target/release/weft");
        assert_eq!(typed("/home/me/weft/weft"), "./weft");
        assert_eq!(typed("/opt/bin/weft"), "/opt/bin/weft");
        assert_eq!(typed("/home/me/weft/target/debug/deps/library-1234"), "weft");
    }
}
