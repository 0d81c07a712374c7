//! The compiled programs, and loading them into the kernel.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::Path;

use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};

use crate::error::Unsupported;
use crate::layout::Config;
use crate::sys;

/// The ELF object that `build.rs` made of `c/overlay.c`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay.o"));

/// Every map, by its name in the object; its pin bears the same name.
pub const MAPS: [&str; 6] = ["peers", "counts", "programmed", "events", "ports", "state"];

/// The programs, by their name in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Encap,
    Decap,
    Ports,
}

impl Program {
    pub const ALL: [Self; 3] = [Self::Encap, Self::Decap, Self::Ports];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Encap => "weft_encap",
            Self::Decap => "weft_decap",
            Self::Ports => "weft_ports",
        }
    }
}

/// Loads all programs. With `pins`, maps pinned there are taken over and missing ones pinned there.
pub fn load(config: Config, pins: Option<&Path>) -> Result<Ebpf, Unsupported> {
    sys::use_memlock_limit();
    let mut loader = EbpfLoader::new();
    loader.override_global("config", &config, true);
    let paths = pins.map(|folder| MAPS.map(|name| folder.join(name)));
    for (name, path) in MAPS.iter().zip(paths.iter().flatten()) {
        loader.map_pin_path(name, Cow::Borrowed(path.as_path()));
    }
    let mut object = loader.load(OBJECT).map_err(refused_object)?;
    for program in Program::ALL {
        classifier(&mut object, program).load().map_err(|error| refused_program(program, error))?;
    }
    Ok(object)
}

/// A program of ours in a loaded object.
pub fn classifier(object: &mut Ebpf, program: Program) -> &mut SchedClassifier {
    object
        .program_mut(program.name())
        .and_then(|found| found.try_into().ok())
        .expect("the embedded object holds every program as classifiers")
}

fn refused_object(error: aya::EbpfError) -> Unsupported {
    match forbidden(&error) {
        Some(errno) => Unsupported::Forbidden(errno),
        None => Unsupported::Map { name: error.to_string(), source: Box::new(error) },
    }
}

fn refused_program(program: Program, error: ProgramError) -> Unsupported {
    if let Some(errno) = forbidden(&error) {
        return Unsupported::Forbidden(errno);
    }
    let log = match &error {
        ProgramError::LoadError { verifier_log, .. } => last_lines(&verifier_log.to_string()),
        other => other.to_string(),
    };
    Unsupported::Program { name: program.name(), log, source: Box::new(error) }
}

/// The verifier says what it dislikes at the end of a long log.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" / ")
}

/// EPERM as the first errno in the chain of causes. (EACCES is what the verifier's refusal looks like.)
pub fn forbidden(error: &(dyn Error + 'static)) -> Option<io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return (errno == libc::EPERM).then(|| io::Error::from_raw_os_error(errno));
        }
        cause = error.source();
    }
    None
}
