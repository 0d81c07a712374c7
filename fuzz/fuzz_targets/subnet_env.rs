//! subnet.env, as a former run or somebody's editor left it.
#![no_main]

use flanneld_core::docker_opts::{Options, render};
use flanneld_core::subnet_env::Earlier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let earlier = Earlier::parse(text);
    assert!(earlier.subnet.is_none_or(|net| net == net.trunc()));
    if let Ok(opts) = render(text, &Options::default()) {
        // Every line is one assignment in double quotes.
        assert!(opts.lines().all(|line| line.ends_with('"') && line.matches('"').count() == 2));
    }
});
