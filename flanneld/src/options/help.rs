//! What `--help` and `--version` print, and the table of flags for the documentation.

use std::fmt::Write;

use goflags::help::{cell, code, entry};

use super::table::{FLAGS, Flag, Group, Kind, Origin};

const SYNOPSIS: &str = "\
flanneld: a flat pod network over the nodes of a cluster, with leases in etcd.

Usage: flanneld [FLAG]...
       weft flanneld [FLAG]...

Takes flannel's flags, files and keys. A flag is written -name VALUE,
--name VALUE, -name=VALUE or --name=VALUE; a switch is -name, -name=true or
-name=false. Every flag can also be set in the environment, as FLANNELD_NAME
with _ for -; the command line wins. A + marks what flannel does not have.
";

const EXAMPLES: &str = "\
Examples:
    etcdctl put /coreos.com/network/config '{\"Network\": \"10.5.0.0/16\"}'
    flanneld --ip-masq
    flanneld --etcd-endpoints=https://etcd-0:2379 --etcd-cafile=ca.pem
    flanneld --iface=eth1 --bridge=docker0 --healthz-port=8471

Exit codes: 0 asked to end, or this node's lease was revoked; 1 it cannot start,
or a value is refused; 2 the command line cannot be read.
";

/// The text of `--help`: for standard output, exit code 0.
pub fn help() -> String {
    let mut out = SYNOPSIS.to_owned();
    for group in Group::ALL {
        let _ = write!(out, "\n{}:\n", group.title());
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            entry(&mut out, &heading(flag), &sentence(flag));
        }
    }
    out.push('\n');
    out.push_str(EXAMPLES);
    out
}

/// The text of `--version`: for standard error as flannel does it, exit code 0.
pub fn version() -> String {
    format!("weft {}", env!("CARGO_PKG_VERSION"))
}

/// All flags as a table in Markdown, for the documentation.
pub fn markdown() -> String {
    let mut out = String::from("| flag | default | variable | meaning |\n|---|---|---|---|\n");
    for flag in FLAGS {
        let default = code(flag.default);
        let env = if flag.command { String::new() } else { code(&flag.env()) };
        let mark = if flag.origin == Origin::Weft { " (ours)" } else { "" };
        let meaning = cell(flag.help);
        let _ = writeln!(out, "| `--{}`{mark} | {default} | {env} | {meaning} |", flag.name);
    }
    out
}

fn heading(flag: &Flag) -> String {
    let mark = if flag.origin == Origin::Weft { "+" } else { " " };
    match flag.kind {
        Kind::Switch => format!("  {mark} --{}", flag.name),
        Kind::List => format!("  {mark} --{} {} ...", flag.name, flag.metavar),
        Kind::Text | Kind::Integer => format!("  {mark} --{} {}", flag.name, flag.metavar),
    }
}

fn sentence(flag: &Flag) -> String {
    let mut text = flag.help.to_owned();
    if flag.origin == Origin::NoEffect {
        text.push_str(" Accepted, without effect.");
    }
    let tells = match flag.kind {
        Kind::Switch => flag.default == "true",
        Kind::List => false,
        Kind::Text | Kind::Integer => !flag.default.is_empty(),
    };
    if tells {
        let _ = write!(text, " Default: {}.", flag.default);
    }
    text
}
