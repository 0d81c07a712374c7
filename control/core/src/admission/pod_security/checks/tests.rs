use super::*;
use serde_json::json;

fn of(level: Level, minor: Option<u32>, spec: Value) -> String {
    details(&evaluate(Standard { level, version: minor }, &json!({"spec": spec})))
}

fn container(context: Value) -> Value {
    json!({"containers": [{"name": "c", "securityContext": context}]})
}

#[test]
fn the_baseline_forbids_what_opens_the_node() {
    let cases = [
        (json!({"hostNetwork": true, "hostIPC": true}), "host namespaces (hostNetwork=true, hostIPC=true)"),
        (json!({"volumes": [{"name": "v", "hostPath": {}}]}), r#"hostPath volumes (volume "v")"#),
        (
            container(json!({"privileged": true})),
            r#"privileged (container "c" must not set securityContext.privileged=true)"#,
        ),
        (
            container(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}})),
            r#"non-default capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add)"#,
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 443}, {"containerPort": 1}]}]}),
            r#"hostPort (containers "a", "b" use hostPorts 443, 80)"#,
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]}),
            r#"probe or lifecycle host (container "a" uses probe or lifecycle host "h")"#,
        ),
        (
            container(json!({"procMount": "Unmasked"})),
            r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#,
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}}),
            r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x"; user may not be set)"#,
        ),
        (
            container(json!({"seccompProfile": {"type": "Unconfined"}})),
            r#"seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            container(json!({"appArmorProfile": {"type": "Unconfined"}})),
            r#"forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")"#,
        ),
        (container(json!({"allowPrivilegeEscalation": true})), ""),
    ];
    for (spec, wanted) in cases {
        assert_eq!(of(Level::Baseline, None, spec.clone()), wanted, "{spec}");
        assert_eq!(of(Level::Privileged, None, spec.clone()), "", "{spec}");
    }
}

#[test]
fn restricted_pods_give_up_what_they_do_not_need() {
    let good = || json!({"allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(of(Level::Restricted, None, container(good())), "");
    let with = |field: &str, value: Value| {
        let mut context = good();
        context[field] = value;
        of(Level::Restricted, None, container(context))
    };
    assert_eq!(with("runAsUser", json!(0)), r#"runAsUser=0 (container "c" must not set runAsUser=0)"#);
    assert_eq!(
        with("runAsNonRoot", json!(false)),
        r#"runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)"#
    );
    assert_eq!(
        with("capabilities", json!({"add": ["CHOWN"]})),
        r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "CHOWN" in securityContext.capabilities.add)"#
    );
    let mut nfs = container(good());
    nfs["volumes"] =
        json!([{"name": "v", "nfs": {}}, {"name": "w", "hostPath": {}}, {"name": "s", "secret": {}}]);
    assert_eq!(
        of(Level::Restricted, None, nfs),
        r#"restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")"#
    );
}

#[test]
fn a_version_holds_what_it_held_then() {
    let sysctl = || json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}});
    assert_eq!(of(Level::Baseline, Some(31), sysctl()), "forbidden sysctls (net.ipv4.tcp_rmem)");
    assert_eq!(of(Level::Baseline, Some(32), sysctl()), "");
    let windows = || {
        let context = json!({"runAsNonRoot": true});
        json!({"os": {"name": "windows"}, "containers": [{"name": "c", "securityContext": context}]})
    };
    assert_eq!(of(Level::Restricted, Some(25), windows()), "");
    assert!(of(Level::Restricted, Some(24), windows()).contains("allowPrivilegeEscalation"));
    let remapped = || json!({"hostUsers": false, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]});
    assert_eq!(of(Level::Baseline, Some(35), remapped()), "");
    assert!(!of(Level::Baseline, Some(34), remapped()).is_empty());
}
