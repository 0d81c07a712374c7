//! A CNI configuration for the standard plugins, in the place of flannel's own plugin.
//!
//! Begin at [`CniConf`]. flannel's plugin reads `subnet.env` at each pod and hands on to `bridge` and `host-local`;
//! a list written once by the daemon needs no plugin of ours at all.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

use crate::subnet_env::{first_usable, first_usable_v6};

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniConf {
    /// The name of the network. Kubelet and `host-local` keep their state under it.
    pub name: String,
    /// The pods' bridge, such as `cni0`.
    pub bridge: String,
    pub subnet: Ipv4Net,
    pub ipv6_subnet: Option<Ipv6Net>,
    /// MTU of the pods, in bytes.
    pub mtu: u32,
    /// Whether the daemon masquerades. The bridge plugin then must not, as in flannel's plugin.
    pub ip_masq: bool,
}

impl CniConf {
    /// The text of the `.conflist`, of version 1.0.0 of the CNI specification.
    pub fn render(&self) -> String {
        let v4 = self.subnet.trunc();
        let mut families = vec![(IpNet::V4(v4), IpAddr::V4(first_usable(v4)), "0.0.0.0/0")];
        if let Some(v6) = self.ipv6_subnet.map(|subnet| subnet.trunc()) {
            families.push((v6.into(), first_usable_v6(v6).into(), "::/0"));
        }
        let bridge = Bridge {
            r#type: "bridge",
            bridge: &self.bridge,
            mtu: self.mtu,
            is_default_gateway: true,
            hairpin_mode: true,
            ip_masq: !self.ip_masq,
            ipam: Ipam {
                r#type: "host-local",
                ranges: families.iter().map(|(subnet, ..)| [Range { subnet: *subnet }]).collect(),
                routes: families.iter().map(|(_, gw, dst)| Route { dst, gw: *gw }).collect(),
            },
        };
        let portmap = Portmap { r#type: "portmap", capabilities: Capabilities { port_mappings: true } };
        let list = List { cni_version: "1.0.0", name: &self.name, plugins: (bridge, portmap) };
        serde_json::to_string_pretty(&list).expect("strings and numbers") + "\n"
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    cni_version: &'a str,
    name: &'a str,
    plugins: (Bridge<'a>, Portmap),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bridge<'a> {
    r#type: &'static str,
    bridge: &'a str,
    mtu: u32,
    is_default_gateway: bool,
    hairpin_mode: bool,
    ip_masq: bool,
    ipam: Ipam,
}

/// One list of ranges for each family: `host-local` gives a pod one address out of each list.
#[derive(Serialize)]
struct Ipam {
    r#type: &'static str,
    ranges: Vec<[Range; 1]>,
    routes: Vec<Route>,
}

#[derive(Serialize)]
struct Range {
    subnet: IpNet,
}

/// The gateway is written out because the bridge plugin, told to be the default gateway, adds a route of its own
/// beside one that names none, and the kernel refuses the second (EEXIST, tried on 6.18).
#[derive(Serialize)]
struct Route {
    dst: &'static str,
    gw: IpAddr,
}

#[derive(Serialize)]
struct Portmap {
    r#type: &'static str,
    capabilities: Capabilities,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    port_mappings: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf() -> CniConf {
        CniConf {
            name: "weft".to_owned(),
            bridge: "cni0".to_owned(),
            subnet: "10.5.72.1/24".parse().unwrap(),
            ipv6_subnet: None,
            mtu: 1450,
            ip_masq: true,
        }
    }

    #[test]
    fn one_family() {
        insta::assert_snapshot!(conf().render(), @r#"
        {
          "cniVersion": "1.0.0",
          "name": "weft",
          "plugins": [
            {
              "type": "bridge",
              "bridge": "cni0",
              "mtu": 1450,
              "isDefaultGateway": true,
              "hairpinMode": true,
              "ipMasq": false,
              "ipam": {
                "type": "host-local",
                "ranges": [
                  [
                    {
                      "subnet": "10.5.72.0/24"
                    }
                  ]
                ],
                "routes": [
                  {
                    "dst": "0.0.0.0/0",
                    "gw": "10.5.72.1"
                  }
                ]
              }
            },
            {
              "type": "portmap",
              "capabilities": {
                "portMappings": true
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn two_families_have_a_range_and_a_route_each() {
        let dual =
            CniConf { ipv6_subnet: Some("fd00:5:0:72::/64".parse().unwrap()), ip_masq: false, ..conf() };
        let list: serde_json::Value = serde_json::from_str(&dual.render()).unwrap();
        let bridge = &list["plugins"][0];
        assert_eq!(bridge["ipMasq"], true);
        assert_eq!(
            bridge["ipam"],
            serde_json::json!({
                "type": "host-local",
                "ranges": [[{ "subnet": "10.5.72.0/24" }], [{ "subnet": "fd00:5:0:72::/64" }]],
                "routes": [
                    { "dst": "0.0.0.0/0", "gw": "10.5.72.1" },
                    { "dst": "::/0", "gw": "fd00:5:0:72::1" },
                ],
            })
        );
    }
}
