//! What `--help` and `--version` print, and the tables of flags and fields for the documentation.

use std::fmt::Write;

use goflags::help::{cell, code, entry};

use super::fields::{Effect, FIELDS};
use super::flags::{FLAGS, Flag, Group, Origin};
use super::kind::Kind;

const SYNOPSIS: &str = "\
weft proxy: Services of a Kubernetes cluster in this node's kernel.

Usage: kube-proxy [FLAG]...
       weft proxy [FLAG]...

Takes kube-proxy's flags and its configuration file. A flag is written
--name VALUE or --name=VALUE; a switch is --name, --name=true or --name=false.
A + marks what kube-proxy does not have. The mode is nftables unless another
is asked for.
";

const EXAMPLES: &str = "\
Examples:
    kube-proxy --config=/var/lib/kube-proxy/config.conf --hostname-override=$NODE
    weft proxy --kubeconfig=/etc/kubernetes/proxy.conf --cluster-cidr=10.244.0.0/16
    weft proxy --feed-dir=./objects --node-ips=192.168.50.11
    weft proxy --cleanup

Exit codes: 0 asked to end, or the act is done; 1 it cannot start, or a value is
refused; 2 the command line cannot be read.
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

/// The text of `--version`: for standard output, exit code 0.
pub fn version() -> String {
    format!("weft {}", env!("CARGO_PKG_VERSION"))
}

/// All flags as a table in Markdown, for the documentation.
pub fn markdown_flags() -> String {
    let mut out = String::from("| flag | default | meaning |\n|---|---|---|\n");
    for flag in FLAGS {
        let mark = if flag.origin == Origin::Weft { " (ours)" } else { "" };
        let _ = writeln!(
            out,
            "| `--{}`{mark} | {} | {} |",
            flag.name,
            code(flag.default()),
            cell(&meaning(flag))
        );
    }
    out
}

/// All fields of the configuration file as a table in Markdown, for the documentation.
pub fn markdown_fields() -> String {
    let mut out = String::from("| field | default | effect |\n|---|---|---|\n");
    for field in FIELDS {
        let effect = match field.effect {
            Effect::Full => "as in kube-proxy".to_owned(),
            Effect::None(reason) => format!("none: {reason}"),
        };
        let _ = writeln!(out, "| `{}` | {} | {} |", field.path, code(field.default), cell(&effect));
    }
    out
}

fn heading(flag: &Flag) -> String {
    let mark = if flag.origin == Origin::Weft { "+" } else { " " };
    let letter = flag.letter.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    match flag.kind {
        Kind::Switch => format!("  {mark} {letter}--{}", flag.name),
        _ => format!("  {mark} {letter}--{} {}", flag.name, flag.metavar),
    }
}

fn meaning(flag: &Flag) -> String {
    match flag.without_effect() {
        Some(reason) if flag.help.is_empty() => {
            let mut letters = reason.chars();
            let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
            format!("{first}{}.", letters.as_str())
        }
        _ => flag.help.to_owned(),
    }
}

fn sentence(flag: &Flag) -> String {
    let mut text = meaning(flag);
    let default = flag.default();
    let tells =
        if flag.kind == Kind::Switch { default == "true" } else { !default.is_empty() && default != "false" };
    if tells && flag.group != Group::Idle {
        let _ = write!(text, " Default: {default}.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal_and_names_every_flag_and_our_default() {
        let text = help();
        for line in text.lines() {
            assert!(line.chars().count() <= 84, "{line}");
        }
        for flag in FLAGS {
            assert!(text.contains(&format!("--{}", flag.name)), "--{}", flag.name);
        }
        assert!(text.contains("nftables (the default here; kube-proxy's is iptables)"));
    }
}
