//! Programs that have a say over HTTP, asked between the search and the choice.
//!
//! Facts: `k8s.io/kube-scheduler/extender/v1`. An ignorable one that does not answer is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiclient::objects::Api;
use apiclient::{Access, Client};
use control_scheduler_core::pod::Pod;
use control_scheduler_core::state::{Answers, Ask, Bind};
use serde_json::{Value, json};

use crate::config::Extender;
use crate::feeds::{NODES, PODS};

/// Scores of extenders are out of ten, ours out of a hundred.
const SCALE: i64 = 10;

pub struct Extenders {
    all: Vec<(Extender, Client, String)>,
    api: Arc<dyn Api>,
}

/// Why extenders cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("extender {url}: {problem}")]
pub struct ExtenderError {
    url: String,
    problem: String,
}

impl Extenders {
    /// # Errors
    /// A URL that cannot be used.
    pub fn new(settings: &[Extender], api: Arc<dyn Api>) -> Result<Self, ExtenderError> {
        let mut all = Vec::new();
        for extender in settings {
            let wrong = |problem: String| ExtenderError { url: extender.url.clone(), problem };
            let (scheme, rest) = extender.url.split_once("://").unwrap_or(("http", &extender.url));
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if authority.is_empty() {
                return Err(wrong("the URL has no host".to_owned()));
            }
            let path = if path.is_empty() { String::new() } else { format!("/{path}") };
            let access = Access { kubeconfigs: Vec::new(), master: Some(format!("{scheme}://{authority}")) };
            let client = Client::connect_within(access, extender.timeout);
            all.push((extender.clone(), client.map_err(|error| wrong(error.to_string()))?, path));
        }
        Ok(Self { all, api })
    }

    pub fn are_some(&self) -> bool {
        !self.all.is_empty()
    }

    fn interested<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a (Extender, Client, String)> {
        let asks = move |name: &String| match name.as_str() {
            "cpu" => pod.spec.requests.cpu > 0,
            "memory" => pod.spec.requests.memory > 0,
            name => pod.spec.requests.other(name) > 0,
        };
        self.all.iter().filter(move |(extender, ..)| {
            extender.resources.is_empty() || extender.resources.iter().any(asks)
        })
    }

    /// # Errors
    /// One that must answer did not.
    pub async fn ask(&self, ask: &Ask) -> Result<Answers, String> {
        let mut answers =
            Answers { nodes: (0..ask.names.len()).map(|place| (place, 0)).collect(), refused: Vec::new() };
        let asked: Vec<_> = self.interested(&ask.pod).collect();
        if asked.is_empty() {
            return Ok(answers);
        }
        let path = PODS.object_path(&ask.pod.name.namespace, &ask.pod.name.name, "");
        let pod = self.api.read(&path).await.map_err(|failure| failure.to_string())?;
        for (extender, client, base) in asked.iter().filter(|(extender, ..)| !extender.filter_verb.is_empty())
        {
            if answers.nodes.is_empty() {
                break;
            }
            let args = self.args(extender, &pod, ask, &answers).await?;
            let reply: Result<Value, _> =
                client.create(&format!("{base}/{}", extender.filter_verb), &args).await;
            let problem = match &reply {
                Ok(reply) => {
                    field(reply, "Error").as_str().filter(|error| !error.is_empty()).map(str::to_owned)
                }
                Err(failure) => Some(failure.to_string()),
            };
            match (problem, reply) {
                (Some(problem), _) if extender.ignorable => {
                    tracing::info!(extender = extender.url, problem, "an extender is left out");
                }
                (Some(problem), _) => return Err(format!("extender {}: {problem}", extender.url)),
                (None, reply) => filter(&mut answers, ask, &reply.unwrap_or_default()),
            }
        }
        for (extender, client, base) in
            asked.iter().filter(|(extender, ..)| !extender.prioritize_verb.is_empty())
        {
            let args = self.args(extender, &pod, ask, &answers).await?;
            let path = format!("{base}/{}", extender.prioritize_verb);
            // Others decide where it does not answer.
            let Ok(reply) = client.create::<Value>(&path, &args).await else { continue };
            for priority in reply.as_array().into_iter().flatten() {
                let (host, score) =
                    (field(priority, "Host").as_str(), field(priority, "Score").as_i64().unwrap_or_default());
                let place = ask.names.iter().position(|name| Some(&**name) == host);
                if let Some((_, sum)) = answers.nodes.iter_mut().find(|(at, _)| Some(*at) == place) {
                    *sum += score * extender.weight * SCALE;
                }
            }
        }
        Ok(answers)
    }

