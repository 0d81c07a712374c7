//! Which controllers run: `--controllers`.

use goflags::nearest;

/// A list of names: `*` for all, `name` for one more, `-name` for one less. The first word about a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    words: Vec<String>,
}

impl Choice {
    /// # Errors
    /// A name that no controller has, in words.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let words: Vec<String> = words.into_iter().map(|word| current(word.trim())).collect();
        for word in &words {
            let name = word.strip_prefix('-').unwrap_or(word);
            if name != "*" && !NAMES.contains(&name) {
                let hint = nearest(name, NAMES.iter().copied());
                let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(format!("{name:?} is no controller{hint}"));
            }
        }
        Ok(Self { words })
    }

    /// Whether the controller of this name runs.
    pub fn has(&self, name: &str) -> bool {
        let about = |word: &String| match word.strip_prefix('-') {
            Some(rest) => (rest == name).then_some(false),
            None => (word == name).then_some(true),
        };
        self.words.iter().find_map(about).unwrap_or_else(|| self.words.iter().any(|word| word == "*"))
    }
}

/// A word with the name that a controller has today.
fn current(word: &str) -> String {
    let (dash, name) = match word.strip_prefix('-') {
        Some(name) => ("-", name),
        None => ("", word),
    };
    let today = FORMER.iter().find(|(former, _)| *former == name).map_or(name, |(_, today)| today);
    format!("{dash}{today}")
}

/// All controllers of the original, and ours. To name one that is not here is no mistake.
const NAMES: &[&str] = &[
    "bootstrap-signer-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "cloud-node-lifecycle-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "ephemeral-volume-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "local-path-provisioner-controller",
    "namespace-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "podcertificaterequest-cleaner-controller",
    "podgroup-protection-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourceclaim-controller",
    "resourcepoolstatusrequest-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "selinux-warning-controller",
    "service-cidr-controller",
    "service-lb-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "taint-eviction-controller",
    "token-cleaner-controller",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

/// Former names, which the original still takes: kubeadm writes some of them.
const FORMER: &[(&str, &str)] = &[
    ("attachdetach", "persistentvolume-attach-detach-controller"),
    ("bootstrapsigner", "bootstrap-signer-controller"),
    ("cloud-node-lifecycle", "cloud-node-lifecycle-controller"),
    ("clusterrole-aggregation", "clusterrole-aggregation-controller"),
    ("cronjob", "cronjob-controller"),
    ("csrapproving", "certificatesigningrequest-approving-controller"),
    ("csrcleaner", "certificatesigningrequest-cleaner-controller"),
    ("csrsigning", "certificatesigningrequest-signing-controller"),
    ("daemonset", "daemonset-controller"),
    ("deployment", "deployment-controller"),
    ("disruption", "disruption-controller"),
    ("endpoint", "endpoints-controller"),
    ("endpointslice", "endpointslice-controller"),
    ("endpointslicemirroring", "endpointslice-mirroring-controller"),
    ("ephemeral-volume", "ephemeral-volume-controller"),
    ("garbagecollector", "garbage-collector-controller"),
    ("horizontalpodautoscaling", "horizontal-pod-autoscaler-controller"),
    ("job", "job-controller"),
    ("legacy-service-account-token-cleaner", "legacy-serviceaccount-token-cleaner-controller"),
    ("namespace", "namespace-controller"),
    ("nodeipam", "node-ipam-controller"),
    ("nodelifecycle", "node-lifecycle-controller"),
    ("persistentvolume-binder", "persistentvolume-binder-controller"),
    ("persistentvolume-expander", "persistentvolume-expander-controller"),
    ("podgc", "pod-garbage-collector-controller"),
    ("pv-protection", "persistentvolume-protection-controller"),
    ("pvc-protection", "persistentvolumeclaim-protection-controller"),
    ("replicaset", "replicaset-controller"),
    ("replicationcontroller", "replicationcontroller-controller"),
    ("resource-claim-controller", "resourceclaim-controller"),
    ("resourcequota", "resourcequota-controller"),
    ("root-ca-cert-publisher", "root-ca-certificate-publisher-controller"),
    ("route", "node-route-controller"),
    ("service", "service-lb-controller"),
    ("serviceaccount", "serviceaccount-controller"),
    ("serviceaccount-token", "serviceaccount-token-controller"),
    ("statefulset", "statefulset-controller"),
    ("storage-version-gc", "storageversion-garbage-collector-controller"),
    ("svm", "storage-version-migrator-controller"),
    ("tokencleaner", "token-cleaner-controller"),
    ("ttl", "ttl-controller"),
    ("ttl-after-finished", "ttl-after-finished-controller"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(words: &[&str]) -> Choice {
        Choice { words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    #[test]
    fn a_star_means_all_and_a_dash_means_not() {
        assert!(choice(&["*"]).has("job-controller"));
        assert!(!choice(&["*", "-job-controller"]).has("job-controller"));
        assert!(choice(&["*", "-job-controller"]).has("ttl-controller"));
        assert!(choice(&["job-controller"]).has("job-controller"));
        assert!(!choice(&["job-controller"]).has("ttl-controller"));
        assert!(!choice(&[]).has("job-controller"));
        assert!(
            !choice(&["-job-controller", "job-controller"]).has("job-controller"),
            "the first word counts"
        );
    }

    #[test]
    fn former_names_are_taken() {
        let kubeadms = Choice::of(["*", "bootstrapsigner", "tokencleaner", "-nodeipam"]).expect("names");
        assert!(kubeadms.has("bootstrap-signer-controller") && !kubeadms.has("node-ipam-controller"));
        for (former, today) in FORMER {
            assert!(NAMES.contains(today) && !NAMES.contains(former), "{former}, {today}");
        }
        assert!(Choice::of(["bootstrap"]).is_err());
    }
}
