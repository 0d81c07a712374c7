//! `nft list ruleset` and back, as administrators keep their rules. Needs root and `nft`.

mod nftables_common;

use std::collections::{BTreeMap, BTreeSet};

use nftables_common::*;
use proxy::backends::Backend;
use proxy::backends::nftables::{NftablesBackend, Seen};

/// Without the time that elements still have, which goes by.
fn timeless(text: &str) -> String {
    let mut words = text.split_inclusive([' ', '\n', '\t', ',']).peekable();
    let mut out = String::new();
    while let Some(word) = words.next() {
        if word.trim() == "expires" {
            words.next();
        } else {
            out.push_str(word);
        }
    }
    out
}

/// What the kernel holds, in our words, which do not tell registers: nft chooses other ones.
fn held(seen: &Seen) -> BTreeMap<String, BTreeSet<String>> {
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (family, have) in seen.tables.iter().enumerate() {
        let mut put = |kind: &str, text: String| {
            held.entry(format!("{family} {kind}")).or_default().insert(text);
        };
        put("table", format!("{:?}", have.table));
        have.chains.iter().for_each(|chain| put("chain", format!("{chain:?}")));
        have.sets.iter().for_each(|set| put("set", format!("{set:?}")));
        let mut places = BTreeMap::new();
        for listed in &have.rules {
            let place: &mut usize = places.entry(&listed.rule.chain).or_default();
            *place += 1;
            put("rule", format!("{} {place}: {}", listed.rule.chain, listed.rule));
        }
        have.elements.iter().for_each(|element| put("element", format!("{element:?}")));
        have.others.iter().for_each(|(name, elements)| put("other", format!("{name}: {elements:?}")));
    }
    held
}

fn look(backend: &mut NftablesBackend) -> BTreeMap<String, BTreeSet<String>> {
    held(&backend.observe().unwrap())
}

#[test]
fn a_saved_ruleset_with_everything_in_it_loads_again_and_is_the_same() {
    in_namespace(|| {
        let (mut backend, want) = (open(), sample());
        backend.sync_full(&want).unwrap();
        nft(&["add table inet admin; add chain inet admin input { type filter hook input priority 0; }; \
               add rule inet admin input tcp dport 23 drop"]);
        // Clients as the rules remember them.
        nft(&[
            "add element ip weft-proxy affinity/10.96.0.15/tcp/80/8080 { 10.244.9.1 timeout 3h : 10.244.1.7 }",
        ]);
        nft(&["add element ip6 weft-proxy affinity/fd00.10.96..15/tcp/80/8080 \
               { fd00:10:244:9::1 timeout 3h : fd00:10:244:1::7 }"]);
        let saved = nft(&["list", "ruleset"]);
        let before = look(&mut backend);
        assert!(before.len() == 12 && before.values().all(|texts| !texts.is_empty()), "{before:?}");
        nft(&["flush", "ruleset"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &saved).unwrap();
        nft(&["-f", file.path().to_str().unwrap()]);
        assert_eq!(timeless(&nft(&["list", "ruleset"])), timeless(&saved));
        let after = look(&mut backend);
        for (kind, texts) in &before {
            let (gone, come): (Vec<_>, Vec<_>) =
                (texts.difference(&after[kind]).collect(), after[kind].difference(texts).collect());
            assert!(gone.is_empty() && come.is_empty(), "{kind}: {gone:#?} became {come:#?}");
        }
        // The daemon finds its own again, and changes go on from there.
        backend.sync_full(&want).unwrap();
        let have = backend.observe().unwrap();
        assert_eq!(backend.plan(&want, &have).to_string(), "");
    });
}
