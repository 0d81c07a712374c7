//! The command line of `weft bench overlay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::mode::Mode;
use super::run::{self, Wanted};
use super::sample::Settings;
use super::{plot, table};
use crate::arguments::chosen;
use crate::files::{Files, PEERS, peer};
use crate::interrupt::Interrupt;
use lab::LabError;

#[derive(Debug, Args)]
pub struct Overlay {
    /// How many times to go through all paths
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100))]
    reps: u32,
    /// Seconds that count, of each throughput test
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Only these paths [default: all, those of the original where it was built]
    #[arg(long, value_name = "MODE,...", value_delimiter = ',', conflicts_with = "from")]
    modes: Vec<Mode>,
    /// One repetition of one second: to see that it works, not to quote
    #[arg(long, conflicts_with_all = ["reps", "seconds", "from"])]
    quick: bool,
    /// The folder that holds the original flanneld [default: peers/bin]
    #[arg(long, value_name = "FOLDER", env = "WEFT_PEERS")]
    peers: Option<PathBuf>,
    /// Draw the medians with their spread
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

impl Overlay {
    pub fn run(&self) -> Result<(), LabError> {
        let mut interrupt = Interrupt::default();
        let report = match self.files.earlier()? {
            Some(report) => report,
            None => {
                interrupt = Interrupt::watch()?;
                run::overlay(&self.wanted()?, &mut interrupt)?
            }
        };
        telemetry::put!("{}", table::render(&report));
        self.files.write(&report)?;
        if let Some(file) = &self.plot {
            plot::draw(&report, file)?;
        }
        interrupt.outcome()
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        let original = peer(self.peers.as_deref(), "flanneld");
        let modes = modes(&self.modes, original.is_some())?;
        if original.is_none() && self.modes.is_empty() {
            telemetry::note!("without the original flanneld, which is not built (scripts/peers builds it)");
        }
        let (repetitions, seconds) = if self.quick { (1, 1) } else { (self.reps, self.seconds) };
        Ok(Wanted {
            settings: Settings { modes, repetitions, seconds },
            original,
            pings: if self.quick { 50 } else { 300 },
            transactions: Duration::from_secs(u64::from(seconds.min(2))),
            patience: Duration::from_secs(5),
        })
    }
}

/// The modes to run, in their order and each once.
fn modes(asked: &[Mode], original: bool) -> Result<Vec<Mode>, LabError> {
    if let Some(mode) = asked.iter().find(|mode| mode.is_original() && !original) {
        return Err(LabError::BadSpec(format!(
            "{mode} needs the original flanneld, and there is none in {PEERS}: run scripts/peers, or name its folder by --peers"
        )));
    }
    Ok(chosen(asked, |mode| original || !mode.is_original()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{Parser, ValueEnum};

    use super::*;
    use crate::overlay::sample::Report;

    #[derive(Debug, Parser)]
    struct Bench {
        #[command(flatten)]
        overlay: Overlay,
    }

    fn overlay(words: &str) -> Result<Overlay, clap::Error> {
        let words = std::iter::once("overlay").chain(words.split_whitespace());
        Ok(Bench::try_parse_from(words)?.overlay)
    }

    #[test]
    fn modes_run_in_their_order_and_once() {
        let asked = overlay("--modes udp-simple,direct,direct").unwrap().modes;
        assert_eq!(modes(&asked, false).unwrap(), [Mode::Direct, Mode::UdpSimple]);
        assert_eq!(modes(&[], true).unwrap().len(), Mode::value_variants().len());
        assert_eq!(modes(&[], false).unwrap().len(), Mode::value_variants().len() - 3);
    }

    #[test]
    fn a_mode_without_its_program_is_refused_with_the_remedy() {
        let error = modes(&[Mode::OriginalUdp], false).unwrap_err().to_string();
        assert!(error.contains("original-udp") && error.contains("scripts/peers"), "{error}");
        assert!(overlay("--modes warp").unwrap_err().to_string().contains("host-gw-by-hand"));
    }

    #[test]
    fn quick_is_one_second_once() {
        let wanted = overlay("--quick --modes direct").unwrap().wanted().unwrap();
        assert_eq!((wanted.settings.repetitions, wanted.settings.seconds), (1, 1));
        let wanted = overlay("--modes direct --reps 5 --seconds 2").unwrap().wanted().unwrap();
        assert_eq!((wanted.settings.repetitions, wanted.settings.seconds), (5, 2));
        assert!(overlay("--quick --reps 5").is_err());
        assert!(overlay("--reps 0").is_err());
    }

    #[test]
    fn an_earlier_run_is_printed_written_and_drawn_again() {
        let folder = tempfile::tempdir().unwrap();
        let [json, again, svg] = ["a.json", "b.json", "c.svg"].map(|name| folder.path().join(name));
        let report = crate::overlay::sample::fixture::report(&[(Mode::Direct, 20.0)]);
        fs::write(&json, serde_json::to_string(&report).unwrap()).unwrap();
        let words = [("--from", &json), ("--json", &again), ("--plot", &svg)];
        let words = words.map(|(flag, file)| format!("{flag} {}", file.display())).join(" ");
        overlay(&words).unwrap().run().unwrap();
        let again: Report = serde_json::from_str(&fs::read_to_string(again).unwrap()).unwrap();
        assert_eq!(again, report);
        assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
        let error = overlay("--from /nonexistent.json").unwrap().run().unwrap_err();
        assert_eq!(error.to_string(), "read /nonexistent.json");
    }
}
