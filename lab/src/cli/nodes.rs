//! `weft lab nodes`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use apiclient::{Access, Client};
use apiclient_core::names;
use apiclient_core::quantity::Quantity;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::LabError;
use crate::fake::Shape;
use crate::fake::orders::KEYS;
use crate::fleet::kubelets::Kubelets;
use crate::fleet::{self, Counts, Options};

/// How often it says how things stand, if they changed.
const REPORT: Duration = Duration::from_secs(2);

/// Fake nodes at an API server: pods that are bound to them run, become ready and end, with nothing behind them
///
/// Makes Node objects and renews their Leases; writes of each pod what a kubelet would write, thousands a second. Nodes of
/// those names that are there already are taken over, with their pods, so that this can be ended and started again. Needs
/// no root.
#[derive(Debug, Args)]
#[command(after_long_help = examples())]
pub struct Nodes {
    /// How many, 1 to 16384
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    nodes: u32,
    /// Where the API server is, and who we are: a file, or several with colons between them
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// CPUs of each node
    #[arg(long, value_name = "AMOUNT", default_value = "4", value_parser = amount)]
    cpu: String,
    /// Memory of each node
    #[arg(long, value_name = "AMOUNT", default_value = "16Gi", value_parser = amount)]
    memory: String,
    /// Pods that each node may have
    #[arg(long, value_name = "P", default_value_t = 110)]
    pods: u32,
    /// Zones that the nodes are in, one after the other; 0 for none
    #[arg(long, value_name = "Z", default_value_t = 3)]
    zones: u32,
    /// Nodes are named PREFIX-1, PREFIX-2 and so on
    #[arg(long, value_name = "PREFIX", default_value = "node", value_parser = prefix)]
    prefix: String,
    /// Another label of every node. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Have the nodes' kubelets answer at this address, each at a port of its own, what their pods use (annotation
    /// weft.dev/usage); the nodes get the address. Without it nothing answers
    #[arg(long, value_name = "IP")]
    kubelets: Option<IpAddr>,
    /// Requests at a time
    #[arg(long, value_name = "R", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    concurrency: u16,
    /// Delete the nodes when this ends; without it they stay, and are not ready after a while
    #[arg(long)]
    remove: bool,
}

fn examples() -> String {
    use std::fmt::Write;
    let mut text = "\
Examples:
  weft lab nodes 100 --kubeconfig admin.kubeconfig
  weft lab nodes 5000 --cpu 32 --memory 256Gi --prefix big --label size=big
  kubectl annotate pod web-1 weft.dev/ready=false          (it is not ready any more)
  kubectl annotate node node-7 weft.dev/lost=true          (as if the machine were gone)

Annotations of a pod tell what becomes of it, those of a template of all its pods; weft.dev/KEY is for all containers,
CONTAINER.weft.dev/KEY for one:
"
    .to_owned();
    for (key, example, effect) in KEYS {
        let _ = writeln!(text, "  weft.dev/{key}: {example}\n      {effect}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn amount(word: &str) -> Result<String, String> {
    let amount: Quantity =
        word.parse().map_err(|error: apiclient_core::quantity::BadQuantity| error.to_string())?;
    if amount.milli_value() <= 0 { Err("want more than nothing".to_owned()) } else { Ok(amount.to_string()) }
}

fn prefix(word: &str) -> Result<String, String> {
    // With a number of up to five digits behind it.
    names::dns1123_label(&format!("{word}-16384")).map_err(|error| error.to_string())?;
    Ok(word.to_owned())
}

fn label(word: &str) -> Result<(String, String), String> {
    let (key, value) = word.split_once('=').ok_or("want KEY=VALUE")?;
    names::qualified(key).and_then(|()| names::label_value(value)).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Nodes {
    pub(super) fn options(&self) -> Options {
        Options {
            nodes: self.nodes,
            prefix: self.prefix.clone(),
            shape: Shape {
                cpu: self.cpu.clone(),
                memory: self.memory.clone(),
                pods: self.pods,
                zones: self.zones,
                labels: self.label.clone(),
            },
            concurrency: self.concurrency.into(),
            remove: self.remove,
        }
    }

    /// Until somebody wants it to end.
    pub(super) fn run(self) -> Result<ExitCode, LabError> {
        telemetry::logs::init(tracing::Level::WARN);
        let wrong = |reason: String| LabError::Protocol { what: "the API server".to_owned(), reason };
        let access = Access::from_list(self.kubeconfig.as_os_str());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(LabError::io("start", "the runtime"))?;
        runtime.block_on(async {
            let client = Client::connect(access).map_err(|error| wrong(error.to_string()))?;
            let kubelets = match self.kubelets {
                Some(address) => {
                    let bound = Kubelets::bind(address, self.nodes).await;
                    let what = format!("{} ports at {address}", self.nodes);
                    Some(bound.map_err(LabError::io("take", what))?)
                }
                None => None,
            };
            let end = end().map_err(LabError::io("listen for", "signals"))?;
            telemetry::note!(
                "{} nodes, {}-1 to {}-{}, at {}; Ctrl-C ends them",
                self.nodes,
                self.prefix,
                self.prefix,
                self.nodes,
                client.server()
            );
            let (tell, told) = watch::channel(Counts::default());
            let report = tokio::spawn(report(told));
            fleet::run(Arc::new(client), self.options(), kubelets, end, tell).await;
            report.abort();
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Somebody wants it to end.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    let [mut interrupt, mut terminate, mut hangup] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// A line for each change, but not too many.
async fn report(mut told: watch::Receiver<Counts>) {
    let mut said = String::new();
    let mut trouble = None;
    loop {
        let counts = told.borrow_and_update().clone();
        if counts.trouble != trouble {
            if let Some(trouble) = &counts.trouble {
                telemetry::note!("{trouble}");
            }
            trouble.clone_from(&counts.trouble);
        }
        let line = line(&counts);
        if line != said {
            telemetry::note!("{line}");
            said = line;
        }
        if told.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(REPORT).await;
    }
}

fn line(counts: &Counts) -> String {
    let Counts { nodes, pending, running, ended, .. } = counts;
    format!("{nodes} nodes; pods: {running} running, {pending} pending, {ended} ended")
}
