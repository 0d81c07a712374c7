//! All flags as data. Names and kinds are kube-controller-manager 1.36's; the help is ours.

use control_serving::flags::{Daemon, OF_DAEMON, SERVING, of_daemon};
use goflags::Kind::{self, Duration, Float, Gates, Int32, List, Map, Modules, Size, Switch, Text};
use goflags::{Flag, joined};

const SERVER: &str = "The API server";
const WORK: &str = "Controllers";
const NODES: &str = "Nodes";
const SCALING: &str = "Autoscaling";
const SIGNING: &str = "Signing of certificates";
const LEADER: &str = "Leader election";
const LOGS: &str = "Logs";
pub const IDLE: &str = "kube-controller-manager's flags without effect here";

/// The headings of the help, in its order.
pub static GROUPS: &[&str] = &[SERVER, WORK, NODES, SCALING, SIGNING, LEADER, SERVING, LOGS, IDLE];

const fn own(name: &'static str, kind: Kind, group: &'static str, default: &'static str) -> Flag {
    Flag::new(name, kind, default, group)
}

const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    own(name, kind, IDLE, default).idle(why)
}

const PACE: &str = "writes bend to the server's load instead of a fixed rate";
const KEYS: &str = "all controllers share one set of workers, and none waits for another";
const BATCH: &str = "what happens while a Service is looked at is taken in at once";
const NEWS: &str = "nothing is looked at again without a reason: own writes are known, and no news is lost";
const LOOP: &str = "controllers start and end together";
const CLOUD: &str = "there is no cloud provider here";
const LEASES: &str = "only leases are used";
const LOG: &str = "logs have one form: text on standard error";
const SHOWN: &str = "all metrics are shown";
const PROFILES: &str = "Go's profiler has no counterpart here";
const ONE: &str = "this is one version, and what is here is on";
const YET: &str = "the controller that it is for is not here yet, or has the original's default";

/// All of them.
pub static FLAGS: &[Flag] = &ALL;

static ALL: [Flag; OWN.len() + OF_DAEMON] =
    joined(OWN, of_daemon(Daemon { port: "10257", tolerates: "false", idle: IDLE }));

