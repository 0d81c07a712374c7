//! The command line of the controller manager, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags ([`flags`]), and which of the original's have no effect here and why.
//! Never: opens a file. Begin at [`resolve`].

mod choice;
mod flags;
mod nodes;
mod signing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use apiclient::leader::Timing;
use control_controllers_core::autoscaler;
use control_controllers_core::node_ipam::Network;
use control_controllers_core::node_lifecycle::Limits;
use control_controllers_core::service_lb::Pools;
use control_pki::Authority;
use control_serving::options::{Options as Serving, of_daemon};
use goflags::{Error, NoEnv, Parsed, Program, Setting, Settings, Syntax};

pub use choice::Choice;
use flags::{FLAGS, GROUPS, IDLE};

const SYNOPSIS: &str = "\
weft controller-manager: keeps true what is asked for, as kube-controller-manager
1.36 does.

Usage: kube-controller-manager [FLAG]...
       weft controller-manager [FLAG]...

Takes kube-controller-manager's flags. A flag is written --name VALUE or
--name=VALUE; a switch is --name, --name=true or --name=false. A + marks what
kube-controller-manager does not have.
";

const EXAMPLES: &str = "\
Examples:
    weft controller-manager --kubeconfig=controller-manager.kubeconfig \\
        --use-service-account-credentials
    weft controller-manager --kubeconfig=admin.kubeconfig --leader-elect=false \\
        --controllers='*,-daemonset-controller'

Exit codes: 0 asked to end; 1 it cannot start, a value is refused, or it does not
lead any more; 2 the command line cannot be read.
";

