//! flanneld as a program: what it reads, and what its help says around the flags.

use goflags::{Program, Syntax};

use super::refused::REFUSED;
use super::table::{FLAGS, GROUPS};

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

/// All of it.
pub static PROGRAM: Program = Program {
    name: "flanneld",
    command: "flanneld",
    syntax: Syntax::Flag,
    env_prefix: Some("FLANNELD"),
    flags: FLAGS,
    groups: GROUPS,
    idle_group: None,
    file: None,
    refused: REFUSED,
    synopsis: SYNOPSIS,
    examples: EXAMPLES,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sound() {
        assert_eq!(PROGRAM.faults(), [""; 0]);
    }

    #[test]
    fn variables_are_flannels() {
        let env = |name: &str| PROGRAM.flag(name).and_then(|flag| PROGRAM.variable(flag));
        assert_eq!(env("etcd-endpoints").as_deref(), Some("FLANNELD_ETCD_ENDPOINTS"));
        assert_eq!(env("log_backtrace_at").as_deref(), Some("FLANNELD_LOG_BACKTRACE_AT"));
        assert_eq!(env("v").as_deref(), Some("FLANNELD_V"));
        assert_eq!(env("version"), None);
    }
}
