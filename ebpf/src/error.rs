//! What can go wrong, and what cannot work here at all.

use std::io;
use std::path::PathBuf;

/// Why this machine cannot run the programs. Another data path is the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    #[error("BPF is forbidden to this process (CAP_BPF and CAP_NET_ADMIN, or root, are needed)")]
    Forbidden(#[source] io::Error),
    #[error("the kernel cannot make the BPF map {name}")]
    Map {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the kernel refuses the BPF program {name} (Linux {oldest} or later is needed): {log}")]
    Program {
        name: &'static str,
        oldest: &'static str,
        log: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the kernel cannot attach tc programs (neither TCX nor clsact)")]
    Hook(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("interface {name} has link type {link_type}, which the programs do not read")]
    LinkType { name: String, link_type: u16 },
}

/// An operation on programs, maps or pins that failed.
#[derive(Debug, thiserror::Error)]
pub enum EbpfError {
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error("{path} is not on a BPF file system: mount one (mount -t bpf bpf {path})")]
    NotBpffs { path: PathBuf },
    #[error("{op} {path}")]
    File {
        op: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{op} interface {index}")]
    Interface {
        op: &'static str,
        index: u32,
        #[source]
        source: io::Error,
    },
    #[error("{op} map {map}")]
    Map {
        op: &'static str,
        map: &'static str,
        #[source]
        source: aya::maps::MapError,
    },
    #[error("{op} program {program}")]
    Program {
        op: &'static str,
        program: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{have} leases, but the maps hold {max}")]
    TooManyLeases { have: usize, max: usize },
}
