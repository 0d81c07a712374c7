//! What is behind an API server, over ours and over the original: logs, exec, attach, port-forward, proxy, and evictions,
//! with one agent to which both are pointed.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and root.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use host::netns::Namespace;
use serde_json::Value;
use tests::apiserver::agent::{ADDRESS, Agent, Keys, PLAIN};
use tests::apiserver::difference::Allowed;
use tests::apiserver::http::Reply;
use tests::apiserver::scenario::{Report, Theme};
use tests::apiserver::{Pair, Side, authorization, kubectl};
use tests::places::Places;

/// Two servers and an agent, in a namespace where its address is none of loopback's.
struct Bed {
    pair: Pair,
    agent: Agent,
    hub: Namespace,
    _places: Places,
}

impl Bed {
    fn new(tag: &str) -> Self {
        let (places, [hub]) = Places::make("weft-nodes-", tag, ["hub"]);
        shell(&hub, &format!("ip link set lo up; ip addr add {ADDRESS}/24 dev lo"));
        let keys = Keys::new();
        let pair = Pair::at(&hub, ADDRESS, &[&keys.flag()]);
        let agent = Agent::start(keys, &hub, &pair);
        pair.start();
        Self { pair, agent, hub, _places: places }
    }

    /// With the nodes and pods of the theme.
    fn with_pods(tag: &str) -> Self {
        let bed = Self::new(tag);
        let mut theme = Theme::read("nodes");
        let makes = ["make ", "status of ", "service account"];
        theme.steps.retain(|step| makes.iter().any(|start| step.name.starts_with(start)));
        compare(&bed.pair, &theme);
        bed
    }
}

