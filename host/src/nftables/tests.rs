//! What needs no kernel: the reader against arbitrary bytes, and the printer against whatever was read.

use proptest::prelude::*;

use super::build::*;
use super::decode::expressions;
use super::*;
use crate::wire::{Attrs, Messages};

/// Attributes of small numbers, nested, so that the reader gets further than the first one.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "payload",
        "meta",
        "ct",
        "fib",
        "numgen",
        "hash",
        "bitwise",
        "byteorder",
        "immediate",
        "cmp",
        "range",
        "lookup",
        "counter",
        "objref",
        "nat",
        "masq",
        "redir",
        "reject",
        "dynset",
        "limit",
        "log",
        "notrack",
    ]);
    let field = (1u16..12, prop::collection::vec(prop_oneof![Just(0u8), 0u8..24, any::<u8>()], 0..20));
    (names, prop::collection::vec(field, 0..8)).prop_map(|(name, fields)| {
        let mut w = crate::wire::Writer::default();
        w.nested(1, |w| {
            w.string(1, name);
            w.nested(2, |w| fields.iter().for_each(|(kind, value)| w.raw(*kind, value)));
        });
        w.bytes
    })
}

fn show(exprs: Vec<Expr>) -> String {
    let table = TableId::new(Family::Inet, "t");
    Rule { table, chain: "c".to_owned(), exprs, comment: None }.to_string()
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for message in Messages(&bytes) {
            let _ = (read::table(message), read::chain(message), read::rule(message), read::set(message));
        }
        show(expressions(Attrs(&bytes)).0);
    }

    #[test]
    fn no_rule_makes_the_printer_panic(rules in prop::collection::vec(attributes(), 0..6)) {
        show(expressions(Attrs(&rules.concat())).0);
    }

    /// What is read is written as it was, down to registers and flags.
    #[test]
    fn what_is_read_is_written_again(rule in attributes()) {
        let (exprs, _) = expressions(Attrs(&rule));
        let mut w = crate::wire::Writer::default();
        exprs.iter().for_each(|expr| expr.write(&mut w));
        prop_assert_eq!(expressions(Attrs(&w.bytes)).0, exprs);
    }

    #[test]
    fn a_batch_is_messages_one_behind_the_other(sizes in prop::collection::vec(0u32..5000, 0..4)) {
        let table = TableId::new(Family::Ip, "t");
        let set = std::sync::Arc::new(Set::new(&table, "s", &[Type::Mark]));
        let batch: Batch = sizes
            .iter()
            .map(|n| Op::AddElements(set.clone(), (0..*n).map(Element::new).collect()))
            .collect();
        let encoded = message::encode(&batch);
        let messages: Vec<_> = Messages(&encoded.bytes).collect();
        prop_assert_eq!(messages.len(), encoded.ops.len() + 2);
        let mut counts = vec![0; sizes.len()];
        for (message, op) in messages[1..].iter().zip(&encoded.ops) {
            counts[*op] += message.attrs().nested(3).into_iter().count() as u32;
        }
        prop_assert_eq!(counts, sizes);
    }
}

#[test]
fn a_batch_prints_as_a_script() {
    let table = TableId::new(Family::Ip, "flannel");
    let mut batch = Batch::new();
    batch.fresh_table(Table::new(&table).comment("rules for \"pods\""));
    batch.add_chain(Chain::base(&table, "post", ChainType::Nat, Hook::Postrouting, priority::SRCNAT));
    batch.add_rule(Rule::new(&table, "post", [masquerade_fully_random()]).comment("masq"));
    batch.push(Op::AddRule(Rule::new(&table, "post", [discard()]), Place::Before(7)));
    batch.push(Op::ReplaceRule(8, Rule::new(&table, "post", [go_back()])));
    batch.delete_rule(&table, "post", 9).flush_chain(&table, "post").delete_chain(&table, "post");
    assert_eq!(
        batch.to_string(),
        "add table ip flannel
delete table ip flannel
add table ip flannel { comment \"rules for 'pods'\"; }
add chain ip flannel post { type nat hook postrouting priority 100; policy accept; }
add rule ip flannel post masquerade fully-random comment \"masq\"
insert rule ip flannel post handle 7 drop
replace rule ip flannel post handle 8 return
delete rule ip flannel post handle 9
flush chain ip flannel post
delete chain ip flannel post
"
    );
}

#[test]
fn comments_are_cut_to_what_nft_takes() {
    let table = TableId::new(Family::Ip6, "t");
    let long = "ä".repeat(200);
    assert_eq!(Table::new(&table).comment(&long).comment.unwrap().len(), 126);
    let frontend = [Type::Ipv6Addr, Type::InetProto, Type::InetService, Type::Integer];
    let set = Set::map(&table, "s", &frontend, &[Type::Ipv6Addr, Type::InetService]).comment(&long);
    // NFT_USERDATA_MAXLEN
    assert!(userdata::set_userdata(&set).len() <= 256);
}
