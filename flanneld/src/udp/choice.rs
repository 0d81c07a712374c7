//! Which data path, and why.

use flanneld_core::config::Datapath;
use std::fmt;

/// The data path in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub datapath: InUse,
    /// A sentence for the log.
    pub why: String,
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// Packet programs in the kernel; user space has the unusual packets.
    Ebpf,
    /// User space alone.
    Simple,
}

impl InUse {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Simple => "simple",
        }
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.datapath, self.why)
    }
}

/// Chooses. `obstacle` is asked only where the answer matters: it names what keeps this machine from running the
/// packet programs. `None` where `ebpf` is demanded and cannot be had.
pub(super) fn choose<E>(
    asked: Datapath,
    try_ebpf: impl FnOnce() -> Result<(), E>,
    text: impl FnOnce(&E) -> String,
) -> Result<Chosen, E> {
    let simple = |why: String| Chosen { datapath: InUse::Simple, why };
    let ebpf = |why: &str| Chosen { datapath: InUse::Ebpf, why: why.to_owned() };
    match asked {
        Datapath::Simple => Ok(simple("the configuration asks for it".to_owned())),
        Datapath::Ebpf => try_ebpf().map(|()| ebpf("the configuration asks for it")),
        Datapath::Auto => Ok(match try_ebpf() {
            Ok(()) => ebpf("this machine can run it"),
            Err(error) => simple(format!("ebpf cannot be had here: {}", text(&error))),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wish_on_machines_that_can_and_cannot() {
        let on = |asked, able: Result<(), &'static str>| {
            choose(asked, || able, |error| (*error).to_owned()).map(|chosen| chosen.to_string())
        };
        let no = Err("the kernel is too old");
        assert_eq!(on(Datapath::Auto, Ok(())).unwrap(), "ebpf: this machine can run it");
        assert_eq!(on(Datapath::Auto, no).unwrap(), "simple: ebpf cannot be had here: the kernel is too old");
        assert_eq!(on(Datapath::Ebpf, Ok(())).unwrap(), "ebpf: the configuration asks for it");
        assert_eq!(on(Datapath::Ebpf, no), Err("the kernel is too old"));
        assert_eq!(on(Datapath::Simple, no).unwrap(), "simple: the configuration asks for it");
    }

    #[test]
    fn simple_does_not_even_try_the_other() {
        let try_ebpf = || -> Result<(), &str> { panic!("tried") };
        assert!(choose(Datapath::Simple, try_ebpf, |e| (*e).to_owned()).is_ok());
    }
}
