//! Credentials from another program (`exec` in a kubeconfig).
//!
//! Facts: client-go's `plugin/pkg/client/auth/exec` and `client.authentication.k8s.io/v1`, Kubernetes 1.36. client-go
//! waits for a plugin without end; here it has [`LIMIT`].

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use apiclient_core::fields::{object, objects, or_default};
use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::resolve::is_header;
use super::{Identity, Pem, Settings};

/// How long a plugin may take. One that asks a person would wait for ever.
const LIMIT: Duration = Duration::from_secs(30);

/// As much of what a plugin writes is read.
const OUTPUT: u64 = 1 << 20;

/// As much of its complaints is repeated.
const SAID: usize = 500;

const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// The `exec` of a user.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecSettings {
    #[serde(deserialize_with = "or_default")]
    api_version: String,
    #[serde(deserialize_with = "or_default")]
    command: String,
    #[serde(deserialize_with = "or_default")]
    args: Vec<String>,
    #[serde(deserialize_with = "objects")]
    env: Vec<Variable>,
    #[serde(deserialize_with = "or_default")]
    install_hint: String,
    #[serde(deserialize_with = "or_default")]
    provide_cluster_info: bool,
    #[serde(deserialize_with = "or_default")]
    interactive_mode: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Variable {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    value: String,
}

/// A plugin that can be asked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Plugin {
    api_version: String,
    command: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    hint: String,
    /// What it gets to know, as JSON.
    question: String,
    limit: Duration,
}

/// What a plugin answers.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    pub token: Option<String>,
    pub identity: Option<Identity>,
    pub expires: Option<SystemTime>,
}

impl Credential {
    /// Whether it can still be used at a time.
    pub fn is_good(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// Why a plugin gave no credentials.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the credential plugin {command} {problem}")]
pub(crate) struct PluginError {
    command: String,
    problem: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    #[serde(deserialize_with = "or_default")]
    api_version: String,
    #[serde(deserialize_with = "or_default")]
    kind: String,
    #[serde(deserialize_with = "object")]
    status: AnswerStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnswerStatus {
    expiration_timestamp: Option<String>,
    #[serde(deserialize_with = "or_default")]
    token: String,
    #[serde(deserialize_with = "or_default")]
    client_certificate_data: String,
    #[serde(deserialize_with = "or_default")]
    client_key_data: String,
}

impl Plugin {
    /// `folder` is the kubeconfig's, `config` what the cluster's extension holds for plugins.
    pub fn new(
        exec: &ExecSettings,
        folder: &Path,
        settings: &Settings,
        server: &str,
        config: Value,
    ) -> Result<Self, String> {
        if exec.command.is_empty() {
            return Err("exec has no command".to_owned());
        }
        if !VERSIONS.contains(&exec.api_version.as_str()) {
            return Err(format!(
                "exec has the apiVersion {:?}, want {}",
                exec.api_version,
                VERSIONS.join(" or ")
            ));
        }
        match exec.interactive_mode.as_str() {
            "Never" | "IfAvailable" => {}
            "" if exec.api_version == VERSIONS[1] => {}
            "" => return Err("exec has no interactiveMode: want Never or IfAvailable".to_owned()),
            "Always" => {
                return Err("exec has interactiveMode Always, and a daemon has nobody to ask: use a token or a client \
                     certificate"
                    .to_owned());
            }
            other => return Err(format!("exec has interactiveMode {other:?}, want Never or IfAvailable")),
        }
        let mut spec = json!({ "interactive": false });
        if exec.provide_cluster_info {
            let mut cluster = json!({ "server": server, "config": config });
            if let Some(name) = &settings.tls.server_name {
                cluster["tls-server-name"] = json!(name);
            }
            if settings.tls.insecure {
                cluster["insecure-skip-tls-verify"] = json!(true);
            }
            if let Some(pem) = &settings.tls.authorities {
                cluster["certificate-authority-data"] = json!(STANDARD.encode(&pem.text));
            }
            if let Some(proxy) = &settings.proxy {
                cluster["proxy-url"] = json!(proxy.to_string());
            }
            spec["cluster"] = cluster;
        }
        let question = json!({ "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec });
        // A bare name is looked for in PATH; anything with a slash stands beside the kubeconfig.
        let command = if exec.command.contains('/') {
            folder.join(&exec.command).display().to_string()
        } else {
            exec.command.clone()
        };
        Ok(Self {
            api_version: exec.api_version.clone(),
            command,
            args: exec.args.clone(),
            env: exec.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect(),
            hint: exec.install_hint.trim().to_owned(),
            question: question.to_string(),
            limit: LIMIT,
        })
    }

    /// Runs the plugin. It is ended, with what it started, when its time is over.
    pub async fn ask(&self) -> Result<Credential, PluginError> {
        let (status, output, complaint) = self.run().await.map_err(|problem| self.failed(problem))?;
        if !status.success() {
            return Err(self.failed(format!("failed ({status}){}", said(&complaint))));
        }
        self.read(&output).map_err(|problem| self.failed(problem))
    }

    fn failed(&self, problem: String) -> PluginError {
        PluginError { command: self.command.clone(), problem }
    }

    async fn run(&self) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
        let mut child = Command::new(&self.command)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", &self.question)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let hint = if self.hint.is_empty() { String::new() } else { format!("; {}", self.hint) };
                format!("cannot be started: {error}{hint}")
            })?;
        let group = Group(child.id());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut output, mut complaint) = (Vec::new(), Vec::new());
        let done = tokio::time::timeout(self.limit, async {
            let (_, _, status) =
                tokio::join!(take(stdout, &mut output), take(stderr, &mut complaint), child.wait());
            status
        })
        .await;
        match done {
            Ok(status) => {
                let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
                std::mem::forget(group);
                Ok((status, output, complaint))
            }
            Err(_) => {
                drop(group);
                Err(format!("gave no answer within {:?} and was ended{}", self.limit, said(&complaint)))
            }
        }
    }

    fn read(&self, output: &[u8]) -> Result<Credential, String> {
        // The output may hold a token: it is not repeated.
        let answer: Answer = serde_json::from_slice(output)
            .map_err(|error| format!("wrote no ExecCredential: {}", place(&error)))?;
        if answer.kind != "ExecCredential" || answer.api_version != self.api_version {
            return Err(format!(
                "wrote apiVersion {:?} and kind {:?}, want {} and ExecCredential",
                answer.api_version, answer.kind, self.api_version
            ));
        }
        let status = answer.status;
        let identity = match (status.client_certificate_data.as_str(), status.client_key_data.as_str()) {
            ("", "") => None,
            ("", _) | (_, "") => return Err("wrote a client certificate or its key, and not both".to_owned()),
            (certificate, key) => {
                let pem = |what: &str, text: &str| Pem {
                    origin: format!("{what} of the credential plugin {}", self.command),
                    text: text.as_bytes().to_owned(),
                };
                let identity =
                    Identity { certificate: pem("the certificate", certificate), key: pem("the key", key) };
                Some(identity)
            }
        };
        let token = status.token.trim();
        if token.is_empty() && identity.is_none() {
            return Err("wrote neither a token nor a client certificate".to_owned());
        }
        if !is_header(token) {
            return Err("wrote a token with characters that no token may have".to_owned());
        }
        let expires = match status.expiration_timestamp.as_deref().filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(
                time::parse(text)
                    .ok_or_else(|| format!("wrote the expirationTimestamp {text:?}, which is no time"))?,
            ),
        };
        Ok(Credential { token: (!token.is_empty()).then(|| token.to_owned()), identity, expires })
    }
}