const OWN: [Flag; 120] = [
    own("kubeconfig", Text, SERVER, "").metavar("FILE").help(
        "Address and credentials of the API server. Without it and without --master: those of the pod this runs in.",
    ),
    own("master", Text, SERVER, "")
        .metavar("URL")
        .help("Address of the API server, instead of the one in the kubeconfig."),
    own("use-service-account-credentials", Switch, SERVER, "false").help(
        "Each controller acts as a service account of its own in kube-system, whose tokens are asked for with the \
         credentials of --kubeconfig.",
    ),
    own("controllers", List, WORK, "*").metavar("NAME,...").help(
        "Which controllers run: * for all, a name for one more, -name for one less.",
    ),
    own("root-ca-file", Text, WORK, "").metavar("FILE").help(
        "Authority of the API server's certificate, PEM: goes to every namespace as the ConfigMap kube-root-ca.crt, \
         and into token Secrets.",
    ),
    own("load-balancer-pool", List, WORK, "").metavar("RANGE,...").ours().help(
        "Addresses for Services of type LoadBalancer without a class or of the class weft.dev/pool: networks and ranges \
         (192.0.2.10-192.0.2.99) of both families. Without any such Services get none.",
    ),
    own("horizontal-pod-autoscaler-sync-period", Duration, SCALING, "15s")
        .help("How often each autoscaler is looked at."),
    own("horizontal-pod-autoscaler-tolerance", Float, SCALING, "0.1")
        .help("How far from its target a metric may be without a change, where the autoscaler does not say."),
    own("horizontal-pod-autoscaler-downscale-stabilization", Duration, SCALING, "5m0s")
        .help("Pods are taken away when none of the recommendations of so long was higher."),
    own("horizontal-pod-autoscaler-cpu-initialization-period", Duration, SCALING, "5m0s")
        .help("How long after its start a pod's use of CPU counts only while it is ready."),
    own("horizontal-pod-autoscaler-initial-readiness-delay", Duration, SCALING, "30s")
        .help("A pod that became unready so soon after its start counts as one that was never ready."),
    own("legacy-service-account-token-clean-up-period", Duration, WORK, "8760h0m0s")
        .help("Tokens in Secrets of ServiceAccounts that nobody used for so long are marked, and later deleted."),
    own("service-account-private-key-file", Text, WORK, "").metavar("FILE").help(
        "Key that signs the tokens of Secrets of service accounts, PEM: RSA or ECDSA P-256. Without it such Secrets stay \
         empty.",
    ),
    own("terminated-pod-gc-threshold", Int32, WORK, "12500")
        .help("So many pods that have ended may stay; 0 or less: any number."),
    own("allocate-node-cidrs", Switch, NODES, "false")
        .help("Give each node a range of --cluster-cidr for its pods."),
    own("cluster-cidr", Text, NODES, "").metavar("CIDR[,CIDR]").help("Networks of pods, one of each family."),
    own("node-cidr-mask-size", Int32, NODES, "0")
        .metavar("BITS")
        .help("Length of a node's prefix where there is one network; 0: as for its family."),
    own("node-cidr-mask-size-ipv4", Int32, NODES, "0").metavar("BITS").help("The same of IPv4; 0: 24."),
    own("node-cidr-mask-size-ipv6", Int32, NODES, "0").metavar("BITS").help("The same of IPv6; 0: 64."),
    own("service-cluster-ip-range", Text, NODES, "")
        .metavar("CIDR[,CIDR]")
        .help("Networks of Services: no node gets a range of them."),
    own("node-monitor-grace-period", Duration, NODES, "50s")
        .help("A node of which nothing was heard for so long is lost."),
    own("node-startup-grace-period", Duration, NODES, "1m0s").help("The same of a node that never reported."),
    own("node-eviction-rate", Float, NODES, "0.1")
        .help("Lost nodes a second, in each zone, whose pods are replaced elsewhere."),
    own("secondary-node-eviction-rate", Float, NODES, "0.01")
        .help("The same in a large zone of which many nodes are lost."),
    own("unhealthy-zone-threshold", Float, NODES, "0.55").help("The part of a zone's nodes that is many."),
    own("large-cluster-size-threshold", Int32, NODES, "50").help("A zone with more nodes is large."),
    own("cluster-signing-cert-file", Text, SIGNING, "").metavar("FILE").help(
        "Authority that signs for all signers of kubernetes.io, PEM; without it and without one for a single signer, \
         nothing is signed.",
    ),
    own("cluster-signing-key-file", Text, SIGNING, "").metavar("FILE").help("Key of that authority, PEM."),
    own("cluster-signing-duration", Duration, SIGNING, "8760h0m0s")
        .help("How long certificates are valid where the request wants no shorter time."),
    own("cluster-signing-kubelet-serving-cert-file", Text, SIGNING, "")
        .metavar("FILE")
        .help("Authority that signs for kubernetes.io/kubelet-serving, PEM."),
    own("cluster-signing-kubelet-serving-key-file", Text, SIGNING, "").metavar("FILE").help("Key of that authority, PEM."),
    own("cluster-signing-kubelet-client-cert-file", Text, SIGNING, "")
        .metavar("FILE")
        .help("Authority that signs for kubernetes.io/kube-apiserver-client-kubelet, PEM."),
    own("cluster-signing-kubelet-client-key-file", Text, SIGNING, "").metavar("FILE").help("Key of that authority, PEM."),
    own("cluster-signing-kube-apiserver-client-cert-file", Text, SIGNING, "")
        .metavar("FILE")
        .help("Authority that signs for kubernetes.io/kube-apiserver-client, PEM."),
    own("cluster-signing-kube-apiserver-client-key-file", Text, SIGNING, "").metavar("FILE").help("Key of that authority, PEM."),
    own("cluster-signing-legacy-unknown-cert-file", Text, SIGNING, "")
        .metavar("FILE")
        .help("Authority that signs for kubernetes.io/legacy-unknown, PEM."),
    own("cluster-signing-legacy-unknown-key-file", Text, SIGNING, "").metavar("FILE").help("Key of that authority, PEM."),
    own("leader-elect", Switch, LEADER, "true")
        .help("Write only while holding the Lease, so that of several controller managers one is active."),
    own("leader-elect-lease-duration", Duration, LEADER, "15s")
        .help("Others take over when the Lease was not renewed for so long."),
    own("leader-elect-renew-deadline", Duration, LEADER, "10s")
        .help("A leader that cannot renew for so long stops."),
    own("leader-elect-retry-period", Duration, LEADER, "2s")
        .help("Between two attempts to get or renew the Lease."),
    own("leader-elect-resource-name", Text, LEADER, "kube-controller-manager").help("Name of the Lease."),
    own("leader-elect-resource-namespace", Text, LEADER, "kube-system").help("Namespace of the Lease."),
    own("v", Int32, LOGS, "0").letter('v').help("How much is logged: 0 what changes, 4 and more every refusal."),
    own("version", Text, LOGS, "false").command().stands_alone().help("Print the version and exit."),
    idle("contention-profiling", Switch, "false", PROFILES),
    idle("profiling", Switch, "true", PROFILES),
    idle("enable-leader-migration", Switch, "false", CLOUD),
    idle("leader-migration-config", Text, "", CLOUD),
    idle("cidr-allocator-type", Text, "RangeAllocator", YET),
    idle("cloud-config", Text, "", CLOUD),
    idle("cloud-provider", Text, "", CLOUD),
    idle("cluster-name", Text, "kubernetes", LOOP),
    idle("configure-cloud-routes", Switch, "true", CLOUD),
    idle("controller-shutdown-timeout", Duration, "10s", LOOP),
    idle("controller-start-interval", Duration, "0s", LOOP),
    idle("emulated-version", List, "", ONE),
    idle("external-cloud-volume-plugin", Text, "", CLOUD),
    idle("feature-gates", Gates, "", ONE),
    idle("kube-api-burst", Int32, "30", PACE),
    idle("kube-api-content-type", Text, "application/vnd.kubernetes.protobuf", PACE),
    idle("kube-api-qps", Float, "20", PACE),
    idle("leader-elect-resource-lock", Text, "leases", LEASES),
    idle("min-compatibility-version", List, "", ONE),
    idle("min-resync-period", Duration, "12h0m0s", NEWS),
    idle("node-monitor-period", Duration, "5s", YET),
    idle("route-reconciliation-period", Duration, "10s", CLOUD),
    idle("concurrent-service-syncs", Int32, "1", KEYS),
    idle("attach-detach-reconcile-sync-period", Duration, "1m0s", YET),
    idle("disable-attach-detach-reconcile-sync", Switch, "false", YET),
    idle("disable-force-detach-on-timeout", Switch, "false", YET),
    idle("concurrent-deployment-syncs", Int32, "5", KEYS),
    idle("concurrent-device-taint-eviction-syncs", Int32, "8", KEYS),
    idle("concurrent-resourceclaim-syncs", Int32, "50", KEYS),
    idle("concurrent-statefulset-syncs", Int32, "5", KEYS),
    idle("concurrent-daemonset-syncs", Int32, "2", KEYS),
    idle("concurrent-endpoint-syncs", Int32, "5", KEYS),
    idle("endpoint-updates-batch-period", Duration, "0s", BATCH),
    idle("concurrent-service-endpoint-syncs", Int32, "5", KEYS),
    idle("endpointslice-updates-batch-period", Duration, "0s", BATCH),
    idle("max-endpoints-per-slice", Int32, "100", YET),
    idle("mirroring-concurrent-service-endpoint-syncs", Int32, "5", KEYS),
    idle("mirroring-endpointslice-updates-batch-period", Duration, "0s", BATCH),
    idle("mirroring-max-endpoints-per-subset", Int32, "1000", YET),
    idle("concurrent-ephemeralvolume-syncs", Int32, "5", KEYS),
    idle("concurrent-gc-syncs", Int32, "20", KEYS),
    idle("enable-garbage-collector", Switch, "true", YET),
    idle("concurrent-horizontal-pod-autoscaler-syncs", Int32, "5", KEYS),
    idle("concurrent-job-syncs", Int32, "5", KEYS),
    idle("concurrent-cron-job-syncs", Int32, "5", KEYS),
    idle("concurrent-namespace-syncs", Int32, "10", KEYS),
    idle("namespace-sync-period", Duration, "5m0s", NEWS),
    idle("enable-dynamic-provisioning", Switch, "true", YET),
    idle("enable-hostpath-provisioner", Switch, "false", YET),
    idle("flex-volume-plugin-dir", Text, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/", YET),
    idle("pv-recycler-increment-timeout-nfs", Int32, "30", YET),
    idle("pv-recycler-minimum-timeout-hostpath", Int32, "60", YET),
    idle("pv-recycler-minimum-timeout-nfs", Int32, "300", YET),
    idle("pv-recycler-pod-template-filepath-hostpath", Text, "", YET),
    idle("pv-recycler-pod-template-filepath-nfs", Text, "", YET),
    idle("pv-recycler-timeout-increment-hostpath", Int32, "30", YET),
    idle("pvclaimbinder-sync-period", Duration, "15s", YET),
    idle("concurrent-replicaset-syncs", Int32, "5", KEYS),
    idle("concurrent-rc-syncs", Int32, "5", KEYS),
    idle("concurrent-resource-quota-syncs", Int32, "5", KEYS),
    idle("resource-quota-sync-period", Duration, "5m0s", NEWS),
    idle("concurrent-serviceaccount-token-syncs", Int32, "5", KEYS),
    idle("concurrent-ttl-after-finished-syncs", Int32, "5", KEYS),
    idle("concurrent-validating-admission-policy-status-syncs", Int32, "5", KEYS),
    idle("allow-metric-labels", Map, "", SHOWN),
    idle("allow-metric-labels-manifest", Text, "", SHOWN),
    idle("disabled-metrics", List, "", SHOWN),
    idle("show-hidden-metrics-for-version", Text, "", SHOWN),
    idle("log-flush-frequency", Duration, "5s", LOG),
    idle("log-json-info-buffer-size", Size, "0", LOG),
    idle("log-json-split-stream", Switch, "false", LOG),
    idle("log-text-info-buffer-size", Size, "0", LOG),
    idle("log-text-split-stream", Switch, "false", LOG),
    idle("logging-format", Text, "text", LOG),
    idle("vmodule", Modules, "", LOG),
];
