//! The parts of every report's text: for a terminal, and Markdown as well. Pure.

use std::fmt::Display;

use super::metric::Number;
use super::sample::{Failure, Machine, Report, Sample};
use super::stats::{self, Spread};

/// Above this part of busy CPU before a test, the numbers are marked as doubtful.
pub const QUIET: f64 = 0.15;

/// `1 repetition`, `3 repetitions`.
pub fn repetitions(count: u32) -> String {
    format!("{count} repetition{}", if count == 1 { "" } else { "s" })
}

/// The first line: where it ran.
pub fn machine(machine: &Machine) -> String {
    let Machine { cpu, cpus, memory_gib, kernel, system, congestion_control, iperf3, weft, started: _ } =
        machine;
    format!(
        "weft {weft} on {cpus} CPUs ({cpu}), {memory_gib} GiB, Linux {kernel}, {system}, TCP {congestion_control}, {iperf3}\n"
    )
}

/// Median, lowest and highest.
pub fn spread<M: Number>(metric: M, spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{} [{}..{}]", metric.show(median), metric.show(min), metric.show(max))
}

/// A cell of a mode and a metric, with the ratio to those that it is compared with; `-` where nothing was measured.
pub fn cell<W: Copy + Ord, M: Number, S>(
    report: &Report<W, M, S>,
    mode: W,
    metric: M,
    than: Option<(W, M)>,
) -> String {
    let series = report.series(mode, metric);
    let Some(found) = Spread::of(series.values().copied()) else { return "-".to_owned() };
    let text = spread(metric, found);
    // Nothing is compared with itself.
    let than = than.filter(|(other, _)| *other != mode);
    match than.and_then(|(other, of_other)| stats::ratio(&series, &report.series(other, of_other))) {
        Some(found) => format!("{text} {}", ratio(found.median)),
        None => text,
    }
}

/// A table of some modes, a row each, under the headings of their metrics.
pub fn rows<W: Copy, M: Number>(
    metrics: &[M],
    modes: impl IntoIterator<Item = W>,
    title: impl Fn(W) -> &'static str,
    cell: impl Fn(W, M) -> String,
) -> Vec<Vec<String>> {
    let row = |first: &str, cells: &dyn Fn(M) -> String| {
        std::iter::once(first.to_owned()).chain(metrics.iter().map(|metric| cells(*metric))).collect()
    };
    let head = row("", &|metric| metric.heading());
    let modes = modes.into_iter().map(|mode| row(title(mode), &|metric| cell(mode, metric)));
    std::iter::once(head).chain(modes).collect()
}

/// A ratio: what is a thousandth still has to be told from nothing.
pub fn ratio(ratio: f64) -> String {
    let digits = if ratio < 0.1 { 3 } else { 2 };
    format!("{ratio:.digits$}x")
}

/// Which samples began on a busy machine; empty where none did.
pub fn doubtful<W: Display, M: Ord>(samples: &[Sample<W, M>]) -> String {
    let doubtful: Vec<String> = samples
        .iter()
        .filter(|sample| sample.busy_before > QUIET)
        .map(|sample| format!("{} #{} ({:.0} %)", sample.mode, sample.repetition, sample.busy_before * 100.0))
        .collect();
    if doubtful.is_empty() {
        return String::new();
    }
    format!("\nDoubtful, for something else kept the CPUs busy: {}\n", doubtful.join(", "))
}

/// What could not be measured, a line each.
pub fn failures<W: Display>(failures: &[Failure<W>]) -> String {
    let lines = failures.iter().map(|failure| {
        let Failure { mode, repetition, measure, reason } = failure;
        format!("\nNot measured: {measure} of {mode} in repetition {repetition}: {reason}\n")
    });
    lines.collect()
}

/// A Markdown table with aligned columns; the first row is the head.
pub fn grid(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        text += &line(row);
        if i == 0 {
            text += &line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["", "µs"], ["longer", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(grid(&rows), "|        | µs |\n| ------ | -- |\n| longer | 1  |\n");
    }

    #[test]
    fn ratios_show_what_is_small() {
        assert_eq!((ratio(0.071), ratio(1.5)), ("0.071x".to_owned(), "1.50x".to_owned()));
    }
}
