//! kube-apiserver is replaced by ours and back on one etcd, under a load of writes and watches.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use tests::apiserver::load::{Expiry, Load, Servers};
use tests::apiserver::{Side, Which};

#[test]
fn nothing_is_lost_while_the_original_is_replaced_by_ours_and_back_under_load() {
    let mut side = Side::new(Which::Original, &[]);
    side.start();
    let clients = side.clients();
    // The original forgets at its end what watches would need, and ends them with 410 where something was written since.
    let load = Load::start(move |_| Servers::new(vec![clients()], 0), Expiry::Allowed);
    for which in [Which::Ours, Which::Original, Which::Ours, Which::Ours, Which::Original] {
        load.goes_on();
        side.replace_by(which);
    }
    load.goes_on();
    println!("{:?}", load.end(1));
}
