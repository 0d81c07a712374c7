//! Which programs a benchmark of API servers starts, and where.

use std::path::PathBuf;

use clap::Args;
use lab::LabError;
use lab::flanneld::Binary;

use super::{Programs, etcd};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The weft that is measured [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    weft: Option<PathBuf>,
    /// Where etcd writes: on the kind of disk that counts [default: the temporary folder]
    #[arg(long, value_name = "FOLDER", conflicts_with = "from")]
    data_dir: Option<PathBuf>,
}

impl Arguments {
    /// kube-apiserver is among them where it was built.
    ///
    /// # Errors
    /// weft or etcd is not there.
    pub fn programs(&self) -> Result<Programs, LabError> {
        let weft = self.weft.clone().map_or(Binary::ThisProgram, Binary::Weft).program()?;
        Ok(Programs { weft, kube_apiserver: originals::program("kube-apiserver").ok(), etcd: etcd()? })
    }

    /// Where etcd writes.
    pub fn directory(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}
