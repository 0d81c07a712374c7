//! The manifest and the unit in `deploy/` say what the proxy understands, and agree with themselves.

use proxy::feeds::directory;
use proxy::options::{self, Feed, Machine, Options};
use serde_json::{Value, json};
use tests::deploy::{documents, text, yaml};

fn words(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("{value} is a list"));
    list.iter().map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is a word")).to_owned()).collect()
}

/// What the proxy makes of a command line that begins with its name.
fn options_of(command: &[String]) -> Options {
    assert!(command[0].ends_with("weft") && command[1] == "proxy", "{command:?}");
    options::resolve(&command[2..], &Machine).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[test]
fn the_daemonset_is_what_kubernetes_and_the_proxy_understand() {
    let all = documents("weft-proxy.yaml");
    let find = |kind: &str| all.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("a {kind}"));
    let (account, binding) = (find("ServiceAccount"), find("ClusterRoleBinding"));
    assert_eq!(binding["roleRef"]["name"], "system:node-proxier");
    let subject =
        json!({ "kind": "ServiceAccount", "namespace": "kube-system", "name": account["metadata"]["name"] });
    assert_eq!(binding["subjects"], json!([subject]));

    let set = find("DaemonSet");
    assert_eq!(set["metadata"]["namespace"], "kube-system");
    let (labels, pod) = (&set["spec"]["template"]["metadata"]["labels"], &set["spec"]["template"]["spec"]);
    assert_eq!(labels["k8s-app"], "kube-proxy");
    let selector = set["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(!selector.is_empty() && !selector.contains_key("k8s-app"), "kube-proxy's own selects by that");
    assert!(selector.iter().all(|(key, value)| labels[key] == *value), "{selector:?} {labels}");
    assert_eq!(
        (&pod["hostNetwork"], &pod["serviceAccountName"]),
        (&json!(true), &account["metadata"]["name"])
    );

    let container = &pod["containers"][0];
    assert!(words(&container["securityContext"]["capabilities"]["add"]).contains(&"NET_ADMIN".to_owned()));
    let command: Vec<String> =
        words(&container["command"]).iter().map(|word| word.replace("$(NODE_NAME)", "node-1")).collect();
    let options = options_of(&command);
    assert_eq!(options.node_name, "node-1");
    assert_eq!(container["env"][0]["name"], "NODE_NAME");
    assert_eq!(options.without_effect(), [""; 0]);
    let Feed::Kubernetes { kubeconfig: Some(kubeconfig), master: None } = &options.feed else {
        panic!("{:?}", options.feed)
    };
    let served = |probe: &str| container[probe]["httpGet"]["port"].as_u64().unwrap();
    assert_eq!(served("readinessProbe"), u64::from(options.metrics.unwrap().port()));
    assert_eq!(served("livenessProbe"), u64::from(options.healthz.unwrap().port()));
    options_of(&words(&pod["initContainers"][0]["command"]));

    // Everything that is mounted is there, the kubeconfig among it.
    let volumes = pod["volumes"].as_array().unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    for mount in mounts {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
    let folder = kubeconfig.parent().unwrap().to_str().unwrap();
    let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).expect("the kubeconfig's folder");
    let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    let map = find("ConfigMap");
    assert_eq!(volume["configMap"]["name"], map["metadata"]["name"]);
    let file = kubeconfig.file_name().unwrap().to_str().unwrap();
    let config = yaml(map["data"][file].as_str().expect("a file of the ConfigMap"));
    assert!(config["clusters"][0]["cluster"]["server"].as_str().unwrap().starts_with("https://"), "{config}");
    assert_eq!(config["current-context"], config["contexts"][0]["name"]);
}

#[test]
fn the_unit_starts_the_proxy_and_waits_for_its_word() {
    let unit = text("weft-proxy.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{key} in {unit}")).to_owned()
    };
    assert_eq!(value("Type"), "notify");
    assert!(value("CapabilityBoundingSet").split(' ').any(|one| one == "CAP_NET_ADMIN"));
    // The options of the example in its head, as systemd splits them.
    let example = unit.lines().find_map(|line| line.split_once("WEFT_PROXY_OPTIONS=\"")).unwrap().1;
    let example = example.split_once('"').unwrap().0;
    let command = value("ExecStart").replace("$WEFT_PROXY_OPTIONS", example);
    let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
    assert!(matches!(options_of(&command).feed, Feed::Kubernetes { kubeconfig: Some(_), .. }));
}

/// Whoever pastes it has a service: every word of it is understood.
#[test]
fn the_readmes_own_service_is_read_whole() {
    let readme = std::fs::read_to_string(tests::deploy::file("../README.md")).unwrap();
    let (_, rest) = readme.split_once("<<'END'\n").expect("a file to paste");
    let (pasted, _) = rest.split_once("\n    END\n").unwrap();
    let plain: Vec<&str> = pasted.lines().map(|line| line.strip_prefix("    ").unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.yaml"), plain.join("\n")).unwrap();
    let loaded = directory::load(folder.path()).unwrap();
    assert_eq!(loaded.troubles, []);
    let kinds: Vec<&str> = loaded.objects.iter().map(|object| object.kind().as_str()).collect();
    assert_eq!(kinds, ["Service", "EndpointSlice"]);
}
