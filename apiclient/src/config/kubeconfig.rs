//! The kubeconfig: files, merged, and the current context in them.

use std::path::{Path, PathBuf};

use apiclient_core::fields::{object, objects, optional, or_default};
use apiclient_core::yaml;
use serde::Deserialize;
use serde_json::Value;

use super::plugin::{ExecSettings, Plugin};
use super::resolve::{beside, is_header, pem, read_token};
use super::{AccessError, Identity, Impersonate, Settings, TlsSettings, User, server_address};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    #[serde(deserialize_with = "objects")]
    clusters: Vec<Named<Cluster>>,
    #[serde(deserialize_with = "objects")]
    contexts: Vec<Named<Context>>,
    #[serde(deserialize_with = "objects")]
    users: Vec<Named<UserFields>>,
    #[serde(deserialize_with = "or_default")]
    current_context: String,
}

/// An entry of one of the three lists; its content stands under the list's own word.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(bound = "T: Default + Deserialize<'de>", default)]
struct Named<T> {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(alias = "cluster", alias = "context", alias = "user", deserialize_with = "object")]
    content: T,
    /// The file that it is from: its paths are relative to that.
    #[serde(skip)]
    file: PathBuf,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    #[serde(deserialize_with = "or_default")]
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
    #[serde(deserialize_with = "objects")]
    extensions: Vec<Extension>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Extension {
    #[serde(deserialize_with = "or_default")]
    name: String,
    extension: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(deserialize_with = "or_default")]
    cluster: String,
    #[serde(deserialize_with = "or_default")]
    user: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UserFields {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "as")]
    act_as: Option<String>,
    as_uid: Option<String>,
    #[serde(deserialize_with = "or_default")]
    as_groups: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    as_user_extra: std::collections::BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "optional")]
    exec: Option<ExecSettings>,
    auth_provider: Option<Value>,
}

/// Reads the files and resolves the current context. One file must be there; of several, those that are not are passed
/// over, as kubectl does.
pub fn read(files: &[PathBuf]) -> Result<Settings, AccessError> {
    let mut merged = File::default();
    let (mut found, mut chosen) = (0, files.first().cloned().unwrap_or_default());
    for path in files {
        let failed = |problem: String| AccessError::Kubeconfig { path: path.clone(), problem };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && files.len() > 1 => continue,
            Err(error) => return Err(failed(error.to_string())),
        };
        found += 1;
        let file = parse(&text, path).map_err(failed)?;
        if merged.current_context.is_empty() && !file.current_context.is_empty() {
            merged.current_context = file.current_context;
            chosen.clone_from(path);
        }
        add(&mut merged.clusters, file.clusters);
        add(&mut merged.contexts, file.contexts);
        add(&mut merged.users, file.users);
    }
    if found == 0 {
        let problem = "none of the files is there".to_owned();
        return Err(AccessError::Kubeconfig { path: chosen, problem });
    }
    resolve(&merged, &chosen)
}

fn parse(text: &str, path: &Path) -> Result<File, String> {
    let mut documents = yaml::values(text).map_err(|error| error.to_string())?.into_iter();
    let document = documents.next().ok_or("it is empty")?;
    if let Some(kind) = document.get("kind").and_then(Value::as_str).filter(|kind| *kind != "Config") {
        return Err(format!("its kind is {kind}, want Config"));
    }
    let mut file: File = serde_json::from_value(document).map_err(|error| error.to_string())?;
    file.clusters.iter_mut().for_each(|entry| entry.file = path.to_owned());
    file.contexts.iter_mut().for_each(|entry| entry.file = path.to_owned());
    file.users.iter_mut().for_each(|entry| entry.file = path.to_owned());
    Ok(file)
}

/// What is there already stays.
fn add<T>(all: &mut Vec<Named<T>>, more: Vec<Named<T>>) {
    for entry in more {
        if !all.iter().any(|known| known.name == entry.name) {
            all.push(entry);
        }
    }
}

fn named<'a, T>(all: &'a [Named<T>], what: &str, name: &str) -> Result<&'a Named<T>, String> {
    all.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|entry| entry.name.as_str()).collect();
        format!("it has no {what} {name:?}, only {known:?}")
    })
}

fn resolve(file: &File, path: &Path) -> Result<Settings, AccessError> {
    let failed = |problem: String| AccessError::Kubeconfig { path: path.to_owned(), problem };
    if file.current_context.is_empty() {
        let known: Vec<_> = file.contexts.iter().map(|context| context.name.as_str()).collect();
        return Err(failed(format!("it has no current-context; its contexts are {known:?}")));
    }
    let context = named(&file.contexts, "context", &file.current_context).map_err(failed)?;
    let cluster = named(&file.clusters, "cluster", &context.content.cluster).map_err(failed)?;
    let user = match context.content.user.as_str() {
        "" => None,
        name => Some(named(&file.users, "user", name).map_err(failed)?),
    };
    let failed_in =
        |entry: &Path, problem: String| AccessError::Kubeconfig { path: entry.to_owned(), problem };
    let in_cluster =
        |problem: String| failed_in(&cluster.file, format!("cluster {}: {problem}", cluster.name));
    let mut settings = of_cluster(cluster).map_err(|error| match error {
        Wrong::Field(problem) => in_cluster(problem),
        Wrong::Access(error) => in_cluster(error.to_string()),
    })?;
    if let Some(user) = user {
        let in_user = |problem: String| failed_in(&user.file, format!("user {}: {problem}", user.name));
        of_user(user, &mut settings, &cluster.content).map_err(|error| match error {
            Wrong::Field(problem) => in_user(problem),
            Wrong::Access(error) => in_user(error.to_string()),
        })?;
    }
    Ok(settings)
}

