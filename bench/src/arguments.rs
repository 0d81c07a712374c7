//! What the command lines of several benchmarks have in common.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lab::LabError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files::Files;
use super::interrupt::Interrupt;

/// How often, beside which originals, and where results go and come from.
#[derive(Debug, Args)]
pub struct Common {
    /// How many times to go through all that is compared
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub reps: u32,
    /// The folder that holds the originals [default: peers/bin]
    #[arg(long, value_name = "FOLDER", env = "WEFT_PEERS")]
    peers: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

impl Common {
    /// Measures, or takes the results of an earlier run; prints them and writes them where that was asked for.
    ///
    /// # Errors
    /// Those of measuring and of files; and a run that was cut off, after it has shown what it measured.
    pub fn report<R: Serialize + DeserializeOwned>(
        &self,
        measure: impl FnOnce(&Interrupt) -> Result<R, LabError>,
        render: impl FnOnce(&R) -> String,
    ) -> Result<(), LabError> {
        if let Some(folder) = &self.peers {
            originals::take_from(folder);
        }
        let mut interrupt = Interrupt::default();
        let report = match self.files.earlier()? {
            Some(report) => report,
            None => {
                interrupt = Interrupt::watch()?;
                measure(&interrupt)?
            }
        };
        telemetry::put!("{}", render(&report));
        self.files.write(&report)?;
        interrupt.outcome()
    }
}

/// Writes the word by which the command line and JSON name a value.
pub fn write_word(value: &impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let value = value.to_possible_value();
    f.pad(value.as_ref().map_or("", |value| value.get_name()))
}

/// What was asked for, in its own order and each once; where nothing was, what is usual.
pub fn chosen<T: ValueEnum + PartialEq + Copy>(asked: &[T], usual: impl Fn(T) -> bool) -> Vec<T> {
    let all = T::value_variants().iter().copied();
    all.filter(|one| if asked.is_empty() { usual(*one) } else { asked.contains(one) }).collect()
}

/// As [`chosen`], where what was not asked for and needs originals that are missing is left out.
///
/// # Errors
/// Such a one was asked for.
pub fn built<T: ValueEnum + PartialEq + Copy + fmt::Display>(
    asked: &[T],
    missing: impl Fn(T) -> bool,
) -> Result<Vec<T>, LabError> {
    if let Some(one) = asked.iter().find(|one| missing(**one)) {
        let text = format!(
            "the originals of {one} are not built: run scripts/peers, or name their folder by --peers"
        );
        return Err(LabError::BadSpec(text));
    }
    Ok(chosen(asked, |one| !missing(one)))
}

/// Numbers that were asked for, ascending and each once.
pub fn ascending<T: Ord + Clone>(asked: &[T]) -> Vec<T> {
    let mut numbers = asked.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::mode::Mode;

    #[test]
    fn what_was_asked_for_comes_in_order_and_once() {
        assert_eq!(chosen(&[Mode::Vxlan, Mode::Direct, Mode::Vxlan], |_| false), [Mode::Direct, Mode::Vxlan]);
        assert_eq!(chosen(&[], |mode: Mode| mode == Mode::Vxlan), [Mode::Vxlan]);
        assert_eq!(ascending(&[3, 1, 3]), [1, 3]);
    }
}
