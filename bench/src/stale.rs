//! Names of the benchmarks' labs, and what a benchmark that was killed has left.

use nix::sys::signal::kill;
use nix::unistd::Pid;

use lab::LabError;
use lab::name::LabName;

/// What the names of our labs begin with; the id of the process that made them follows.
const PREFIX: &str = "bench";

/// A name for a lab of ours.
///
/// # Errors
/// None that happens.
pub fn name() -> Result<LabName, LabError> {
    Ok(LabName::unique(PREFIX)?)
}

/// Removes what a benchmark that was killed has left: labs named after a process that is no more.
///
/// # Errors
/// The labs of this machine cannot be listed, or one cannot be removed.
pub fn remove_stale() -> Result<(), LabError> {
    for name in lab::state::list()? {
        if maker(&name).is_some_and(|pid| kill(pid, None).is_err()) {
            lab::down::down(&name)?;
        }
    }
    Ok(())
}

/// The process that made a lab, read from a name of ours: `bench1234x0`.
fn maker(name: &LabName) -> Option<Pid> {
    let (pid, count) = name.as_str().strip_prefix(PREFIX)?.split_once('x')?;
    count.parse::<u32>().ok()?;
    pid.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_of_ours_names_its_maker() {
        let maker = |name: &str| maker(&LabName::new(name).unwrap());
        assert_eq!(maker("bench1234x0"), Some(Pid::from_raw(1234)));
        for foreign in ["lab", "bench", "bench12", "benchx0", "bench1xa"] {
            assert_eq!(maker(foreign), None, "{foreign}");
        }
    }
}
