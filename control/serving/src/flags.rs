//! The flags of a daemon's health port, as data. Names, kinds and defaults are the original's; the help is ours.

use goflags::Flag;
use goflags::Kind::{Duration, Int32, List, Repeated, Switch, Text};

/// The heading of those that have an effect.
pub const SERVING: &str = "Health and metrics";

const HTTP2: &str = "HTTP/1.1 is spoken";
const PORT: &str = "a second daemon has a port of its own";

/// What differs between daemons.
#[derive(Clone, Copy, Debug)]
pub struct Daemon {
    /// Its usual port.
    pub port: &'static str,
    /// The default of `--authentication-tolerate-lookup-failure`.
    pub tolerates: &'static str,
    /// The heading of flags without effect.
    pub idle: &'static str,
}

/// How many there are.
pub const OF_DAEMON: usize = 28;

/// All of them; [`crate::options::of_daemon`] reads them.
pub const fn of_daemon(daemon: Daemon) -> [Flag; OF_DAEMON] {
    let idle = daemon.idle;
    [
        Flag::new("bind-address", Text, "0.0.0.0", SERVING)
            .metavar("IP")
            .help("Where /healthz, /livez, /readyz and /metrics are served, over HTTPS."),
        Flag::new("secure-port", Int32, daemon.port, SERVING).metavar("PORT").help("The port of it; 0: serve nothing."),
        Flag::new("tls-cert-file", Text, "", SERVING)
            .metavar("FILE")
            .help("Certificate that clients are shown, PEM, and those between it and its authority. Read again when it changes."),
        Flag::new("tls-private-key-file", Text, "", SERVING).metavar("FILE").help("Its key, PEM."),
        Flag::new("tls-sni-cert-key", Repeated, "", SERVING).metavar("CERT,KEY[:NAME,...]").help(
            "A certificate for clients that ask for one of the names, or of its own names where none is given. May be \
             repeated.",
        ),
        Flag::new("cert-dir", Text, "", SERVING).metavar("DIR").help(
            "Where a certificate of its own is kept if --tls-cert-file is not given. Without either, one is made at each \
             start and kept in memory.",
        ),
        Flag::new("tls-min-version", Text, "", SERVING)
            .metavar("VERSION")
            .help("VersionTLS12, which is the default, or VersionTLS13."),
        Flag::new("tls-cipher-suites", List, "", SERVING)
            .metavar("NAME,...")
            .help("The only suites of TLS 1.2, by Go's names. All that are spoken are safe; others are refused."),
        Flag::new("client-ca-file", Text, "", SERVING).metavar("FILE").help(
            "Authorities of client certificates, PEM. Without it, those that the API server has published; see \
             --authentication-skip-lookup.",
        ),
        Flag::new("authentication-kubeconfig", Text, "", SERVING).metavar("FILE").help(
            "The API server that knows whose a token is (TokenReview). Without it: that of the pod this runs in; outside of \
             a pod all tokens are ignored.",
        ),
        Flag::new("authentication-token-webhook-cache-ttl", Duration, "10s", SERVING)
            .help("How long it is remembered whose a token is."),
        Flag::new("authentication-skip-lookup", Switch, "false", SERVING).help(
            "Do not ask the API server for the authorities that are not given (ConfigMap \
             kube-system/extension-apiserver-authentication).",
        ),
        Flag::new("authentication-tolerate-lookup-failure", Switch, daemon.tolerates, SERVING)
            .help("Start although it cannot be asked for them; they are asked for again later."),
        Flag::new("requestheader-client-ca-file", Text, "", SERVING).metavar("FILE").help(
            "Authorities of proxies that say in headers who their client is, PEM. Without it, those that the API server has \
             published.",
        ),
        Flag::new("requestheader-allowed-names", List, "", SERVING)
            .metavar("NAME,...")
            .help("Common names that such a proxy may have; empty: any."),
        Flag::new("requestheader-username-headers", List, "x-remote-user", SERVING)
            .metavar("NAME,...")
            .help("Headers with the user."),
        Flag::new("requestheader-uid-headers", List, "", SERVING).metavar("NAME,...").help("Headers with the user's uid."),
        Flag::new("requestheader-group-headers", List, "x-remote-group", SERVING)
            .metavar("NAME,...")
            .help("Headers with a group."),
        Flag::new("requestheader-extra-headers-prefix", List, "x-remote-extra-", SERVING)
            .metavar("PREFIX,...")
            .help("What headers with anything else begin with."),
        Flag::new("authorization-kubeconfig", Text, "", SERVING).metavar("FILE").help(
            "The API server that knows what a user may do (SubjectAccessReview). Without it: that of the pod this runs in; \
             outside of a pod only --authorization-always-allow-paths are answered, and system:masters.",
        ),
        Flag::new("authorization-always-allow-paths", List, "/healthz,/readyz,/livez", SERVING)
            .metavar("PATH,...")
            .help("What everybody may see; a path may end with *."),
        Flag::new("authorization-webhook-cache-authorized-ttl", Duration, "10s", SERVING)
            .help("How long it is remembered what is allowed."),
        Flag::new("authorization-webhook-cache-unauthorized-ttl", Duration, "10s", SERVING)
            .help("The same of what is not."),
        Flag::new("tls-curve-preferences", List, "", idle).idle("the curves are not chosen one by one"),
        Flag::new("disable-http2-serving", Switch, "false", idle).idle(HTTP2),
        Flag::new("http2-max-streams-per-connection", Int32, "0", idle).idle(HTTP2),
        Flag::new("permit-address-sharing", Switch, "false", idle).idle(PORT),
        Flag::new("permit-port-sharing", Switch, "false", idle).idle(PORT),
    ]
}
