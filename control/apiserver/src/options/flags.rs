//! All flags as data: the parser, `--help`, the documentation and the log at start derive from it.
//!
//! Names, kinds and defaults are those of kube-apiserver 1.36 (what its `--help` prints); the help is ours. Flags that
//! change what happens and that this release cannot honour are in [`super::refused`].

use goflags::Flag;
use goflags::Kind::{
    self, Duration, Float, Gates, Int32, Int64, List, Map, Modules, Repeated, Size, Switch, Text,
};

const SERVING: &str = "Where and how it serves";
const STORAGE: &str = "Storage";
const AUTHENTICATION: &str = "Who a client is";
const ACCOUNTS: &str = "Tokens of service accounts";
const AUTHORIZATION: &str = "What a client may do";
const ADMISSION: &str = "Admission of objects";
const CLUSTER: &str = "The cluster";
const KUBELETS: &str = "Connections to kubelets";
const LIMITS: &str = "Limits";
const LOGS: &str = "Logs";
pub const LATER: &str = "kube-apiserver's flags that are refused where they differ from the default";
pub const IDLE: &str = "kube-apiserver's flags without effect here";

/// The headings of the help, in its order.
pub static GROUPS: &[&str] = &[
    SERVING,
    STORAGE,
    AUTHENTICATION,
    ACCOUNTS,
    AUTHORIZATION,
    ADMISSION,
    CLUSTER,
    KUBELETS,
    LIMITS,
    LOGS,
    LATER,
    IDLE,
];

/// A flag that works.
const fn does(name: &'static str, kind: Kind, default: &'static str, group: &'static str) -> Flag {
    Flag::new(name, kind, default, group)
}

/// The name of a file.
const fn file(name: &'static str, group: &'static str) -> Flag {
    Flag::new(name, Text, "", group).metavar("FILE")
}

/// A flag that is refused with another value than its default: `what` it does in the original.
const fn later(name: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Flag {
    Flag::new(name, kind, default, LATER).help(what)
}

/// A flag that is accepted and does nothing.
const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    Flag::new(name, kind, default, IDLE).idle(why)
}

const AUDIT: &str = "there is no audit log, and --audit-log-path and --audit-webhook-config-file are refused";
const VERSIONS: &str = "there is one version to serve";
const MEASURED: &str = "all metrics are shown, and none that is deprecated";
const LEADERS: &str = "coordinated leader election is not offered (nor is it by default in the original)";
const PEERS: &str =
    "servers of other versions are not forwarded to (nor are they by default in the original)";
const BUFFERS: &str = "logs are one stream, and not buffered";
const PROFILES: &str = "there are no profiles to ask for";

