//! Getting in: endpoints, certificates, passwords; and what is said when one does not.

use std::path::Path;
use std::process::Command;

use etcd::EtcdError;
use flanneld::leases::etcd::EtcdSource;
use flanneld::leases::{Remedy, SourceError};
use tempfile::TempDir;

use crate::server::*;

async fn config_error(source: &EtcdSource) -> SourceError {
    source.config().await.unwrap_err()
}

#[tokio::test]
async fn the_network_configuration() {
    let etcd = Etcd::start().await;
    let source = source(&etcd.url(), &["--etcd-prefix=/coreos.com//network/"]);
    let missing = config_error(&source).await.to_string();
    assert!(
        missing.starts_with(
            "flannel config not found in etcd store. Did you create your config using etcdv3 API? \
             (no key /coreos.com/network/config; write it with `etcdctl put /coreos.com/network/config"
        ),
        "{missing}"
    );
    etcd.ctl(&["put", "/coreos.com/network/config", "{\"Network\":"]);
    let malformed = config_error(&source).await;
    assert!(malformed.to_string().starts_with("/coreos.com/network/config in etcd: "), "{malformed}");
    assert_eq!(malformed.remedy(), Remedy::Retry);
    etcd.ctl(&[
        "put",
        "/coreos.com/network/config",
        r#"{"network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#,
    ]);
    assert_eq!(source.config().await.unwrap().backend.name(), "vxlan");
}

/// flannel's default: a dead port beside a live one. No second question may fail.
#[tokio::test]
async fn a_dead_endpoint_beside_a_live_one_costs_nothing() {
    let mut dead = Etcd::start().await;
    dead.kill();
    let etcd = Etcd::start().await;
    let source = source(&format!("{},{}", dead.url(), etcd.url()), &[]);
    for _ in 0..20 {
        source.list().await.unwrap();
    }
}

