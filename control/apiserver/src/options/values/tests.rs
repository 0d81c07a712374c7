use super::super::{Fixture, resolve};
use super::*;
use control_core::authorization::{Authorizer, Mode, Version, modes};

const NEEDED: [&str; 2] =
    ["--etcd-servers=http://127.0.0.1:2379", "--service-account-issuer=https://x.example"];

fn read(more: &[&str]) -> Result<Options, String> {
    let env = Fixture { hostname: "one".to_owned(), own_address: Some([192, 168, 7, 1].into()) };
    let args: Vec<&str> = NEEDED.iter().chain(more).copied().collect();
    resolve(&args, &env).map_err(|error| error.to_string())
}

fn chain_of(options: &Options) -> &[Authorizer] {
    match &options.authorization {
        Authorization::Flags(chain) => chain,
        Authorization::File(file) => panic!("a file: {}", file.display()),
    }
}

fn modes_of(options: &Options) -> Vec<Mode> {
    modes(chain_of(options)).collect()
}

#[test]
fn webhooks_are_described_by_flags_or_by_a_file() {
    let options = read(&[
        "--authorization-mode=Node,Webhook",
        "--authorization-webhook-config-file=/k",
        "--authorization-webhook-cache-authorized-ttl=0",
        "--authentication-token-webhook-config-file=t",
        "--authentication-token-webhook-version=v1",
    ])
    .unwrap();
    let [Authorizer::Mode(Mode::Node), Authorizer::Webhook(webhook)] = chain_of(&options) else {
        panic!("{:?}", options.authorization);
    };
    assert_eq!((webhook.kubeconfig.as_str(), webhook.version), ("/k", Version::V1beta1));
    assert_eq!((webhook.authorized, webhook.unauthorized), (Duration::ZERO, Duration::from_secs(30)));
    let tokens =
        TokenWebhook { kubeconfig: "t".into(), version: Version::V1, remember: Duration::from_secs(120) };
    assert_eq!(options.token_webhook, Some(tokens));
    let file = read(&["--authorization-config=c"]).unwrap();
    assert!(matches!(file.authorization, Authorization::File(file) if file == std::path::Path::new("c")));
    for (flags, words) in [
        (
            &["--authorization-config=c", "--authorization-mode=RBAC"][..],
            "can not be specified when --authorization-mode",
        ),
        (
            &["--authorization-config=c", "--authorization-webhook-version=v1"],
            "--authorization-webhook-* flags",
        ),
        (&["--authorization-mode=Webhook"], "Webhook's authorization config file not passed"),
        (&["--authorization-webhook-config-file=k"], "without mode Webhook"),
        (
            &[
                "--authorization-mode=Webhook",
                "--authorization-webhook-config-file=k",
                "--authorization-webhook-version=v2",
            ],
            "want v1 or v1beta1",
        ),
    ] {
        let error = read(flags).unwrap_err();
        assert!(error.contains(words), "{flags:?}: {error}");
    }
}

#[test]
fn the_defaults_are_the_originals() {
    let options = read(&[]).unwrap();
    assert_eq!(options.listen, "[::]:6443".parse().unwrap());
    assert_eq!(options.advertise_address, Some([192, 168, 7, 1].into()));
    assert_eq!((options.max_reads, options.max_writes), (Some(400), Some(200)));
    assert_eq!(options.etcd_prefix, "/registry");
    assert_eq!(options.node_ports, NodePorts { first: 30_000, last: 32_767 });
    assert_eq!(modes_of(&options), [Mode::AlwaysAllow]);
    assert_eq!(options.compaction_interval, Some(Duration::from_secs(300)));
    assert!(options.anonymous && options.lookup_accounts && options.http2);
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    let env = Fixture::default();
    let error = resolve(&[NEEDED[0]], &env).unwrap_err().to_string();
    assert!(error.contains("--service-account-issuer is needed"), "{error}");
    let error = resolve(&[NEEDED[1]], &env).unwrap_err().to_string();
    assert!(error.contains("--etcd-servers is needed"), "{error}");
    assert_eq!(resolve(&["--help"], &env).unwrap().action, Action::Help);
    assert_eq!(resolve(&["--version"], &env).unwrap().action, Action::Version);
}

#[test]
fn values_are_read_as_the_original_reads_them() {
    let options = read(&[
        "--tls-sni-cert-key=a.crt,a.key:x.example,*.y.example",
        "--tls-sni-cert-key=b.crt,b.key",
        "--service-node-port-range=30000+100",
        "--service-cluster-ip-range=10.96.0.1/12,fd00::/108",
        "--authorization-mode=Node,RBAC",
        "--etcd-prefix=registry/",
        "--bind-address=127.0.0.1",
    ])
    .unwrap();
    assert_eq!(options.sni[0].names, ["x.example", "*.y.example"]);
    assert_eq!(options.sni[1].names, [""; 0]);
    assert_eq!(options.node_ports, NodePorts { first: 30_000, last: 30_100 });
    assert_eq!(options.service_networks[0], "10.96.0.0/12".parse().unwrap());
    assert_eq!(modes_of(&options), [Mode::Node, Mode::Rbac]);
    assert_eq!(options.etcd_prefix, "/registry");
    assert_eq!(options.advertise_address, Some([192, 168, 7, 1].into()));
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_is_wanted() {
    for (flag, words) in [
        ("--tls-cert-file=a", "its key is missing: give --tls-private-key-file too"),
        ("--kubelet-client-key=a", "its certificate is missing: give --kubelet-client-certificate too"),
        ("--authorization-mode=ABAC", "ABAC is not there"),
        ("--authorization-mode=RBAC,RBAC", "there twice"),
        ("--service-cluster-ip-range=10.96.0.0/8", "too large"),
        ("--service-cluster-ip-range=10.96.0.0/30", "fewer than 8"),
        ("--service-cluster-ip-range=10.96.0.0/16,10.97.0.0/16", "different families"),
        ("--service-node-port-range=5-1", "want ports"),
        ("--advertise-address=0.0.0.0", "want an address that other machines can reach"),
        ("--tls-min-version=VersionTLS10", "not spoken"),
        ("--storage-media-type=application/cbor", "want application/vnd.kubernetes.protobuf"),
        ("--requestheader-client-ca-file=x", "no header names the user"),
        ("--secure-port=0", "from 1 to 65535"),
        ("--event-ttl=0", "above 0"),
        ("--oidc-issuer-url=https://x", "--oidc-client-id are needed together"),
        ("--oidc-groups-claim=g", "--oidc-client-id are needed together"),
        ("--encryption-provider-config=x", "Secrets are not encrypted in etcd"),
        ("--audit-log-path=-", "there is no audit log yet"),
        ("--etcd-server=x", "did you mean --etcd-servers?"),
    ] {
        let error = read(&[flag]).unwrap_err();
        assert!(error.contains(words), "{flag}: {error}");
    }
}

#[test]
fn a_flag_without_effect_says_so() {
    let options = read(&["--profiling=false", "--watch-cache-sizes=pods#5"]).unwrap();
    let said = options.without_effect().join("\n");
    assert!(said.contains("--profiling has no effect: there are no profiles"), "{said}");
    assert!(said.contains("--watch-cache-sizes has no effect"), "{said}");
}