/// All of it.
pub static PROGRAM: Program = Program {
    name: "kube-controller-manager",
    command: "weft controller-manager",
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
    pub kubeconfig: Option<PathBuf>,
    pub master: Option<String>,
    pub choice: Choice,
    /// The authority that goes to every namespace.
    pub root_ca: Option<PathBuf>,
    /// The key that signs tokens in Secrets.
    pub account_key: Option<PathBuf>,
    /// Networks that nodes get ranges of, and those that no node may have.
    pub pod_networks: Vec<Network>,
    pub service_networks: Vec<String>,
    pub node_limits: Limits,
    /// So many pods that have ended may stay; 0: any number.
    pub ended_pods: usize,
    /// Who signs certificates, by the names of signers.
    pub authorities: BTreeMap<&'static str, Authority>,
    pub signing_duration: Duration,
    /// How long a token in a Secret may be unused.
    pub unused_tokens: Duration,
    pub autoscaler: autoscaler::Settings,
    /// Addresses for Services of type LoadBalancer.
    pub balanced: Pools,
    /// Each controller acts as a service account of its own.
    pub accounts: bool,
    /// The Lease that this process has to hold, by namespace and name; `None`: it need not.
    pub election: Option<(String, String, Timing)>,
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

/// Reads the arguments (without the program's name). Pure.
///
/// # Errors
/// The first thing in the arguments that cannot be meant.
pub fn resolve<A: AsRef<str>>(args: &[A]) -> Result<Options, Error> {
    let given = match PROGRAM.parse(args)? {
        Parsed::Help => return Ok(only(Action::Help)),
        Parsed::Given(given) => given,
    };
    let settings = PROGRAM.settle(&given, &NoEnv, None)?;
    if !matches!(settings.get("version").text(), "" | "false") {
        return Ok(only(Action::Version));
    }
    let text = |name: &str| Some(settings.get(name).text().to_owned()).filter(|text| !text.is_empty());
    let controllers = settings.get("controllers");
    let pools = settings.get("load-balancer-pool");
    Ok(Options {
        action: Action::Run,
        kubeconfig: text("kubeconfig").map(PathBuf::from),
        master: text("master"),
        choice: Choice::of(controllers.list()).map_err(|problem| controllers.refuse(problem))?,
        root_ca: text("root-ca-file").map(PathBuf::from),
        account_key: text("service-account-private-key-file").map(PathBuf::from),
        pod_networks: nodes::networks(&settings)?,
        service_networks: nodes::reserved(&settings),
        node_limits: nodes::limits(&settings)?,
        ended_pods: usize::try_from(settings.get("terminated-pod-gc-threshold").number()).unwrap_or_default(),
        authorities: signing::authorities(&settings)?,
        signing_duration: positive(settings.get("cluster-signing-duration"))?,
        unused_tokens: positive(settings.get("legacy-service-account-token-clean-up-period"))?,
        autoscaler: scaling(&settings)?,
        balanced: Pools::new(pools.list()).map_err(|problem| pools.refuse(problem.to_string()))?,
        accounts: settings.get("use-service-account-credentials").truth(),
        election: election(&settings)?,
        serve: of_daemon(&settings)?,
        verbosity: u32::try_from(settings.get("v").number()).unwrap_or_default(),
        settings,
    })
}

fn election(settings: &Settings) -> Result<Option<(String, String, Timing)>, Error> {
    if !settings.get("leader-elect").truth() {
        return Ok(None);
    }
    let time = |name: &str| duration(settings.get(name));
    let lease = settings.get("leader-elect-lease-duration");
    let timing = Timing::new(
        duration(lease)?,
        time("leader-elect-renew-deadline")?,
        time("leader-elect-retry-period")?,
    )
    .map_err(|error| lease.refuse(error.to_string()))?;
    let text = |name: &str| settings.get(name).text().to_owned();
    Ok(Some((text("leader-elect-resource-namespace"), text("leader-elect-resource-name"), timing)))
}

fn scaling(settings: &Settings) -> Result<autoscaler::Settings, Error> {
    let flag = |name: &str| settings.get(&format!("horizontal-pod-autoscaler-{name}"));
    let tolerance = flag("tolerance");
    if tolerance.float() < 0.0 {
        return Err(tolerance.refuse("want a number such as 0.1, not below 0"));
    }
    Ok(autoscaler::Settings {
        sync_period: positive(flag("sync-period"))?,
        tolerance: tolerance.float(),
        downscale_stabilization: duration(flag("downscale-stabilization"))?,
        cpu_initialization_period: duration(flag("cpu-initialization-period"))?,
        initial_readiness_delay: duration(flag("initial-readiness-delay"))?,
    })
}

fn positive(setting: &Setting) -> Result<Duration, Error> {
    let given = duration(setting)?;
    if given.is_zero() { Err(setting.refuse("want more than 0")) } else { Ok(given) }
}

fn duration(setting: &Setting) -> Result<Duration, Error> {
    goflags::duration::parse(setting.text()).ok_or_else(|| setting.refuse("want a duration such as 15s"))
}

fn only(action: Action) -> Options {
    Options {
        action,
        kubeconfig: None,
        master: None,
        choice: Choice::default(),
        root_ca: None,
        account_key: None,
        pod_networks: Vec::new(),
        service_networks: Vec::new(),
        node_limits: Limits::default(),
        ended_pods: 0,
        authorities: BTreeMap::new(),
        signing_duration: Duration::ZERO,
        unused_tokens: Duration::ZERO,
        autoscaler: autoscaler::Settings::default(),
        balanced: Pools::default(),
        accounts: false,
        election: None,
        serve: None,
        verbosity: 0,
        settings: PROGRAM.defaults(),
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
    fn what_is_given_is_what_is_meant() {
        let options =
            resolve(&["--kubeconfig=a", "--secure-port=0", "--leader-elect-resource-name=x", "-v=4"])
                .expect("options");
        assert_eq!((options.kubeconfig, options.verbosity), (Some("a".into()), 4));
        assert!(options.serve.is_none());
        let (namespace, name, _) = options.election.expect("by default");
        assert_eq!((namespace.as_str(), name.as_str()), ("kube-system", "x"));
        let plain = resolve(&["--leader-elect=false"]).expect("options");
        assert!(plain.election.is_none());
        assert_eq!(plain.serve.map(|serve| serve.address.port()), Some(10257));
        assert!(plain.authorities.is_empty() && plain.balanced.is_empty());
        let pools = resolve(&["--load-balancer-pool=192.0.2.0/24,2001:db8::1-2001:db8::9"]).expect("options");
        assert_eq!(pools.balanced.to_string(), "192.0.2.0/24,2001:db8::1-2001:db8::9");
        let (common, own) = (
            ["--cluster-signing-cert-file=a", "--cluster-signing-key-file=b"],
            ["--cluster-signing-kubelet-client-cert-file=c", "--cluster-signing-kubelet-client-key-file=d"],
        );
        assert_eq!(resolve(&common).expect("options").authorities.len(), 4);
        assert_eq!(resolve(&own).expect("options").authorities.len(), 1);
        assert!(resolve(&[common, own].concat()).is_err());
        for wrong in [
            "--secure-port=70000",
            "--bind-address=x",
            "--leader-elect-lease-duration=1s",
            "--controllers=replica-set",
            "--no-such-flag",
            "--cluster-signing-cert-file=a",
            "--cluster-signing-key-file=a",
            "--horizontal-pod-autoscaler-sync-period=0s",
            "--horizontal-pod-autoscaler-tolerance=much",
            "--load-balancer-pool=192.0.2.0/33",
        ] {
            assert!(resolve(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        let options =
            resolve(&["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]).expect("options");
        assert_eq!(options.serve.expect("it serves").terms.suites.len(), 1);
        for (wrong, word) in [
            ("--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            ("--tls-min-version=VersionTLS10", "not spoken"),
            ("--tls-cert-file=a", "--tls-private-key-file"),
            ("--tls-sni-cert-key=a", "CERT,KEY"),
            ("--authorization-always-allow-paths=/a*b", "only the last"),
        ] {
            let error = resolve(&[wrong]).expect_err(wrong).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn nodes_get_ranges_of_the_networks_of_pods() {
        let networks = |flags: &[&str]| resolve(flags).map(|options| options.pod_networks);
        let given = ["--allocate-node-cidrs=true", "--cluster-cidr=10.244.0.0/16,fd00:244::/56"];
        let two = vec![Network::new("10.244.0.0/16", 24), Network::new("fd00:244::/56", 64)];
        assert_eq!(networks(&given).ok(), two.into_iter().collect::<Result<_, _>>().ok());
        assert_eq!(networks(&given[1..]).ok(), Some(Vec::new()), "nobody wants any");
        let sized = networks(&[given[0], "--cluster-cidr=10.244.0.0/16", "--node-cidr-mask-size=26"]);
        assert_eq!(sized.ok(), Network::new("10.244.0.0/16", 26).ok().map(|one| vec![one]));
        for wrong in [
            &given[..1],
            &[given[0], given[1], "--node-cidr-mask-size=24"],
            &[given[0], "--cluster-cidr=10.244.0.0/16", "--node-cidr-mask-size-ipv6=64"],
            &[given[0], "--cluster-cidr=10.0.0.0/16,10.1.0.0/16"],
            &[given[0], "--cluster-cidr=10.244.0.0/16", "--node-cidr-mask-size=8"],
            &["--node-monitor-grace-period=0s"],
            &["--unhealthy-zone-threshold=2"],
        ] {
            assert!(resolve(wrong).is_err(), "{wrong:?}");
        }
        let limits = resolve(&["--node-monitor-grace-period=16s"]).expect("options").node_limits;
        assert_eq!((limits.grace.as_secs(), limits.startup.as_secs()), (16, 60));
    }
}
