//! The API server as a program: what it reads, and what its help says around the flags.

use goflags::{Program, Syntax};

use super::flags::{FLAGS, GROUPS, IDLE};
use super::refused::REFUSED;

const SYNOPSIS: &str = "\
weft apiserver: the Kubernetes API over etcd, as kube-apiserver 1.36 serves it.

Usage: kube-apiserver [FLAG]...
       weft apiserver [FLAG]...

Takes kube-apiserver's flags. A flag is written --name VALUE or --name=VALUE; a
switch is --name, --name=true or --name=false. A + marks what kube-apiserver
does not have. To try it on one machine, `weft control` starts etcd and makes
keys and certificates too.
";

const EXAMPLES: &str = "\
Examples:
    weft apiserver --etcd-servers=http://127.0.0.1:2379 \\
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \\
        --service-account-signing-key-file=sa.key \\
        --service-account-key-file=sa.pub \\
        --client-ca-file=ca.crt --authorization-mode=Node,RBAC

In place of kube-apiserver: stop it, and start this with the same flags. Objects
are stored as kube-apiserver stores them, so the way back is the same.

Exit codes: 0 asked to end, or the act is done; 1 it cannot start, or a value is
refused; 2 the command line cannot be read.
";

/// All of it.
pub static PROGRAM: Program = Program {
    name: "kube-apiserver",
    command: "weft apiserver",
    syntax: Syntax::Pflag,
    env_prefix: None,
    flags: FLAGS,
    groups: GROUPS,
    idle_group: Some(IDLE),
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
    fn help_fits_a_terminal_and_names_every_flag() {
        let text = PROGRAM.help();
        for line in text.lines() {
            assert!(line.chars().count() <= 84, "{line}");
        }
        for flag in FLAGS {
            assert!(text.contains(&format!("--{}", flag.name)), "--{}", flag.name);
        }
    }

    /// Group of the help and table of refusals say the same.
    #[test]
    fn every_flag_of_the_group_for_refused_ones_is_refused_with_a_reason() {
        let listed: Vec<_> = FLAGS.iter().filter(|flag| flag.group == super::super::flags::LATER).collect();
        assert_eq!(listed.len(), REFUSED.len());
        for flag in listed {
            assert!(REFUSED.iter().any(|refused| refused.name == flag.name), "--{}", flag.name);
        }
    }
}
