//! The programs on a node: which of them to use, and whether they and the kernel can do what we write.

use host::error::HostError;
use host::iptables::{Flavour, Flush, Found, Iptables, Saved};
use proxy_core::names::Family;

use super::names::{PROBE, Table};
use super::{BackendError, MODE};

/// Writes a chain that nothing leads to, with one rule of every kind, and deletes it.
pub fn probe(family: Family, tool: &Iptables, mark_bit: u8) -> Result<(), BackendError> {
    let own = somewhere(family);
    let mark = 1u32 << mark_bit;
    let nat = [
        format!("-m mark ! --mark {mark:#x}/{mark:#x} -j RETURN"),
        format!("-m comment --comment probe -j MARK --set-xmark {mark:#x}/{mark:#x}"),
        "-m addrtype --dst-type LOCAL -j RETURN".to_owned(),
        "-m statistic --mode random --probability 0.5 -j RETURN".to_owned(),
        format!("-m recent --set --name {PROBE} -j RETURN"),
        format!("-p tcp -m tcp --dport 1 -j DNAT --to-destination {own}"),
    ];
    let filter = [
        "-m conntrack --ctstate INVALID -j DROP".to_owned(),
        "-p tcp -j REJECT --reject-with tcp-reset".to_owned(),
        "-j REJECT".to_owned(),
    ];
    let text = |table: &str, rules: &[String]| {
        let rules: String = rules.iter().map(|rule| format!("-A {PROBE} {rule}\n")).collect();
        format!("*{table}\n:{PROBE} - [0:0]\n{rules}COMMIT\n")
    };
    let write = text("filter", &filter) + &text("nat", &nat);
    let clean = |table: &str| format!("*{table}\n:{PROBE} - [0:0]\n-X {PROBE}\nCOMMIT\n");
    let tried = tool.restore(&write, Flush::Declared);
    // Where the first failed, one of the chains may not be there: making it harms nobody.
    tool.restore(&(clean("filter") + &clean("nat")), Flush::Declared)?;
    match tried {
        Ok(()) => Ok(()),
        // Nobody has looked at the rules yet.
        Err(error @ (HostError::Locked { .. } | HostError::Overran { .. })) => Err(error.into()),
        Err(source) => Err(BackendError::Missing {
            mode: MODE,
            missing: format!("{tool} refuses a rule: {source}"),
            advice: "it takes a kernel with xt_comment, xt_conntrack, xt_addrtype, xt_statistic, xt_recent, \
                     xt_mark, xt_MASQUERADE and REJECT; the nftables mode may work",
            source: Box::new(source),
        }),
    }
}

/// From the networks for documentation.
const fn somewhere(family: Family) -> &'static str {
    match family {
        Family::V4 => "192.0.2.1:1",
        Family::V6 => "[2001:db8::1]:1",
    }
}

pub fn program_family(family: Family) -> host::iptables::Family {
    match family {
        Family::V4 => host::iptables::Family::V4,
        Family::V6 => host::iptables::Family::V6,
    }
}

/// All tables; an error where one that we write is there and cannot be read.
pub fn look(tool: &Iptables) -> Result<Saved, HostError> {
    let saved = tool.save_all()?;
    match Table::ALL.iter().map(|table| table.as_str()).find(|table| saved.is_unreadable(table)) {
        None => Ok(saved),
        Some(table) => {
            let family = if tool.family == host::iptables::Family::V4 { "ip" } else { "ip6" };
            Err(HostError::Refused {
                op: "read",
                object: format!("table {table} of {tool}"),
                reason: "it holds what iptables cannot express".to_owned(),
                advice: format!(
                    "`nft list table {family} {table}` shows it; it belongs into a table of its own"
                ),
                errno: libc::EINVAL,
            })
        }
    }
}

/// The flavour asked for; else the one with chains that kubelet makes to show which it uses; else the plain one.
pub fn choose(found: Vec<Found>, asked: Option<Flavour>) -> Result<Iptables, BackendError> {
    let kubelets = |found: &Found| {
        let mangle = found.saved.as_ref().ok().and_then(|saved| saved.table("mangle"));
        let hints = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];
        mangle.is_some_and(|mangle| hints.iter().any(|hint| mangle.chain(hint).is_some()))
    };
    let rank = |found: &Found| match asked {
        Some(flavour) => u8::from(found.tool.flavour == flavour) * 3,
        None => u8::from(kubelets(found)) * 2 + u8::from(found.default),
    };
    let best = found.iter().max_by_key(|found| rank(found)).filter(|best| asked.is_none() || rank(best) > 0);
    best.map(|best| best.tool.clone()).ok_or_else(|| {
        let program = asked.map_or("iptables".to_owned(), |flavour| format!("iptables-{flavour}"));
        let advice = "install it (apt-get install iptables), or leave the choice of flavour to this program";
        BackendError::Missing {
            mode: MODE,
            missing: format!("{program} is not installed"),
            advice,
            source: Box::new(HostError::NoProgram { program, advice: advice.to_owned() }),
        }
    })
}
