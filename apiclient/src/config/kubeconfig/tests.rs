use super::*;

fn whole(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\npreferences: {{}}\n\
         contexts: [{{name: c, context: {{cluster: k, user: u, namespace: n}}}}, {{name: other, context: null}}]\n\
         clusters: [{{name: k, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n"
    )
}

fn at(folder: &Path, text: &str) -> Result<Settings, String> {
    let path = folder.join("config");
    std::fs::write(&path, text).expect("write");
    read(&[path]).map_err(|error| error.to_string())
}

fn with(cluster: &str, user: &str) -> Result<Settings, String> {
    at(tempfile::tempdir().expect("a folder").path(), &whole(cluster, user))
}

fn problem(cluster: &str, user: &str) -> String {
    with(cluster, user).err().unwrap_or_default()
}

const SERVER: &str = "{server: 'https://a:6443'}";

#[test]
fn files_stand_beside_the_kubeconfig_and_data_comes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("ca", "CA"), ("cert", "CERT"), ("key", "KEY"), ("token", "\n T \n\n")] {
        std::fs::write(folder.path().join(name), text).expect("write");
    }
    let text = whole(
        "{server: 'a:6443', certificate-authority: ca, tls-server-name: b, proxy-url: 'http://u:p@proxy:3128'}",
        "{client-certificate: cert, client-key-data: 'a2V5\n', tokenFile: token, as: you, as-groups: [g]}",
    );
    let found = at(folder.path(), &text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.server.to_string(), "https://a:6443/", "a word about TLS means https");
    assert_eq!(found.tls.authorities.as_ref().map(|pem| pem.text.as_slice()), Some(&b"CA"[..]));
    assert_eq!(found.tls.server_name.as_deref(), Some("b"));
    let identity = found.tls.client.as_ref().expect("a certificate");
    assert_eq!(
        (identity.certificate.text.as_slice(), identity.key.text.as_slice()),
        (&b"CERT"[..], &b"key"[..])
    );
    assert!(matches!(&found.user, User::Token(token) if token == "T"));
    assert_eq!(found.proxy.as_ref().map(ToString::to_string).as_deref(), Some("http://u:p@proxy:3128/"));
    assert_eq!((found.impersonate.user.as_deref(), found.impersonate.groups.len()), (Some("you"), 1));

    // Rotated: not equal any more. An empty file is no token, and the other one is not taken silently.
    std::fs::write(folder.path().join("token"), "U\n").expect("write");
    assert!(at(folder.path(), &text).unwrap_or_else(|error| panic!("{error}")) != found);
    std::fs::write(folder.path().join("token"), "\n").expect("write");
    assert!(at(folder.path(), &text).err().unwrap_or_default().contains("this token file is empty"));
}

#[test]
fn of_several_files_the_first_word_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("sub")).expect("mkdir");
    std::fs::write(path("sub/t"), "first").expect("write");
    std::fs::write(path("sub/one"), "current-context: c\nusers: [{name: u, user: {tokenFile: t}}]\n")
        .expect("write");
    std::fs::write(path("two"), whole(SERVER, "{token: second}")).expect("write");
    let found = read(&[path("none"), path("sub/one"), path("two")]).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(found.user, User::Token(token) if token == "first"));
    let none = read(&[path("none"), path("nothing")]).err().map(|error| error.to_string());
    assert!(none.expect("none").contains("none of the files is there"));
}

#[test]
fn what_is_wrong_is_named_with_its_entry() {
    for (cluster, user, want) in [
        ("{}", "{}", "cluster k: it has no server"),
        ("{server: 'ftp://a'}", "{}", "its scheme is ftp"),
        (
            "{server: 'https://a', certificate-authority-data: QQ==, insecure-skip-tls-verify: true}",
            "{}",
            "exclude each other",
        ),
        ("{server: 'https://a', certificate-authority-data: '!'}", "{}", "it is not base64"),
        ("{server: 'https://a', certificate-authority: nowhere}", "{}", "nowhere"),
        ("{server: 'https://a', proxy-url: 'ftp://p'}", "{}", "proxy-url has the scheme \"ftp\""),
        (SERVER, "{client-key-data: QQ==}", "user u: client-key needs a client-certificate"),
        (SERVER, "{token: a, username: b}", "token and username exclude each other"),
        (SERVER, "{token: \"a\\nb\"}", "token holds characters"),
        (SERVER, "{as-groups: [g]}", "need as"),
        (SERVER, "{auth-provider: {name: oidc}}", "use an exec plugin"),
        (
            SERVER,
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}",
            "nobody to ask",
        ),
        (SERVER, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x}}", "no interactiveMode"),
        (SERVER, "{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}}", "v1alpha1"),
        (SERVER, "{exec: {apiVersion: client.authentication.k8s.io/v1}}", "exec has no command"),
        ("[]", "{}", "expected an object"),
    ] {
        let found = problem(cluster, user);
        assert!(
            found.contains(want) && found.starts_with("cannot use the kubeconfig /"),
            "{cluster} {user}: {found}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let of = |text: &str| at(folder.path(), text).err().unwrap_or_default();
    assert!(of("").contains("it is empty"));
    assert!(of("kind: Service").contains("its kind is Service"));
    assert!(of("contexts: [{name: a}]").contains("no current-context; its contexts are [\"a\"]"));
    assert!(of("current-context: b\ncontexts: [{name: a}]").contains("no context \"b\", only [\"a\"]"));
    assert!(of("a: [").contains("line 1"));
}

#[test]
fn a_plugin_gets_to_know_the_cluster_where_it_is_to() {
    let cluster = "{server: 'https://a', tls-server-name: b, certificate-authority-data: QQ==, extensions: \
                   [{name: client.authentication.k8s.io/exec, extension: {audience: x}}]}";
    let exec = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./x, interactiveMode: Never, \
                provideClusterInfo: true, env: [{name: A, value: b}], args: null}}";
    assert!(matches!(with(cluster, exec).map(|found| found.user), Ok(User::Plugin(_))));
    assert!(matches!(with(SERVER, "{}").map(|found| found.user), Ok(User::Anonymous)));
}
