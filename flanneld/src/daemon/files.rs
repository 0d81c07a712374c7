//! `subnet.env` and the CNI configuration: what tells others that packets can flow, and how large they may be. Written
//! whole, and written again when somebody removes or changes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flanneld_core::cni_conf::CniConf;
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::Subnets;
use flanneld_core::subnet_env::SubnetEnv;
use futures::future::select_all;
use host::contention::Contention;
use host::inotify::{Notice, Watch};

use crate::error::FlanneldError;
use crate::files::write_atomically;
use crate::options::Options;

/// The bridge that pods get where none was named (that of flannel's CNI plugin).
const CNI_BRIDGE: &str = "cni0";
/// The network's name in the CNI configuration (that of flannel's manifest).
const CNI_NAME: &str = "cbr0";

/// The files that others wait for.
pub struct Files {
    subnet_file: PathBuf,
    cni_conf: Option<PathBuf>,
    bridge: String,
    ip_masq: bool,
    config: NetworkConfig,
    subnets: Subnets,
    /// The pods' MTU that was written last; `None` when the files are to be written.
    mtu: Option<u32>,
    /// What was written last.
    texts: BTreeMap<PathBuf, String>,
    /// Their folders.
    watches: BTreeMap<PathBuf, Watch>,
    contention: Contention,
}

impl Files {
    pub fn new(options: &Options, config: &NetworkConfig, subnets: Subnets) -> Self {
        Self {
            subnet_file: options.subnet_file.clone(),
            cni_conf: options.cni_conf.clone(),
            bridge: options.bridge.clone().unwrap_or_else(|| CNI_BRIDGE.to_owned()),
            ip_masq: options.ip_masq,
            config: config.clone(),
            subnets,
            mtu: None,
            texts: BTreeMap::new(),
            watches: BTreeMap::new(),
            contention: Contention::default(),
        }
    }

    /// Writes both files; again when the pods' MTU has changed since, or after [`Files::changed`].
    ///
    /// # Errors
    /// A file cannot be written. The next call tries again.
    pub fn publish(&mut self, mtu: u32) -> Result<(), FlanneldError> {
        if self.mtu == Some(mtu) {
            return Ok(());
        }
        if let Some(path) = self.cni_conf.clone() {
            let conf = CniConf {
                name: CNI_NAME.to_owned(),
                bridge: self.bridge.clone(),
                subnet: self.subnets.v4,
                ipv6_subnet: self.subnets.v6,
                mtu,
                ip_masq: self.ip_masq,
            };
            self.write(path, conf.render())?;
        }
        let env = SubnetEnv::new(&self.config, &self.subnets, mtu, self.ip_masq);
        self.write(self.subnet_file.clone(), env.to_string())?;
        self.mtu = Some(mtu);
        Ok(())
    }

    fn write(&mut self, path: PathBuf, text: String) -> Result<(), FlanneldError> {
        if let Some(folder) = path.parent() {
            self.watch(folder);
        }
        let written = write_atomically(&path, &text)?;
        if written || !self.texts.contains_key(&path) {
            tracing::info!(file = %path.display(), "written");
        }
        self.texts.insert(path, text);
        Ok(())
    }

    /// Waits until somebody has removed or changed a file, and it is time to write it again.
    pub async fn changed(&mut self) {
        loop {
            if let Some(due) = self.contention.due() {
                tokio::time::sleep_until(due.into()).await;
                // From now on it is a write like any other, which is tried again when it fails.
                self.contention.repaired(Instant::now());
                self.mtu = None;
                return;
            }
            self.told().await;
            self.watch_what_is_there();
            let damaged = self.texts.iter().find(|(path, text)| !holds(path, text));
            let Some((path, _)) = damaged else { continue };
            let undone = self.contention.undone(None, Instant::now());
            match undone.report {
                Some(report) => tracing::warn!(file = %path.display(), "{report}"),
                None => {
                    tracing::warn!(file = %path.display(), "somebody removed or changed this file; writing it again")
                }
            }
        }
    }

    /// Waits for word of one of the files.
    async fn told(&mut self) {
        let concerns = |folder: &Path, notice: &Notice| match notice {
            Notice::Written(name) | Notice::Gone(name) => self.texts.contains_key(&folder.join(name)),
            Notice::Lost | Notice::DirectoryGone => true,
            Notice::Created(_) | Notice::Writing(_) => false,
        };
        let gone = loop {
            if self.watches.is_empty() {
                return std::future::pending().await;
            }
            let waits = self.watches.iter().map(|(folder, watch)| {
                Box::pin(async move { (folder, watch.next().await.unwrap_or(vec![Notice::DirectoryGone])) })
            });
            let ((folder, notices), ..) = select_all(waits).await;
            if notices.contains(&Notice::DirectoryGone) {
                break folder.clone();
            }
            if notices.iter().any(|notice| concerns(folder, notice)) {
                return;
            }
        };
        // Another folder of this name is watched when the file is written there.
        self.watches.remove(&gone);
    }

    /// A folder may have gone and been made again while an older event was answered; then nobody watches the new one.
    fn watch_what_is_there(&mut self) {
        let folders: Vec<_> =
            self.texts.keys().filter_map(|path| path.parent()).map(Path::to_owned).collect();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            self.watch(folder);
        }
    }

    /// Before a file is written there, so that nothing falls between. A folder that cannot be made is reported by the
    /// write.
    fn watch(&mut self, folder: &Path) {
        if self.watches.contains_key(folder) {
            return;
        }
        match fs::create_dir_all(folder).and_then(|()| Watch::new(folder)) {
            Ok(watch) => {
                self.watches.insert(folder.to_owned(), watch);
            }
            Err(error) => tracing::debug!(folder = %folder.display(), %error, "not watched"),
        }
    }
}

fn holds(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|present| present == text)
}
