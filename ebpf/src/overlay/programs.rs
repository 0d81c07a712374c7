//! The overlay's compiled programs.

use aya::programs::TcAttachType;

use crate::object::{Object, Program};

pub const ENCAP: Program = Program { name: "weft_encap", side: TcAttachType::Egress };
pub const DECAP: Program = Program { name: "weft_decap", side: TcAttachType::Ingress };
pub const PORTS: Program = Program { name: "weft_ports", side: TcAttachType::Egress };

/// What `build.rs` made of `c/overlay/overlay.c`.
pub static OBJECT: Object = Object {
    elf: aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay.o")),
    maps: &["peers", "counts", "programmed", "events", "ports", "state"],
    programs: &[ENCAP, DECAP, PORTS],
    oldest_kernel: "5.10",
};
