//! What kube-apiserver has and this release does not: why, and what to use instead.
//!
//! Flags that merely have no effect say so in their table; these would change who may do what, or what is stored.
//! Some values of flags that work are refused too, by [`super::values`].

use goflags::Refused;

/// Any value but the default.
const fn no(name: &'static str, reason: &'static str, instead: &'static str) -> Refused {
    Refused { name, value: None, reason, instead }
}

const MODES: &str = "use --authorization-mode=Node,RBAC";
const PLUGINS: &str = "use --enable-admission-plugins and --disable-admission-plugins";
const AUDIT: &str = "there is no audit log yet";
const NO_AUDIT: &str = "leave it out, and log requests in a proxy in front";
const LEAVE: &str = "leave it out";
const DEFAULTS: &str =
    "leave it out: TLS 1.2 and 1.3 with forward secrecy and authenticated encryption are offered";

/// All of them.
pub static REFUSED: &[Refused] = &[
    no("authorization-policy-file", "the mode ABAC is not there", MODES),
    no(
        "admission-control",
        "it names all plugins of another release (kube-apiserver deprecates it too)",
        PLUGINS,
    ),
    no("audit-log-path", AUDIT, NO_AUDIT),
    no("audit-policy-file", AUDIT, NO_AUDIT),
    no("audit-webhook-config-file", AUDIT, NO_AUDIT),
    no(
        "cors-allowed-origins",
        "browsers are not let in from other sites",
        "put a proxy in front that adds the headers",
    ),
    no("egress-selector-config-file", "connections go out directly", LEAVE),
    no("emulated-version", "there is no older version to behave as", LEAVE),
    no("enable-garbage-collector", "deletions always leave their finalizers to the garbage collector", LEAVE),
    no(
        "encryption-provider-config",
        "Secrets are not encrypted in etcd, and encrypted ones could not be read",
        "decrypt the stored objects first, and encrypt etcd's disk",
    ),
    no("etcd-servers-overrides", "one watch over one etcd feeds all kinds", "keep Events in the same etcd"),
    no(
        "kubernetes-service-node-port",
        "the Service default/kubernetes has a ClusterIP only",
        "make a Service of your own",
    ),
    no(
        "service-account-signing-endpoint",
        "tokens are signed in this process",
        "use --service-account-signing-key-file",
    ),
    Refused {
        name: "storage-backend",
        value: Some("etcd2"),
        reason: "etcd version 2 is long gone",
        instead: LEAVE,
    },
    no("strict-transport-security-directives", "the header is not sent", LEAVE),
    no("tls-cipher-suites", "the suites are not chosen one by one", DEFAULTS),
    no("tls-curve-preferences", "the curves are not chosen one by one", DEFAULTS),
];