enum Wrong {
    Field(String),
    Access(AccessError),
}

impl From<AccessError> for Wrong {
    fn from(error: AccessError) -> Self {
        Wrong::Access(error)
    }
}

fn wrong<T>(problem: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Field(problem.into()))
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn filled(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn of_cluster(entry: &Named<Cluster>) -> Result<Settings, Wrong> {
    let (cluster, folder) = (&entry.content, folder(&entry.file));
    let authorities = pem(
        folder,
        "certificate-authority",
        filled(cluster.certificate_authority.as_ref()),
        filled(cluster.certificate_authority_data.as_ref()),
    )?;
    if authorities.is_some() && cluster.insecure_skip_tls_verify {
        return wrong("certificate-authority and insecure-skip-tls-verify exclude each other: take one away");
    }
    if cluster.server.trim().is_empty() {
        return wrong("it has no server");
    }
    let tls = authorities.is_some() || cluster.insecure_skip_tls_verify;
    let server = server_address(&cluster.server, tls)
        .map_err(|problem| Wrong::Field(format!("server {:?}: {problem}", cluster.server)))?;
    let proxy = filled(cluster.proxy_url.as_ref()).map(proxy).transpose().map_err(Wrong::Field)?;
    Ok(Settings {
        tls: TlsSettings {
            authorities,
            server_name: filled(cluster.tls_server_name.as_ref()).map(str::to_owned),
            insecure: cluster.insecure_skip_tls_verify,
            client: None,
        },
        proxy,
        ..Settings::anonymous(server)
    })
}

/// A proxy's address; its password is not repeated in a message.
fn proxy(text: &str) -> Result<http::Uri, String> {
    let found: http::Uri = text.parse().map_err(|error| format!("proxy-url is not a URL: {error}"))?;
    match (found.scheme_str(), found.host()) {
        (Some("http" | "https" | "socks5" | "socks5h"), Some(host)) if !host.is_empty() => Ok(found),
        (Some(scheme @ ("http" | "https" | "socks5" | "socks5h")), _) => {
            Err(format!("proxy-url {scheme}:// has no host"))
        }
        (scheme, _) => Err(format!(
            "proxy-url has the scheme {:?}, want http, https or socks5",
            scheme.unwrap_or_default()
        )),
    }
}

fn of_user(entry: &Named<UserFields>, settings: &mut Settings, cluster: &Cluster) -> Result<(), Wrong> {
    let (user, folder) = (&entry.content, folder(&entry.file));
    let of = |field, file: &Option<String>, data: &Option<String>| {
        pem(folder, field, filled(file.as_ref()), filled(data.as_ref()))
    };
    let certificate = of("client-certificate", &user.client_certificate, &user.client_certificate_data)?;
    let key = of("client-key", &user.client_key, &user.client_key_data)?;
    settings.tls.client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return wrong("client-certificate needs a client-key"),
        (None, Some(_)) => return wrong("client-key needs a client-certificate"),
    };
    if user.auth_provider.as_ref().is_some_and(|found| !found.is_null()) {
        return wrong("auth-provider is not supported; use an exec plugin");
    }
    let (token, file) = (filled(user.token.as_ref()), filled(user.token_file.as_ref()));
    let (name, password) = (filled(user.username.as_ref()), user.password.as_deref().unwrap_or_default());
    let basic = name.is_some() || !password.is_empty();
    let ways =
        [token.or(file).map(|_| "token"), basic.then_some("username"), user.exec.as_ref().map(|_| "exec")];
    let ways: Vec<_> = ways.into_iter().flatten().collect();
    if let [first, second, ..] = ways.as_slice() {
        return wrong(format!("{first} and {second} exclude each other: take one away"));
    }
    settings.user = if let Some(file) = file {
        // As for client-go the file counts, and the token only where the file cannot be read.
        match (read_token(&beside(folder, file)), token) {
            (Ok(token), _) => User::Token(token),
            (Err(_), Some(token)) => User::Token(token.to_owned()),
            (Err(error), None) => return Err(error.into()),
        }
    } else if let Some(token) = token {
        if !is_header(token) {
            return wrong("token holds characters that no token may have");
        }
        User::Token(token.to_owned())
    } else if basic {
        User::Basic { name: name.unwrap_or_default().to_owned(), password: password.to_owned() }
    } else if let Some(exec) = &user.exec {
        let config =
            cluster.extensions.iter().find(|found| found.name == "client.authentication.k8s.io/exec");
        let config = config.map_or(Value::Null, |found| found.extension.clone());
        let plugin = Plugin::new(exec, folder, settings, &cluster.server, config).map_err(Wrong::Field)?;
        User::Plugin(Box::new(plugin))
    } else {
        User::Anonymous
    };
    let impersonate = Impersonate {
        user: filled(user.act_as.as_ref()).map(str::to_owned),
        uid: filled(user.as_uid.as_ref()).map(str::to_owned),
        groups: user.as_groups.clone(),
        extra: user
            .as_user_extra
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (key.clone(), value.clone())))
            .collect(),
    };
    if impersonate.user.is_none() && impersonate != Impersonate::default() {
        return wrong("as-groups, as-uid and as-user-extra need as");
    }
    settings.impersonate = impersonate;
    Ok(())
}

#[cfg(test)]
mod tests;
