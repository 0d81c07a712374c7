//! What a measured number is, whatever it measures.

use std::fmt::Debug;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// One number of a run: what it is called, and how it is read.
pub trait Number: Copy + Debug + Ord {
    /// With its unit.
    fn title(self) -> &'static str;

    fn better(self) -> Better;

    /// A value as people read it.
    fn show(self, value: f64) -> String;

    /// The title with an arrow that points the good way.
    fn heading(self) -> String {
        match self.better() {
            Better::More => format!("{} ↑", self.title()),
            Better::Less => format!("{} ↓", self.title()),
        }
    }
}

/// Three digits that matter, and more only where the unit is coarse.
pub fn three_digits(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
