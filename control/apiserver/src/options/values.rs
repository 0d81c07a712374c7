//! The meaning of the settings: typed values, checked once, trusted afterwards.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use control_serving::certificates::Sni;
use control_serving::options::FrontProxy;
use goflags::Settings;
use ipnet::IpNet;

use super::access::{self, Authorization, TokenWebhook};
use super::env::Env;
use super::oidc::{self, Issuers};
use super::read::{
    action, address, address_types, etcd, front_proxy, issuers, limit, max_expiration, media_type, networks,
    node_ports, pair, path, paths, port, positive, prefix, reconciler, seconds, sni, texts, time, tls13_only,
};
use super::{OptionsError, PROGRAM};

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    Run,
    /// Print [`super::help`] to standard output, exit 0.
    Help,
    /// Print [`super::version`] to standard output, exit 0.
    Version,
}

/// How objects are written to etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageMediaType {
    Json,
    Protobuf,
}

/// Who writes the endpoints of `default/kubernetes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointReconciler {
    Lease,
    None,
}

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    pub first: u16,
    pub last: u16,
}

/// The whole configuration. `Display` of `settings` is one line, without secrets.
#[derive(Clone, Debug)]
pub struct Options {
    pub action: Action,
    pub listen: SocketAddr,
    /// None: this machine has no address that it could name, and nobody gave one.
    pub advertise_address: Option<IpAddr>,
    pub external_hostname: String,
    /// Certificate and key for HTTPS. None: made in `cert_dir`.
    pub tls: Option<(PathBuf, PathBuf)>,
    pub sni: Vec<Sni>,
    /// TLS 1.3 at least, instead of 1.2.
    pub tls13_only: bool,
    pub cert_dir: PathBuf,
    pub http2: bool,
    pub shutdown_delay: Duration,
    pub etcd: etcd::Settings,
    /// Begins with a slash and ends without one: `/registry`.
    pub etcd_prefix: String,
    /// None: history is not cut.
    pub compaction_interval: Option<Duration>,
    pub storage_media_type: StorageMediaType,
    pub event_ttl: Duration,
    pub client_ca: Option<PathBuf>,
    pub anonymous: bool,
    /// Somebody gave `--anonymous-auth`.
    pub anonymous_given: bool,
    /// Who else's tokens are accepted.
    pub token_issuers: Issuers,
    pub token_file: Option<PathBuf>,
    pub password_file: Option<PathBuf>,
    pub bootstrap_tokens: bool,
    pub front_proxy: FrontProxy,
    /// The first one signs.
    pub issuers: Vec<String>,
    pub signing_key: Option<PathBuf>,
    /// At least one, unless there is no key at all.
    pub verification_keys: Vec<PathBuf>,
    pub audiences: Vec<String>,
    pub lookup_accounts: bool,
    /// None: no limit but the protocol's.
    pub max_token_expiration: Option<Duration>,
    pub extend_token_expiration: bool,
    pub jwks_uri: String,
    pub authorization: Authorization,
    /// Who is asked about tokens that nobody else knows.
    pub token_webhook: Option<TokenWebhook>,
    pub enable_plugins: Vec<String>,
    pub disable_plugins: Vec<String>,
    pub admission_config: Option<PathBuf>,
    pub not_ready_toleration_seconds: i64,
    pub unreachable_toleration_seconds: i64,
    pub ignore_unsupported_extensions: bool,
    /// One or two, of different families, the preferred one first.
    pub service_networks: Vec<IpNet>,
    pub node_ports: NodePorts,
    pub endpoint_reconciler: EndpointReconciler,
    pub kubelet_identity: Option<(PathBuf, PathBuf)>,
    pub kubelet_ca: Option<PathBuf>,
    /// `InternalIP` and the like, the preferred one first.
    pub kubelet_address_types: Vec<String>,
    pub kubelet_port: u16,
    pub kubelet_timeout: Duration,
    /// Serve `metrics.k8s.io` from what kubelets say.
    pub serve_usage: bool,
    /// None: no limit.
    pub max_reads: Option<usize>,
    pub max_writes: Option<usize>,
    /// The sum of both is shared fairly; otherwise each is a limit for all at once.
    pub fair: bool,
    pub request_timeout: Duration,
    /// Watches without a timeout of their own live for this to twice this.
    pub min_watch: Duration,
    /// klog's level, as in `-v 2`.
    pub verbosity: u32,
    /// The values behind all this, and where they came from.
    pub settings: Settings,
}

