//! `weft control`: the command line around [`control_apiserver::local`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use control_apiserver::local::{LocalError, Places, Plan};
use control_apiserver::program;
use control_controllers::Choice;
use control_controllers_core::node_lifecycle::Limits;
use control_controllers_core::service_lb::Pools;

use crate::beside;

/// Where the state is, and whose etcd keeps it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ControlCli {
    #[command(subcommand)]
    act: Option<Act>,
    #[command(flatten)]
    machine: Machine,
    /// An etcd that runs elsewhere, instead of one of its own
    #[arg(long, value_name = "URL,URL", value_delimiter = ',')]
    etcd_endpoints: Vec<String>,
    /// Authorities that etcd's certificate must come from, PEM
    #[arg(long, value_name = "FILE", requires = "etcd_endpoints")]
    etcd_cafile: Option<PathBuf>,
    /// Certificate towards that etcd, PEM
    #[arg(long, value_name = "FILE", requires = "etcd_endpoints", requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// Key of --etcd-certfile, PEM
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
    /// Address to listen at [default: all]
    #[arg(long, value_name = "IP")]
    bind_address: Option<String>,
    /// Port of the API [default: 6443]
    #[arg(long, value_name = "PORT")]
    secure_port: Option<u16>,
    /// Address by which other machines reach it [default: that of the default route]
    #[arg(long, value_name = "IP")]
    advertise_address: Option<String>,
    /// Networks of ClusterIPs [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR[,CIDR]")]
    service_cluster_ip_range: Option<String>,
    /// One more name or address in the server's certificate; may be repeated
    #[arg(long = "tls-san", value_name = "NAME")]
    sans: Vec<String>,
    /// Where to write the administrator's kubeconfig [default: DIR/admin.kubeconfig]
    #[arg(long, value_name = "FILE")]
    write_kubeconfig: Option<PathBuf>,
    /// Which controllers run: * for all, a name for one more, -name for one less; empty for none
    #[arg(long, value_name = "NAME,...", default_value = "*", allow_hyphen_values = true, value_parser = choice)]
    controllers: Choice,
    /// Addresses for Services of type LoadBalancer: networks and ranges (192.0.2.10-192.0.2.99) of both families
    #[arg(long, value_name = "RANGE,...", default_value = "", hide_default_value = true, value_parser = pools)]
    load_balancer_pool: Pools,
    /// A node of which nothing was heard for so long is lost: 50s, 1m30s
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = time)]
    node_monitor_grace_period: Duration,
    /// The same of a node that never reported
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
    node_startup_grace_period: Duration,
    /// Lost nodes a second, in each zone, whose pods are replaced elsewhere
    #[arg(long, value_name = "NUMBER", default_value_t = 0.1, value_parser = rate)]
    node_eviction_rate: f64,
    /// Leave it to another scheduler to bind pods to nodes
    #[arg(long)]
    without_scheduler: bool,
    /// Flags of `weft apiserver`, which hold before the ones above
    #[arg(last = true, value_name = "FLAG")]
    flags: Vec<String>,
}

/// What all acts need.
#[derive(Debug, Args)]
struct Machine {
    /// Where keys, certificates and etcd's data are; only its owner can read it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/weft/control")]
    data_dir: PathBuf,
    /// etcd's program
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    etcd_program: String,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Save the state to a file, whether it runs or not: a snapshot as etcdctl makes it
    Backup(FileCli),
    /// Replace the state by that of a file; the control plane must not run
    ///
    /// Revisions go on far above those of the file, so that every client reads everything again. What was there before is
    /// kept in the data directory.
    Restore(FileCli),
}

#[derive(Debug, Args)]
struct FileCli {
    #[command(flatten)]
    machine: Machine,
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl ControlCli {
    pub fn run(self) -> ExitCode {
        let (controllers, scheduler) = (self.controllers.clone(), !self.without_scheduler);
        let balanced = self.load_balancer_pool.clone();
        let node_limits = Limits {
            grace: self.node_monitor_grace_period,
            startup: self.node_startup_grace_period,
            rate: self.node_eviction_rate,
            ..Limits::default()
        };
        match self.act {
            None => match self.plan() {
                Ok(plan) => {
                    let beside = beside::Plan {
                        pki: plan.places.pki(),
                        controllers,
                        balanced,
                        node_limits,
                        scheduler,
                        elect: plan.etcd.is_some(),
                    };
                    program::control(plan, |server| Box::pin(beside::run(Arc::clone(server), beside)))
                }
                Err(error) => refused(&error),
            },
            Some(Act::Backup(FileCli { machine, file })) => machine.act(&file, program::control_backup),
            Some(Act::Restore(FileCli { machine, file })) => machine.act(&file, program::control_restore),
        }
    }

    fn plan(self) -> Result<Plan, LocalError> {
        let given = [
            ("bind-address", self.bind_address),
            ("secure-port", self.secure_port.map(|port| port.to_string())),
            ("advertise-address", self.advertise_address),
            ("service-cluster-ip-range", self.service_cluster_ip_range),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        let etcd = (!self.etcd_endpoints.is_empty()).then(|| etcd::Settings {
            endpoints: self.etcd_endpoints,
            ca: self.etcd_cafile,
            identity: self.etcd_certfile.zip(self.etcd_keyfile),
            ..etcd::Settings::default()
        });
        Ok(Plan {
            places: Places::new(&self.machine.data_dir)?,
            etcd_program: self.machine.etcd_program,
            etcd,
            sans: self.sans,
            kubeconfig: self.write_kubeconfig,
            flags: given.chain(self.flags).collect(),
        })
    }
}

impl Machine {
    fn act(&self, file: &Path, act: impl Fn(&Places, &str, &Path) -> ExitCode) -> ExitCode {
        match Places::new(&self.data_dir) {
            Ok(places) => act(&places, &self.etcd_program, file),
            Err(error) => refused(&error),
        }
    }
}

fn refused(error: &LocalError) -> ExitCode {
    telemetry::note!("weft control: {error}");
    ExitCode::FAILURE
}

fn choice(words: &str) -> Result<Choice, String> {
    Choice::of(words.split(',').filter(|word| !word.is_empty()))
}

fn pools(words: &str) -> Result<Pools, String> {
    let texts = words.split(',').filter(|word| !word.is_empty());
    Pools::new(texts).map_err(|error| error.to_string())
}

fn time(words: &str) -> Result<Duration, String> {
    let given = goflags::duration::parse(words).filter(|time| !time.is_zero());
    given.ok_or_else(|| "want a time such as 50s or 1m30s".to_owned())
}

fn rate(words: &str) -> Result<f64, String> {
    let given = words.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    given.ok_or_else(|| "want a number that is not below 0".to_owned())
}
