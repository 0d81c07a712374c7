//! Host-gw and vxlan as somebody would set them up with iproute2: what our daemon must not be slower than. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::mode::Mode;

/// What flannel would have leased to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// On the underlay.
    pub address: Ipv4Addr,
    /// Its pods' subnet.
    pub subnet: Ipv4Net,
    /// Of its VXLAN device.
    pub mac: &'static str,
}

/// VNI, port and MTU are flannel's defaults over an Ethernet of 1500.
pub const VXLAN_MTU: u32 = 1450;

/// The commands for the node at `here`, so that it reaches the pods of the one at `there`. None where nothing is to be
/// done by hand.
pub fn commands(mode: Mode, here: Place, there: Place) -> Vec<Vec<String>> {
    let text = match mode {
        Mode::HostGwByHand => format!("ip route add {} via {} dev eth0", there.subnet, there.address),
        Mode::VxlanByHand => format!(
            "ip link add flannel.1 mtu {VXLAN_MTU} address {mac} type vxlan id 1 local {address} dev eth0 dstport 8472 nolearning\n\
             ip address add {own}/32 dev flannel.1\n\
             ip link set flannel.1 up\n\
             ip neighbour add {peer} lladdr {peer_mac} dev flannel.1 nud permanent\n\
             bridge fdb add {peer_mac} dev flannel.1 dst {peer_address}\n\
             ip route add {peer_subnet} via {peer} dev flannel.1 onlink",
            mac = here.mac,
            address = here.address,
            own = here.subnet.network(),
            peer = there.subnet.network(),
            peer_mac = there.mac,
            peer_address = there.address,
            peer_subnet = there.subnet,
        ),
        _ => String::new(),
    };
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> [Place; 2] {
        [
            Place {
                address: Ipv4Addr::new(172, 30, 0, 11),
                subnet: "10.244.1.0/24".parse().unwrap(),
                mac: "02:00:00:00:00:01",
            },
            Place {
                address: Ipv4Addr::new(172, 30, 0, 12),
                subnet: "10.244.2.0/24".parse().unwrap(),
                mac: "02:00:00:00:00:02",
            },
        ]
    }

    #[test]
    fn the_commands_are_those_that_people_type() {
        let [here, there] = places();
        let typed = |mode| commands(mode, here, there).iter().map(|argv| argv.join(" ")).collect::<Vec<_>>();
        assert_eq!(typed(Mode::HostGwByHand), ["ip route add 10.244.2.0/24 via 172.30.0.12 dev eth0"]);
        assert_eq!(
            typed(Mode::VxlanByHand),
            [
                "ip link add flannel.1 mtu 1450 address 02:00:00:00:00:01 type vxlan id 1 local 172.30.0.11 dev eth0 dstport 8472 nolearning",
                "ip address add 10.244.1.0/32 dev flannel.1",
                "ip link set flannel.1 up",
                "ip neighbour add 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent",
                "bridge fdb add 02:00:00:00:00:02 dev flannel.1 dst 172.30.0.12",
                "ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
            ]
        );
        assert!(typed(Mode::Vxlan).is_empty());
    }
}
