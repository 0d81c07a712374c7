//! The whole state of a cluster in one file, and back: etcd's own snapshot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etcd::{Client, EtcdError, Settings};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tokio::process::Command;

use super::bolt::raise_revision;
use super::directory::{Lock, Places, remove};
use super::error::LocalError;
use super::etcd::{OwnEtcd, settings};
use crate::pki;

/// More revisions than a cluster gives away between a snapshot and its restore (what Kubernetes' documentation names).
const RAISE: u64 = 1_000_000_000;
/// How long a tool of etcd's may take.
const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// What a backup or a restore has done, for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub bytes: u64,
    /// The store's revision: of the snapshot, or after the restore.
    pub revision: i64,
    /// Where a restore put the state that it replaced.
    pub replaced: Option<PathBuf>,
}

/// Saves the etcd at `client` to a new file that only its owner can read.
///
/// # Errors
/// etcd does not answer, or the file exists or cannot be written. Nothing half is left under its name.
pub async fn save(client: &Client, path: &Path) -> Result<Report, LocalError> {
    let write = |source| LocalError::File { op: "write", path: path.to_owned(), source };
    if path.exists() {
        return Err(write(io::ErrorKind::AlreadyExists.into()));
    }
    let revision = client.status().await?.header.revision;
    let draft = path.with_extension("part");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(write)?;
    let mut bytes = 0;
    let outcome = client
        .snapshot(|piece| {
            bytes += piece.len() as u64;
            file.write_all(piece)
        })
        .await;
    let finished = match outcome {
        Ok(Ok(())) => file.sync_all().and_then(|()| fs::rename(&draft, path)).map_err(write),
        Ok(Err(error)) => Err(write(error)),
        Err(error) => Err(error.into()),
    };
    if finished.is_err() {
        let _ = fs::remove_file(&draft);
    }
    finished.map(|()| Report { bytes, revision, replaced: None })
}

/// Saves the etcd of a directory, whether its control plane runs or not.
///
/// # Errors
/// As [`save`]; and where it does not run, what [`OwnEtcd::start`] says.
pub async fn backup(places: &Places, program: &str, path: &Path) -> Result<Report, LocalError> {
    match Lock::take(places) {
        Ok(_lock) => {
            mend(places)?;
            let etcd = OwnEtcd::start(places, program).await?;
            let outcome = match Client::new(etcd.settings().clone()) {
                Ok(client) => save(&client, path).await,
                Err(error) => Err(error.into()),
            };
            etcd.stop().await;
            outcome
        }
        Err(LocalError::InUse { .. }) => {
            let endpoint = fs::read_to_string(places.endpoint());
            let endpoint = endpoint.map_err(LocalError::file("read", places.endpoint()))?;
            save(&Client::new(settings(places, endpoint.trim().to_owned()))?, path).await
        }
        Err(error) => Err(error),
    }
}

/// Puts a snapshot in the place of what a directory holds, which is kept beside it. Revisions go on far above those of
/// the snapshot, and the history before is gone: every client that followed the former state reads everything again.
///
/// Cut off anywhere, the next start finds the former state, or the restored one.
///
/// # Errors
/// The directory is in use, the file is no whole snapshot, or a tool of etcd's is missing. Nothing is changed then.
pub async fn restore(places: &Places, program: &str, path: &Path) -> Result<Report, LocalError> {
    let _lock = Lock::take(places)?;
    mend(places)?;
    let mut store = fs::read(path).map_err(LocalError::file("read", path))?;
    let bytes = store.len() as u64;
    check(path, &store)?;
    let body = store.len() - SHA256_OUTPUT_LEN;
    raise_revision(&mut store[..body], RAISE).map_err(LocalError::snapshot(path))?;
    let sum = digest(&SHA256, &store[..body]);
    store[body..].copy_from_slice(sum.as_ref());
    let steps = Steps::of(places);
    let written = File::options().write(true).create_new(true).mode(0o600).open(&steps.raised);
    let written = written.and_then(|mut file| file.write_all(&store));
    written.map_err(LocalError::file("write", &steps.raised))?;
    drop(store);
    // For a directory without keys, of another machine: its server's names come at the next start.
    pki::ensure(&places.pki(), &pki::Names::loopback(), SystemTime::now())?;
    if let Err(error) = unpack(&steps.raised, &steps.unpacking).await {
        mend(places)?;
        return Err(error);
    }
    fs::rename(&steps.unpacking, &steps.ready).map_err(LocalError::file("rename", &steps.unpacking))?;
    fs::write(&steps.mark, "").map_err(LocalError::file("write", &steps.mark))?;
    let replaced = set_aside(places)?;
    mend(places)?;
    let etcd = OwnEtcd::start(places, program).await?;
    let outcome = forget_history(places, etcd.settings()).await;
    etcd.stop().await;
    Ok(Report { bytes, revision: outcome?.unwrap_or_default(), replaced })
}

