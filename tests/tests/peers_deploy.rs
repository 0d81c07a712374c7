//! A real API server takes the manifest in `deploy/`, with no field that it does not know.
//!
//! Needs root, etcd and `scripts/peers`.

use originals::ControlPlane;
use serde_json::Value;
use tests::deploy::documents;

#[test]
fn an_api_server_takes_every_object_of_the_manifest() {
    let control_plane = ControlPlane::here().unwrap_or_else(|error| panic!("{error}"));
    control_plane.start_etcd().unwrap();
    control_plane.start_server().unwrap();
    control_plane.wait_server().unwrap();
    let admin = control_plane.admin().unwrap();
    for object in documents("weft-proxy.yaml") {
        let collection = match object["kind"].as_str().unwrap() {
            "ServiceAccount" => "/api/v1/namespaces/kube-system/serviceaccounts",
            "ConfigMap" => "/api/v1/namespaces/kube-system/configmaps",
            "ClusterRoleBinding" => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "DaemonSet" => "/apis/apps/v1/namespaces/kube-system/daemonsets",
            other => panic!("{other}"),
        };
        let path = format!("{collection}?fieldValidation=Strict");
        let made: Value = admin.must("POST", &path, Some(&object)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(made["metadata"]["name"], object["metadata"]["name"]);
    }
}
