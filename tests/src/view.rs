//! What the kernel of a node holds that is flanneld's, in the words of the system's own tools.

use std::collections::BTreeSet;
use std::fmt;

use lab::Node;

use crate::testbed::sh;

/// Lines of all tables, each behind the name of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View(BTreeSet<String>);

/// Everything of ours. The routes are marked 87; the links have flannel's names; docker0 is the pods' bridge.
/// Interface indices, counters and the state of ports are left out: they change with what is repaired.
const LOOK: &str = r#"
each() { sed "s|^|$1: |"; }
ip route show proto 87 | each route
ip -6 route show proto 87 | each route
ip route show type blackhole proto 87 | each blackhole
for link in flannel.1 flannel-v6.1 flannel0 docker0; do
    [ -e /proc/sys/net/ipv4/conf/$link ] || continue
    ip -o link show $link | sed 's/^[0-9]*: \([^:@]*\).* \(mtu [0-9]*\) .*/\1 \2/' | each link
    ip -o link show $link up | sed 's/^[0-9]*: \([^:@]*\).*/\1 up/' | each link
    ip -o address show dev $link scope global | grep -v 192.0.2.77 | sed 's/^[0-9]*: //; s/ *\\.*//' | each address
done
for link in flannel.1 flannel-v6.1; do
    [ -e /proc/sys/net/ipv4/conf/$link ] || continue
    ip -o link show $link | sed 's/.* link.ether \([^ ]*\) .*/\1/' | each "mac $link"
    ip -o -d link show $link | sed 's/.* \(vxlan id.*\) ttl .*/\1/' | each "vxlan $link"
    bridge fdb show dev $link | grep permanent | each "fdb $link"
    ip neigh show dev $link nud permanent | each "neighbour $link"
    ip -6 neigh show dev $link nud permanent | each "neighbour $link"
done
nft -s list table ip flannel-ipv4 2>/dev/null | each nft
nft -s list table ip6 flannel-ipv6 2>/dev/null | each nft
"#;

impl View {
    /// Looks once.
    ///
    /// # Panics
    /// A tool is missing.
    pub fn of(node: &Node) -> Self {
        // A link may go between two looks of the script; what it says then is no complete view, but no failure.
        let text = sh(node, &format!("exec 2>/dev/null; set +e; {LOOK} true"));
        let line = |line: &str| {
            line.replace(" linkdown", "")
                .replace(" dead", "")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        Self(text.lines().map(line).collect())
    }

    /// How many lines a table has.
    pub fn count(&self, table: &str) -> usize {
        self.0.iter().filter(|line| line.starts_with(table)).count()
    }

    /// Whether a table has a line with these words.
    pub fn has(&self, table: &str, words: &str) -> bool {
        self.0.iter().any(|line| line.starts_with(table) && line.contains(words))
    }

    /// What is missing here that `other` has, and the reverse.
    pub fn difference(&self, other: &Self) -> String {
        let lines = |sign, from: &Self, to: &Self| {
            from.0.difference(&to.0).map(|line| format!("{sign} {line}\n")).collect::<String>()
        };
        lines('-', other, self) + &lines('+', self, other)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
