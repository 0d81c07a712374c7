//! The health ports of the controller manager and the scheduler beside the originals': the same status for the same
//! client.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and root.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tests::apiserver::http::Client;
use tests::apiserver::{Side, Which, authorization};
use tests::testbed::weft;
use tests::wait::until_explained;

/// For a program that starts on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Until two programs that serve are the same: what was not allowed is remembered for ten seconds.
const SAME: Duration = Duration::from_secs(45);

const JSON: &str = "application/json";

/// What is asked. Both originals have these; kube-controller-manager has neither /livez nor /readyz.
const PATHS: [&str; 4] = ["/healthz", "/metrics", "/no/such/path", "/"];

/// Our program's subcommand and the original's name.
const PROGRAMS: [(&str, &str); 2] =
    [("controller-manager", "kube-controller-manager"), ("scheduler", "kube-scheduler")];

/// A client: what it is called here, its headers, and the name of its certificate below the keys of the server.
struct Caller {
    name: &'static str,
    headers: Vec<(String, String)>,
    identity: Option<&'static str>,
}

/// A program that serves. It ends with this value.
struct Program {
    daemon: Daemon,
    address: SocketAddr,
}

impl Program {
    fn start(side: &Side, (ours, original): (&str, &str), is_ours: bool, more: &[String]) -> Self {
        let address = SocketAddr::from((
            Ipv4Addr::LOCALHOST,
            host::sockets::free_port(Ipv4Addr::LOCALHOST.into()).expect("a port"),
        ));
        let (program, first): (PathBuf, Option<&str>) = match is_ours {
            true => (weft().binary.program().unwrap_or_else(|error| panic!("{error}")), Some(ours)),
            false => (originals::program(original).unwrap_or_else(|error| panic!("{error}")), None),
        };
        let flags = [
            format!("--kubeconfig={}", side.kubeconfig("admin").display()),
            "--leader-elect=false".to_owned(),
            format!("--bind-address={}", address.ip()),
            format!("--secure-port={}", address.port()),
        ];
        let flags = first.map(str::to_owned).into_iter().chain(flags).chain(more.iter().cloned());
        let flags: Vec<OsString> = flags.map(OsString::from).collect();
        let name = format!("{original}-{is_ours}-{}", address.port());
        let daemon =
            Daemon::new(name.clone(), Namespace::current().expect("a namespace"), side.directory(), &name);
        daemon.start(&program, &flags, &[]).unwrap_or_else(|error| panic!("{error}"));
        let program = Self { daemon, address };
        let healthy = || {
            assert!(program.daemon.pid().is_some(), "{}", program.daemon.died());
            program.status(side, "/healthz", &nobody()).ok().filter(|status| *status == 200).map(drop)
        };
        until_explained(&format!("{name} to be healthy"), LIMIT, healthy, || program.daemon.log_tail(30));
        program
    }

    fn status(&self, side: &Side, path: &str, caller: &Caller) -> std::io::Result<u16> {
        let pki = side.pki();
        let file = |end: &str| caller.identity.map(|name| pki.join(format!("{name}.{end}")));
        let (certificate, key) = (file("crt"), file("key"));
        let identity = certificate.as_deref().zip(key.as_deref());
        let here = Namespace::current().map_err(std::io::Error::other)?;
        let mut client = Client::of_anybody(here, self.address, identity)?;
        client.ask("GET", path, &caller.headers, &[]).map(|reply| reply.status)
    }

    /// The first line of what it says to who speaks plain HTTP.
    fn plainly(&self) -> String {
        let mut stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}

fn nobody() -> Caller {
    Caller { name: "nobody", headers: Vec::new(), identity: None }
}

fn bearer(token: &str) -> Vec<(String, String)> {
    vec![("Authorization".to_owned(), format!("Bearer {token}"))]
}

/// A service account that may read /metrics, and its token.
fn scraper(side: &Side) -> String {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "scraper"}});
    side.must("POST", "/api/v1/namespaces/default/serviceaccounts", JSON, &account);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scraper"},
        "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
    });
    side.must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", JSON, &role);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "scraper"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scraper"},
        "subjects": [{"kind": "ServiceAccount", "name": "scraper", "namespace": "default"}],
    });
    side.must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", JSON, &binding);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/default/serviceaccounts/scraper/token";
    let token: Value = side.must("POST", path, JSON, &request);
    token["status"]["token"].as_str().expect("a token").to_owned()
}

fn callers(side: &Side) -> Vec<Caller> {
    let of = |name, headers| Caller { name, headers, identity: None };
    let certificate = |name, identity| Caller { name, headers: Vec::new(), identity: Some(identity) };
    let proxied = |name, group: &str| Caller {
        name,
        headers: [("X-Remote-User", "carol"), ("X-Remote-Group", group)]
            .map(|(header, value)| (header.to_owned(), value.to_owned()))
            .into(),
        identity: Some("front-proxy-client"),
    };
    vec![
        nobody(),
        of("a token that nobody knows", bearer("wrong")),
        of("no token", vec![("Authorization".to_owned(), "Bearer".to_owned())]),
        of("a user without rights", authorization("alice")),
        of("a service account that may read metrics", bearer(&scraper(side))),
        of("a token of the administrator", authorization("admin")),
        certificate("a certificate of the administrator", "admin"),
        certificate("a certificate of another authority", "apiserver-etcd-client"),
        proxied("a user without rights behind a proxy", "people"),
        proxied("an administrator behind a proxy", "system:masters"),
    ]
}

