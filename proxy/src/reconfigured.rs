//! The configuration file while the proxy runs: a change ends the process, so that its supervisor starts it again.
//!
//! kube-proxy does the same. Services go on meanwhile, and the next start takes the rules over without a gap. A file
//! that could not be started with is reported, and ends nothing.

use std::future::pending;
use std::path::{Path, PathBuf};

use host::inotify::{Notice, Watch};

use crate::error::ProxyError;
use crate::options::{self, Machine, Options};

/// Returns when --config names a file whose content has come to mean something else than it did at the start; never
/// where no file was given. Needs a tokio runtime.
pub async fn reconfigured(started: Options, arguments: Vec<String>) -> ProxyError {
    let path = PathBuf::from(started.settings.get("config").text());
    let Some(directory) = path.parent() else { return pending().await };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match follow(&path, directory, &started, &arguments).await {
        Ok(()) => ProxyError::Reconfigured { path },
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "changes of the configuration file are not noticed");
            pending().await
        }
    }
}

async fn follow(
    path: &Path,
    directory: &Path,
    started: &Options,
    arguments: &[String],
) -> std::io::Result<()> {
    let watch = Watch::new(directory)?;
    let mut said = String::new();
    loop {
        match options::resolve(arguments, &Machine) {
            Ok(now) if now.settings != started.settings => return Ok(()),
            Ok(_) => said.clear(),
            Err(error) => {
                let problem = error.to_string();
                if problem != said {
                    tracing::warn!(
                        problem,
                        "the configuration file has changed, and is of no use: going on as before"
                    );
                    said = problem;
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