/// Ends the whole group unless it is forgotten.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // It may have ended in this moment.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// Reads all, and keeps the beginning.
async fn take(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let _ = (&mut from).take(OUTPUT).read_to_end(into).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

fn said(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = text.floor_char_boundary(text.len().saturating_sub(SAID));
    if text.is_empty() { String::new() } else { format!(": {}", &text[start..]) }
}

/// What is wrong with a JSON text, without any of it.
fn place(error: &serde_json::Error) -> String {
    let what = if error.is_eof() {
        "it ends too soon"
    } else if error.is_data() {
        "a field has a wrong type"
    } else {
        "it is no JSON"
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(script: &str, limit: Duration) -> Plugin {
        Plugin {
            api_version: VERSIONS[0].to_owned(),
            command: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("A".to_owned(), "b".to_owned())],
            hint: "install it".to_owned(),
            question: "{}".to_owned(),
            limit,
        }
    }

    async fn problem(script: &str) -> String {
        let found = plugin(script, Duration::from_secs(60)).ask().await;
        found.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_plugin_gives_a_token_and_how_long_it_lasts() {
        let script = r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s-%s\\n","expirationTimestamp":"2026-01-01T00:00:00Z"}}' "$A" "$KUBERNETES_EXEC_INFO""#;
        let found = plugin(script, Duration::from_secs(60)).ask().await.expect("a token");
        assert_eq!(found.token.as_deref(), Some("b-{}"));
        let end = time::parse("2026-01-01T00:00:00Z").expect("a time");
        assert_eq!(found.expires, Some(end));
        assert!(found.is_good(end - Duration::from_secs(1)) && !found.is_good(end));
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_ended_and_what_it_said_is_repeated() {
        // Its child holds the pipes open as well.
        let file = tempfile::NamedTempFile::new().expect("a file");
        let script =
            format!("echo waiting for a browser >&2; sleep 1000 & echo $! > {}; wait", file.path().display());
        let mut hanging = plugin(&script, Duration::from_millis(1));
        // Long enough to have written its complaint, on any machine.
        let began = std::time::Instant::now();
        loop {
            hanging.limit *= 2;
            let error = hanging.ask().await.err().expect("no answer").to_string();
            assert!(error.contains("gave no answer within") && error.contains("and was ended"), "{error}");
            let child = std::fs::read_to_string(file.path()).expect("a file");
            if error.ends_with(": waiting for a browser") && !child.trim().is_empty() {
                let state = format!("/proc/{}/stat", child.trim());
                let gone = || std::fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "));
                while !gone() {
                    assert!(began.elapsed() < Duration::from_secs(60), "its child lives");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{error}");
        }
    }

    #[tokio::test]
    async fn what_a_plugin_does_wrong_is_said_and_its_output_is_not() {
        let failed = problem("echo no such account >&2; exit 3").await;
        assert_eq!(failed, "the credential plugin sh failed (exit status: 3): no such account");
        assert!(problem("true").await.contains("it ends too soon"));
        let garbled = problem("echo SECRET").await;
        assert!(garbled.contains("it is no JSON") && !garbled.contains("SECRET"), "{garbled}");
        let other = problem(
            r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}'"#,
        )
        .await;
        assert!(other.contains("v1alpha1"), "{other}");
        let empty = problem(
            r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}'"#,
        )
        .await;
        assert!(empty.contains("neither a token nor a client certificate"), "{empty}");
        let mut missing = plugin("", LIMIT);
        missing.command = "/nowhere/at/all".to_owned();
        let error = missing.ask().await.err().expect("none").to_string();
        assert!(error.contains("cannot be started") && error.ends_with("; install it"), "{error}");
    }
}
