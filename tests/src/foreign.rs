//! Other people's objects on a node: whatever flanneld does, they stay as they are.

use lab::Node;

use crate::testbed::sh;

/// Bridges of another runtime and of a CNI plugin, a veth pair in the place of a dummy, static routes outside and
/// inside the pods' network, neighbours, chains of kube-proxy, a table of somebody, and an address on our bridge.
const PLANT: &str = r#"
ip link add br-foreign type bridge; ip link set br-foreign up; ip address add 172.18.0.1/16 dev br-foreign
ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.99.0.1/24 dev cni0
ip link add dummy0 type veth peer name dummy1; ip link set dummy0 up; ip link set dummy1 up
ip address add 192.0.2.1/24 dev dummy0; ip -6 address add 2001:db8::1/64 dev dummy0 nodad
ip route add 198.51.100.0/24 via 192.0.2.2 proto static
ip route add 10.244.250.0/24 via 192.0.2.2 proto static
ip route add 10.244.251.0/24 via 192.0.2.2 metric 77
ip route add blackhole 10.244.252.0/24
ip neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev dummy0 nud permanent
iptables-nft -N KUBE-FORWARD; iptables-nft -A KUBE-FORWARD -s 203.0.113.0/24 -j ACCEPT
iptables-nft -A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
iptables-nft -t nat -N KUBE-POSTROUTING
iptables-nft -t nat -A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
iptables-nft -t nat -A POSTROUTING -j KUBE-POSTROUTING
nft 'add table inet stranger; add chain inet stranger c { type filter hook forward priority 10; }
     add rule inet stranger c ip saddr 203.0.113.7 counter drop'
"#;

/// docker0 is flanneld's bridge, and others may put addresses on it all the same.
const PLANT_ON_BRIDGE: &str = "ip address add 192.0.2.77/32 dev docker0";

const LOOK: &str = r#"
for link in br-foreign cni0 dummy0 dummy1; do
    ip -d -o link show $link; ip -o address show dev $link; ip neighbour show dev $link nud permanent
done
ip route show dev dummy0; ip route show dev cni0; ip route show dev br-foreign; ip route show type blackhole
ip -6 route show dev dummy0
nft -s list table inet stranger
nft -s list chain ip filter KUBE-FORWARD; nft -s list chain ip filter FORWARD | grep KUBE
nft -s list chain ip nat KUBE-POSTROUTING; nft -s list chain ip nat POSTROUTING | grep KUBE
"#;

/// Foreign objects on a node, as they were when they were put there.
#[derive(Debug)]
pub struct Foreign<'a> {
    node: &'a Node,
    were: String,
    on_bridge: bool,
}

impl<'a> Foreign<'a> {
    /// Puts them there. With a pods' bridge, an address on it too.
    ///
    /// # Panics
    /// A tool is missing.
    pub fn plant(node: &'a Node) -> Self {
        sh(node, PLANT);
        let on_bridge = node.run(["ip", "link", "show", "docker0"]).is_ok();
        if on_bridge {
            sh(node, PLANT_ON_BRIDGE);
        }
        Self { node, were: look(node), on_bridge }
    }

    /// Puts the address on the bridge again, which a test has deleted.
    ///
    /// # Panics
    /// There is no bridge.
    pub fn plant_on_bridge(&self) {
        sh(self.node, PLANT_ON_BRIDGE);
    }

    /// All of them are as they were.
    ///
    /// # Panics
    /// One is not: with what was and what is.
    pub fn assert_untouched(&self, when: &str) {
        let (were, are) = (&self.were, look(self.node));
        let lost: Vec<_> = were.lines().filter(|line| !are.contains(line)).collect();
        let new: Vec<_> = are.lines().filter(|line| !were.contains(line)).collect();
        assert!(*were == are, "foreign objects after {when}: lost {lost:#?}, new {new:#?}");
        if self.on_bridge {
            let addresses = sh(self.node, "ip -o address show dev docker0");
            assert!(addresses.contains("192.0.2.77/32"), "after {when}, on docker0: {addresses}");
        }
    }
}

fn look(node: &Node) -> String {
    let text = sh(node, LOOK);
    // A bridge recomputes its timers, and the kernel looks for other holders of a new address for a while.
    let timer = |word: &&str| {
        *word != "tentative" && !word.contains('.') || !word.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    text.lines()
        .map(|line| line.split_whitespace().filter(timer).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}