fn shell(namespace: &Namespace, script: &str) {
    let output = namespace.command("sh").args(["-ec", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

fn compare(pair: &Pair, theme: &Theme) {
    let mut report = Report::default();
    report.run(pair, theme, &Allowed::read());
    report.check();
}

#[test]
fn logs_streams_and_proxies_are_answered_as_by_the_original() {
    compare(&Bed::new("a").pair, &Theme::read("nodes"));
}

#[test]
fn pods_are_evicted_as_by_the_original() {
    compare(&Pair::up(&[]), &Theme::read("evictions"));
}

#[test]
fn kubectl_reaches_containers_over_both_servers() {
    let bed = Bed::with_pods("b");
    let found = kubectl::differences(&bed.pair, &kubectl::lines_of("kubectl-nodes"), &Allowed::read());
    assert!(found.is_empty(), "{found}");
}

fn kubectl(side: &Side, words: &[&str]) -> Command {
    let program = originals::program("kubectl").unwrap_or_else(|error| panic!("{error}"));
    let mut command: Command = side.command(program);
    command.args(words).env_clear().env("HOME", side.directory());
    command.env("KUBECONFIG", side.kubeconfig("admin"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// kubectl that lasts until it is told to end.
struct Lasting(Child);

impl Lasting {
    fn start(side: &Side, words: &[&str]) -> Self {
        Self(kubectl(side, words).spawn().expect("kubectl runs"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("a pipe");
        BufReader::with_capacity(1, out).read_line(&mut line).expect("a line");
        line
    }

    fn interrupt(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a pod answers through a forwarded port.
fn asked_through(forward: &mut Lasting, hub: &Namespace) -> String {
    let line = forward.line();
    let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    let ask = || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /through HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    hub.run(ask).expect("the namespace").expect("an answer")
}

/// The agent speaks SPDY alone, as kubelets before 1.36: the original translates for it, over ours kubectl falls back.
#[test]
fn kubectl_streams_whether_it_asks_for_a_websocket_or_not() {
    let bed = Bed::with_pods("f");
    let script = "read line; echo \"$line\"; echo error >&2; cat; exit 7";
    for asked in ["true", "false"] {
        let found = both(&bed.pair, |side| {
            let mut command = kubectl(side, &["exec", "-i", "p", "--", "sh", "-c", script]);
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", asked).stderr(Stdio::piped());
            let mut exec = command.spawn().expect("kubectl runs");
            let mut input = exec.stdin.take().expect("a pipe");
            input.write_all(b"first\nsecond\n").expect("it reads");
            drop(input);
            let output = exec.wait_with_output().expect("it ends");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            serde_json::json!([text(&output.stdout), text(&output.stderr), output.status.code()])
        });
        assert_eq!((&found[0], &found[2]), (&"first\nsecond\n".into(), &7.into()), "{found}");
        for side in [&bed.pair.original, &bed.pair.ours] {
            let mut command = kubectl(side, &["port-forward", "p", &format!("0:{PLAIN}")]);
            command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", asked);
            let mut forward = Lasting(command.spawn().expect("kubectl runs"));
            let text = asked_through(&mut forward, &bed.hub);
            assert!(text.contains("\"uri\":\"/through\""), "{asked}: {text}");
        }
    }
}

#[test]
fn a_client_that_goes_ends_what_it_began_at_the_agent() {
    let bed = Bed::with_pods("c");
    let ours = &bed.pair.ours;
    let mut forward = Lasting::start(ours, &["port-forward", "p", &format!("0:{PLAIN}")]);
    let text = asked_through(&mut forward, &bed.hub);
    assert!(text.contains("\"uri\":\"/through\""), "{text}");
    bed.agent.wait_for("port-forward p ended");

    let mut exec = Lasting::start(ours, &["exec", "-i", "p", "--", "cat"]);
    exec.0.stdin.as_mut().expect("a pipe").write_all(b"hello\n").expect("it reads");
    assert_eq!(exec.line(), "hello\n");
    exec.interrupt();
    bed.agent.wait_for("exec c ended");

    let mut logs = Lasting::start(ours, &["logs", "-f", "--tail=1", "p"]);
    assert_eq!(logs.line(), "c follow=true&tailLines=1\n");
    bed.agent.wait_for("log c begins");
    logs.interrupt();
    bed.agent.wait_for("log c ended");
}

const QUIET: Duration = Duration::from_secs(5);
const PODS: &str = "/api/v1/namespaces/default/pods/p";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An upgrade over one server: what was answered, and what came then.
fn upgrade(side: &Side, path: &str, headers: &[(&str, &str)], first: &[u8], enough: usize) -> Reply {
    let mut all = authorization("admin");
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let reply = side.client().upgrade("GET", path, &all, first, QUIET, |body| body.len() >= enough);
    reply.unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn web_socket(side: &Side, path: &str, more: &[(&str, &str)], enough: usize) -> Reply {
    let mut headers = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    headers.extend(more);
    upgrade(side, path, &headers, b"", enough)
}

/// Frames of a WebSocket that came whole: what kind, and what they hold.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => match rest {
                [a, b, rest @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), rest),
                _ => break,
            },
            short => (usize::from(*short), rest),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = rest;
    }
    frames
}

fn both(pair: &Pair, look: impl Fn(&Side) -> Value) -> Value {
    let (theirs, ours) = (look(&pair.original), look(&pair.ours));
    assert_eq!(ours, theirs);
    ours
}

fn shown(reply: &Reply, body: Value) -> Value {
    let header = |name: &str| Value::from(reply.header(name));
    serde_json::json!({
        "status": reply.status, "body": body, "upgrade": header("upgrade"), "own": header("x-own"),
        "accept": header("sec-websocket-accept"), "protocol": header("sec-websocket-protocol"),
        "audit": reply.headers.contains_key("audit-id"),
    })
}

#[test]
fn upgrades_are_pipes_and_watches_and_logs_come_as_messages() {
    let bed = Bed::with_pods("d");
    let pair = &bed.pair;
    let echo = [("Connection", "Upgrade"), ("Upgrade", "echo")];
    let found = both(pair, |side| {
        let reply = upgrade(side, &format!("{PODS}/proxy/upgrade?a=b"), &echo, b"ping\n", 11);
        shown(&reply, String::from_utf8_lossy(&reply.body).into_owned().into())
    });
    assert_eq!((&found["status"], &found["body"]), (&101.into(), &"hello\nping\n".into()));
    bed.agent.wait_for("upgrade ended");

    for protocol in ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io"] {
        let found = both(pair, |side| {
            let path = format!("{PODS}/exec?command=echo&command=hi&stdout=true&stderr=true");
            let reply = web_socket(side, &path, &[("Sec-WebSocket-Protocol", protocol)], 1 << 20);
            let mut bodies: Vec<_> =
                frames(&reply.body).into_iter().map(|(kind, frame)| format!("{kind} {frame:?}")).collect();
            bodies.sort();
            shown(&reply, bodies.into())
        });
        assert_eq!(found["protocol"], protocol);
    }

    // Each server tells of its own namespaces, whose names are the same.
    let watch = "/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3Ddefault";
    let origin = ("Origin", "http://elsewhere");
    let types = |reply: &Reply| -> Value {
        let told = |(kind, frame): (u8, Vec<u8>)| {
            let event: Value = serde_json::from_slice(&frame).unwrap_or_default();
            let ends = frame.ends_with(b"\n");
            serde_json::json!([kind, event["type"], event["object"]["metadata"]["name"], ends])
        };
        frames(&reply.body).into_iter().map(told).collect()
    };
    let found = both(pair, |side| {
        let reply = web_socket(side, watch, &[origin], 400);
        shown(&reply, types(&reply))
    });
    assert_eq!(found["body"], serde_json::json!([[1, "ADDED", "default", true]]));
    let found = both(pair, |side| {
        let reply = web_socket(side, watch, &[origin, ("Sec-WebSocket-Protocol", "any")], 400);
        shown(&reply, types(&reply))
    });
    assert_eq!(found["protocol"], "any");
    let protobuf = ("Accept", "application/vnd.kubernetes.protobuf;stream=watch");
    both(pair, |side| {
        let reply = web_socket(side, watch, &[origin, protobuf], 100);
        let heads = frames(&reply.body).into_iter().map(|(kind, frame)| {
            format!("{kind} {:?}", frame.get(..8).map(|head| String::from_utf8_lossy(head).into_owned()))
        });
        shown(&reply, heads.collect())
    });
    for more in
        [&[][..], &[origin, ("Sec-WebSocket-Protocol", "a, b")], &[origin, ("Sec-WebSocket-Version", "8")]]
    {
        both(pair, |side| web_socket(side, watch, more, 1).status.into());
    }

    for protocol in ["", "binary.k8s.io", "base64.binary.k8s.io", "v4.channel.k8s.io"] {
        both(pair, |side| {
            let header = ("Sec-WebSocket-Protocol", protocol);
            let more = if protocol.is_empty() { vec![] } else { vec![header] };
            let reply = web_socket(side, &format!("{PODS}/log?tailLines=2"), &more, 1 << 20);
            let frames = frames(&reply.body);
            // How a stream is cut into messages is chance.
            let kinds: Vec<u8> =
                frames.first().into_iter().chain(frames.last()).map(|(kind, _)| *kind).collect();
            shown(&reply, serde_json::json!(kinds))
        });
    }
}

#[test]
fn an_agent_that_does_not_answer_is_given_up() {
    let bed = Bed::with_pods("e");
    shell(
        &bed.hub,
        "nft 'add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c tcp dport 10999 drop'",
    );
    let kept = bed.pair.ours.client().ask(
        "GET",
        "/api/v1/namespaces/default/pods/dead/log",
        &authorization("admin"),
        b"",
    );
    let reply = kept.expect("an answer");
    let body: Value = serde_json::from_slice(&reply.body).expect("a status");
    let why = "Get \"https://192.168.9.1:10999/containerLogs/default/dead/c\": dial tcp 192.168.9.1:10999: i/o timeout";
    assert_eq!((reply.status, &body["message"]), (500, &why.into()));
}
