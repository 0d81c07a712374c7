//! What a lab tells whoever waits for it.

/// Hears what is going on while a lab comes up, and may ask for it to stop.
pub trait Progress {
    /// A piece of work began: `etcd`, `flanneld`.
    fn begin(&mut self, what: &str);
    /// News of the piece of work that is under way.
    fn note(&mut self, what: &str);
    /// The piece of work that began last is done.
    fn done(&mut self, result: &str);
    /// Whether somebody wants to stop. Asked often; a true answer ends the work with
    /// [`crate::LabError::Interrupted`], after everything that was made has been removed again.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Says nothing and never asks to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&mut self, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn done(&mut self, _: &str) {}
}
