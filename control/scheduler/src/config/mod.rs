//! `KubeSchedulerConfiguration` (kubescheduler.config.k8s.io/v1): the file that says which profiles there are.
//!
//! Owns: its fields, their defaults and what is refused. Unknown fields are errors, as in the original. Pure.

mod args;
mod extender;
mod plugins;
mod reader;

use std::time::Duration;

use control_scheduler_core::profile::Profile;
use control_scheduler_core::queue::Waits;
use serde_json::Value;

pub use extender::Extender;
pub use reader::ConfigError;
use reader::Object;

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";

/// What a scheduler does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub profiles: Vec<Profile>,
    pub extenders: Vec<Extender>,
    /// Percent of the nodes that have to fit before a search ends; 0: as many as is wise.
    pub percentage: i32,
    pub waits: Waits,
    pub election: Election,
    /// Empty where the file does not say.
    pub kubeconfig: String,
}

/// Leader election, by a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    pub elect: bool,
    pub lease: Duration,
    pub renew: Duration,
    pub retry: Duration,
    pub namespace: String,
    pub name: String,
}

impl Default for Election {
    fn default() -> Self {
        Self {
            elect: true,
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            namespace: "kube-system".to_owned(),
            name: "kube-scheduler".to_owned(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profiles: vec![Profile::default()],
            extenders: Vec::new(),
            percentage: 0,
            waits: Waits::default(),
            election: Election::default(),
            kubeconfig: String::new(),
        }
    }
}

impl Config {
    /// Reads the file's document.
    ///
    /// # Errors
    /// The first field that cannot be meant.
    pub fn read(document: &Value) -> Result<Self, ConfigError> {
        let mut file = Object::new("", document)?;
        let (version, kind) = (file.text("apiVersion")?, file.text("kind")?);
        if version != API_VERSION || kind != KIND {
            return Err(ConfigError::new("", format!("want {API_VERSION} {KIND}, not {version:?} {kind:?}")));
        }
        let seconds = |value: Option<i64>, default: Duration| match value {
            None => Some(default),
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        };
        let (least, most) =
            (file.integer("podInitialBackoffSeconds")?, file.integer("podMaxBackoffSeconds")?);
        let defaults = Waits::default();
        let least = seconds(least, defaults.least).filter(|least| !least.is_zero());
        let least = least.ok_or_else(|| ConfigError::new("podInitialBackoffSeconds", "want more than 0"))?;
        let most = seconds(most, defaults.most).filter(|most| *most >= least).ok_or_else(|| {
            ConfigError::new("podMaxBackoffSeconds", "want at least podInitialBackoffSeconds")
        })?;
        let percentage = plugins::percentage(&mut file)?.unwrap_or_default();
        let connection = file.object("clientConnection")?;
        let kubeconfig = match connection {
            None => String::new(),
            Some(mut connection) => {
                let kubeconfig = connection.text("kubeconfig")?;
                // Writes bend to the server's load instead.
                connection.ignore(&["acceptContentTypes", "contentType", "qps", "burst"]);
                connection.end()?;
                kubeconfig
            }
        };
        let election = match file.object("leaderElection")? {
            None => Election::default(),
            Some(election) => read_election(election)?,
        };
        let mut profiles = Vec::new();
        for profile in file.objects("profiles")? {
            profiles.push(plugins::profile(profile)?);
        }
        if profiles.is_empty() {
            profiles.push(Profile::default());
        }
        for (nth, profile) in profiles.iter().enumerate() {
            if profile.name.is_empty() {
                return Err(ConfigError::new(format!("profiles[{nth}].schedulerName"), "want a name"));
            }
            if profiles[..nth].iter().any(|other| other.name == profile.name) {
                let problem = format!("{:?} is there twice", profile.name);
                return Err(ConfigError::new(format!("profiles[{nth}].schedulerName"), problem));
            }
        }
        let mut extenders = Vec::new();
        for extender in file.objects("extenders")? {
            extenders.push(extender::read(extender)?);
        }
        if extenders.iter().filter(|extender| !extender.bind_verb.is_empty()).count() > 1 {
            return Err(ConfigError::new("extenders", "only one of them can have a bindVerb"));
        }
        file.ignore(&[
            "parallelism",
            "enableProfiling",
            "enableContentionProfiling",
            "delayCacheUntilActive",
        ]);
        file.end()?;
        let waits = Waits { least, most, ..defaults };
        Ok(Self { profiles, extenders, percentage, waits, election, kubeconfig })
    }
}

fn read_election(mut election: Object<'_>) -> Result<Election, ConfigError> {
    let defaults = Election::default();
    let or = |text: String, default: String| if text.is_empty() { default } else { text };
    let found = Election {
        elect: election.switch("leaderElect")?.unwrap_or(true),
        lease: election.duration("leaseDuration")?.unwrap_or(defaults.lease),
        renew: election.duration("renewDeadline")?.unwrap_or(defaults.renew),
        retry: election.duration("retryPeriod")?.unwrap_or(defaults.retry),
        namespace: or(election.text("resourceNamespace")?, defaults.namespace),
        name: or(election.text("resourceName")?, defaults.name),
    };
    let lock = election.text("resourceLock")?;
    if !matches!(lock.as_str(), "" | "leases") {
        return Err(ConfigError::new("leaderElection.resourceLock", "only leases are used"));
    }
    election.end()?;
    Ok(found)
}

#[cfg(test)]
mod tests;
