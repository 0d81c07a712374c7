//! Keys, certificates and tokens of one control plane, made again for each; and the kubeconfigs that carry them.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use host::netns::Namespace;
use serde_json::json;

use host::programs;
use host::programs::ProgramError;

/// Who speaks to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// `system:kube-proxy`: what the bootstrapped ClusterRole `system:node-proxier` allows, and no more.
    Proxy,
    /// May do everything.
    Admin,
}

impl User {
    /// The bearer token by which the server knows it.
    pub fn token(self) -> &'static str {
        match self {
            Self::Proxy => "token-of-the-proxy",
            Self::Admin => "token-of-the-admin",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Proxy => "proxy.kubeconfig",
            Self::Admin => "admin.kubeconfig",
        }
    }
}

/// The directory that holds them.
#[derive(Clone, Debug)]
pub struct Credentials {
    directory: PathBuf,
}

impl Credentials {
    /// Makes them. The server's certificate is for `address`, 127.0.0.1 and the first service address.
    pub fn make(directory: &Path, address: IpAddr) -> Result<Self, ProgramError> {
        programs::require(&[("openssl", "openssl")])?;
        let made = Self { directory: directory.to_owned() };
        let name = |name: &str| made.path(name).display().to_string();
        let (ca_key, ca, request) = (name("ca.key"), name("ca.crt"), name("server.csr"));
        for key in ["ca.key", "server.key", "sa.key"] {
            openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &name(key)])?;
        }
        openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            &ca_key,
            "-subj",
            "/CN=lab-ca",
            "-days",
            "30",
            "-out",
            &ca,
        ])?;
        let key = name("server.key");
        openssl(&["req", "-new", "-key", &key, "-subj", "/CN=kube-apiserver", "-out", &request])?;
        let names =
            format!("IP:{address},IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc");
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n");
        made.write("server.ext", &extensions)?;
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            &name("server.ext"),
            "-out",
            &name("server.crt"),
        ])?;
        let tokens = format!(
            "{},system:kube-proxy,1\n{},admin,2,system:masters\n",
            User::Proxy.token(),
            User::Admin.token()
        );
        made.write("tokens.csv", &tokens)?;
        Ok(made)
    }

    /// A file by its name: `ca.crt`, `server.crt`, `server.key`, `sa.key`, `tokens.csv`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where a user's kubeconfig is or will be.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.path(user.file())
    }

    /// Writes a kubeconfig to `path`.
    pub fn write_kubeconfig(&self, path: &Path, server: SocketAddr, token: &str) -> Result<(), ProgramError> {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{server}"), "certificate-authority": self.path("ca.crt")}}],
            "users": [{"name": "user", "user": {"token": token}}]});
        fs::write(path, text.to_string()).map_err(ProgramError::io("write", path))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ProgramError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(ProgramError::io("write", path))
    }
}

fn openssl(arguments: &[&str]) -> Result<(), ProgramError> {
    let argv = ["openssl"].iter().chain(arguments).copied();
    programs::run(&programs::inside(&Namespace::current()?, argv))?.ok().map(drop)
}