    async fn args(
        &self,
        extender: &Extender,
        pod: &Value,
        ask: &Ask,
        answers: &Answers,
    ) -> Result<Value, String> {
        let names: Vec<&str> = answers.nodes.iter().map(|(at, _)| &*ask.names[*at]).collect();
        if extender.names_only {
            return Ok(json!({"Pod": pod, "NodeNames": names}));
        }
        let mut items = Vec::new();
        for name in names {
            let node = self.api.read(&NODES.object_path("", name, "")).await;
            items.push(node.map_err(|failure| failure.to_string())?);
        }
        let items: Vec<&Value> = items.iter().map(|node| &**node).collect();
        Ok(json!({"Pod": pod, "Nodes": {"apiVersion": "v1", "kind": "NodeList", "items": items}}))
    }

    /// Has an extender bind a pod; `None` where none of them does.
    pub async fn bind(&self, bind: &Bind) -> Option<Result<(), String>> {
        let (extender, client, base) =
            self.interested(&bind.pod).find(|(extender, ..)| !extender.bind_verb.is_empty())?;
        let args = json!({"PodName": *bind.pod.name.name, "PodNamespace": *bind.pod.name.namespace,
            "PodUID": *bind.pod.uid, "Node": *bind.node});
        let reply = client.create::<Value>(&format!("{base}/{}", extender.bind_verb), &args).await;
        match reply {
            Ok(reply) => match field(&reply, "Error").as_str().filter(|error| !error.is_empty()) {
                None => Some(Ok(())),
                Some(_) if extender.ignorable => None,
                Some(error) => Some(Err(error.to_owned())),
            },
            Err(_) if extender.ignorable => None,
            Err(failure) => Some(Err(failure.to_string())),
        }
    }
}

/// A field by its name, in whatever case: Go reads and writes these so.
fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    let same = |(known, _): &(&String, &Value)| known.eq_ignore_ascii_case(name);
    object.as_object().into_iter().flatten().find(same).map_or(&Value::Null, |(_, value)| value)
}

/// Keeps what an extender keeps.
fn filter(answers: &mut Answers, ask: &Ask, reply: &Value) {
    let names = field(reply, "NodeNames").as_array();
    let kept: Vec<&str> = match (names, field(reply, "Nodes")["items"].as_array()) {
        (Some(names), _) => names.iter().filter_map(Value::as_str).collect(),
        (None, Some(nodes)) => nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect(),
        (None, None) => Vec::new(),
    };
    let said = |name: &str| -> BTreeMap<&str, &str> {
        let texts = field(reply, name).as_object().into_iter().flatten();
        texts.map(|(name, text)| (name.as_str(), text.as_str().unwrap_or_default())).collect()
    };
    let (failed, hopeless) = (said("FailedNodes"), said("FailedAndUnresolvableNodes"));
    answers.nodes.retain(|(at, _)| {
        let name = &*ask.names[*at];
        let keeps = kept.contains(&name);
        if !keeps {
            let text = hopeless.get(name).or_else(|| failed.get(name));
            let text = text.copied().unwrap_or_default().to_owned();
            answers.refused.push((*at, text, hopeless.contains_key(name)));
        }
        keeps
    });
}
