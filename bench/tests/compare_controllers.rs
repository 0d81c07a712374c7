//! The benchmark of controllers, all of it. Needs the originals (scripts/peers), openssl, and weft beside it
//! (`cargo build -p weft`).

mod controllers;

use bench::controllers::mode::{Pair, Workload};
use clap::ValueEnum;

use controllers::{must_be_complete, programs, run};

#[test]
fn every_workload_is_done_by_every_pair() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(Pair::value_variants(), Workload::value_variants(), programs(), folder.path());
    must_be_complete(&report);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
