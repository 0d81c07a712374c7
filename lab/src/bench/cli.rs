//! The command line of `weft bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::interrupt::Interrupt;
use super::mode::Mode;
use super::run::{self, Wanted};
use super::sample::{Report, Settings};
use super::{plot, table};
use crate::error::LabError;

/// `weft bench ...`
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct BenchCli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Packet paths between two nodes: direct, host-gw, vxlan, udp, and the original flanneld
    ///
    /// Makes a lab of two nodes for every path, measures all of them in turn in every repetition, prints medians with
    /// their spread and the ratio to the bare wire, and removes the labs. Needs root and a quiet machine. Where the
    /// original flanneld was built (scripts/peers) it runs in the same table.
    Overlay(Overlay),
}

#[derive(Debug, Args)]
struct Overlay {
    /// How many times to go through all paths
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    reps: u32,
    /// Seconds that count, of each throughput test
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Only these paths [default: all, those of the original where it was built]
    #[arg(long, value_name = "MODE,...", value_delimiter = ',')]
    modes: Vec<Mode>,
    /// One repetition of one second: to see that it works, not to quote
    #[arg(long, conflicts_with_all = ["reps", "seconds"])]
    quick: bool,
    /// The folder that holds the original flanneld [default: peers/bin]
    #[arg(long, value_name = "FOLDER", env = "WEFT_PEERS")]
    peers: Option<PathBuf>,
    /// Write everything measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the medians with their spread
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Print, write and draw the results of an earlier run (its --json) instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reps", "seconds", "modes", "quick"])]
    from: Option<PathBuf>,
}

/// Where scripts/peers puts the original, seen from the checkout.
const PEERS: &str = "peers/bin";

impl BenchCli {
    /// Runs the command and says what went wrong on standard error.
    pub fn run(self) -> ExitCode {
        let Command::Overlay(overlay) = self.command;
        match overlay.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    eprintln!("  {error}");
                    cause = error.source();
                }
                ExitCode::from(error.exit_status())
            }
        }
    }
}

impl Overlay {
    fn run(&self) -> Result<(), LabError> {
        let report = match &self.from {
            Some(file) => read(file)?,
            None => run::overlay(&self.wanted()?, &mut Interrupt::watch()?)?,
        };
        print!("{}", table::render(&report));
        if let Some(file) = &self.json {
            let text =
                serde_json::to_string_pretty(&report).map_err(|e| LabError::io("write", file)(e.into()))?;
            fs::write(file, text + "\n").map_err(LabError::io("write", file))?;
        }
        if let Some(file) = &self.plot {
            plot::draw(&report, file)?;
        }
        Ok(())
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        let original = self.original();
        let modes = modes(&self.modes, original.is_some())?;
        if original.is_none() && self.modes.is_empty() {
            eprintln!("without the original flanneld, which is not built (scripts/peers builds it)");
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

    fn original(&self) -> Option<PathBuf> {
        let folder = self.peers.as_deref().unwrap_or(Path::new(PEERS));
        Some(folder.join("flanneld")).filter(|program| program.is_file())
    }
}

/// The modes to run, in their order and each once.
fn modes(asked: &[Mode], original: bool) -> Result<Vec<Mode>, LabError> {
    if let Some(mode) = asked.iter().find(|mode| mode.is_original() && !original) {
        return Err(LabError::BadSpec(format!(
            "{mode} needs the original flanneld, and there is none in {PEERS}: run scripts/peers, or name its folder by --peers"
        )));
    }
    let all = Mode::value_variants().iter().copied();
    Ok(all
        .filter(|mode| if asked.is_empty() { original || !mode.is_original() } else { asked.contains(mode) })
        .collect())
}

fn read(file: &Path) -> Result<Report, LabError> {
    let text = fs::read_to_string(file).map_err(LabError::io("read", file))?;
    serde_json::from_str(&text).map_err(|error| LabError::io("read", file)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Bench {
        #[command(flatten)]
        cli: BenchCli,
    }

    fn overlay(words: &str) -> Result<Overlay, clap::Error> {
        let words = ["bench", "overlay"].into_iter().chain(words.split_whitespace());
        let Command::Overlay(overlay) = Bench::try_parse_from(words)?.cli.command;
        Ok(overlay)
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
        let report = super::super::sample::fixture::report(&[(Mode::Direct, 20.0)]);
        fs::write(&json, serde_json::to_string(&report).unwrap()).unwrap();
        let words = [("--from", &json), ("--json", &again), ("--plot", &svg)];
        let words = words.map(|(flag, file)| format!("{flag} {}", file.display())).join(" ");
        overlay(&words).unwrap().run().unwrap();
        assert_eq!(read(&again).unwrap(), report);
        assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
        let error = overlay("--from /nonexistent.json").unwrap().run().unwrap_err();
        assert_eq!(error.to_string(), "read /nonexistent.json");
    }
}
