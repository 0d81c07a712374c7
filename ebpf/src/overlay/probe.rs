//! Whether this machine can run the overlay at all, found out by trying it where it hurts nobody.

use std::thread;

use aya::programs::ProgramError;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact};
use nix::sched::{CloneFlags, unshare};

use crate::error::Unsupported;
use crate::hook::HookKind;
use crate::object::{self, classifier};

use super::programs::{DECAP, ENCAP, OBJECT};
use crate::layout::Config;

/// Loads the programs, and attaches them to the loopback interface of a network namespace that lives
/// only for this call. Where no such namespace can be made, only loads them.
pub fn probe() -> Result<(), Unsupported> {
    thread::scope(|scope| {
        // A thread of its own: the namespace ends with it.
        scope.spawn(try_all).join().expect("the probe does not panic")
    })
}

fn try_all() -> Result<(), Unsupported> {
    let mut object = OBJECT.load(&Config::default(), None)?;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        tracing::debug!(%error, "no scratch network namespace: attaching is not probed");
        return Ok(());
    }
    for program in [ENCAP, DECAP] {
        let options = match HookKind::best("lo") {
            HookKind::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
            HookKind::Clsact => {
                // Fails the second time, and then attaching tells more.
                let _ = qdisc_add_clsact("lo");
                TcAttachOptions::Netlink(NlOptions::default())
            }
        };
        classifier(&mut object, program).attach_with_options("lo", program.side, options).map_err(refused)?;
    }
    Ok(())
}

fn refused(error: ProgramError) -> Unsupported {
    match object::forbidden(&error) {
        Some(errno) => Unsupported::Forbidden(errno),
        None => Unsupported::Hook(Box::new(error)),
    }
}
