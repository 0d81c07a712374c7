//! Folders that decide which iptables a program finds: the names without a flavour, as links to one of the flavours.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::mode::Flavour;
use host::programs::ProgramError;
use lab::LabError;

const SUFFIXES: [&str; 3] = ["", "-restore", "-save"];

/// The PATH under which `iptables` and its sisters are of that flavour; the folder is made in `directory`.
///
/// # Errors
/// [`ProgramError::ToolMissing`] when the flavour is not installed.
pub fn path(flavour: Flavour, directory: &Path) -> Result<String, LabError> {
    let word = match flavour {
        Flavour::Nft => "nft",
        Flavour::Legacy => "legacy",
    };
    let folder = directory.join(format!("iptables-{word}"));
    fs::create_dir_all(&folder).map_err(LabError::io("create", &folder))?;
    for family in ["iptables", "ip6tables"] {
        for suffix in SUFFIXES {
            let program =
                find(&format!("{family}-{word}{suffix}")).ok_or_else(|| ProgramError::ToolMissing {
                    tool: format!("{family}-{word}{suffix}"),
                    package: "iptables".to_owned(),
                })?;
            let link = folder.join(format!("{family}{suffix}"));
            if !link.exists() {
                symlink(program, &link).map_err(LabError::io("link", &link))?;
            }
        }
    }
    let rest = std::env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{rest}:/usr/sbin:/sbin", folder.display()))
}

/// On the path of this process, or among the administrator's tools.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(known).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::netns::Namespace;
    use host::programs;

    #[test]
    fn plain_names_lead_to_the_flavour() {
        let folder = tempfile::tempdir().unwrap();
        for (flavour, says) in [(Flavour::Nft, "nf_tables"), (Flavour::Legacy, "legacy")] {
            let path = path(flavour, folder.path()).unwrap();
            let here = Namespace::current().unwrap();
            for program in ["iptables", "iptables-restore", "ip6tables-save"] {
                let first = path.split(':').next().unwrap();
                let version = programs::inside(&here, [format!("{first}/{program}").as_str(), "--version"]);
                let text = programs::run(&version).unwrap().ok().unwrap();
                assert!(text.contains(says), "{program}: {text}");
            }
        }
    }
}
