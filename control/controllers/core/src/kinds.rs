//! The kinds that controllers know.

/// A kind, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// As paths and rules of roles name it.
    pub plural: &'static str,
    /// As objects name it.
    pub name: &'static str,
    pub namespaced: bool,
}

impl Kind {
    const fn new(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        name: &'static str,
    ) -> Self {
        Self { group, version, plural, name, namespaced: true }
    }

    const fn without_namespace(mut self) -> Self {
        self.namespaced = false;
        self
    }

    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }
}

pub const PODS: Kind = Kind::new("", "v1", "pods", "Pod");
pub const NODES: Kind = Kind::new("", "v1", "nodes", "Node").without_namespace();
pub const NAMESPACES: Kind = Kind::new("", "v1", "namespaces", "Namespace").without_namespace();
pub const SERVICES: Kind = Kind::new("", "v1", "services", "Service");
pub const ENDPOINTS: Kind = Kind::new("", "v1", "endpoints", "Endpoints");
pub const CONFIG_MAPS: Kind = Kind::new("", "v1", "configmaps", "ConfigMap");
pub const SECRETS: Kind = Kind::new("", "v1", "secrets", "Secret");
pub const SERVICE_ACCOUNTS: Kind = Kind::new("", "v1", "serviceaccounts", "ServiceAccount");
pub const RESOURCE_QUOTAS: Kind = Kind::new("", "v1", "resourcequotas", "ResourceQuota");
pub const REPLICATION_CONTROLLERS: Kind =
    Kind::new("", "v1", "replicationcontrollers", "ReplicationController");
pub const VOLUMES: Kind = Kind::new("", "v1", "persistentvolumes", "PersistentVolume").without_namespace();
pub const CLAIMS: Kind = Kind::new("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
pub const REPLICA_SETS: Kind = Kind::new("apps", "v1", "replicasets", "ReplicaSet");
pub const DEPLOYMENTS: Kind = Kind::new("apps", "v1", "deployments", "Deployment");
pub const STATEFUL_SETS: Kind = Kind::new("apps", "v1", "statefulsets", "StatefulSet");
pub const DAEMON_SETS: Kind = Kind::new("apps", "v1", "daemonsets", "DaemonSet");
pub const REVISIONS: Kind = Kind::new("apps", "v1", "controllerrevisions", "ControllerRevision");
pub const JOBS: Kind = Kind::new("batch", "v1", "jobs", "Job");
pub const CRON_JOBS: Kind = Kind::new("batch", "v1", "cronjobs", "CronJob");
pub const AUTOSCALERS: Kind =
    Kind::new("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler");
pub const DISRUPTION_BUDGETS: Kind = Kind::new("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget");
pub const ENDPOINT_SLICES: Kind = Kind::new("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice");
pub const LEASES: Kind = Kind::new("coordination.k8s.io", "v1", "leases", "Lease");
pub const STORAGE_CLASSES: Kind =
    Kind::new("storage.k8s.io", "v1", "storageclasses", "StorageClass").without_namespace();
pub const ATTRIBUTES_CLASSES: Kind =
    Kind::new("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass").without_namespace();
pub const ATTACHMENTS: Kind =
    Kind::new("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment").without_namespace();
pub const CSI_DRIVERS: Kind =
    Kind::new("storage.k8s.io", "v1", "csidrivers", "CSIDriver").without_namespace();
pub const RESOURCE_CLAIMS: Kind = Kind::new("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim");
pub const RESOURCE_CLAIM_TEMPLATES: Kind =
    Kind::new("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate");
pub const SIGNING_REQUESTS: Kind =
    Kind::new("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest")
        .without_namespace();
pub const CLUSTER_ROLES: Kind =
    Kind::new("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole").without_namespace();
pub const SERVICE_CIDRS: Kind =
    Kind::new("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR").without_namespace();
pub const IP_ADDRESSES: Kind =
    Kind::new("networking.k8s.io", "v1", "ipaddresses", "IPAddress").without_namespace();
