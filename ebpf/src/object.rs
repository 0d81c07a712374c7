//! Compiled programs, and loading them into the kernel.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::Path;

use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};

use crate::error::Unsupported;
use crate::sys;

/// An ELF object that `build.rs` made, and what it holds.
pub struct Object {
    pub elf: &'static [u8],
    /// Every map, by its name in the object; its pin bears the same name.
    pub maps: &'static [&'static str],
    pub programs: &'static [Program],
    /// The first kernel that runs all of it, for messages.
    pub oldest_kernel: &'static str,
}

/// A tc program, by its name in the object, and the side of an interface on which it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub name: &'static str,
    pub side: TcAttachType,
}

impl Object {
    /// Loads all programs with a value for the constant `config`. With `pins`, maps pinned there are taken over and
    /// missing ones pinned there.
    pub fn load<C: aya::Pod>(&self, config: &C, pins: Option<&Path>) -> Result<Ebpf, Unsupported> {
        sys::use_memlock_limit();
        let mut loader = EbpfLoader::new();
        loader.override_global("config", config, true);
        let paths: Vec<_> =
            pins.into_iter().flat_map(|folder| self.maps.iter().map(|name| folder.join(name))).collect();
        for (name, path) in self.maps.iter().zip(&paths) {
            loader.map_pin_path(name, Cow::Borrowed(path.as_path()));
        }
        let mut object = loader.load(self.elf).map_err(refused_object)?;
        for program in self.programs {
            classifier(&mut object, *program).load().map_err(|error| self.refused(*program, error))?;
        }
        Ok(object)
    }

    fn refused(&self, program: Program, error: ProgramError) -> Unsupported {
        if let Some(errno) = forbidden(&error) {
            return Unsupported::Forbidden(errno);
        }
        let log = match &error {
            ProgramError::LoadError { verifier_log, .. } => last_lines(&verifier_log.to_string()),
            other => other.to_string(),
        };
        let (name, oldest) = (program.name, self.oldest_kernel);
        Unsupported::Program { name, oldest, log, source: Box::new(error) }
    }
}

/// A program of ours in a loaded object.
pub fn classifier(object: &mut Ebpf, program: Program) -> &mut SchedClassifier {
    object
        .program_mut(program.name)
        .and_then(|found| found.try_into().ok())
        .expect("the embedded object holds every program as classifiers")
}

fn refused_object(error: aya::EbpfError) -> Unsupported {
    match forbidden(&error) {
        Some(errno) => Unsupported::Forbidden(errno),
        None => Unsupported::Map { name: error.to_string(), source: Box::new(error) },
    }
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
