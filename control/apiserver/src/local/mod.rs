//! A control plane of one machine, from nothing: `weft control`.
//!
//! Owns: the data directory ([`Places`]) with its lock, the etcd that runs on it ([`OwnEtcd`]), the administrator's
//! kubeconfig, backups ([`backup`]) and their return ([`restore`]). The API itself is served as `weft apiserver` serves it:
//! [`arguments`] says with which flags.
//! Never: needs a hand after a crash: each start takes what the last one left, wherever that ended. Begin at [`Plan`].

mod bolt;
mod directory;
mod error;
mod etcd;
mod kubeconfig;
mod snapshot;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::options::{self, Env, Options};
use crate::pki::{self, Names};

pub use self::etcd::OwnEtcd;
pub use directory::{Lock, Places};
pub use error::LocalError;
pub use snapshot::{Report, backup, restore, save};

/// How often certificates are looked at while it runs: they are renewed months before they end.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub places: Places,
    /// etcd's program.
    pub etcd_program: String,
    /// An etcd that others run; None: one of our own.
    pub etcd: Option<::etcd::Settings>,
    /// More names and addresses of the server.
    pub sans: Vec<String>,
    /// Where the administrator's kubeconfig goes; None: into the directory.
    pub kubeconfig: Option<PathBuf>,
    /// Flags of kube-apiserver that are to hold instead of ours.
    pub flags: Vec<String>,
}

/// All that a server needs is there.
#[derive(Debug)]
pub struct Prepared {
    pub options: Options,
    pub kubeconfig: PathBuf,
    /// Names that the server's certificate must have.
    names: Names,
    places: Places,
    etcd: Option<OwnEtcd>,
    _lock: Lock,
}

impl Plan {
    /// Takes the directory, makes keys, and starts etcd.
    ///
    /// # Errors
    /// The directory is in use, a file cannot be written, a flag cannot be meant, or etcd does not come up.
    pub async fn prepare(self, env: &impl Env) -> Result<Prepared, LocalError> {
        let lock = Lock::take(&self.places)?;
        // The flags are read twice: they decide about names, and names about certificates, before there is an etcd.
        let placeholder =
            ::etcd::Settings { endpoints: vec!["http://127.0.0.1:1".to_owned()], ..Default::default() };
        let provisional = self.options(self.etcd.as_ref().unwrap_or(&placeholder), env)?;
        let names = self.names(&provisional, env);
        renew(&self.places, &names)?;
        let (etcd, settings) = match &self.etcd {
            Some(settings) => (None, settings.clone()),
            None => {
                snapshot::mend(&self.places)?;
                let etcd = OwnEtcd::start(&self.places, &self.etcd_program).await?;
                let settings = etcd.settings().clone();
                (Some(etcd), settings)
            }
        };
        let finish = async || {
            if etcd.is_some() {
                snapshot::forget_history(&self.places, &settings).await?;
            }
            let options = self.options(&settings, env)?;
            let kubeconfig = self.kubeconfig.clone().unwrap_or_else(|| self.places.kubeconfig());
            kubeconfig::write(&kubeconfig, &address(&options), &self.places.pki())?;
            Ok((options, kubeconfig))
        };
        match finish().await {
            Ok((options, kubeconfig)) => {
                Ok(Prepared { options, kubeconfig, names, places: self.places, etcd, _lock: lock })
            }
            Err(error) => {
                if let Some(etcd) = etcd {
                    etcd.stop().await;
                }
                Err(error)
            }
        }
    }

    fn options(&self, etcd: &::etcd::Settings, env: &impl Env) -> Result<Options, LocalError> {
        let mut flags = arguments(&self.places, etcd);
        flags.push("--serve-metrics-api=true".to_owned());
        flags.extend(self.flags.iter().cloned());
        Ok(options::resolve(&flags, env)?)
    }

    fn names(&self, options: &Options, env: &impl Env) -> Names {
        // The address that the Service default/kubernetes gets in each network.
        let service = options.service_networks.iter().filter_map(|network| network.hosts().next());
        let own = options.advertise_address.into_iter();
        let bound = Some(options.listen.ip()).filter(|address| !address.is_unspecified());
        let hostname = env.hostname().unwrap_or_default();
        Names::of_api(&hostname, service.chain(own).chain(bound), &self.sans)
    }
}

impl Prepared {
    /// Where a client on this machine finds the server.
    pub fn address(&self) -> String {
        address(&self.options)
    }

    /// Renews certificates as they near their end, for as long as it is polled. Servers read changed files again.
    pub async fn renew(&self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let (places, names) = (self.places.clone(), self.names.clone());
            let (server, target) = (self.address(), self.kubeconfig.clone());
            let work = move || {
                renew(&places, &names)?;
                kubeconfig::write(&target, &server, &places.pki())
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!("cannot renew certificates: {}", telemetry::logs::chain(&error))
                }
                Err(panic) => tracing::error!("cannot renew certificates: {panic}"),
            }
        }
    }

    /// Ends etcd, after the server has ended.
    pub async fn stop(self) {
        if let Some(etcd) = self.etcd {
            etcd.stop().await;
        }
    }
}

fn renew(places: &Places, names: &Names) -> Result<(), LocalError> {
    for (file, reason) in pki::ensure(&places.pki(), names, SystemTime::now())? {
        tracing::info!("made {}: {reason}", places.pki().join(file).display());
    }
    Ok(())
}

/// Where a client on this machine finds the server.
fn address(options: &Options) -> String {
    let ip = match options.listen.ip() {
        every if every.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        one => one,
    };
    format!("https://{}", std::net::SocketAddr::from((ip, options.listen.port())))
}

/// The flags of kube-apiserver that this directory stands for.
pub fn arguments(places: &Places, etcd: &::etcd::Settings) -> Vec<String> {
    let pki = |name: &str| places.pki().join(name).display().to_string();
    let mut flags = vec![
        format!("--etcd-servers={}", etcd.endpoints.join(",")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname".to_owned(),
        format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-signing-key-file={}", pki("sa.key")),
        format!("--service-account-key-file={}", pki("sa.pub")),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--enable-bootstrap-token-auth=true".to_owned(),
    ];
    if let Some(ca) = &etcd.ca {
        flags.push(format!("--etcd-cafile={}", ca.display()));
    }
    if let Some((certificate, key)) = &etcd.identity {
        flags.push(format!("--etcd-certfile={}", certificate.display()));
        flags.push(format!("--etcd-keyfile={}", key.display()));
    }
    flags
}

#[cfg(test)]
mod tests;