/// What a restore leaves on its way, in this order.
struct Steps {
    /// The snapshot with a raised revision.
    raised: PathBuf,
    /// Being made from it.
    unpacking: PathBuf,
    /// Whole, and about to become etcd's directory.
    ready: PathBuf,
    /// The history of what is etcd's directory then is still to be forgotten.
    mark: PathBuf,
}

impl Steps {
    fn of(places: &Places) -> Self {
        let at = |name: &str| places.root().join(name);
        Self {
            raised: at("restore.snapshot"),
            unpacking: at("restore.unpacking"),
            ready: at("restore.ready"),
            mark: at("restore.mark"),
        }
    }
}

/// Goes on, or back, where a restore was cut off. The directory is locked, and its etcd does not run.
///
/// # Errors
/// Those of the file system.
pub(super) fn mend(places: &Places) -> Result<(), LocalError> {
    let steps = Steps::of(places);
    remove(&steps.raised)?;
    remove_tree(&steps.unpacking)?;
    if !steps.ready.exists() {
        return Ok(());
    }
    if places.etcd().exists() {
        // The former state was still in its place.
        remove_tree(&steps.ready)?;
        return remove(&steps.mark);
    }
    // What comes now is whole, whatever was there before.
    remove(&places.unfinished())?;
    fs::rename(&steps.ready, places.etcd()).map_err(LocalError::file("rename", &steps.ready))
}

/// After a restore, has etcd forget the revisions that it never had, and gives the one that it is at.
///
/// # Errors
/// etcd does not answer.
pub(super) async fn forget_history(places: &Places, settings: &Settings) -> Result<Option<i64>, LocalError> {
    let mark = Steps::of(places).mark;
    if !mark.exists() {
        return Ok(None);
    }
    let client = Client::new(settings.clone())?;
    let revision = client.status().await?.header.revision;
    match client.compact(revision).await {
        // Cut off after it was done.
        Ok(()) | Err(EtcdError::Compacted { .. }) => remove(&mark).map(|()| Some(revision)),
        Err(error) => Err(error.into()),
    }
}

fn remove_tree(path: &Path) -> Result<(), LocalError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LocalError::file("delete", path)(error)),
        _ => Ok(()),
    }
}

/// etcd appends the SHA-256 of all that comes before.
fn check(path: &Path, store: &[u8]) -> Result<(), LocalError> {
    let whole = store.len().checked_sub(SHA256_OUTPUT_LEN).is_some_and(|body| {
        let (body, sum) = store.split_at(body);
        digest(&SHA256, body).as_ref() == sum
    });
    if whole {
        return Ok(());
    }
    let reason = "it is not whole: its checksum is not at its end. Take one that `weft control backup` or `etcdctl \
                  snapshot save` made";
    Err(LocalError::Snapshot { path: path.to_owned(), reason: reason.to_owned() })
}

/// Makes a directory for one member from a snapshot: etcdutl does since 3.5, etcdctl did until 3.5.
async fn unpack(snapshot: &Path, directory: &Path) -> Result<(), LocalError> {
    let peer = "https://127.0.0.1:2380";
    for program in ["etcdutl", "etcdctl"] {
        let mut command = Command::new(program);
        command.args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(directory);
        command.args(["--name=weft", "--initial-cluster-token=weft-control"]);
        command.arg(format!("--initial-cluster=weft={peer}"));
        command.arg(format!("--initial-advertise-peer-urls={peer}"));
        command.env("ETCDCTL_API", "3").kill_on_drop(true);
        let failed =
            |reason: String| LocalError::Program { program: format!("{program} snapshot restore"), reason };
        let output = match tokio::time::timeout(TOOL_LIMIT, command.output()).await {
            Err(_) => return Err(failed(format!("it does not end within {} s", TOOL_LIMIT.as_secs()))),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(output)) => output,
        };
        return match output.status.success() {
            true => Ok(()),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        };
    }
    Err(LocalError::NoProgram { program: "etcdctl".to_owned(), package: "etcd-client" })
}

/// Moves what is there out of the way, under a name that says when.
fn set_aside(places: &Places) -> Result<Option<PathBuf>, LocalError> {
    let have = places.etcd();
    if !have.exists() {
        return Ok(None);
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = places.root().join(format!("etcd.before-restore-{seconds}"));
    fs::rename(&have, &aside).map_err(LocalError::file("rename", have))?;
    Ok(Some(aside))
}
