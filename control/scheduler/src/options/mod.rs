//! The command line of the scheduler, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags, and which of the original's have no effect here and why.

mod flags;

use std::path::PathBuf;

use apiclient::leader::{BadTiming, Standing, Timing};
use apiclient_core::yaml;
use control_serving::options::{Options as Serving, of_daemon};
use goflags::{Error, NoEnv, Parsed, Program, Settings, Source, Syntax};

use crate::config::{Config, Election};
use flags::{FLAGS, GROUPS, IDLE};

const SYNOPSIS: &str = "\
weft scheduler: binds pods to nodes, as kube-scheduler 1.36 does.

Usage: kube-scheduler [FLAG]...
       weft scheduler [FLAG]...

Takes kube-scheduler's flags and its KubeSchedulerConfiguration. A flag is
written --name VALUE or --name=VALUE; a switch is --name, --name=true or
--name=false. A + marks what kube-scheduler does not have.
";

const EXAMPLES: &str = "\
Examples:
    weft scheduler --kubeconfig=scheduler.kubeconfig
    weft scheduler --config=scheduler.yaml

Exit codes: 0 asked to end, or the act is done; 1 it cannot start, or a value is
refused; 2 the command line cannot be read.
";

pub static PROGRAM: Program = Program {
    name: "kube-scheduler",
    command: "weft scheduler",
    syntax: Syntax::Pflag,
    env_prefix: None,
    flags: FLAGS,
    groups: GROUPS,
    idle_group: Some(IDLE),
    file: None,
    refused: &[],
    synopsis: SYNOPSIS,
    examples: EXAMPLES,
};

/// What this run is to be.
#[derive(Debug)]
pub struct Options {
    pub action: Action,
    pub config: Config,
    /// The Lease that this process has to hold; `None`: it need not.
    pub standing: Option<Standing>,
    pub kubeconfig: Option<PathBuf>,
    pub master: Option<String>,
    /// Where health and metrics are served; `None`: nowhere.
    pub serve: Option<Serving>,
    pub verbosity: u32,
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Help,
    Version,
    Run,
}

/// Reads the arguments (without the program's name). `read` gives the text of a file.
///
/// # Errors
/// The first thing that cannot be meant.
pub fn resolve<A: AsRef<str>>(
    args: &[A],
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<Options, Error> {
    let given = match PROGRAM.parse(args)? {
        Parsed::Help => return Ok(only(Action::Help)),
        Parsed::Given(given) => given,
    };
    let settings = PROGRAM.settle(&given, &NoEnv, None)?;
    let version = settings.get("version").text();
    if !matches!(version, "" | "false") {
        return Ok(only(Action::Version));
    }
    let path = settings.get("config").text();
    let mut config = match path {
        "" => Config::default(),
        path => file(path, &read).map_err(|problem| settings.get("config").refuse(problem))?,
    };
    let time = |name: &str| goflags::duration::parse(settings.get(name).text());
    let flag = |name: &str| settings.get(name).source != Source::Default;
    if path.is_empty() || flag("leader-elect") {
        config.election.elect = settings.get("leader-elect").truth();
    }
    let election = &mut config.election;
    for (name, field) in [
        ("leader-elect-lease-duration", &mut election.lease),
        ("leader-elect-renew-deadline", &mut election.renew),
        ("leader-elect-retry-period", &mut election.retry),
    ] {
        if flag(name) {
            *field = time(name).unwrap_or(*field);
        }
    }
    for (name, field) in [
        ("leader-elect-resource-name", &mut election.name),
        ("leader-elect-resource-namespace", &mut election.namespace),
    ] {
        if flag(name) {
            settings.get(name).text().clone_into(field);
        }
    }
    if let Some(flush) = time("pod-max-in-unschedulable-pods-duration").filter(|flush| !flush.is_zero()) {
        config.waits.flush = flush;
    }
    let standing = standing(&config.election)
        .map_err(|error| settings.get("leader-elect-lease-duration").refuse(error.to_string()))?;
    let own = settings.get("kubeconfig").text().to_owned();
    let kubeconfig = if path.is_empty() { own } else { config.kubeconfig.clone() };
    let master = settings.get("master").text();
    Ok(Options {
        action: Action::Run,
        kubeconfig: Some(kubeconfig).filter(|file| !file.is_empty()).map(PathBuf::from),
        master: Some(master.to_owned()).filter(|master| !master.is_empty()),
        serve: of_daemon(&settings)?,
        verbosity: u32::try_from(settings.get("v").number()).unwrap_or_default(),
        standing,
        config,
        settings,
    })
}

/// The Lease that it has to hold.
fn standing(election: &Election) -> Result<Option<Standing>, BadTiming> {
    if !election.elect {
        return Ok(None);
    }
    let timing = Timing::new(election.lease, election.renew, election.retry)?;
    Ok(Some(Standing { timing, ..Standing::new(&election.namespace, &election.name, "default-scheduler") }))
}

fn only(action: Action) -> Options {
    Options {
        action,
        config: Config::default(),
        standing: None,
        kubeconfig: None,
        master: None,
        serve: None,
        verbosity: 0,
        settings: PROGRAM.defaults(),
    }
}

fn file(path: &str, read: &impl Fn(&str) -> Result<String, String>) -> Result<Config, String> {
    let text = read(path)?;
    let documents = yaml::values(&text).map_err(|error| error.to_string())?;
    match documents.as_slice() {
        [document] => Config::read(document).map_err(|error| error.to_string()),
        _ => Err("want one document".to_owned()),
    }
}

/// The text of `--help`.
pub fn help() -> String {
    PROGRAM.help()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sound() {
        assert_eq!(PROGRAM.faults(), [""; 0]);
        for line in PROGRAM.help().lines() {
            assert!(line.chars().count() <= 84, "{line}");
        }
    }

    #[test]
    fn flags_and_file_make_one_configuration() {
        let text = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
                    clientConnection: {kubeconfig: a}\nleaderElection: {leaderElect: false}\n";
        let read =
            |path: &str| if path == "f" { Ok(text.to_owned()) } else { Err("no such file".to_owned()) };
        let options = resolve(&["--config=f", "--kubeconfig=b", "--secure-port=0"], read).expect("options");
        assert_eq!(options.kubeconfig, Some(PathBuf::from("a")));
        assert!(options.serve.is_none());
        assert!(options.standing.is_none());
        let plain = resolve(&["--kubeconfig=b", "--leader-elect=false", "-v=4"], read).expect("options");
        assert_eq!((plain.kubeconfig, plain.verbosity), (Some(PathBuf::from("b")), 4));
        assert_eq!(plain.serve.map(|serve| serve.address.port()), Some(10259));
        for wrong in [
            &["--config=g"][..],
            &["--secure-port=70000"],
            &["--bind-address=x"],
            &["--leader-elect-lease-duration=1s"],
        ] {
            assert!(resolve(wrong, read).is_err(), "{wrong:?}");
        }
    }
}
