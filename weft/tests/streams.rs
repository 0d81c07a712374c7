//! Standard output and standard error that are closed or full, as a user meets them.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

fn weft(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("/dev/full")
}

/// A pipe whose reader has left.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// What prints to standard output, and the exit code with which it does.
const PRINTING: [(&[&str], i32); 9] = [
    (&["--help"], 0),
    (&["--version"], 0),
    (&["flanneld", "--help"], 0),
    (&["proxy", "--help"], 0),
    (&["proxy", "--version"], 0),
    (&["docker-opts", "--help"], 0),
    (&["lab", "--help"], 0),
    (&["explain", "--feed-dir=tests/empty", "10.244.1.7 -> 10.96.0.10:80/tcp"], 0),
    (&["proxy", "render", "--feed-dir=tests/empty", "--node=n1"], 0),
];

fn in_an_empty_directory(arguments: &[&str]) -> (tempfile::TempDir, Command) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(directory.path().join("tests/empty")).expect("a directory");
    let mut command = weft(arguments);
    command.current_dir(directory.path());
    (directory, command)
}

#[test]
fn a_reader_that_has_left_ends_no_command_with_a_panic_or_another_code() {
    for (arguments, code) in PRINTING {
        let (_directory, mut command) = in_an_empty_directory(arguments);
        let output = command.stdout(closed()).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {} {said}", output.status);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_full_standard_output_is_said_and_no_success() {
    for (arguments, _) in PRINTING {
        let (_directory, mut command) = in_an_empty_directory(arguments);
        let output = command.stdout(full()).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {} {said}", output.status);
        assert!(
            said.contains("cannot write to standard output: No space left on device"),
            "{arguments:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn an_error_that_nobody_can_read_keeps_its_code() {
    for (arguments, code) in [
        (&["flanneld", "--nonsense"][..], 2),
        (&["proxy", "--nonsense"], 2),
        (&["--nonsense"], 2),
        (&["explain", "x"], 2),
    ] {
        for stderr in [closed(), full().into()] {
            let status = weft(arguments).stdout(Stdio::null()).stderr(stderr).status().expect("it runs");
            assert_eq!((status.code(), status.signal()), (Some(code), None), "{arguments:?}");
        }
    }
}

#[test]
fn the_first_line_of_a_help_text_can_be_taken() {
    let mut child = weft(&["flanneld", "--help"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut first = [0; 8];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("its beginning");
    assert_eq!(&first, b"flanneld");
    assert!(child.wait().expect("it ends").success());
}
