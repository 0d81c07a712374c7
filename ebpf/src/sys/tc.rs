//! tc filters of kind bpf at a clsact hook: aya attaches them, but does not say whether they are there.

use std::io;

use super::netlink::{self, attribute, u32_at};

/// A filter of kind bpf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub priority: u16,
    pub handle: u32,
    /// What its owner called it; aya gives the program's name.
    pub name: String,
    /// The program's id in the kernel.
    pub program: u32,
}

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const TCMSG: usize = 20;

/// Every bpf filter at `parent` (a clsact half) of an interface. None when it has no clsact.
pub fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let tcmsg = [0u32, ifindex, 0, parent, 0].map(u32::to_ne_bytes).concat();
    match netlink::dump(libc::RTM_GETTFILTER, &tcmsg) {
        Ok(messages) => Ok(messages.iter().filter_map(|message| filter(message)).collect()),
        Err(error) => match error.raw_os_error() {
            // No clsact there, thus no filters.
            Some(libc::EINVAL | libc::ENOENT) => Ok(Vec::new()),
            _ => Err(error),
        },
    }
}

fn filter(message: &[u8]) -> Option<Filter> {
    let attributes = message.get(TCMSG..)?;
    let of = |wanted| attribute(attributes, wanted);
    if of(TCA_KIND)? != b"bpf\0" {
        return None;
    }
    // A priority's own entry comes before its filters, with handle 0 and no options.
    let options = of(TCA_OPTIONS)?;
    let name = attribute(options, TCA_BPF_NAME).unwrap_or_default();
    Some(Filter {
        priority: (u32_at(message, 16) >> 16) as u16,
        handle: u32_at(message, 8),
        name: String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
        program: attribute(options, TCA_BPF_ID).map_or(0, |id| u32_at(id, 0)),
    })
}
