//! Every command of `tests/apiserver/kubectl.yaml` with kubectl 1.36, over our API server and over the original.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use tests::apiserver::difference::Allowed;
use tests::apiserver::{Pair, kubectl};

#[test]
fn kubectl_says_the_same_over_both_servers() {
    let found = kubectl::differences(&Pair::up(&[]), &kubectl::lines(), &Allowed::read());
    assert!(found.is_empty(), "{found}");
}
