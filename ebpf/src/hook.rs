//! Where a program sits: a TCX link (Linux 6.6), or a filter of a clsact qdisc.
//!
//! Owns: links pinned in the pin directory, and filters that bear our program's name and priority.
//! Never: removes a clsact qdisc or another's filter or link.

use std::error::Error;
use std::io;
use std::mem;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use crate::error::EbpfError;
use crate::object::{Program, classifier};
use crate::pins;
use crate::sys;

/// The priority of our clsact filters: any number that others hardly use.
const PRIORITY: u16 = 8285;
const HANDLE: u32 = 1;
/// TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS.
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// A link whose pin was removed is detached by the kernel soon after, within an RCU grace period or so.
const UNPINNED_LINK_LASTS: Duration = Duration::from_secs(1);

/// How programs are attached on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// BPF links of the tc hook, Linux 6.6 or later.
    Tcx,
    /// Filters of the clsact qdisc, any kernel.
    Clsact,
}

impl HookKind {
    /// TCX where the kernel has it. `interface` is any interface of this network namespace.
    pub fn best(interface: &str) -> Self {
        match SchedClassifier::query_tcx(interface, TcAttachType::Ingress) {
            Ok(_) => Self::Tcx,
            Err(_) => Self::Clsact,
        }
    }
}

/// One program's place.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    pub kind: HookKind,
    pub program: Program,
    pub ifindex: u32,
}

impl Hook {
    /// Puts the loaded program in its place. A program of ours that is there already is replaced in
    /// one step, so that every packet meets the old one or the new one.
    pub fn attach(&self, object: &mut Ebpf, pin_dir: &Path) -> Result<(), EbpfError> {
        let name = interface_name(self.ifindex)?;
        match self.kind {
            HookKind::Tcx => self.attach_tcx(classifier(object, self.program), &name, pin_dir),
            HookKind::Clsact => self.attach_clsact(classifier(object, self.program), &name),
        }
    }

    /// Whether the program with this id is in its place.
    pub fn is_attached(&self, program_id: u32, pin_dir: &Path) -> Result<bool, EbpfError> {
        match self.kind {
            HookKind::Tcx => {
                let path = pins::link(pin_dir, self.program);
                let link = sys::link::pinned(&path).map_err(pins::file_error("read the link", &path))?;
                Ok(link.is_some_and(|link| link.ifindex == self.ifindex && link.program == program_id))
            }
            HookKind::Clsact => Ok(self.filter()?.is_some_and(|filter| filter.program == program_id)),
        }
    }

    /// Takes the program away, whichever kind of hook it has. That it is not there is no error.
    pub fn detach(&self, pin_dir: &Path) -> Result<(), EbpfError> {
        pins::remove_link(pin_dir, self.program)?;
        if self.filter()?.is_some() {
            let name = interface_name(self.ifindex)?;
            tc::qdisc_detach_program(&name, self.program.side, self.program.name)
                .map_err(|error| self.failed("detach", error))?;
        }
        Ok(())
    }

