//! From the text of settings to what they mean: those that several servers have, and those of a daemon's health port.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use goflags::{Error, Setting, Settings, duration};
use tokio_rustls::rustls;

use crate::authentication::front_proxy::Headers;
use crate::certificates::{Sni, Terms, suite, suites};
use crate::paths::Paths;

/// A proxy in front that names the user in headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontProxy {
    /// None: there is no such proxy.
    pub client_ca: Option<PathBuf>,
    /// CNs that it may have; empty: any.
    pub allowed_names: Vec<String>,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

impl FrontProxy {
    pub fn headers(&self) -> Headers {
        Headers {
            allowed_names: self.allowed_names.clone(),
            users: self.username_headers.clone(),
            uids: self.uid_headers.clone(),
            groups: self.group_headers.clone(),
            extra_prefixes: self.extra_prefixes.clone(),
        }
    }
}

/// How a daemon's health port is served, and who is let in.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: SocketAddr,
    /// Certificate and key; `None`: its own.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where its own certificate is kept; `None`: in memory.
    pub cert_dir: Option<PathBuf>,
    pub sni: Vec<Sni>,
    pub terms: Terms,
    pub authentication: Authentication,
    pub authorization: Authorization,
}

/// Who clients are.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// How to reach the server that knows tokens; `None`: as the pod that this runs in, where it is one.
    pub kubeconfig: Option<PathBuf>,
    /// How long it is remembered what it said.
    pub remember: Duration,
    /// The authorities below are the only ones; else the server is asked for those that are not given.
    pub skip_lookup: bool,
    /// Start although it cannot be asked for them.
    pub tolerate: bool,
    pub client_ca: Option<PathBuf>,
    pub front_proxy: FrontProxy,
}

/// What they may do.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// How to reach the server that decides; `None`: as for [`Authentication::kubeconfig`].
    pub kubeconfig: Option<PathBuf>,
    /// How long it is remembered what it allowed, and what it did not.
    pub authorized: Duration,
    pub unauthorized: Duration,
    /// What everybody may see.
    pub always: Paths,
}

/// Reads the flags of [`crate::flags::of_daemon`]; `None`: nothing is served.
///
/// # Errors
/// The first value that cannot be meant.
pub fn of_daemon(settings: &Settings) -> Result<Option<Options>, Error> {
    let get = |name: &str| settings.get(name);
    let time = |name: &str| duration::parse(get(name).text()).unwrap_or_default();
    let port = u16::try_from(get("secure-port").within(0, 65_535)?).unwrap_or_default();
    let address: IpAddr =
        get("bind-address").text().parse().map_err(|_| get("bind-address").refuse("want an IP address"))?;
    let always = get("authorization-always-allow-paths");
    let options = Options {
        address: SocketAddr::new(address, port),
        tls: pair(get("tls-cert-file"), get("tls-private-key-file"))?,
        cert_dir: path(get("cert-dir")),
        sni: sni(get("tls-sni-cert-key"))?,
        terms: Terms {
            tls13_only: tls13_only(get("tls-min-version"))?,
            suites: cipher_suites(get("tls-cipher-suites"))?,
            http2: false,
        },
        authentication: Authentication {
            kubeconfig: path(get("authentication-kubeconfig")),
            remember: time("authentication-token-webhook-cache-ttl"),
            skip_lookup: get("authentication-skip-lookup").truth(),
            tolerate: get("authentication-tolerate-lookup-failure").truth(),
            client_ca: path(get("client-ca-file")),
            front_proxy: front_proxy(settings)?,
        },
        authorization: Authorization {
            kubeconfig: path(get("authorization-kubeconfig")),
            authorized: time("authorization-webhook-cache-authorized-ttl"),
            unauthorized: time("authorization-webhook-cache-unauthorized-ttl"),
            always: Paths::of(always.list()).map_err(|why| always.refuse(why))?,
        },
    };
    Ok((port > 0).then_some(options))
}

pub fn path(setting: &Setting) -> Option<PathBuf> {
    Some(setting.text()).filter(|text| !text.is_empty()).map(PathBuf::from)
}

pub fn texts(setting: &Setting) -> Vec<String> {
    setting.list().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// # Errors
/// A name that is none, or that of a suite which is not spoken here.
pub fn cipher_suites(setting: &Setting) -> Result<Vec<rustls::CipherSuite>, Error> {
    let one = |name: String| {
        suite(&name).ok_or_else(|| {
            let known: Vec<_> = suites().into_iter().map(|(name, _)| name).collect();
            setting.refuse(format!("{name} is not spoken here; want some of {}", known.join(", ")))
        })
    };
    texts(setting).into_iter().map(one).collect()
}

/// A certificate and its key: both or none.
pub fn pair(certificate: &Setting, key: &Setting) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    match (path(certificate), path(key)) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(certificate.refuse(format!("its key is missing: give --{} too", key.name))),
        (None, Some(_)) => {
            Err(key.refuse(format!("its certificate is missing: give --{} too", certificate.name)))
        }
    }
}

pub fn tls13_only(setting: &Setting) -> Result<bool, Error> {
    match setting.text() {
        "" | "VersionTLS12" => Ok(false),
        "VersionTLS13" => Ok(true),
        "VersionTLS10" | "VersionTLS11" => {
            Err(setting.refuse("versions before TLS 1.2 are not spoken; want VersionTLS12 or VersionTLS13"))
        }
        _ => Err(setting.refuse("want VersionTLS12 or VersionTLS13")),
    }
}

/// `CERT,KEY` or `CERT,KEY:NAME,NAME`, as kube-apiserver reads it: the names begin behind the last colon.
pub fn sni(setting: &Setting) -> Result<Vec<Sni>, Error> {
    let one = |text: &str| {
        let (files, names) = text.rsplit_once(':').unwrap_or((text, ""));
        let (certificate, key) = files.split_once(',').filter(|(certificate, key)| {
            !certificate.trim().is_empty() && !key.trim().is_empty() && !key.contains(',')
        })?;
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Sni {
            certificate: PathBuf::from(certificate.trim()),
            key: PathBuf::from(key.trim()),
            names: names.collect(),
        })
    };
    let texts = setting.list().filter(|text| !text.is_empty());
    let read = texts.map(one).collect::<Option<_>>();
    read.ok_or_else(|| setting.refuse("want CERT,KEY or CERT,KEY:NAME,NAME"))
}

pub fn front_proxy(settings: &Settings) -> Result<FrontProxy, Error> {
    let found = FrontProxy {
        client_ca: path(settings.get("requestheader-client-ca-file")),
        allowed_names: texts(settings.get("requestheader-allowed-names")),
        username_headers: texts(settings.get("requestheader-username-headers")),
        uid_headers: texts(settings.get("requestheader-uid-headers")),
        group_headers: texts(settings.get("requestheader-group-headers")),
        extra_prefixes: texts(settings.get("requestheader-extra-headers-prefix")),
    };
    if found.client_ca.is_some() && found.username_headers.is_empty() {
        return Err(settings
            .get("requestheader-client-ca-file")
            .refuse("no header names the user: give --requestheader-username-headers=X-Remote-User too"));
    }
    Ok(found)
}
