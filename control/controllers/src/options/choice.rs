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
        let words: Vec<String> = words.into_iter().map(|word| word.trim().to_owned()).collect();
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
}
