//! Where log lines go: a writer that never fails.
//!
//! A full disk, a reader that has gone or a terminal that was closed must not end a daemon, nor make it write more than
//! before. Lines that cannot be written are counted, and the next one that can be is preceded by how many there were.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Lines to `W`. Clones share it.
#[derive(Debug)]
pub(super) struct Lines<W>(Arc<Mutex<Sink<W>>>);

#[derive(Debug)]
struct Sink<W> {
    out: W,
    lost: u64,
    /// Why the first of them was lost.
    reason: String,
}

impl<W: Write> Lines<W> {
    pub fn new(out: W) -> Self {
        Self(Arc::new(Mutex::new(Sink { out, lost: 0, reason: String::new() })))
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One line; tracing-subscriber writes each in one piece.
pub(super) struct Line<'a, W>(MutexGuard<'a, Sink<W>>);

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Sink<W> {
    fn line(&mut self, line: &[u8]) {
        let outcome = match self.lost {
            0 => self.out.write_all(line),
            // The lines before may have broken off in the middle.
            lost => self
                .out
                .write_all(
                    format!(
                        "\n{} WARN telemetry: {lost} log lines before this one are lost: {}\n",
                        now(),
                        self.reason
                    )
                    .as_bytes(),
                )
                .and_then(|()| {
                    self.lost = 0;
                    self.out.write_all(line)
                }),
        };
        if let Err(error) = outcome.and_then(|()| self.out.flush()) {
            if self.lost == 0 {
                self.reason = error.to_string();
            }
            self.lost += 1;
        }
    }
}

/// As the log has it.
fn now() -> String {
    let mut text = String::new();
    // Without a time the line is still worth something.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of so many bytes.
    #[derive(Debug, Default)]
    struct Disk {
        text: String,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.text.push_str(&String::from_utf8_lossy(&bytes[..fits]));
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_told_of_when_there_is_room() {
        let lines = Lines::new(Disk { room: 8, ..Disk::default() });
        let write = |line: &str| lines.make_writer().write_all(line.as_bytes()).expect("it never fails");
        let room = |room| lines.0.lock().expect("no panic").out.room = room;
        let text = || std::mem::take(&mut lines.0.lock().expect("no panic").out.text);
        write("one\n");
        write("two two\n");
        write("three\n");
        assert_eq!(text(), "one\ntwo ");
        room(1_000);
        write("four\n");
        let told = text();
        assert!(told.starts_with('\n') && told.ends_with("\nfour\n"), "{told:?}");
        assert!(
            told.contains(" WARN telemetry: 2 log lines before this one are lost: no storage space"),
            "{told:?}"
        );
        write("five\n");
        assert_eq!(text(), "five\n");
    }

    #[test]
    fn events_to_a_full_disk_do_not_panic() {
        let lines = Lines::new(Disk::default());
        let shared = Lines(lines.0.clone());
        let subscriber = super::super::subscriber("info".parse().expect("a filter"), shared, false);
        tracing::subscriber::with_default(subscriber, || {
            for nth in 0..3 {
                tracing::info!(nth, "an event");
            }
            lines.0.lock().expect("no panic").out.room = 1_000;
            tracing::info!("the last event");
        });
        let text = &lines.0.lock().expect("no panic").out.text;
        assert!(
            text.contains("3 log lines before this one are lost") && text.contains("the last event"),
            "{text}"
        );
    }
}