    fn attach_tcx(
        &self,
        program: &mut SchedClassifier,
        interface: &str,
        pin_dir: &Path,
    ) -> Result<(), EbpfError> {
        let path = pins::link(pin_dir, self.program);
        let pinned = sys::link::pinned(&path).map_err(pins::file_error("read the link", &path))?;
        if pinned.is_some_and(|link| link.ifindex == self.ifindex && link.attach_type == self.tcx_type()) {
            let link = PinnedLink::from_pin(&path).map_err(|error| self.failed("take over", error))?;
            let link = SchedClassifierLink::try_from(FdLink::from(link))
                .map_err(|error| self.failed("take over", error))?;
            let id = program.attach_to_link(link).map_err(|error| self.failed("replace", error))?;
            program.take_link(id).map_err(|error| self.failed("replace", error))?;
            return Ok(());
        }
        pins::remove_link(pin_dir, self.program)?;
        let deadline = Instant::now() + UNPINNED_LINK_LASTS;
        let id = loop {
            let order = TcAttachOptions::TcxOrder(LinkOrder::default());
            match program.attach_with_options(interface, self.program.side, order) {
                // Somebody removed the pin, and the link behind it is still on its way out.
                Err(error) if exists(&error) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(2));
                }
                other => break other.map_err(|error| self.failed("attach", error))?,
            }
        };
        let link = program.take_link(id).map_err(|error| self.failed("attach", error))?;
        let link = FdLink::try_from(link).map_err(|error| self.failed("attach", error))?;
        link.pin(&path).map_err(|error| self.failed("pin", error))?;
        Ok(())
    }

    fn attach_clsact(&self, program: &mut SchedClassifier, interface: &str) -> Result<(), EbpfError> {
        let handle = TcHandle::from(HANDLE);
        let id = if self.filter()?.is_some() {
            let link = SchedClassifierLink::attached(interface, self.program.side, PRIORITY, handle, None)
                .map_err(|error| self.failed("take over", error))?;
            program.attach_to_link(link)
        } else {
            match tc::qdisc_add_clsact(interface) {
                Err(error) if !exists(&error) => return Err(self.failed("add clsact for", error)),
                _ => {}
            }
            let options = NlOptions { priority: PRIORITY, handle, classid: None };
            program.attach_with_options(interface, self.program.side, TcAttachOptions::Netlink(options))
        };
        let link = id.and_then(|id| program.take_link(id)).map_err(|error| self.failed("attach", error))?;
        // Dropping it would detach the filter, which is to outlive this process.
        mem::forget(link);
        Ok(())
    }

    /// Our own filter, recognised by priority, handle and name.
    fn filter(&self) -> Result<Option<sys::tc::Filter>, EbpfError> {
        let parent = if self.is_ingress() { CLSACT_INGRESS } else { CLSACT_EGRESS };
        let filters = match sys::tc::filters(self.ifindex, parent) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Vec::new(),
            other => other.map_err(|source| EbpfError::Interface {
                op: "list the tc filters of",
                index: self.ifindex,
                source,
            })?,
        };
        Ok(filters.into_iter().find(|filter| {
            (filter.priority, filter.handle) == (PRIORITY, HANDLE) && filter.name == self.program.name
        }))
    }

    fn is_ingress(&self) -> bool {
        self.program.side == TcAttachType::Ingress
    }

    fn tcx_type(&self) -> u32 {
        if self.is_ingress() { BPF_TCX_INGRESS } else { BPF_TCX_EGRESS }
    }

    fn failed(&self, op: &'static str, error: impl Error + Send + Sync + 'static) -> EbpfError {
        EbpfError::Program { op, program: self.program.name, source: Box::new(error) }
    }
}

/// The name of an interface of this thread's network namespace.
pub fn interface_name(index: u32) -> Result<String, EbpfError> {
    let gone = |errno: Errno| EbpfError::Interface { op: "find", index, source: errno.into() };
    let name = if_indextoname(index).map_err(gone)?;
    // nix 0.31 takes the null pointer of a failure for a success, and gives an empty name.
    if name.is_empty() {
        return Err(gone(Errno::ENXIO));
    }
    Ok(name.to_string_lossy().into_owned())
}

/// The id of a loaded program.
pub fn program_id(object: &mut Ebpf, program: Program) -> Result<u32, EbpfError> {
    let id = classifier(object, program).info().map(|info| info.id());
    id.map_err(|error: ProgramError| EbpfError::Program {
        op: "look up",
        program: program.name,
        source: Box::new(error),
    })
}

/// EEXIST in the chain of causes: a clsact or a filter or a link of that program is there already.
fn exists(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(tc::TcError::AlreadyAttached)) {
            return true;
        }
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return errno == libc::EEXIST;
        }
        cause = error.source();
    }
    false
}