impl Options {
    /// Nothing but an action, with every value at its default.
    pub(super) fn only(action: Action) -> Self {
        let settings = PROGRAM.defaults();
        let read = |name: &str| settings.get(name);
        Self {
            action,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 6443)),
            advertise_address: None,
            external_hostname: String::new(),
            tls: None,
            sni: Vec::new(),
            tls13_only: false,
            cert_dir: PathBuf::from(read("cert-dir").text()),
            http2: true,
            shutdown_delay: Duration::ZERO,
            etcd: etcd::Settings::default(),
            etcd_prefix: read("etcd-prefix").text().to_owned(),
            compaction_interval: time(read("etcd-compaction-interval")),
            storage_media_type: StorageMediaType::Protobuf,
            event_ttl: Duration::from_secs(3600),
            client_ca: None,
            anonymous: true,
            anonymous_given: false,
            token_issuers: Issuers::None,
            token_file: None,
            password_file: None,
            bootstrap_tokens: false,
            front_proxy: FrontProxy::default(),
            issuers: Vec::new(),
            signing_key: None,
            verification_keys: Vec::new(),
            audiences: Vec::new(),
            lookup_accounts: true,
            max_token_expiration: None,
            extend_token_expiration: true,
            jwks_uri: String::new(),
            authorization: Authorization::Flags(Vec::new()),
            token_webhook: None,
            enable_plugins: Vec::new(),
            disable_plugins: Vec::new(),
            admission_config: None,
            not_ready_toleration_seconds: 300,
            unreachable_toleration_seconds: 300,
            ignore_unsupported_extensions: false,
            service_networks: Vec::new(),
            node_ports: NodePorts { first: 30_000, last: 32_767 },
            endpoint_reconciler: EndpointReconciler::Lease,
            kubelet_identity: None,
            kubelet_ca: None,
            kubelet_address_types: texts(read("kubelet-preferred-address-types")),
            kubelet_port: 10_250,
            kubelet_timeout: Duration::from_secs(5),
            serve_usage: false,
            max_reads: Some(400),
            max_writes: Some(200),
            fair: true,
            request_timeout: Duration::from_secs(60),
            min_watch: Duration::from_secs(1800),
            verbosity: 0,
            settings,
        }
    }

    pub(super) fn from_settings(mut settings: Settings, env: &impl Env) -> Result<Self, OptionsError> {
        let read = |name: &str| settings.get(name);
        let action = action(read("version"));
        if action != Action::Run {
            return Ok(Self::only(action));
        }
        let bind = address(read("bind-address"))?.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        // As in Go, where 0.0.0.0 listens at both families.
        let every = bind.is_unspecified();
        let listen_at = if every { std::net::Ipv6Addr::UNSPECIFIED.into() } else { bind };
        let advertise_address = match address(read("advertise-address"))? {
            Some(given) if given.is_unspecified() || given.is_loopback() && !bind.is_loopback() => {
                return Err(read("advertise-address").refuse("want an address that other machines can reach"));
            }
            Some(given) => Some(given),
            // As the original: a loopback address is no endpoint of a Service.
            None if every || bind.is_loopback() => env.own_address(),
            None => Some(bind),
        };
        let tls = pair(read("tls-cert-file"), read("tls-private-key-file"))?;
        let verification_keys = match paths(read("service-account-key-file")) {
            none if none.is_empty() => tls.iter().map(|(_, key)| key.clone()).collect(),
            given => given,
        };
        let event_ttl = positive(read("event-ttl"))?;
        let options = Self {
            action,
            listen: SocketAddr::from((listen_at, port(read("secure-port"))?)),
            advertise_address,
            external_hostname: read("external-hostname").text().to_owned(),
            tls,
            sni: sni(read("tls-sni-cert-key"))?,
            tls13_only: tls13_only(read("tls-min-version"))?,
            cert_dir: PathBuf::from(read("cert-dir").text()),
            http2: !read("disable-http2-serving").truth(),
            shutdown_delay: time(read("shutdown-delay-duration")).unwrap_or_default(),
            etcd: etcd(&settings)?,
            etcd_prefix: prefix(read("etcd-prefix"))?,
            compaction_interval: time(read("etcd-compaction-interval")),
            storage_media_type: media_type(read("storage-media-type"))?,
            event_ttl,
            client_ca: path(read("client-ca-file")),
            anonymous: read("anonymous-auth").truth(),
            anonymous_given: read("anonymous-auth").source != goflags::Source::Default,
            token_issuers: oidc::issuers(&settings)?,
            token_file: path(read("token-auth-file")),
            password_file: path(read("basic-auth-file")),
            bootstrap_tokens: read("enable-bootstrap-token-auth").truth(),
            front_proxy: front_proxy(&settings)?,
            issuers: issuers(read("service-account-issuer"))?,
            signing_key: path(read("service-account-signing-key-file")),
            verification_keys,
            audiences: texts(read("api-audiences")),
            lookup_accounts: read("service-account-lookup").truth(),
            max_token_expiration: max_expiration(read("service-account-max-token-expiration"))?,
            extend_token_expiration: read("service-account-extend-token-expiration").truth(),
            jwks_uri: read("service-account-jwks-uri").text().to_owned(),
            authorization: access::authorization(&settings)?,
            token_webhook: access::token_webhook(&settings)?,
            enable_plugins: texts(read("enable-admission-plugins")),
            disable_plugins: texts(read("disable-admission-plugins")),
            admission_config: path(read("admission-control-config-file")),
            not_ready_toleration_seconds: seconds(read("default-not-ready-toleration-seconds"))?,
            unreachable_toleration_seconds: seconds(read("default-unreachable-toleration-seconds"))?,
            ignore_unsupported_extensions: read("ignore-unsupported-extensions").truth(),
            service_networks: networks(read("service-cluster-ip-range"))?,
            node_ports: node_ports(read("service-node-port-range"))?,
            endpoint_reconciler: reconciler(read("endpoint-reconciler-type"))?,
            kubelet_identity: pair(read("kubelet-client-certificate"), read("kubelet-client-key"))?,
            kubelet_ca: path(read("kubelet-certificate-authority")),
            kubelet_address_types: address_types(read("kubelet-preferred-address-types"))?,
            kubelet_port: port(read("kubelet-port"))?,
            kubelet_timeout: positive(read("kubelet-timeout"))?,
            serve_usage: read("serve-metrics-api").truth(),
            max_reads: limit(read("max-requests-inflight"))?,
            max_writes: limit(read("max-mutating-requests-inflight"))?,
            fair: read("enable-priority-and-fairness").truth(),
            request_timeout: positive(read("request-timeout"))?,
            min_watch: Duration::from_secs(read("min-request-timeout").within(1, i64::from(i32::MAX))? as u64),
            verbosity: read("v").within(0, i64::from(i32::MAX))? as u32,
            settings: PROGRAM.defaults(),
        };
        if options.issuers.is_empty() {
            return Err(OptionsError::Conflict(
                "--service-account-issuer is needed: whose name stands in tokens of service accounts, \
                 https://kubernetes.default.svc.cluster.local for instance"
                    .to_owned(),
            ));
        }
        if let Some(address) = options.advertise_address {
            settings.resolve("advertise-address", address.to_string());
        }
        Ok(Self { settings, ..options })
    }

    /// One sentence for each setting that somebody made and that does nothing: for a warning at start.
    pub fn without_effect(&self) -> Vec<String> {
        self.settings.without_effect()
    }
}

#[cfg(test)]
mod tests;
