//! Help, versions and wrong command lines: what clap says, to the right output, in colour where a person reads it.

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;

/// What clap has to say instead of a command line: help, a version, or what is wrong.
pub fn answer(answer: &clap::Error) -> ExitCode {
    let text = answer.render();
    match (answer.use_stderr(), stderr().is_terminal(), stdout().is_terminal()) {
        (true, true, _) => telemetry::note!("{}", text.ansi().to_string().trim_end()),
        (true, false, _) => telemetry::note!("{}", text.to_string().trim_end()),
        (false, _, true) => telemetry::put!("{}", text.ansi()),
        (false, _, false) => telemetry::put!("{text}"),
    }
    u8::try_from(answer.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
