//! The proxy as a program: what it reads, and what its help says around the flags.

use goflags::{File, Program, Syntax};

use super::fields::{API_VERSION, FIELDS, FORMER, KIND};
use super::flags::{FLAGS, GROUPS, IDLE};
use super::refused::REFUSED;

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

static FILE: File =
    File { api_version: API_VERSION, kind: KIND, flag: "config", fields: FIELDS, former: FORMER };

/// All of it.
pub static PROGRAM: Program = Program {
    name: "kube-proxy",
    command: "weft proxy",
    syntax: Syntax::Pflag,
    env_prefix: None,
    flags: FLAGS,
    groups: GROUPS,
    idle_group: Some(IDLE),
    file: Some(&FILE),
    refused: REFUSED,
    synopsis: SYNOPSIS,
    examples: EXAMPLES,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use apiclient_core::yaml;
    use goflags::{Error, NoEnv, Settings, Source};

    use super::*;
    use crate::modes::NAMES;
    use crate::options::{Fixture, resolve};

    #[test]
    fn the_tables_are_sound() {
        assert_eq!(PROGRAM.faults(), [""; 0]);
    }

    #[test]
    fn help_fits_a_terminal_and_names_every_flag_and_our_default() {
        let text = PROGRAM.help();
        for line in text.lines() {
            assert!(line.chars().count() <= 84, "{line}");
        }
        for flag in FLAGS {
            assert!(text.contains(&format!("--{}", flag.name)), "--{}", flag.name);
        }
        assert!(text.contains(&format!("{NAMES}; the first is the default here")));
    }

    fn read(text: &str) -> Result<Settings, Error> {
        let documents =
            yaml::values(&format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{text}")).expect("YAML");
        PROGRAM.settle(&Vec::new(), &NoEnv, Some((Path::new("/c.yaml"), documents)))
    }

    #[test]
    fn a_field_that_kube_proxy_once_had_is_said_and_costs_nothing_else() {
        let text = "udpIdleTimeout: 250ms\nconntrack:\n  max: 5\n  min: 7\nlogging:\n  sanitization: true\nmode: iptables";
        let settings = read(text).expect("legal");
        let set = settings.iter().filter(|setting| setting.source != Source::Default);
        assert_eq!(set.map(|setting| setting.name).collect::<Vec<_>>(), ["conntrack.min", "mode"]);
        let mut said = settings.without_effect();
        said.sort();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].starts_with("/c.yaml: conntrack.max has no effect: kube-proxy had it until "),
            "{said:?}"
        );
        let error = read("udpIdleTimeouts: 1s").expect_err("never a field").to_string();
        assert!(error.contains("unknown field udpIdleTimeouts"), "{error}");
    }

    #[test]
    fn reads_every_field_of_what_it_writes() {
        let document = PROGRAM.defaults().document();
        for text in [document.to_string(), yaml::write(&document).expect("YAML")] {
            let documents = yaml::values(&text).expect("YAML");
            let again = PROGRAM.settle(&Vec::new(), &NoEnv, Some((Path::new("/c"), documents)));
            let again = again.expect("our own document");
            assert_eq!(again.document(), document, "{text}");
            for field in FIELDS {
                let zero =
                    field.zero_is_default && field.kind.from_text(field.default) == Some(field.kind.empty());
                let want = if zero { Source::Default } else { Source::File };
                assert_eq!(again.get(field.path).source, want, "{}", field.path);
            }
        }
    }

    #[test]
    fn names_what_it_does_not_know() {
        for (text, message) in [
            ("mod: iptables", "/c.yaml: unknown field mod; did you mean mode?"),
            (
                "iptables:\n  syncperiod: 1s",
                "/c.yaml: unknown field iptables.syncperiod; did you mean iptables.syncPeriod?",
            ),
            (
                "masqueradeBit: 3",
                "/c.yaml: unknown field masqueradeBit; did you mean iptables.masqueradeBit?",
            ),
            ("frobnicate: 3", "/c.yaml: unknown field frobnicate"),
            ("mode: 3", "/c.yaml: mode=\"3\": want text"),
            ("iptables: 3", "/c.yaml: iptables=\"3\": want a map of fields"),
            ("iptables:\n  syncPeriod: 30", "want a duration such as 30s"),
            ("conntrack:\n  udpTimeout: -1s", "not negative"),
            ("---\nmode: a", "want exactly one document"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
        for (text, message) in
            [("mode: a\nmode: b", "duplicate"), ("mode: [", "/c.yaml is no KubeProxyConfiguration")]
        {
            let env = Fixture::named("n").with("/c.yaml", text);
            let error = resolve(&["--config=/c.yaml"], &env).expect_err(text).to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
        let env = Fixture::named("n").with("/c", "kind: KubeProxyConfiguration");
        let error = resolve(&["--config=/c"], &env).expect_err("no version").to_string();
        assert!(error.contains("it has no apiVersion, want kubeproxy.config.k8s.io/v1alpha1"), "{error}");
    }

    #[test]
    fn zero_and_null_mean_the_default_where_they_do_in_the_original() {
        let settings =
            read("iptables:\n  syncPeriod: 0s\n  masqueradeBit: 0\nconntrack:\n  min: null\nmode: ''")
                .expect("legal");
        let set = settings.iter().filter(|setting| setting.source == Source::File);
        assert_eq!(set.map(|setting| setting.name).collect::<Vec<_>>(), ["iptables.masqueradeBit", "mode"]);
        assert_eq!(settings.get("iptables.masqueradeBit").number(), 0);
        assert_eq!(settings.get("iptables.syncPeriod").text(), "30s");
        assert_eq!(settings.get("conntrack.min").number(), 131_072);
    }
}
