//! `weft lab show`, and the end of `weft lab up`.

use std::process::ExitCode;

use super::print;
use super::terminal::Terminal;
use crate::error::LabError;
use crate::lab::{Lab, count};
use crate::progress::Progress;
use crate::{measure, status, summary};

pub fn show(lab: &Lab) -> Result<ExitCode, LabError> {
    show_with(lab, &mut Terminal::new(Default::default()))
}

/// Measures, and prints all of it.
pub fn show_with(lab: &Lab, terminal: &mut Terminal) -> Result<ExitCode, LabError> {
    let mut measured = Vec::new();
    if lab.spec().pods > 0 && lab.nodes().len() > 1 {
        terminal.begin("latency and throughput");
        measured = measure::measure(lab, |pair| terminal.note(&format!("{} to {}", pair.from, pair.to)));
        terminal.done(&format!("{} measured", count(measured.len(), "pair")));
    }
    print(&format!("\n{}", summary::render(lab, &status::observe(lab)?, &measured)));
    Ok(ExitCode::SUCCESS)
}
