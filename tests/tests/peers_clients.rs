//! Programs that others' client libraries make, against our API server: client-go (informers, work queue, leader election,
//! dynamic client, protobuf), kube-rs (reflectors, server-side apply) and Python's client. Each does what its users do, and
//! ends with an error at the first thing that does not hold: `tests/clients`.
//!
//! Needs the programs that scripts/clients builds, beside the etcd of the originals, in WEFT_PEERS (or peers/bin).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::apiserver::{Side, Which};
use tests::wait::until_explained;

/// For all that a client does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs a client against a server of ours, and gives what it prints.
fn run(program: &Path, arguments: &[&Path]) -> String {
    let side = Side::new(Which::Ours, &[]);
    side.start();
    let output = side.directory().join("client.log");
    let file = std::fs::File::create(&output).expect("a file");
    let mut child = Command::new(program)
        .args(arguments)
        .arg(side.kubeconfig("admin"))
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file"))
        .stderr(file)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}. Run: scripts/setup --ci, scripts/clients", program.display())
        });
    let said = || std::fs::read_to_string(&output).unwrap_or_default();
    let what = format!("{} to end", program.display());
    let ended = until_explained(&what, LIMIT, || child.try_wait().expect("a child"), said);
    assert!(ended.success(), "{ended}: {}", said());
    said()
}

fn built(name: &str) -> PathBuf {
    originals::program(name).unwrap_or_else(|error| panic!("{error}. Run: scripts/clients"))
}

#[test]
fn a_program_of_client_go_works_as_with_the_original() {
    let said = run(&built("go-client"), &[]);
    assert!(said.contains("an informer and a work queue saw every change"), "{said}");
    assert!(said.contains("a kind that is defined at run time was used by the dynamic client"), "{said}");
}

#[test]
fn a_program_of_kube_rs_works_as_with_the_original() {
    let said = run(&built("rust-client"), &[]);
    assert!(said.contains("reflectors knew every object"), "{said}");
    assert!(said.contains("one of two candidates leads"), "{said}");
}

#[test]
fn a_program_in_python_works_as_with_the_original() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/client.py");
    // Debian's own interpreter, which finds Debian's packages.
    let said = run(Path::new("/usr/bin/python3"), &[&script]);
    assert!(said.contains("a watch told of it all, and a finalizer was waited for"), "{said}");
    assert!(said.contains("deleted all"), "{said}");
}
