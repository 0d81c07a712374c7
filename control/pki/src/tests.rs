//! Keys and certificates as files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn api(more: &[&str]) -> Names {
    let more: Vec<String> = more.iter().map(|name| (*name).to_owned()).collect();
    Names::of_api("One.example", [[10, 96, 0, 1].into(), [192, 168, 7, 1].into()], &more)
}

fn all(directory: &Path) -> Vec<(PathBuf, String)> {
    let files = CERTIFICATES.iter().flat_map(|c| [c.certificate_in(directory), c.key_in(directory)]);
    let accounts = [ACCOUNT_KEY.0, ACCOUNT_KEY.1].map(|name| directory.join(name));
    files.chain(accounts).map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default())).collect()
}

#[test]
fn a_second_start_finds_everything_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let made = ensure(directory.path(), &api(&[]), now).unwrap();
    assert_eq!(made.len(), CERTIFICATES.len() + 1);
    assert!(made.iter().all(|(_, reason)| *reason == Reason::Missing));
    let before = all(directory.path());
    assert!(before.iter().all(|(_, text)| text.starts_with("-----BEGIN ")));
    assert_eq!(ensure(directory.path(), &api(&[]), now).unwrap(), []);
    assert_eq!(all(directory.path()), before);
}

#[test]
fn keys_are_readable_by_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    ensure(&directory.path().join("pki"), &api(&[]), SystemTime::now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let pki = directory.path().join("pki");
    assert_eq!((mode(&pki), mode(&pki.join("etcd"))), (0o700, 0o700));
    for certificate in CERTIFICATES {
        assert_eq!(mode(&certificate.key_in(&pki)), 0o600, "{}", certificate.file);
    }
    assert_eq!(mode(&pki.join("sa.key")), 0o600);
}

#[test]
fn the_server_is_certified_for_its_service_its_addresses_and_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    ensure(directory.path(), &api(&["api.example", "203.0.113.7"]), SystemTime::now()).unwrap();
    let facts = Facts::read(&fs::read_to_string(directory.path().join("apiserver.crt")).unwrap()).unwrap();
    for name in [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "one.example",
        "api.example",
    ] {
        assert!(facts.names.dns.contains(name), "{name}");
    }
    for address in ["127.0.0.1", "::1", "10.96.0.1", "192.168.7.1", "203.0.113.7"] {
        assert!(facts.names.addresses.contains(&address.parse().unwrap()), "{address}");
    }
}

#[test]
fn a_certificate_is_renewed_around_its_key_when_it_ends_soon_or_names_change() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    ensure(directory.path(), &api(&[]), now).unwrap();
    let before = all(directory.path());
    let made = ensure(directory.path(), &api(&["new.example"]), now).unwrap();
    assert_eq!(made, [("apiserver.crt".to_owned(), Reason::NamesChanged)]);

    let later = now + days(300);
    let made = ensure(directory.path(), &api(&[]), later).unwrap();
    assert_eq!(made.len(), 6, "all but the authorities: {made:?}");
    assert!(made.iter().all(|(_, reason)| *reason == Reason::EndsSoon));
    for ((path, was), (_, is)) in before.iter().zip(all(directory.path())) {
        let is_key = path.extension().is_some_and(|ending| ending == "key" || ending == "pub");
        assert!(!is_key || *was == is, "{}", path.display());
    }
    assert_eq!(ensure(directory.path(), &api(&[]), later).unwrap(), []);
}

/// As a kill between any two files leaves it, and as somebody's hands do.
#[test]
fn what_a_crash_left_is_mended_and_keys_stay() {
    let now = SystemTime::now();
    for certificate in CERTIFICATES {
        let directory = tempfile::tempdir().unwrap();
        ensure(directory.path(), &api(&[]), now).unwrap();
        let key = fs::read_to_string(certificate.key_in(directory.path())).unwrap();
        fs::remove_file(certificate.certificate_in(directory.path())).unwrap();
        let made = ensure(directory.path(), &api(&[]), now).unwrap();
        assert_eq!(made, [(format!("{}.crt", certificate.file), Reason::Missing)]);
        assert_eq!(fs::read_to_string(certificate.key_in(directory.path())).unwrap(), key);
        // A lost key makes another one, and all that it signed follows.
        fs::remove_file(certificate.key_in(directory.path())).unwrap();
        let made = ensure(directory.path(), &api(&[]), now).unwrap();
        assert_eq!(made[0], (format!("{}.crt", certificate.file), Reason::NotOfItsKey));
        let signed = CERTIFICATES.iter().filter(|other| other.issuer == Some(certificate.file)).count();
        assert_eq!(made.len(), 1 + signed, "{made:?}");
        assert_eq!(ensure(directory.path(), &api(&[]), now).unwrap(), []);
    }
}

#[test]
fn a_damaged_key_is_named_and_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    ensure(directory.path(), &api(&[]), SystemTime::now()).unwrap();
    fs::write(directory.path().join("ca.key"), "nonsense").unwrap();
    let error = ensure(directory.path(), &api(&[]), SystemTime::now()).unwrap_err().to_string();
    assert!(error.contains("ca.key cannot be used"), "{error}");
    assert_eq!(fs::read_to_string(directory.path().join("ca.key")).unwrap(), "nonsense");
}

/// A server's own certificate.
const OWN: (&str, &str) = ("apiserver", "kube-apiserver");

#[test]
fn a_server_without_a_certificate_makes_one_of_its_own() {
    let (pem, key) = self_signed("kube-scheduler", &api(&[]), SystemTime::now()).unwrap();
    assert!(Facts::read(&pem).unwrap().names.holds(&api(&[])) && key.contains("PRIVATE KEY"));
    let directory = tempfile::tempdir().unwrap();
    let names = api(&[]);
    let (certificate, key) = ensure_self_signed(directory.path(), OWN, &names, SystemTime::now()).unwrap();
    let first = fs::read_to_string(&certificate).unwrap();
    assert!(Facts::read(&first).unwrap().names.holds(&names));
    ensure_self_signed(directory.path(), OWN, &names, SystemTime::now()).unwrap();
    assert_eq!(fs::read_to_string(&certificate).unwrap(), first);
    assert!(key.is_file());
}

/// kube-apiserver makes RSA keys in PKCS #1.
#[test]
fn a_certificate_that_the_original_made_serves_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let in_it = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key) = (in_it("apiserver.crt"), in_it("apiserver.key"));
    let arguments = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "9",
        "-subj",
        "/CN=a",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    let made = std::process::Command::new("openssl").args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let first = fs::read_to_string(&key).unwrap();
    let (_, used) = ensure_self_signed(directory.path(), OWN, &api(&[]), SystemTime::now()).unwrap();
    assert_eq!((used.display().to_string(), fs::read_to_string(&used).unwrap()), (key, first));
}