#[tokio::test]
async fn another_endpoint_serves_when_one_dies() {
    let mut first = Etcd::start().await;
    let second = Etcd::start().await;
    for etcd in [&first, &second] {
        etcd.ctl(&["put", "/coreos.com/network/config", r#"{"Network":"10.5.0.0/16"}"#]);
    }
    let source = source(&format!("{},{}", first.url(), second.url()), &[]);
    source.config().await.unwrap();
    first.kill();
    source.config().await.unwrap();
}

#[tokio::test]
async fn refusal_and_silence_are_told_apart() {
    let mut dead = Etcd::start().await;
    dead.kill();
    let said = config_error(&source(&dead.url(), &[])).await.to_string();
    assert_eq!(
        said,
        format!("etcd cannot be reached: {}: connection refused (nothing listens there)", dead.url())
    );

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let said = config_error(&source(&url, &[])).await.to_string();
    assert_eq!(said, format!("etcd cannot be reached: {url}: no answer within 3s"));
}

#[tokio::test]
async fn a_user_and_a_password() {
    let etcd = Etcd::start().await;
    etcd.ctl(&["put", "/coreos.com/network/config", r#"{"Network":"10.5.0.0/16"}"#]);
    etcd.ctl(&["user", "add", "root:root"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["user", "add", "flannel:hush"]);
    etcd.ctl(&["user", "add", "guest:guest"]);
    etcd.ctl(&["role", "add", "network"]);
    etcd.ctl(&["role", "grant-permission", "network", "--prefix=true", "readwrite", "/coreos.com/network"]);
    etcd.ctl(&["user", "grant-role", "flannel", "network"]);

    // flannel's client goes on without a name where etcd asks for none.
    let early = source(&etcd.url(), &["--etcd-username=flannel", "--etcd-password=hush"]);
    early.config().await.unwrap();
    etcd.ctl(&["auth", "enable"]);
    early.config().await.unwrap();

    let user = |name: &str, password: &str| {
        source(&etcd.url(), &[&format!("--etcd-username={name}"), &format!("--etcd-password={password}")])
    };
    let good = user("flannel", "hush");
    good.config().await.unwrap();
    let own = good.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    let mut events = watched(&good);
    assert_eq!(names(&next(&mut events).await).len(), 1);
    // A change of the rights makes every token old: log in again.
    let root = ["--user=root:root"];
    etcd.ctl(&[root[0], "role", "add", "another"]);
    good.renew(&own).await.unwrap();

    let error = config_error(&user("flannel", "wrong")).await;
    assert!(
        matches!(&error, SourceError::Etcd { error: EtcdError::Authentication { user, .. }, .. } if user == "flannel"),
        "{error}"
    );
    let said = error.to_string();
    assert!(said.contains("check --etcd-username and --etcd-password") && !said.contains("wrong"), "{said}");
    let error = config_error(&user("guest", "guest")).await;
    assert!(matches!(error, SourceError::Etcd { error: EtcdError::Denied { .. }, .. }), "{error}");
    assert!(error.to_string().contains("needs read and write access below /coreos.com/network"), "{error}");
    let error = config_error(&source(&etcd.url(), &[])).await;
    assert!(matches!(error, SourceError::Etcd { error: EtcdError::NoUser { .. }, .. }), "{error}");
}

/// An authority, a certificate for 127.0.0.1 and one for a client, made by openssl.
fn certificates() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let out = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(dir.path())
            .output()
            .expect("openssl is installed (Debian: openssl)");
        assert!(out.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for ca in ["ca", "other-ca"] {
        run(&format!("req -x509 {new} -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"));
    }
    std::fs::write(dir.path().join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.path().join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for who in ["server", "client"] {
        run(&format!("req {new} -subj /CN={who} -keyout {who}.key -out {who}.csr"));
        run(&format!(
            "x509 -req -in {who}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {who}.ext -out {who}.pem"
        ));
    }
    dir
}

const CA: &[(&str, &str)] = &[("etcd-cafile", "ca.pem")];

fn in_dir(dir: &Path, flags: &[(&str, &str)]) -> Vec<String> {
    flags.iter().map(|(flag, file)| format!("--{flag}={}", dir.join(file).display())).collect()
}

fn source_in(etcd: &Etcd, flags: &[(&str, &str)]) -> EtcdSource {
    let flags = in_dir(etcd.dir(), flags);
    source(&etcd.url(), &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// flannel ignores the CA where there is no client certificate.
#[tokio::test]
async fn tls_with_an_authority_of_ones_own_and_no_client_certificate() {
    let server = ["--cert-file={dir}/server.pem", "--key-file={dir}/server.key"];
    let etcd = Etcd::start_in(certificates(), "https", &server).await;
    let good = source_in(&etcd, CA);
    assert!(matches!(config_error(&good).await, SourceError::ConfigMissing { .. }));

    for flags in [&[("etcd-cafile", "other-ca.pem")][..], &[]] {
        let said = config_error(&source_in(&etcd, flags)).await.to_string();
        assert!(said.contains("TLS: ") && said.contains("as --etcd-cafile"), "{said}");
    }
    let named = source(&etcd.url().replace("127.0.0.1", "localhost"), &[&in_dir(etcd.dir(), CA)[0]]);
    let said = config_error(&named).await.to_string();
    assert!(said.contains("subjectAltName"), "{said}");
    let plain = source(&etcd.url().replace("https", "http"), &[]);
    let said = config_error(&plain).await.to_string();
    assert!(said.starts_with("etcd cannot be reached: http://127.0.0.1:"), "{said}");
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let server = [
        "--cert-file={dir}/server.pem",
        "--key-file={dir}/server.key",
        "--client-cert-auth",
        "--trusted-ca-file={dir}/ca.pem",
    ];
    let etcd = Etcd::start_in(certificates(), "https", &server).await;
    let identity =
        [("etcd-cafile", "ca.pem"), ("etcd-certfile", "client.pem"), ("etcd-keyfile", "client.key")];
    let good = source_in(&etcd, &identity);
    assert!(matches!(config_error(&good).await, SourceError::ConfigMissing { .. }));
    good.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    let without = source_in(&etcd, &identity[..1]);
    let said = config_error(&without).await.to_string();
    assert!(said.contains("does it want a certificate, by --etcd-certfile and --etcd-keyfile"), "{said}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let dir = certificates();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let attempt = |flags: &[(&str, &str)]| {
        let arguments = in_dir(dir.path(), flags);
        let arguments = ["--etcd-endpoints=https://127.0.0.1:1".to_owned()].into_iter().chain(arguments);
        let options = flags_of(arguments.collect());
        EtcdSource::new(&options.etcd, options.lease_ttl).unwrap_err()
    };
    for (flags, words) in [
        (&[("etcd-cafile", "none")][..], "none: No such file or directory"),
        (&[("etcd-cafile", "empty")], "empty: no CERTIFICATE in PEM form"),
        (&[("etcd-cafile", "ca.key")], "ca.key: no CERTIFICATE in PEM form"),
        (&[("etcd-certfile", "client.pem"), ("etcd-keyfile", "client.pem")], "client.pem: no PRIVATE KEY"),
    ] {
        let error = attempt(flags);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.remedy(), Remedy::GiveUp);
    }
}

fn flags_of(arguments: Vec<String>) -> flanneld::options::Options {
    flags(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
