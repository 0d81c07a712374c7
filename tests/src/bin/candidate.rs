//! A candidate for leadership as a process of its own, so that tests can stop and kill it.
//!
//! `candidate KUBECONFIG IDENTITY`: stands for the Lease of kube-scheduler, with its times. While it leads it writes into the
//! ConfigMap `kube-system/IDENTITY`, twenty times a second. Ends with 0 at SIGTERM, having given up the Lease, and with 3 when
//! it lost it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use apiclient::leader::{self, Standing};
use apiclient::objects::{Api, Write};
use apiclient::{Access, Client, Patch, Resource};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const MAPS: Resource = Resource::new("", "v1", "configmaps", true);

/// The status of a process that lost the Lease.
const LOST: u8 = 3;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let (Some(kubeconfig), Some(identity)) = (words.next(), words.next()) else {
        anyhow::bail!("want: candidate KUBECONFIG IDENTITY");
    };
    let access = Access { kubeconfigs: vec![kubeconfig.into()], master: None };
    let api: Arc<dyn Api> = Arc::new(Client::connect(access)?);
    let mut end = signal(SignalKind::terminate())?;
    let standing = Standing {
        identity: identity.clone(),
        ..Standing::new("kube-system", "kube-scheduler", "candidate")
    };
    let led = leader::lead(api.clone(), standing, |leading| async move {
        telemetry::say!("leads");
        let api = leading.guard(api);
        tokio::select! {
            () = write(&*api, &identity) => {}
            _ = end.recv() => {}
        }
    });
    Ok(match led.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(lost) => {
            telemetry::say!("{lost}");
            ExitCode::from(LOST)
        }
    })
}

async fn write(api: &dyn Api, name: &str) {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    let _ = api.write(&Write::Create { path: MAPS.path("kube-system"), object }).await;
    for nth in 0_u64.. {
        let patch = Patch::Merge(json!({ "data": { "n": nth.to_string() } }));
        let path = MAPS.object_path("kube-system", name, "");
        if let Err(failure) = api.write(&Write::Patch { path, patch }).await {
            telemetry::say!("not written: {failure}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
