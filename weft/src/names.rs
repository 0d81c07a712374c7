//! Which program this process is asked to be: by its first subcommand, or by the name it was called with.

use std::ffi::OsString;
use std::path::Path;

/// A program that reads its own arguments, since it speaks the original's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Flanneld,
    DockerOpts,
    Proxy,
    Apiserver,
    Scheduler,
    ControllerManager,
}

/// Subcommand and file names of each program.
const NAMES: [(&str, Program); 12] = [
    ("flanneld", Program::Flanneld),
    ("docker-opts", Program::DockerOpts),
    ("mk-docker-opts", Program::DockerOpts),
    ("mk-docker-opts.sh", Program::DockerOpts),
    ("proxy", Program::Proxy),
    ("kube-proxy", Program::Proxy),
    ("apiserver", Program::Apiserver),
    ("kube-apiserver", Program::Apiserver),
    ("scheduler", Program::Scheduler),
    ("kube-scheduler", Program::Scheduler),
    ("controller-manager", Program::ControllerManager),
    ("kube-controller-manager", Program::ControllerManager),
];

/// First words behind `weft proxy` that are tools of Weft's own, not arguments of the proxy.
const PROXY_TOOLS: [&str; 2] = ["render", "diff"];

/// The program and its arguments, or `None` where the command line is Weft's own.
pub fn called_as(arguments: &[OsString]) -> Option<(Program, &[OsString])> {
    let (own, rest) = arguments.split_first()?;
    let own = Path::new(own).file_name()?;
    if let Some(program) = lookup(own) {
        return Some((program, rest));
    }
    let (subcommand, rest) = rest.split_first()?;
    let program = lookup(subcommand)?;
    let is_tool = |word: &OsString| PROXY_TOOLS.iter().any(|tool| word == *tool);
    let is_own = program == Program::Proxy && rest.first().is_some_and(is_tool);
    (!is_own).then_some((program, rest))
}

fn lookup(name: &std::ffi::OsStr) -> Option<Program> {
    NAMES.iter().find(|(known, _)| name == *known).map(|(_, program)| *program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(words: &[&str]) -> Option<(Program, Vec<String>)> {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        called_as(&arguments)
            .map(|(program, rest)| (program, rest.iter().map(|a| a.to_string_lossy().into_owned()).collect()))
    }

    #[test]
    fn a_name_and_a_subcommand_mean_the_same() {
        let by_name = called(&["/opt/bin/flanneld", "-iface", "eth1"]);
        assert_eq!(by_name, Some((Program::Flanneld, vec!["-iface".to_owned(), "eth1".to_owned()])));
        assert_eq!(called(&["weft", "flanneld", "-iface", "eth1"]), by_name);
        assert_eq!(called(&["./mk-docker-opts.sh", "-i"]).unwrap().0, Program::DockerOpts);
        let proxy = called(&["/usr/local/bin/kube-proxy", "--cleanup"]);
        assert_eq!(proxy, Some((Program::Proxy, vec!["--cleanup".to_owned()])));
        assert_eq!(called(&["weft", "proxy", "--cleanup"]), proxy);
        let server = called(&["/usr/bin/kube-apiserver", "--v=2"]);
        assert_eq!(server, Some((Program::Apiserver, vec!["--v=2".to_owned()])));
        assert_eq!(called(&["weft", "apiserver", "--v=2"]), server);
        let scheduler = called(&["/usr/bin/kube-scheduler", "--v=2"]);
        assert_eq!(scheduler, Some((Program::Scheduler, vec!["--v=2".to_owned()])));
        assert_eq!(called(&["weft", "scheduler", "--v=2"]), scheduler);
    }

    #[test]
    fn wefts_own_commands_are_left_to_its_own_parser() {
        assert_eq!(called(&["weft", "lab", "up"]), None);
        assert_eq!(called(&["weft", "control", "backup", "x"]), None);
        assert_eq!(called(&["weft", "proxy", "render", "--feed-dir=."]), None);
        assert_eq!(called(&["weft", "proxy", "diff"]), None);
        assert_eq!(called(&["weft"]), None);
    }
}
