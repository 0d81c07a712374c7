//! The benchmark of controllers beside kube-controller-manager. Needs the originals (scripts/peers), openssl, and weft beside it
//! (`cargo build -p weft`). All workloads of all pairs are in compare_controllers.

mod controllers;

use bench::controllers::Programs;
use bench::controllers::mode::{Pair, Workload};

use controllers::{must_be_complete, programs, run};

#[test]
fn pods_are_made_updated_and_completed_by_our_controllers() {
    let folder = tempfile::tempdir().unwrap();
    let workloads = [Workload::Deployment, Workload::RollingUpdate, Workload::Jobs];
    must_be_complete(&run(&[Pair::Ours], &workloads, programs(), folder.path()));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_deployment_is_worked_on_by_kube_controller_manager() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = [Pair::TheirsOnOurs];
    must_be_complete(&run(&pairs, &[Workload::Deployment], programs(), folder.path()));
}

#[test]
fn a_controller_manager_that_ends_at_once_is_a_failure_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs { kube_controller_manager: Some("/bin/false".into()), ..programs() };
    let report = run(&[Pair::TheirsOnOurs], &[Workload::Idle], programs, folder.path());
    let [failure] = report.failures.as_slice() else { panic!("{:?}", report.failures) };
    assert!(failure.reason.contains("kube-controller-manager"), "{}", failure.reason);
}
