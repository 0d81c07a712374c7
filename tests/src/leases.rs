//! Leases of nodes that there are not, written straight into etcd.

use lab::Lab;
use lab::etcd::{NetworkKeys, PREFIX};

/// A key of etcd for a subnet: `10.244.7.0-24`.
pub fn key(subnet: &str) -> String {
    format!("{PREFIX}/subnets/{subnet}")
}

/// What a vxlan node would publish.
pub fn vxlan(public_ip: &str, mac: &str) -> String {
    format!(
        r#"{{"PublicIP":"{public_ip}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"{mac}"}}}}"#
    )
}

/// What a host-gw node would publish.
pub fn host_gw(public_ip: &str) -> String {
    format!(r#"{{"PublicIP":"{public_ip}","PublicIPv6":null,"BackendType":"host-gw"}}"#)
}

/// What a udp node would publish.
pub fn udp(public_ip: &str) -> String {
    format!(r#"{{"PublicIP":"{public_ip}","PublicIPv6":null}}"#)
}

/// Writes a lease without an end.
///
/// # Panics
/// etcd does not answer.
pub fn put(lab: &Lab, subnet: &str, value: &str) {
    lab.etcd().put(&key(subnet), value).unwrap_or_else(|error| panic!("{error}"));
}

/// Deletes a lease.
///
/// # Panics
/// etcd does not answer.
pub fn delete(lab: &Lab, subnet: &str) {
    let output = lab.etcdctl(["del".to_owned(), key(subnet)]).and_then(lab::Output::ok);
    output.unwrap_or_else(|error| panic!("{error}"));
}

/// The key of the lease that has this public address.
///
/// # Panics
/// etcd does not answer.
pub fn of(lab: &Lab, public_ip: &str) -> Option<(String, String)> {
    let leases = lab.etcd().leases().unwrap_or_else(|error| panic!("{error}"));
    leases.into_iter().find(|(_, value)| value.contains(&format!("\"{public_ip}\"")))
}

/// The number of the etcd lease that a key hangs on; 0 for none.
///
/// # Panics
/// There is no such key.
pub fn etcd_lease(lab: &Lab, subnet: &str) -> u64 {
    let text = lab
        .etcdctl(["get".to_owned(), key(subnet), "--write-out=json".to_owned()])
        .and_then(lab::Output::ok)
        .unwrap_or_else(|error| panic!("{error}"));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON of etcdctl");
    assert!(json["kvs"][0].is_object(), "no key {subnet}: {text}");
    json["kvs"][0]["lease"].as_u64().unwrap_or(0)
}
