//! The node daemon as the lab starts it: which program, with which flags.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// The bridge of a node's pods.
pub const POD_BRIDGE: &str = "docker0";

/// Where the daemon of a node answers `/healthz`, `/readyz` and `/metrics`, on the node's loopback address.
pub const HEALTH_PORT: u16 = 8286;

/// A program that is flanneld.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binary {
    /// The `weft` that this process is.
    #[default]
    ThisProgram,
    /// A `weft`, started as `PATH flanneld ...`.
    Weft(PathBuf),
    /// flannel's own daemon. It knows no `--bridge`, so the lab makes the bridge on its nodes.
    Original(PathBuf),
}

impl Binary {
    /// The `weft` that cargo has built beside the test that is running: `target/PROFILE/weft`, or what the variable
    /// WEFT_BIN names.
    ///
    /// # Errors
    /// It is not there.
    pub fn beside_test() -> Result<Self, LabError> {
        if let Some(path) = std::env::var_os("WEFT_BIN") {
            return Ok(Self::Weft(path.into()));
        }
        let me = std::env::current_exe().map_err(LabError::io("find the program", "/proc/self/exe"))?;
        let found =
            me.ancestors().skip(1).take(2).map(|directory| directory.join("weft")).find(|p| p.is_file());
        found.map(Self::Weft).ok_or_else(|| {
            let where_ = me.parent().and_then(Path::parent).unwrap_or(Path::new(".")).display().to_string();
            LabError::BadSpec(format!("there is no weft in {where_}; `cargo build -p weft` makes it"))
        })
    }

    /// Reads `PATH` of the command line: a program called `weft` is ours, any other is an original.
    pub fn from_path(path: PathBuf) -> Self {
        if path.file_name().is_some_and(|name| name == "weft") {
            Self::Weft(path)
        } else {
            Self::Original(path)
        }
    }

    /// Whether it takes our own flags.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::Original(_))
    }

    /// The file to start.
    ///
    /// # Errors
    /// There is no such file.
    pub fn program(&self) -> Result<PathBuf, LabError> {
        let path = match self {
            Self::ThisProgram => {
                std::env::current_exe().map_err(LabError::io("find the program", "/proc/self/exe"))?
            }
            Self::Weft(path) | Self::Original(path) => path.clone(),
        };
        if path.is_file() {
            return std::path::absolute(&path).map_err(LabError::io("find", path));
        }
        Err(LabError::BadSpec(format!("{} is not a program that can be started", path.display())))
    }
}

/// How flanneld is started on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlanneldOptions {
    pub binary: Binary,
    /// Flags after those of the lab, so that they win over them: `--ip-masq=false`, `-v=5`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl FlanneldOptions {
    /// Flannel's own daemon.
    pub fn original(path: impl Into<PathBuf>) -> Self {
        Self { binary: Binary::Original(path.into()), ..Self::default() }
    }

    /// A `weft` somewhere else than this program.
    pub fn weft(path: impl Into<PathBuf>) -> Self {
        Self { binary: Binary::Weft(path.into()), ..Self::default() }
    }

    /// With one more flag.
    pub fn arg(mut self, flag: impl Into<String>) -> Self {
        self.args.push(flag.into());
        self
    }

    /// With one more environment variable.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// The whole command line but the program: the lab's flags, then [`FlanneldOptions::args`].
    pub fn argv(&self, place: &Place<'_>) -> Vec<OsString> {
        let file = |name: &str| place.directory.join(name).display().to_string();
        let mut words = Vec::new();
        if self.binary.is_ours() {
            words.push("flanneld".to_owned());
        }
        words.extend([
            format!("--etcd-endpoints={}", place.etcd_endpoint),
            format!("--subnet-file={}", file("subnet.env")),
            "--ip-masq=true".to_owned(),
            "--healthz-ip=127.0.0.1".to_owned(),
            format!("--healthz-port={HEALTH_PORT}"),
        ]);
        if let Some(iface) = place.iface {
            words.push(format!("--iface={iface}"));
        }
        if self.binary.is_ours() {
            words.extend([
                format!("--bridge={POD_BRIDGE}"),
                format!("--cni-conf={}", file("cni.conflist")),
                format!("--bpf-pin-dir={}", file("bpf/flanneld")),
            ]);
        }
        words.into_iter().chain(self.args.iter().cloned()).map(OsString::from).collect()
    }
}

/// What the flags of a node's daemon depend on.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The node's state directory.
    pub directory: &'a Path,
    pub etcd_endpoint: &'a str,
    /// The interface to say out loud, where the default route does not tell.
    pub iface: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &FlanneldOptions) -> String {
        let place =
            Place { directory: Path::new("/s/n1"), etcd_endpoint: "http://172.30.0.1:2379", iface: None };
        let words: Vec<String> =
            options.argv(&place).into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn ours_makes_the_bridge_and_the_cni_configuration() {
        assert_eq!(
            line(&FlanneldOptions::default().arg("-v=5")),
            "flanneld --etcd-endpoints=http://172.30.0.1:2379 --subnet-file=/s/n1/subnet.env --ip-masq=true \
             --healthz-ip=127.0.0.1 --healthz-port=8286 --bridge=docker0 --cni-conf=/s/n1/cni.conflist \
             --bpf-pin-dir=/s/n1/bpf/flanneld -v=5"
        );
    }

    #[test]
    fn an_original_gets_only_flags_that_it_knows() {
        assert_eq!(
            line(&FlanneldOptions::original("/opt/flanneld")),
            "--etcd-endpoints=http://172.30.0.1:2379 --subnet-file=/s/n1/subnet.env --ip-masq=true \
             --healthz-ip=127.0.0.1 --healthz-port=8286"
        );
    }

    #[test]
    fn the_name_of_a_program_says_whose_it_is() {
        assert_eq!(Binary::from_path("/x/weft".into()), Binary::Weft("/x/weft".into()));
        assert_eq!(Binary::from_path("/x/flanneld".into()), Binary::Original("/x/flanneld".into()));
    }
}
