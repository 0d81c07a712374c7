//! How a run did on what a release promises.

use std::fmt;

use super::stats::Spread;

/// How a run did on one goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub goal: String,
    pub have: Spread,
    pub reached: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, min, max } = self.have;
        let word = if self.reached { "reached" } else { "MISSED " };
        write!(f, "{word}  {}: {median:.3} [{min:.3}..{max:.3}]", self.goal)
    }
}

/// All verdicts as a section of a report; empty without any.
pub fn section(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let lines = verdicts.iter().map(|verdict| format!("- {verdict}\n"));
    format!("\nGoals\n\n{}", lines.collect::<String>())
}
