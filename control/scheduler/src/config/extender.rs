//! A program that is asked over HTTP.

use std::time::Duration;

use super::reader::{ConfigError, Object};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extender {
    /// Without a slash at its end.
    pub url: String,
    pub filter_verb: String,
    pub prioritize_verb: String,
    pub bind_verb: String,
    pub weight: i64,
    pub timeout: Duration,
    /// It is given names instead of nodes.
    pub names_only: bool,
    /// Only pods that ask for one of these; empty: all.
    pub resources: Vec<String>,
    /// Resources of those that the scheduler itself does not count.
    pub ignored: Vec<String>,
    /// It may be away.
    pub ignorable: bool,
}

pub fn read(mut object: Object<'_>) -> Result<Extender, ConfigError> {
    let mut url = object.text("urlPrefix")?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(object.wrong("urlPrefix", "want a URL with http:// or https://"));
    }
    while url.ends_with('/') {
        url.pop();
    }
    let preempt = object.text("preemptVerb")?;
    if !preempt.is_empty() {
        return Err(
            object.wrong("preemptVerb", "extenders are not asked about preemption here: leave it out")
        );
    }
    if object.take("tlsConfig").is_some() {
        return Err(
            object.wrong("tlsConfig", "own certificates are not supported: let a local proxy add them")
        );
    }
    let mut extender = Extender {
        url,
        filter_verb: object.text("filterVerb")?,
        prioritize_verb: object.text("prioritizeVerb")?,
        bind_verb: object.text("bindVerb")?,
        weight: object.integer("weight")?.unwrap_or_default(),
        timeout: object.duration("httpTimeout")?.unwrap_or(Duration::from_secs(30)),
        names_only: object.switch("nodeCacheCapable")?.unwrap_or_default(),
        resources: Vec::new(),
        ignored: Vec::new(),
        ignorable: object.switch("ignorable")?.unwrap_or_default(),
    };
    for mut resource in object.objects("managedResources")? {
        let name = resource.text("name")?;
        if resource.switch("ignoredByScheduler")?.unwrap_or_default() {
            extender.ignored.push(name.clone());
        }
        resource.end()?;
        extender.resources.push(name);
    }
    if !extender.prioritize_verb.is_empty() && extender.weight <= 0 {
        return Err(object.wrong("weight", "an extender with a prioritizeVerb needs a weight above 0"));
    }
    object.ignore(&["enableHTTPS"]);
    object.end()?;
    Ok(extender)
}
