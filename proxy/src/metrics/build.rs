//! Which program this is: a metric of the value 1 with everything in its labels.

use telemetry::metrics::Registry;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;

/// The release of kube-proxy whose names, flags and behaviour this program follows.
pub(super) const FOLLOWS: &str = "1.36";

/// `kubernetes_build_info`, by which dashboards tell versions apart, and our own.
pub(super) fn register(registry: &mut Registry) {
    let (major, minor) = FOLLOWS.split_once('.').unwrap_or((FOLLOWS, ""));
    let weft = env!("CARGO_PKG_VERSION");
    let info: Family<Vec<(&str, String)>, Gauge> = Family::default();
    let labels = vec![
        ("major", major.to_owned()),
        ("minor", minor.to_owned()),
        ("git_version", format!("v{FOLLOWS}.0+weft-{weft}")),
        ("compiler", "rustc".to_owned()),
        ("platform", format!("{}/{}", std::env::consts::OS, go_name(std::env::consts::ARCH))),
    ];
    info.get_or_create(&labels).set(1);
    registry.register("kubernetes_build_info", "The release of kube-proxy that this program follows", info);
    let own: Family<[(&str, &str); 1], Gauge> = Family::default();
    own.get_or_create(&[("version", weft)]).set(1);
    registry.register("weft_build_info", "The version of this program", own);
}

/// As Go calls the architecture.
fn go_name(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