/// What each client gets at each path.
fn table(side: &Side, program: &Program, callers: &[Caller]) -> Vec<String> {
    let one = |caller: &Caller, path: &str| match program.status(side, path, caller) {
        Ok(status) => format!("{}, {path}: {status}", caller.name),
        Err(error) => panic!("{}, {path}: {error}\n{}", caller.name, program.daemon.log_tail(30)),
    };
    callers.iter().flat_map(|caller| PATHS.map(|path| one(caller, path))).collect()
}

#[test]
fn every_client_gets_the_originals_status() {
    let side = Side::new(Which::Ours, &[]);
    side.start();
    let callers = callers(&side);
    let kubeconfig = side.kubeconfig("admin");
    let delegating = ["authentication", "authorization"]
        .map(|what| format!("--{what}-kubeconfig={}", kubeconfig.display()));
    let own = side.pki().join("ca.crt");
    let authority = format!("--client-ca-file={}", own.display());
    let always = "--authorization-always-allow-paths=/healthz,/no/*".to_owned();
    let ways: [(&str, Vec<String>, &[&str]); 3] = [
        (
            "nothing is delegated",
            Vec::new(),
            &["nobody, /healthz: 200", "a token of the administrator, /metrics: 403"],
        ),
        (
            "an authority is given",
            vec![authority],
            &[
                "a certificate of the administrator, /metrics: 200",
                "a certificate of another authority, /healthz: 401",
            ],
        ),
        (
            "all is delegated",
            delegating.into_iter().chain([always]).collect(),
            &[
                "a token that nobody knows, /healthz: 401",
                "a user without rights, /metrics: 403",
                "a service account that may read metrics, /metrics: 200",
                "a certificate of the administrator, /metrics: 200",
                "an administrator behind a proxy, /metrics: 200",
                "nobody, /no/such/path: 404",
            ],
        ),
    ];
    for (way, flags, some) in &ways {
        for names in PROGRAMS {
            let both = [false, true].map(|is_ours| Program::start(&side, names, is_ours, flags));
            let tables = || both.each_ref().map(|program| table(&side, program, &callers));
            // The originals learn whose certificates count some time after they serve.
            let same = || {
                let [original, ours] = tables();
                (original == ours && some.iter().all(|one| ours.iter().any(|line| line == one))).then_some(())
            };
            let explain = || format!("{:#?}\n{}", tables(), both[1].daemon.log_tail(30));
            until_explained(&format!("{} to be as the original, {way}", names.1), SAME, same, explain);
            let [original, ours] = both.each_ref().map(Program::plainly);
            assert_eq!(ours, original, "{}, {way}", names.1);
        }
    }
}

/// What kubeadm writes into the manifest of kube-controller-manager, but for paths and addresses.
fn kubeadms(side: &Side) -> Vec<String> {
    let (pki, kubeconfig) = (side.pki(), side.kubeconfig("admin").display().to_string());
    let file = |name: &str| pki.join(name).display().to_string();
    vec![
        "--allocate-node-cidrs=true".to_owned(),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--client-ca-file={}", file("ca.crt")),
        "--cluster-cidr=10.244.0.0/16".to_owned(),
        "--cluster-name=kubernetes".to_owned(),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--controllers=*,bootstrapsigner,tokencleaner".to_owned(),
        "--leader-elect=true".to_owned(),
        format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--service-account-private-key-file={}", file("sa.key")),
        "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
    ]
}

#[test]
fn the_command_line_that_kubeadm_writes_is_taken() {
    let side = Side::new(Which::Ours, &[]);
    side.start();
    let manager = Program::start(&side, PROGRAMS[0], true, &kubeadms(&side));
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    side.must("POST", "/api/v1/nodes", JSON, &node);
    let range = || {
        let node = side.must("GET", "/api/v1/nodes/n1", JSON, &Value::Null);
        node["spec"]["podCIDR"].as_str().map(str::to_owned)
    };
    let range = until_explained("a range for the node", LIMIT, range, || manager.daemon.log_tail(30));
    assert!(range.starts_with("10.244.") && range.ends_with(".0/24"), "{range}");

    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    side.must("POST", "/api/v1/namespaces/default/serviceaccounts", JSON, &account);
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "robot"}},
    });
    side.must("POST", secrets, JSON, &secret);
    let token = || {
        let secret = side.must("GET", &format!("{secrets}/robot"), JSON, &Value::Null);
        secret["data"]["token"].as_str().map(decoded)
    };
    let token = until_explained("a token in the Secret", LIMIT, token, || manager.daemon.log_tail(30));
    let mut headers = bearer(&token);
    headers.push(("Content-Type".to_owned(), JSON.to_owned()));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let reply = side.client().ask("POST", path, &headers, review.to_string().as_bytes()).expect("an answer");
    let who: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:robot", "{who}");
}

/// Base64, of a text.
fn decoded(text: &str) -> String {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for sextet in text.bytes().filter_map(value) {
        (bits, held) = (bits << 6 | u32::from(sextet), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    String::from_utf8(bytes).expect("text")
}
