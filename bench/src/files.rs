//! Files that the benchmarks share: results, of this run and of earlier ones, and the originals.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use lab::LabError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where results go, and where earlier ones come from.
#[derive(Debug, Args)]
pub struct Files {
    /// Write everything measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print (and write, and draw) the results of an earlier run, its --json, instead of measuring
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Files {
    /// The earlier run that was asked for.
    pub fn earlier<R: DeserializeOwned>(&self) -> Result<Option<R>, LabError> {
        let Some(file) = &self.from else { return Ok(None) };
        let text = fs::read_to_string(file).map_err(LabError::io("read", file))?;
        serde_json::from_str(&text).map(Some).map_err(|error| LabError::io("read", file)(error.into()))
    }

    /// Writes a report, where one was asked for.
    pub fn write<R: Serialize>(&self, report: &R) -> Result<(), LabError> {
        let Some(file) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(report).map_err(|e| LabError::io("write", file)(e.into()))?;
        fs::write(file, text + "\n").map_err(LabError::io("write", file))
    }
}

/// Where scripts/peers puts the originals, seen from the checkout.
pub const PEERS: &str = "peers/bin";

/// An original, where it was built.
pub fn peer(folder: Option<&Path>, name: &str) -> Option<PathBuf> {
    Some(folder.unwrap_or(Path::new(PEERS)).join(name)).filter(|program| program.is_file())
}
