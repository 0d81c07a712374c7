//! What commands print: to standard output and standard error, and never a panic.
//!
//! The standard library's `println!` and its relatives panic where the output is full or closed. The macros here,
//! [`put!`](crate::put), [`say!`](crate::say) and [`note!`](crate::note), do not: what they could not write is
//! remembered, and [`finish`] makes an exit code of it. A test of the tree sees to it that nothing else prints.
//!
//! SIGPIPE stays ignored, as Rust has it from the start: a reader that has left (`| head -1`) is seen as EPIPE. It has
//! what it wanted, so that is no failure, and the exit code is that of the command itself. Any other failure (a full
//! disk, /dev/full) is one: it is said on standard error, and a command that had succeeded ends with code 1.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// Prints to standard output.
#[macro_export]
macro_rules! put {
    ($($arguments:tt)*) => { $crate::output::print(::core::format_args!($($arguments)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! say {
    () => { $crate::put!("\n") };
    ($($arguments:tt)*) => { $crate::put!("{}\n", ::core::format_args!($($arguments)*)) };
}

/// Prints a line to standard error. Where that is not possible, there is nobody to tell.
#[macro_export]
macro_rules! note {
    ($($arguments:tt)*) => { $crate::output::complain(::core::format_args!($($arguments)*)) };
}

/// The first failure of standard output.
static FAILURE: Mutex<Option<String>> = Mutex::new(None);

/// The function behind [`put!`](crate::put).
pub fn print(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = write_to(&mut out, text) {
        FAILURE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
    }
}

/// The function behind [`note!`](crate::note).
pub fn complain(text: fmt::Arguments<'_>) {
    // In one piece, so that lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// The exit code of a command named `name` that would end with `code`: 1 instead of success where something could not
/// be written to standard output, which is said.
pub fn finish(name: &str, code: ExitCode) -> ExitCode {
    let Some(error) = failure() else { return code };
    crate::note!("{name}: cannot write to standard output: {error}");
    if code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
}

/// Why something could not be written to standard output, should that be so. A reader that has left is no reason.
pub fn failure() -> Option<String> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn write_to(out: &mut impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    // Flushed at once: what the standard library writes at the end of the process it does not tell about.
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_left_is_no_failure_and_a_full_disk_is() {
        assert!(write_to(&mut Broken(ErrorKind::BrokenPipe), format_args!("x")).is_ok());
        let full = write_to(&mut Broken(ErrorKind::StorageFull), format_args!("x"));
        assert_eq!(full.map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
        let mut text = Vec::new();
        assert!(write_to(&mut text, format_args!("{}\n", 7)).is_ok());
        assert_eq!(text, b"7\n");
    }
}
