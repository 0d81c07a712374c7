//! The service account of the pod that this runs in.

use std::path::Path;

use super::resolve::{read_pem, read_token};
use super::{AccessError, Settings, User, server_address};

/// Where the kubelet mounts it.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub fn read(folder: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, AccessError> {
    let failed = |problem: String| AccessError::InCluster { problem };
    let get = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| failed(format!("the variable {name} is not set")))
    };
    let (host, port) = (get("KUBERNETES_SERVICE_HOST")?, get("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let address = format!("https://{host}:{port}");
    let server = server_address(&address, true).map_err(|problem| failed(format!("{address}: {problem}")))?;
    let in_words = |error: AccessError| failed(error.to_string());
    let mut settings = Settings::anonymous(server);
    settings.user = User::Token(read_token(&folder.join("token")).map_err(in_words)?);
    settings.tls.authorities = Some(read_pem(&folder.join("ca.crt")).map_err(in_words)?);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_known_by_its_variables_and_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let variables = |host: &'static str| {
            move |name: &str| match name {
                "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
                "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
                _ => None,
            }
        };
        let problem = |found: Result<Settings, AccessError>| {
            found.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(problem(read(folder.path(), &|_| None)).contains("KUBERNETES_SERVICE_HOST is not set"));
        assert!(problem(read(folder.path(), &variables("10.0.0.1"))).contains("/token"));
        std::fs::write(folder.path().join("token"), " secret\n").expect("write");
        std::fs::write(folder.path().join("ca.crt"), "x").expect("write");
        let found = read(folder.path(), &variables("fd00::1")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.server.to_string(), "https://[fd00::1]:443/");
        assert!(matches!(found.user, User::Token(token) if token == "secret"));
    }
}