/// All of them.
pub static FLAGS: &[Flag] = &[
    does("secure-port", Int32, "6443", SERVING).metavar("PORT").help("Port of the API, HTTPS only: 1 to 65535."),
    does("bind-address", Text, "0.0.0.0", SERVING)
        .metavar("IP")
        .help("Address to listen at; 0.0.0.0 and :: mean all addresses of both families."),
    does("advertise-address", Text, "", SERVING).metavar("IP").help(
        "Address by which the cluster reaches this server: the endpoint of the Service default/kubernetes. Without \
         it: --bind-address where that is one address, else the address of the default route's interface.",
    ),
    does("external-hostname", Text, "", SERVING)
        .metavar("NAME")
        .help("Name by which clients outside reach this server: in the discovery document of the token issuer."),
    file("tls-cert-file", SERVING).help(
        "Certificate for HTTPS, PEM, followed by those between it and its authority. Read again when it changes. \
         Without it and without its key: one is made in --cert-dir that is its own authority.",
    ),
    file("tls-private-key-file", SERVING).help("Key of --tls-cert-file, PEM."),
    does("tls-sni-cert-key", Repeated, "", SERVING).metavar("CERT,KEY[:NAME,...]").help(
        "Another certificate and key, for clients that ask for one of the names, or, without names, for those of \
         the certificate. *.example.org stands for one label.",
    ),
    does("tls-min-version", Text, "", SERVING)
        .metavar("VERSION")
        .help("VersionTLS12 or VersionTLS13: what a client must speak at least. Empty: VersionTLS12."),
    does("cert-dir", Text, "/var/run/kubernetes", SERVING)
        .metavar("DIR")
        .help("Where the certificate is made that nobody gave: apiserver.crt and apiserver.key."),
    does("disable-http2-serving", Switch, "false", SERVING).help("Speak HTTP/1.1 only."),
    does("shutdown-delay-duration", Duration, "0s", SERVING).help(
        "How long it serves on after SIGTERM while /readyz says no, so that load balancers hear of it.",
    ),
    does("etcd-servers", List, "", STORAGE)
        .metavar("URL,URL")
        .help("etcd's client URLs. At least one is needed."),
    file("etcd-cafile", STORAGE).help("Authorities that etcd's certificate must come from, PEM."),
    file("etcd-certfile", STORAGE).help("Our certificate towards etcd, PEM."),
    file("etcd-keyfile", STORAGE).help("Key of --etcd-certfile, PEM."),
    does("etcd-prefix", Text, "/registry", STORAGE).metavar("PATH").help("What the keys of all objects begin with."),
    does("etcd-compaction-interval", Duration, "5m0s", STORAGE)
        .help("How often etcd's history is cut, so that it holds one to two intervals; 0 for never."),
    does("storage-media-type", Text, "application/vnd.kubernetes.protobuf", STORAGE).metavar("TYPE").help(
        "How objects are written: application/vnd.kubernetes.protobuf or application/json. Both are read.",
    ),
    does("event-ttl", Duration, "1h0m0s", STORAGE).help("How long Events are kept, at least 1 s."),
    file("client-ca-file", AUTHENTICATION).help(
        "Authorities of client certificates, PEM: the subject's CN is the user, its O are groups. Read again when \
         it changes.",
    ),
    does("anonymous-auth", Switch, "true", AUTHENTICATION)
        .help("Take clients without credentials as system:anonymous, in the group system:unauthenticated."),
    file("token-auth-file", AUTHENTICATION)
        .help("Static tokens: lines of token,user,uid,\"group1,group2\" (CSV). Read at start."),
    file("basic-auth-file", AUTHENTICATION).ours().help(
        "Passwords: lines of password,user,uid,\"group1,group2\" (CSV), as kube-apiserver had until 1.18. Off \
         without it.",
    ),
    does("enable-bootstrap-token-auth", Switch, "false", AUTHENTICATION)
        .help("Accept tokens of Secrets of the type bootstrap.kubernetes.io/token in kube-system."),
    file("authentication-config", AUTHENTICATION).help(
        "AuthenticationConfiguration of apiserver.config.k8s.io/v1: OpenID issuers whose tokens are accepted, how their \
         claims name users, and for which paths nobody needs credentials. Read again when it changes, but for the last.",
    ),
    does("oidc-issuer-url", Text, "", AUTHENTICATION)
        .metavar("URL")
        .help("An OpenID issuer whose tokens are accepted; https only."),
    does("oidc-client-id", Text, "", AUTHENTICATION)
        .metavar("ID")
        .help("Whom tokens of --oidc-issuer-url must be for; needed with it."),
    file("oidc-ca-file", AUTHENTICATION)
        .help("Authorities that the issuer's certificate must come from, PEM. Empty: those of the system."),
    does("oidc-username-claim", Text, "sub", AUTHENTICATION)
        .metavar("CLAIM")
        .help("The claim that is the user's name."),
    does("oidc-username-prefix", Text, "", AUTHENTICATION).metavar("PREFIX").help(
        "What is put before the name; - for nothing. Empty: the issuer and a #, but for the claim email.",
    ),
    does("oidc-groups-claim", Text, "", AUTHENTICATION)
        .metavar("CLAIM")
        .help("The claim that holds the user's groups, or the one group."),
    does("oidc-groups-prefix", Text, "", AUTHENTICATION).metavar("PREFIX").help("What is put before each group."),
    does("oidc-signing-algs", List, "RS256", AUTHENTICATION)
        .metavar("ALG,...")
        .help("What tokens may be signed with: RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512."),
    does("oidc-required-claim", Map, "", AUTHENTICATION)
        .metavar("CLAIM=VALUE,...")
        .help("Claims that a token must have, and their values."),
    file("authentication-token-webhook-config-file", AUTHENTICATION).help(
        "Kubeconfig of a service that is asked, with TokenReviews, about tokens that nobody else knows.",
    ),
    does("authentication-token-webhook-version", Text, "v1beta1", AUTHENTICATION)
        .metavar("VERSION")
        .help("Version of those TokenReviews: v1 or v1beta1."),
    does("authentication-token-webhook-cache-ttl", Duration, "2m0s", AUTHENTICATION)
        .help("How long it is remembered what that service said of a token; 0 for not at all."),
    file("requestheader-client-ca-file", AUTHENTICATION)
        .help("Authorities of proxies in front, which name the user in headers. PEM, read again when it changes."),
    does("requestheader-allowed-names", List, "", AUTHENTICATION)
        .help("The CNs that such a proxy's certificate may have; empty for any."),
    does("requestheader-username-headers", List, "", AUTHENTICATION)
        .help("Headers that name the user; X-Remote-User is usual."),
    does("requestheader-uid-headers", List, "", AUTHENTICATION)
        .help("Headers that hold the user's UID; X-Remote-Uid is usual."),
    does("requestheader-group-headers", List, "", AUTHENTICATION)
        .help("Headers that name the groups; X-Remote-Group is usual."),
    does("requestheader-extra-headers-prefix", List, "", AUTHENTICATION)
        .help("What headers with further facts begin with; X-Remote-Extra- is usual."),
    does("service-account-issuer", Repeated, "", ACCOUNTS).metavar("URL").help(
        "Who issues tokens: the first one is written into new ones, all are accepted. At least one is needed.",
    ),
    file("service-account-signing-key-file", ACCOUNTS).help(
        "Private key that signs tokens, RSA or ECDSA, PEM. It is needed for tokens to be issued.",
    ),
    does("service-account-key-file", Repeated, "", ACCOUNTS).metavar("FILE").help(
        "Public or private keys that tokens are verified with, PEM, several in a file. Without it: the key of \
         --tls-private-key-file.",
    ),
    does("api-audiences", List, "", ACCOUNTS)
        .help("Whom tokens for this API are meant for; empty for the issuers."),
    idle("service-account-lookup", Switch, "true", "tokens of accounts that are gone are always refused"),
    does("service-account-max-token-expiration", Duration, "0s", ACCOUNTS)
        .help("The longest life of a token, whatever is asked for; at least 1 h, 0 for no limit but 2^32 s."),
    does("service-account-extend-token-expiration", Switch, "true", ACCOUNTS)
        .help("Let tokens of pods live for a year where the kubelet asks for an hour and renews them."),
    does("service-account-jwks-uri", Text, "", ACCOUNTS)
        .metavar("URL")
        .help("Where verifiers find the keys, in the discovery document; empty for this server's own."),
    does("authorization-mode", List, "AlwaysAllow", AUTHORIZATION).metavar("MODE,...").help(
        "Who decides, in this order, until one allows or denies: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny. ABAC is \
         refused.",
    ),
    file("authorization-config", AUTHORIZATION).help(
        "AuthorizationConfiguration of apiserver.config.k8s.io/v1: the chain of those who decide, with webhooks and \
         their conditions. In the place of --authorization-mode and --authorization-webhook-.... Read again when it \
         changes.",
    ),
    file("authorization-webhook-config-file", AUTHORIZATION)
        .help("Kubeconfig of the service that the mode Webhook asks, with SubjectAccessReviews."),
    does("authorization-webhook-version", Text, "v1beta1", AUTHORIZATION)
        .metavar("VERSION")
        .help("Version of those SubjectAccessReviews: v1 or v1beta1."),
    does("authorization-webhook-cache-authorized-ttl", Duration, "5m0s", AUTHORIZATION)
        .help("How long it is remembered what that service allowed; 0 for not at all."),
    does("authorization-webhook-cache-unauthorized-ttl", Duration, "30s", AUTHORIZATION)
        .help("The same of what it did not allow."),
    does("enable-admission-plugins", List, "", ADMISSION)
        .metavar("NAME,...")
        .help("Plugins besides those that are on by default: NodeRestriction is the usual one."),
    does("disable-admission-plugins", List, "", ADMISSION)
        .metavar("NAME,...")
        .help("Plugins that are on by default, and shall not be."),
    file("admission-control-config-file", ADMISSION).help(
        "AdmissionConfiguration of apiserver.config.k8s.io/v1 with settings of PodSecurity: defaults, and who is exempt. \
         Settings of other plugins are refused. Read at start.",
    ),
    idle("allow-privileged", Switch, "false", "privileged containers are let pass, as with true, and Pod Security decides"),
    does("default-not-ready-toleration-seconds", Int64, "300", ADMISSION)
        .help("How long a pod stays on a node that is not ready, where the pod does not say, in seconds."),
    does("default-unreachable-toleration-seconds", Int64, "300", ADMISSION)
        .help("The same of a node that is unreachable."),
    does("ignore-unsupported-extensions", Switch, "false", ADMISSION).ours().help(
        "Start although etcd holds webhooks, admission policies or APIServices that this release does not serve. \
         They have no effect then.",
    ),
    does("service-cluster-ip-range", Text, "10.0.0.0/24", CLUSTER)
        .metavar("CIDR[,CIDR]")
        .help("Networks of the ClusterIPs, one for each family, the preferred one first."),
    does("service-node-port-range", Text, "30000-32767", CLUSTER)
        .metavar("FIRST-LAST")
        .help("Ports for NodePorts; FIRST+COUNT is understood too."),
    does("endpoint-reconciler-type", Text, "lease", CLUSTER)
        .help("lease: servers that live are the endpoints of default/kubernetes; none: nobody writes them."),
    file("kubelet-client-certificate", KUBELETS)
        .help("Certificate by which kubelets know this server (PEM): for logs, exec, attach, port-forward and proxy."),
    file("kubelet-client-key", KUBELETS).help("Key of that certificate (PEM)."),
    file("kubelet-certificate-authority", KUBELETS)
        .help("Authorities of the kubelets' own certificates (PEM); without it they are not verified."),
    does("kubelet-preferred-address-types", List, "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", KUBELETS)
        .help("Which of a node's addresses is its kubelet's: the first type that the node has."),
    does("kubelet-port", Int32, "10250", KUBELETS).metavar("PORT").help("Port of kubelets whose nodes name none."),
    idle("kubelet-read-only-port", Int32, "10255", "kubelets are spoken to over TLS alone, as by the original"),
    does("serve-metrics-api", Switch, "false", KUBELETS).ours().help(
        "Answer metrics.k8s.io (kubectl top, autoscalers) by what kubelets say of the use of CPU and memory, as long as \
         no APIService names a service for it.",
    ),
    does("kubelet-timeout", Duration, "5s", KUBELETS).help("How long a connection to a kubelet may take to come about."),
    does("max-requests-inflight", Int32, "400", LIMITS).help(
        "Requests that read, in flight at the same time; watches do not count. 0 for no limit. With \
         --enable-priority-and-fairness the sum of this and the next is shared.",
    ),
    does("max-mutating-requests-inflight", Int32, "200", LIMITS)
        .help("Requests that write, in flight at the same time. 0 for no limit."),
    does("enable-priority-and-fairness", Switch, "true", LIMITS).help(
        "Share the requests in flight between levels and users, as FlowSchemas and PriorityLevelConfigurations say; \
         those that are too many wait for their turn. Otherwise they are sent away.",
    ),
    does("request-timeout", Duration, "1m0s", LIMITS).help("Longest time of a request that is not a watch or a stream."),
    does("min-request-timeout", Int32, "1800", LIMITS).metavar("SECONDS").help(
        "Shortest life of a watch that names no timeout; each gets a random one of up to twice this.",
    ),
    does("v", Int32, "0", LOGS)
        .letter('v')
        .metavar("LEVEL")
        .help("How much is logged: 0 is changes of state, 1 to 4 adds requests that fail, 5 and more adds everything."),
    does("version", Text, "false", LOGS).stands_alone().metavar("[raw]").help("Print the version, then exit."),
    later("authorization-policy-file", Text, "", "Policies of the mode ABAC."),
    later("admission-control", List, "", "All plugins by name (deprecated)."),
    later("audit-log-path", Text, "", "Where requests are logged."),
    later("audit-policy-file", Text, "", "Which requests are logged."),
    later("audit-webhook-config-file", Text, "", "A service that is told of requests."),
    later("cors-allowed-origins", List, "", "Pages of which sites may call the API from a browser."),
    later("egress-selector-config-file", Text, "", "Proxies for connections out of the server."),
    later("emulated-version", List, "", "An older version to behave as."),
    later("enable-garbage-collector", Switch, "true", "Finalizers for the garbage collector."),
    later("encryption-provider-config", Text, "", "How Secrets are encrypted in etcd."),
    later("etcd-servers-overrides", List, "", "Other etcds for single resources."),
    later("kubernetes-service-node-port", Int32, "0", "A NodePort of the Service default/kubernetes."),
    later("service-account-signing-endpoint", Text, "", "A service that signs tokens."),
    later("storage-backend", Text, "", "etcd3, which is the only one; it need not be named."),
    later("strict-transport-security-directives", List, "", "Directives of the header Strict-Transport-Security."),
    later("tls-cipher-suites", List, "", "The cipher suites to offer."),
    later("tls-curve-preferences", List, "", "The curves to offer."),
    idle("proxy-client-cert-file", Text, "", "no other API server and no webhook is called"),
    idle("proxy-client-key-file", Text, "", "no other API server and no webhook is called"),
    idle("aggregator-reject-forwarding-redirect", Switch, "true", "requests are not forwarded to other API servers"),
    idle("enable-aggregator-routing", Switch, "false", "requests are not forwarded to other API servers"),
    idle("allow-metric-labels", Map, "", MEASURED),
    idle("allow-metric-labels-manifest", Text, "", MEASURED),
    idle("disabled-metrics", List, "", MEASURED),
    idle("show-hidden-metrics-for-version", Text, "", MEASURED),
    idle("audit-log-batch-buffer-size", Int32, "10000", AUDIT),
    idle("audit-log-batch-max-size", Int32, "1", AUDIT),
    idle("audit-log-batch-max-wait", Duration, "0s", AUDIT),
    idle("audit-log-batch-throttle-burst", Int32, "0", AUDIT),
    idle("audit-log-batch-throttle-enable", Switch, "false", AUDIT),
    idle("audit-log-batch-throttle-qps", Float, "0", AUDIT),
    idle("audit-log-compress", Switch, "false", AUDIT),
    idle("audit-log-format", Text, "json", AUDIT),
    idle("audit-log-maxage", Int32, "366", AUDIT),
    idle("audit-log-maxbackup", Int32, "100", AUDIT),
    idle("audit-log-maxsize", Int32, "100", AUDIT),
    idle("audit-log-mode", Text, "blocking", AUDIT),
    idle("audit-log-truncate-enabled", Switch, "false", AUDIT),
    idle("audit-log-truncate-max-batch-size", Int32, "10485760", AUDIT),
    idle("audit-log-truncate-max-event-size", Int32, "102400", AUDIT),
    idle("audit-log-version", Text, "audit.k8s.io/v1", AUDIT),
    idle("audit-webhook-batch-buffer-size", Int32, "10000", AUDIT),
    idle("audit-webhook-batch-max-size", Int32, "400", AUDIT),
    idle("audit-webhook-batch-max-wait", Duration, "30s", AUDIT),
    idle("audit-webhook-batch-throttle-burst", Int32, "15", AUDIT),
    idle("audit-webhook-batch-throttle-enable", Switch, "true", AUDIT),
    idle("audit-webhook-batch-throttle-qps", Float, "10", AUDIT),
    idle("audit-webhook-initial-backoff", Duration, "10s", AUDIT),
    idle("audit-webhook-mode", Text, "batch", AUDIT),
    idle("audit-webhook-truncate-enabled", Switch, "false", AUDIT),
    idle("audit-webhook-truncate-max-batch-size", Int32, "10485760", AUDIT),
    idle("audit-webhook-truncate-max-event-size", Int32, "102400", AUDIT),
    idle("audit-webhook-version", Text, "audit.k8s.io/v1", AUDIT),
    idle("contention-profiling", Switch, "false", PROFILES),
    idle("debug-socket-path", Text, "", PROFILES),
    idle("profiling", Switch, "true", PROFILES),
    idle("coordinated-leadership-lease-duration", Duration, "15s", LEADERS),
    idle("coordinated-leadership-renew-deadline", Duration, "10s", LEADERS),
    idle("coordinated-leadership-retry-period", Duration, "2s", LEADERS),
    idle("delete-collection-workers", Int32, "1", "a collection is deleted as fast as etcd takes it"),
    idle("emulation-forward-compatible", Switch, "false", VERSIONS),
    idle("min-compatibility-version", List, "", VERSIONS),
    idle("runtime-config-emulation-forward-compatible", Switch, "false", VERSIONS),
    idle("runtime-config", Map, "", "every API that this release knows is served"),
    idle("feature-gates", Gates, "", "features are as they are by default in kube-apiserver 1.36"),
    idle("enable-logs-handler", Switch, "false", "no files of logs are served"),
    idle("encryption-provider-config-automatic-reload", Switch, "false", "--encryption-provider-config is refused"),
    idle("etcd-count-metric-poll-period", Duration, "1m0s", "objects are counted as they come and go"),
    idle("etcd-db-metric-poll-interval", Duration, "30s", "etcd is asked when somebody reads the metrics"),
    idle("etcd-healthcheck-timeout", Duration, "2s", "etcd's health is known from its answers"),
    idle("etcd-readycheck-timeout", Duration, "2s", "etcd's health is known from its answers"),
    idle("goaway-chance", Float, "0", "clients stay at the server that they chose"),
    idle("http2-max-streams-per-connection", Int32, "0", "a connection may have 250 streams"),
    idle("lease-reuse-duration-seconds", Int64, "60", "leases of Events are shared for a minute"),
    idle("livez-grace-period", Duration, "0s", "it is live as soon as it answers"),
    idle("log-flush-frequency", Duration, "5s", BUFFERS),
    idle("log-json-info-buffer-size", Size, "0", BUFFERS),
    idle("log-json-split-stream", Switch, "false", BUFFERS),
    idle("log-text-info-buffer-size", Size, "0", BUFFERS),
    idle("log-text-split-stream", Switch, "false", BUFFERS),
    idle("logging-format", Text, "text", "logs are text"),
    idle("vmodule", Modules, "", "logs are chosen by --v alone"),
    idle("max-connection-bytes-per-sec", Int64, "0", "streams are not slowed down"),
    idle("peer-advertise-ip", Text, "", PEERS),
    idle("peer-advertise-port", Text, "", PEERS),
    idle("peer-ca-file", Text, "", PEERS),
    idle("permit-address-sharing", Switch, "false", "ports in TIME_WAIT are always taken over"),
    idle("permit-port-sharing", Switch, "false", "a port is never shared"),
    idle("shutdown-send-retry-after", Switch, "false", "the listener is closed when the end begins"),
    idle("shutdown-watch-termination-grace-period", Duration, "0s", "watches end at once, and their clients resume"),
    idle("storage-initialization-timeout", Duration, "1m0s", "/readyz says no until etcd was read, however long"),
    idle("tracing-config-file", Text, "", "no traces are sent"),
    idle("watch-cache", Switch, "true", "lists and watches are always served from memory"),
    idle("watch-cache-sizes", List, "", "the history of watches is sized by time"),
];
