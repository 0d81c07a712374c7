//! What a daemon leaves where others can see it.

use std::collections::BTreeSet;
use std::fmt;

use lab::{Node, ScratchLab};
use serde_json::Value;

use crate::testbed::sh;

/// Lines, each behind the name of the table that it is from. The same node under two daemons gives two traces, and
/// [`Trace::difference`] says what a third would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(BTreeSet<String>);

const LINKS: [&str; 3] = ["flannel.1", "flannel-v6.1", "flannel0"];

/// Whoever made the pods' bridge, its routes and ports are the lab's; the kernel forgets and finds learned neighbours.
const TABLES: &str = r#"
each() { sed "s|^|$1: |; s| *$||"; }
ip -d route show | grep -v docker0 | each route
ip -6 -d route show | grep -v -e docker0 -e veth -e 'fe80::' | each route
for link in flannel.1 flannel-v6.1; do
    ip -d neigh show dev $link nud permanent 2>/dev/null | each "neighbour $link"
    ip -6 -d neigh show dev $link nud permanent 2>/dev/null | each "neighbour $link"
    bridge -d fdb show dev $link 2>/dev/null | grep permanent | each "fdb $link"
done
ip -o address show | grep ': flannel' | grep -v 'fe80::' | sed 's/^[0-9]*: //; s/  */ /g; s/\\.*//' | each address
for save in iptables-save ip6tables-save; do
    $save | grep -v -e '^#' -e '^COMMIT' | sed 's/ *\[[0-9:]*\]$//' | grep -v '^:[A-Z]* ACCEPT$' |
        awk -v table=$save '/^\*/ {t = substr($0, 2); next} {print table " " t ": " NR " " $0}'
done
nft list tables | grep flannel | each nftables
sysctl -n net.ipv6.conf.flannel-v6/1.accept_ra 2>/dev/null | each accept_ra
"#;

impl Trace {
    /// Looks at a node, at its lease in etcd, and at its files.
    ///
    /// # Panics
    /// It has no lease, or a tool is missing.
    pub fn of(lab: &ScratchLab, node: &Node) -> Self {
        let (key, value) = super::lease(lab, node);
        let mut lines = BTreeSet::from([format!("etcd: {key} {value}")]);
        let env = node.subnet_env().expect("a subnet.env").text;
        lines.extend(
            env.split_inclusive('\n').enumerate().map(|(at, line)| format!("subnet.env: {at} {line:?}")),
        );
        lines.extend(sh(node, &format!("set +e; {TABLES} true")).lines().map(str::to_owned));
        for link in LINKS {
            let text = sh(node, &format!("ip -d -j link show {link} 2>/dev/null || true"));
            if let Ok(json) = serde_json::from_str::<Value>(&text) {
                flatten(&format!("link {link}"), &json[0], &mut lines);
            }
        }
        Self(lines)
    }

    /// Whether there is a line of this table with these words.
    pub fn has(&self, table: &str, words: &str) -> bool {
        self.0.iter().any(|line| line.starts_with(table) && line.contains(words))
    }

    /// What `other` lacks (-) and what only it has (+), in order.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let gone = self.0.difference(&other.0).map(|line| format!("- {line}"));
        gone.chain(other.0.difference(&self.0).map(|line| format!("+ {line}"))).collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// One line for each value of a JSON object. The index of a link is a matter of its age, the queueing discipline one of
/// the host's.
fn flatten(at: &str, value: &Value, lines: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "ifindex") {
                flatten(&format!("{at}: {key}"), value, lines);
            }
        }
        _ => drop(lines.insert(format!("{at}: {value}"))),
    }
}
