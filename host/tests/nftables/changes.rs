//! Transactions: order, all or nothing, and errors that name the change.

use std::sync::Arc;

use host::error::Remedy;
use host::nftables::build::*;
use host::nftables::*;

use crate::{in_namespace, list, net, small};

fn texts(nf: &mut Nftables, table: &TableId) -> Vec<String> {
    nf.rules(table, "c").unwrap().iter().map(|listed| listed.rule.to_string()).collect()
}

#[test]
fn rules_are_placed_replaced_and_deleted() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let rule = |n: u32| Rule::new(&table, "c", [mark().is(n)]);
        let text = |n: u32| format!("meta mark 0x{n:08x}");
        let mut batch = Batch::new();
        batch.add_rule(rule(1)).add_rule(rule(2)).insert_rule(rule(0));
        nf.apply(&batch).unwrap();
        assert_eq!(texts(&mut nf, &table), [0, 1, 2].map(text));

        let handle = nf.rules(&table, "c").unwrap()[1].handle;
        let mut batch = Batch::new();
        batch.push(Op::AddRule(rule(10), Place::Before(handle)));
        batch.push(Op::AddRule(rule(12), Place::After(handle)));
        batch.push(Op::ReplaceRule(handle, rule(11)));
        nf.apply(&batch).unwrap();
        assert_eq!(texts(&mut nf, &table), [0, 10, 11, 12, 2].map(text));

        let handle = nf.rules(&table, "c").unwrap()[1].handle;
        nf.apply(Batch::new().delete_rule(&table, "c", handle)).unwrap();
        assert_eq!(texts(&mut nf, &table), [0, 11, 12, 2].map(text));
        nf.apply(Batch::new().flush_chain(&table, "c")).unwrap();
        assert_eq!(texts(&mut nf, &table), [""; 0]);
        nf.apply(Batch::new().delete_chain(&table, "c")).unwrap();
        assert_eq!(nf.chains().unwrap(), []);
        assert_eq!(nf.tables().unwrap(), [Table::new(&table)]);
        nf.apply(Batch::new().no_table(&table).fresh_table(Table::new(&table)).no_table(&table)).unwrap();
        assert_eq!(nf.tables().unwrap(), []);
    });
}

#[test]
fn one_bad_change_undoes_all_and_is_named() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let before = (list(), nf.generation().unwrap());
        let mut batch = Batch::new();
        batch.add_chain(Chain::regular(&table, "d"));
        batch.add_rule(Rule::new(&table, "c", [counter(), accept()]));
        batch.add_rule(Rule::new(&table, "c", [ip_saddr().is(net("10.0.0.0/8")), jump("nowhere")]));
        batch.add_rule(Rule::new(&table, "d", [accept()]));
        let error = nf.apply(&batch).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nftables add rule ip weft-test c ip saddr 10.0.0.0/8 jump nowhere: \
             No such file or directory (os error 2)"
        );
        assert_eq!(error.remedy(), Remedy::Resync);
        assert_eq!((list(), nf.generation().unwrap()), before);
        // The connection is as good as before.
        nf.apply(Batch::new().add_rule(Rule::new(&table, "c", [accept()]))).unwrap();
    });
}

#[test]
fn of_many_elements_the_bad_one_is_named() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let set = Arc::new(Set::new(&table, "s", &[Type::Ipv4Addr]));
        let element = |n: u32| Element::new(std::net::Ipv4Addr::from(0x0a00_0000 + n));
        let mut batch = Batch::new();
        batch.add_set(&set).add_elements(&set, (0..5000).filter(|n| *n != 4321).map(element).collect());
        nf.apply(&batch).unwrap();
        let error = nf.apply(Batch::new().delete_elements(&set, (0..5000).map(element).collect()));
        assert_eq!(
            error.unwrap_err().to_string(),
            "nftables delete element ip weft-test s { 10.0.16.225 }: No such file or directory (os error 2)"
        );
        assert_eq!(nf.elements(&set).unwrap().len(), 4999);
        // Thousands of errors are more than the socket can hold; the first is what counts.
        let wrong = |_| Rule::new(&table, "nowhere", [accept()]);
        let error = nf.apply(&(0..20_000).map(wrong).map(|rule| Op::AddRule(rule, Place::Last)).collect());
        assert!(error.unwrap_err().to_string().contains("add rule ip weft-test nowhere accept"));
        assert_eq!(nf.generation().unwrap(), nf.generation().unwrap());
    });
}

#[test]
fn a_batch_for_an_older_ruleset_is_refused() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let mut batch = Batch { generation: Some(nf.generation().unwrap()), ..Batch::new() };
        batch.add_rule(Rule::new(&table, "c", [accept()]));
        nf.apply(&batch).unwrap();
        let error = nf.apply(&batch).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ERESTART));
        assert!(error.to_string().starts_with("nftables batch of 1 changes"), "{error}");
        assert_eq!(texts(&mut nf, &table), ["accept"]);
    });
}
