//! The benchmark of repairs, once through every damage. Needs root and etcd.

use bench::interrupt::Interrupt;
use bench::repairs::damage::Damage;
use bench::repairs::{Settings, measure, render};
use clap::ValueEnum;
use tests::testbed::weft;

#[test]
fn every_damage_is_repaired_and_timed() {
    let settings = Settings { damages: Damage::value_variants().to_vec(), repetitions: 1 };
    let report = measure(&settings, weft(), &mut Interrupt::default()).unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.modes(), settings.damages);
    println!("{}", render(&report));
}
