//! A report as a picture: for each metric one bar for each path, with its spread. Pure but for the file.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::metric::Metric;
use super::mode::Mode;
use super::sample::Report;
use crate::metric::{Better, Number};
use crate::stats::Spread;
use crate::table::repetitions;
use lab::LabError;

const COLUMNS: usize = 3;
const PANEL_WIDTH: i32 = 440;
const BAR: i32 = 16;
const GAP: i32 = 6;
const HEAD: i32 = 34;
const LABELS: i32 = 118;
const VALUES: i32 = 62;
const FONT: &str = "sans-serif";

/// Draws the report to an SVG file.
///
/// # Errors
/// The file cannot be written.
pub fn draw(report: &Report, file: &Path) -> Result<(), LabError> {
    let svg = svg(report).map_err(|error| LabError::io("draw", file)(std::io::Error::other(error)))?;
    std::fs::write(file, svg).map_err(LabError::io("write", file))
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The picture as text.
fn svg(report: &Report) -> Result<String, Failed> {
    let modes = report.modes();
    let rows = i32::try_from(modes.len())?;
    let panel_height = HEAD + rows * (BAR + GAP) + 14;
    let panels: Vec<Metric> = Metric::ALL
        .into_iter()
        .filter(|metric| modes.iter().any(|mode| spread(report, *mode, *metric).is_some()))
        .collect();
    let lines = panels.len().div_ceil(COLUMNS).max(1);
    let size = (
        u32::try_from(PANEL_WIDTH)? * u32::try_from(COLUMNS)?,
        u32::try_from(panel_height)? * u32::try_from(lines)? + 40,
    );
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let root = root.titled(&title(report), (FONT, 15)).map_err(failed)?;
        for (area, metric) in root.split_evenly((lines, COLUMNS)).iter().zip(panels) {
            panel(area, report, &modes, metric)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> Failed {
    error.to_string().into()
}

fn title(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "weft {} bench overlay: {} CPUs ({}), Linux {}; medians of {}, lines from lowest to highest",
        machine.weft,
        machine.cpus,
        machine.cpu,
        machine.kernel,
        repetitions(report.settings.repetitions)
    )
}

fn spread(report: &Report, mode: Mode, metric: Metric) -> Option<Spread> {
    Spread::of(report.series(mode, metric).into_values())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    report: &Report,
    modes: &[Mode],
    metric: Metric,
) -> Result<(), Failed> {
    let spreads: Vec<Option<Spread>> = modes.iter().map(|mode| spread(report, *mode, metric)).collect();
    let highest = spreads.iter().flatten().map(|spread| spread.max).fold(0.0, f64::max);
    let better = match metric.better() {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    let heading = format!("{} ({better})", metric.title());
    area.draw(&Text::new(heading, (10, 8), (FONT, 14).into_font().style(FontStyle::Bold))).map_err(failed)?;
    let room = f64::from(PANEL_WIDTH - LABELS - VALUES - 10);
    #[expect(clippy::cast_possible_truncation, reason = "a length in pixels, at most the width of the panel")]
    let x = |value: f64| LABELS + if highest > 0.0 { (value / highest * room).round() as i32 } else { 0 };
    for (i, (mode, spread)) in modes.iter().zip(spreads).enumerate() {
        let y = HEAD + i32::try_from(i)? * (BAR + GAP);
        let middle = y + BAR / 2;
        area.draw(&Text::new(mode.title(), (10, y + 1), (FONT, 12))).map_err(failed)?;
        let Some(Spread { median, min, max }) = spread else {
            area.draw(&Text::new("not measured", (LABELS, y + 1), (FONT, 12))).map_err(failed)?;
            continue;
        };
        area.draw(&Rectangle::new([(LABELS, y), (x(median), y + BAR)], colour(*mode).filled()))
            .map_err(failed)?;
        let ends =
            [min, max].map(|end| PathElement::new([(x(end), middle - 4), (x(end), middle + 4)], BLACK));
        area.draw(&PathElement::new([(x(min), middle), (x(max), middle)], BLACK)).map_err(failed)?;
        for end in ends {
            area.draw(&end).map_err(failed)?;
        }
        area.draw(&Text::new(metric.show(median), (x(max) + 6, y + 1), (FONT, 12))).map_err(failed)?;
    }
    Ok(())
}

/// One hue for each kind of path; what we did not make is paler.
fn colour(mode: Mode) -> RGBColor {
    match mode {
        Mode::Direct => RGBColor(110, 110, 110),
        Mode::HostGw => RGBColor(46, 125, 50),
        Mode::HostGwByHand | Mode::OriginalHostGw => RGBColor(165, 214, 167),
        Mode::Vxlan => RGBColor(21, 101, 192),
        Mode::VxlanByHand | Mode::OriginalVxlan => RGBColor(144, 202, 249),
        Mode::UdpEbpf => RGBColor(216, 67, 21),
        Mode::UdpSimple => RGBColor(255, 143, 0),
        Mode::OriginalUdp => RGBColor(255, 204, 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::sample::fixture;

    #[test]
    fn there_is_a_bar_for_every_path_in_every_panel() {
        let svg = svg(&fixture::report(&[(Mode::Direct, 20.0), (Mode::OriginalUdp, 0.4)])).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("original udp").count(), Metric::ALL.len());
        // One rectangle is the background.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 * Metric::ALL.len());
    }

    #[test]
    fn a_path_that_was_not_measured_is_named_without_a_bar() {
        let mut report = fixture::report(&[(Mode::Direct, 20.0), (Mode::Vxlan, 10.0)]);
        report.samples.iter_mut().filter(|sample| sample.mode == Mode::Vxlan).for_each(|sample| {
            sample.values.remove(&Metric::Ping);
        });
        assert_eq!(svg(&report).unwrap().matches("not measured").count(), 1);
    }

    #[test]
    fn nothing_measured_and_all_zero_are_drawn_too() {
        svg(&fixture::report(&[])).unwrap();
        let mut report = fixture::report(&[(Mode::HostGw, 0.0)]);
        report
            .samples
            .iter_mut()
            .for_each(|sample| sample.values.values_mut().for_each(|value| *value = 0.0));
        svg(&report).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = draw(&fixture::report(&[]), Path::new("/dev/null/plot.svg")).unwrap_err();
        assert_eq!(error.to_string(), "write /dev/null/plot.svg");
    }
}
