//! The run that benchmarks share: every repetition goes once through all that is compared, in the same order.
//!
//! Owns: the wait for a quiet machine before each turn, what is said on standard error, and how a run ends that somebody
//! cuts off. Begin at [`Run::go`]. Never: knows what is compared.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use lab::LabError;

use super::interrupt::Interrupt;
use super::machine;
use super::measure::cpu;
use super::metric::Number;
use super::progress::Progress;
use super::sample::{Failure, Report, Sample};
use super::table::{QUIET, repetitions};

/// How long to wait for others to leave the CPUs alone, where nobody says anything else.
pub const QUIET_LIMIT: Duration = Duration::from_secs(10);

/// What to go through: `T` are those that have a turn, `W` what a sample is of, `M` its numbers, `S` the settings.
pub struct Run<T, W, M: 'static, S> {
    pub settings: S,
    pub repetitions: u32,
    /// What has a turn in each repetition, for people: `5 samples`.
    pub what: String,
    pub turns: Vec<T>,
    /// How long each sample of a repetition will take, about.
    pub expected: Vec<Duration>,
    /// Which numbers of a sample are said while others are still measured.
    pub shown: fn(W) -> &'static [M],
    /// How long to wait for others to leave the CPUs alone, before each turn.
    pub quiet: Duration,
}

impl<T, W: Copy + Display, M: Number + 'static, S> Run<T, W, M, S> {
    /// Gives each its turns. Says on standard error how far it is. An interruption gives what was measured until then.
    ///
    /// # Errors
    /// /proc cannot be read, or nothing was measured before the interruption. What cannot be measured is no error but a
    /// failure in the report.
    pub fn go(
        self,
        interrupt: &Interrupt,
        mut turn: impl FnMut(&T, &mut Turn<'_, W, M>),
    ) -> Result<Report<W, M, S>, LabError> {
        let head = format!("{} of {}", repetitions(self.repetitions), self.what);
        let mut progress = Progress::new(&head, self.expected.repeat(self.repetitions as usize));
        let (mut samples, mut failures) = (Vec::new(), Vec::new());
        'run: for repetition in 1..=self.repetitions {
            for one in &self.turns {
                let busy_before = cpu::wait_for_quiet(QUIET, self.quiet)?;
                let (samples, failures, progress) = (&mut samples, &mut failures, &mut progress);
                let shown = self.shown;
                turn(one, &mut Turn { repetition, busy_before, shown, samples, failures, progress });
                if interrupt.asked() {
                    break 'run;
                }
            }
        }
        if samples.is_empty() && interrupt.asked() {
            return Err(LabError::Interrupted);
        }
        Ok(Report { machine: machine::this(), settings: self.settings, samples, failures })
    }
}

/// Somebody's turn in a repetition, which takes down what comes of it.
pub struct Turn<'a, W, M: Ord + 'static> {
    /// From 1.
    pub repetition: u32,
    /// The part of the CPUs that was busy before.
    pub busy_before: f64,
    shown: fn(W) -> &'static [M],
    samples: &'a mut Vec<Sample<W, M>>,
    failures: &'a mut Vec<Failure<W>>,
    progress: &'a mut Progress,
}

impl<W: Copy + Display, M: Number + 'static> Turn<'_, W, M> {
    /// What was measured of a mode.
    pub fn done(&mut self, mode: W, values: BTreeMap<M, f64>) {
        let (repetition, busy_before) = (self.repetition, self.busy_before);
        let sample = Sample { mode, repetition, values, busy_before };
        self.progress.done(&sample, (self.shown)(mode));
        self.samples.push(sample);
    }

    /// What could not be measured of a mode. What was cut off is no failure.
    pub fn failed(&mut self, mode: W, measure: &str, error: &LabError) {
        if matches!(error, LabError::Interrupted) {
            return;
        }
        let (measure, reason) = (measure.to_owned(), error.to_string());
        telemetry::note!("  {measure} of {mode} failed: {reason}");
        self.failures.push(Failure { mode, repetition: self.repetition, measure, reason });
    }

    /// All of a turn that has one sample.
    pub fn took(&mut self, mode: W, measured: Result<BTreeMap<M, f64>, LabError>) {
        match measured {
            Ok(values) => self.done(mode, values),
            Err(error) => {
                self.progress.skip();
                self.failed(mode, "all", &error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::metric::Metric;
    use crate::overlay::mode::Mode;

    fn run(repetitions: u32) -> Run<Mode, Mode, Metric, u32> {
        Run {
            settings: 7,
            repetitions,
            what: "2 paths".to_owned(),
            turns: vec![Mode::Direct, Mode::Vxlan],
            expected: vec![Duration::ZERO; 2],
            shown: |_| &[Metric::Tcp1],
            quiet: Duration::ZERO,
        }
    }

    fn values(value: f64) -> BTreeMap<Metric, f64> {
        BTreeMap::from([(Metric::Tcp1, value)])
    }

    #[test]
    fn all_have_their_turns_in_each_repetition_whoever_fails() {
        let report = run(2).go(&Interrupt::default(), |mode, turn| {
            let failure = || LabError::BadSpec("no".to_owned());
            turn.took(*mode, if *mode == Mode::Vxlan { Err(failure()) } else { Ok(values(1.0)) });
        });
        let report = report.unwrap();
        let of = |mode, repetition| (mode, repetition);
        let samples: Vec<_> = report.samples.iter().map(|one| of(one.mode, one.repetition)).collect();
        assert_eq!(samples, [(Mode::Direct, 1), (Mode::Direct, 2)]);
        let failures: Vec<_> = report.failures.iter().map(|one| of(one.mode, one.repetition)).collect();
        assert_eq!(failures, [(Mode::Vxlan, 1), (Mode::Vxlan, 2)]);
        assert_eq!((report.settings, report.failures[0].measure.as_str()), (7, "all"));
    }

    #[test]
    fn an_interruption_keeps_what_was_measured_and_is_no_failure() {
        let interrupt = Interrupt::default();
        let report = run(2).go(&interrupt, |mode, turn| match mode {
            Mode::Direct => turn.took(*mode, Ok(values(1.0))),
            _ => {
                interrupt.ask();
                turn.took(*mode, Err(LabError::Interrupted));
            }
        });
        let report = report.unwrap();
        assert_eq!((report.samples.len(), report.failures.len()), (1, 0));
        let nothing = run(1).go(&interrupt, |mode, turn| turn.took(*mode, Err(LabError::Interrupted)));
        assert!(matches!(nothing, Err(LabError::Interrupted)));
    }
}
