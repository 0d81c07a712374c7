//! The configuration file while the proxy runs: a change ends the process, so that its supervisor starts it again.
//!
//! kube-proxy does the same. Services go on meanwhile, and the next start takes the rules over without a gap. A file
//! that could not be started with is reported, and ends nothing.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::inotify::{Notice, Watch};
use telemetry::Backoff;

use crate::error::ProxyError;
use crate::options::{self, Machine, Options};

/// Pauses after the watch failed: the directory was moved away, or there are no inotify instances left.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// Returns when --config names a file whose content has come to mean something else than it did at the start; never
/// where no file was given. Needs a tokio runtime.
pub async fn reconfigured(started: Options, arguments: Vec<String>) -> ProxyError {
    let path = PathBuf::from(started.settings.get("config").text());
    let Some(directory) = path.parent() else { return pending().await };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let (mut backoff, mut said, mut useless) = (RETRY, String::new(), String::new());
    loop {
        let follow = follow(&path, directory, &started, &arguments, &mut useless);
        let Err(error) = follow.await else { return ProxyError::Reconfigured { path } };
        let error = error.to_string();
        if error != said {
            tracing::warn!(
                error,
                path = %path.display(),
                "changes of the configuration file are noticed only when this works again; trying again"
            );
            said = error;
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

async fn follow(
    path: &Path,
    directory: &Path,
    started: &Options,
    arguments: &[String],
    said: &mut String,
) -> std::io::Result<()> {
    let watch = Watch::new(directory)?;
    loop {
        match options::resolve(arguments, &Machine) {
            Ok(now) if now.settings != started.settings => return Ok(()),
            Ok(_) => said.clear(),
            Err(error) => {
                let problem = error.to_string();
                if problem != *said {
                    tracing::warn!(
                        problem,
                        "the configuration file has changed, and is of no use: going on as before"
                    );
                    *said = problem;
                }
            }
        }
        // Any file of the directory: what is mounted from a ConfigMap changes by a link beside it.
        loop {
            let notices = watch.next().await?;
            if notices.contains(&Notice::DirectoryGone) {
                return Err(std::io::Error::other(format!("{} is gone", directory.display())));
            }
            // Half a file is none.
            let whole = |notice: &Notice| !matches!(notice, Notice::Writing(_) | Notice::Created(_));
            let own = |notice: &Notice| matches!(notice, Notice::Created(name) if Some(&**name) == path.file_name());
            if notices.iter().any(|notice| whole(notice) || own(notice)) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_that_goes_and_comes_back_costs_no_change_of_the_configuration_file() {
        let around = tempfile::tempdir().expect("a directory");
        let (here, away) = (around.path().join("here"), around.path().join("away"));
        std::fs::create_dir(&here).expect("a directory");
        let path = here.join("config.yaml");
        let write = |directory: &Path, mode: &str| {
            let text = format!(
                "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\n"
            );
            std::fs::write(directory.join("config.yaml"), text).expect("a file");
        };
        write(&here, "nftables");
        let arguments = vec![format!("--config={}", path.display()), "--feed-dir=/nowhere".to_owned()];
        let started = options::resolve(&arguments, &Machine).expect("options");
        let mut following = tokio::spawn(reconfigured(started, arguments));
        std::fs::rename(&here, &away).expect("to move it");
        let early = tokio::time::timeout(Duration::from_millis(500), &mut following).await;
        assert!(early.is_err(), "nothing has changed: {early:?}");
        write(&away, "iptables");
        std::fs::rename(&away, &here).expect("to move it back");
        let end =
            tokio::time::timeout(Duration::from_secs(60), following).await.expect("the change is noticed");
        assert!(matches!(end, Ok(ProxyError::Reconfigured { .. })), "{end:?}");
    }
}
