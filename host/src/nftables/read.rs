//! The ruleset as it is.

use super::Nftables;
use super::data::{Data, Type};
use super::decode::{Counts, expressions, value, verdict};
use super::family::Family;
use super::message::*;
use super::numbers::*;
use super::object::*;
use super::set::*;
use super::userdata::{read_comment, read_set_comment};
use crate::error::HostError;
use crate::wire::{Attrs, Message};

const ANY_FAMILY: u8 = 0;

impl Nftables {
    /// The number of the ruleset: each transaction of anybody makes it grow.
    pub fn generation(&mut self) -> Result<u32, HostError> {
        self.get(message::GETGEN, ANY_FAMILY, |_| {}, |m| m.attrs().u32(generation::ID))?
            .ok_or(HostError::Protocol { op: "nftables", reason: "no generation".to_owned() })
    }

    /// The tables of all families.
    pub fn tables(&mut self) -> Result<Vec<Table>, HostError> {
        self.dump(message::GETTABLE, ANY_FAMILY, |_| {}, |m, list| list.extend(table(m)))
    }

    /// The chains of all tables, other people's as well.
    pub fn chains(&mut self) -> Result<Vec<Chain>, HostError> {
        self.dump(message::GETCHAIN, ANY_FAMILY, |_| {}, |m, list| list.extend(chain(m)))
    }

    /// The rules of a chain in their order; none where there is no such chain.
    pub fn rules(&mut self, table: &TableId, chain: &str) -> Result<Vec<ListedRule>, HostError> {
        let question = |w: &mut crate::wire::Writer| {
            w.string(any::TABLE, &table.name);
            w.string(rule::CHAIN, chain);
        };
        self.dump(message::GETRULE, table.family.code(), question, |m, list| list.extend(rule(m)))
    }

    /// The rules of all chains of a table.
    pub fn all_rules(&mut self, table: &TableId) -> Result<Vec<ListedRule>, HostError> {
        let code = table.family.code();
        self.dump_within(
            message::GETRULE,
            code,
            |w| w.string(any::TABLE, &table.name),
            |m, list| list.extend(rule(m)),
        )
    }

    /// The sets and maps of a table, anonymous ones left out.
    pub fn sets(&mut self, table: &TableId) -> Result<Vec<Set>, HostError> {
        let code = table.family.code();
        self.dump(message::GETSET, code, |w| w.string(any::TABLE, &table.name), |m, list| list.extend(set(m)))
    }

    /// The elements of a set. No such set is `ENOENT`.
    pub fn elements(&mut self, set: &Set) -> Result<Vec<ListedElement>, HostError> {
        let question = |w: &mut crate::wire::Writer| {
            w.string(any::TABLE, &set.table.name);
            w.string(elements::SET, &set.name);
        };
        let raw = self.dump_within(message::GETSETELEM, set.table.family.code(), question, |m, list| {
            let elements = m.attrs().nested(elements::LIST).into_iter();
            let elements = elements.filter_map(|item| listed(item.nested()));
            list.extend(elements);
        })?;
        Ok(if set.interval && set.key.len() == 1 {
            ranges(raw)
        } else {
            raw.into_iter().map(|(element, _)| element).collect()
        })
    }

    /// One element by its key, for whole keys only; none where the set does not have it.
    pub fn element(&mut self, set: &Set, key: &Data) -> Result<Option<ListedElement>, HostError> {
        let question = |w: &mut crate::wire::Writer| {
            w.string(any::TABLE, &set.table.name);
            w.string(elements::SET, &set.name);
            w.nested(elements::LIST, |w| {
                w.nested(list::ELEM, |w| super::encode::write_data(w, element::KEY, key));
            });
        };
        let read = |m: Message| {
            let item = m.attrs().nested(elements::LIST).into_iter().next()?;
            listed(item.nested()).map(|(element, _)| element)
        };
        match self.get(message::GETSETELEM, set.table.family.code(), question, read) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            answer => answer,
        }
    }

    /// The named counters of a table with their numbers.
    pub fn counters(&mut self, table: &TableId) -> Result<Vec<(Counter, Counts)>, HostError> {
        self.objects(message::GETOBJ, table)
    }

    /// The same, and starts them again at zero; nothing that is counted meanwhile is lost.
    pub fn reset_counters(&mut self, table: &TableId) -> Result<Vec<(Counter, Counts)>, HostError> {
        self.objects(message::GETOBJ_RESET, table)
    }

    fn objects(&mut self, kind: u16, table: &TableId) -> Result<Vec<(Counter, Counts)>, HostError> {
        let question = |w: &mut crate::wire::Writer| {
            w.string(any::TABLE, &table.name);
            w.u32(object::TYPE, OBJECT_COUNTER);
        };
        self.dump(kind, table.family.code(), question, |m, list| list.extend(counter(m)))
    }
}

fn table_id(m: Message) -> Option<TableId> {
    Some(TableId { family: Family::from_code(m.header.family)?, name: m.attrs().string(any::TABLE)? })
}

fn text(a: Attrs, kind: u16) -> Option<String> {
    read_comment(a.get(kind)?.value)
}

pub(super) fn table(m: Message) -> Option<Table> {
    let a = m.attrs();
    Some(Table {
        id: table_id(m)?,
        comment: text(a, table::USERDATA),
        dormant: a.u32(table::FLAGS).unwrap_or(0) & 1 != 0,
    })
}

pub(super) fn chain(m: Message) -> Option<Chain> {
    let a = m.attrs();
    Some(Chain {
        table: table_id(m)?,
        name: a.string(chain::NAME)?,
        base: base(a),
        comment: text(a, chain::USERDATA),
    })
}

fn base(a: Attrs) -> Option<Base> {
    let hook = a.get(chain::HOOK)?.nested();
    Some(Base {
        kind: ChainType::from_name(&a.string(chain::TYPE)?)?,
        hook: Hook::from_code(hook.u32(hook::NUMBER)?)?,
        priority: hook.u32(hook::PRIORITY)? as i32,
        policy: if a.u32(chain::POLICY).unwrap_or(1) == 0 { Policy::Drop } else { Policy::Accept },
    })
}

pub(super) fn rule(m: Message) -> Option<ListedRule> {
    let a = m.attrs();
    let (exprs, counts) = expressions(a.nested(rule::EXPRESSIONS));
    let rule =
        Rule { table: table_id(m)?, chain: a.string(rule::CHAIN)?, exprs, comment: text(a, rule::USERDATA) };
    Some(ListedRule { handle: a.u64(rule::HANDLE)?, rule, counts })
}

fn counter(m: Message) -> Option<(Counter, Counts)> {
    let a = m.attrs();
    (a.u32(object::TYPE)? == OBJECT_COUNTER).then_some(())?;
    let counter =
        Counter { table: table_id(m)?, name: a.string(object::NAME)?, comment: text(a, object::USERDATA) };
    Some((counter, Counts::read(a.nested(object::DATA))))
}

pub(super) fn set(m: Message) -> Option<Set> {
    const ANONYMOUS: u32 = 0x1;
    let a = m.attrs();
    let flags = a.u32(set::FLAGS).unwrap_or(0);
    let on = |bit| flags & bit != 0;
    if on(ANONYMOUS) {
        return None;
    }
    Some(Set {
        table: table_id(m)?,
        name: a.string(set::NAME)?,
        key: types(a.u32(set::KEY_TYPE)?, a.u32(set::KEY_LEN)?),
        holds: match a.u32(set::DATA_TYPE) {
            Some(TYPE_VERDICT) if on(FLAG_MAP) => Holds::Verdict,
            Some(code) if on(FLAG_MAP) => Holds::Data(types(code, a.u32(set::DATA_LEN)?)),
            _ if on(FLAG_OBJECT) => Holds::Counter,
            _ => Holds::Nothing,
        },
        constant: on(FLAG_CONSTANT),
        interval: on(FLAG_INTERVAL),
        dynamic: on(FLAG_EVAL),
        timeouts: on(FLAG_TIMEOUT),
        timeout: a.u64(set::TIMEOUT).filter(|&timeout| timeout != 0),
        size: a.nested(set::DESC).u32(set_desc::SIZE),
        counting: a.nested(set::EXPR).string(expr::NAME).as_deref() == Some("counter"),
        comment: a.get(set::USERDATA).and_then(|userdata| read_set_comment(userdata.value)),
    })
}

/// nft's number for a concatenation, six bits for each type, as types.
fn types(code: u32, len: u32) -> Vec<Type> {
    let ids: Vec<u8> =
        (0..5).rev().map(|n| (code >> (6 * n) & 0x3f) as u8).skip_while(|&id| id == 0).collect();
    match ids[..] {
        [] => vec![Type::from_id(0, Some(len as usize))],
        [id] => vec![Type::from_id(id, Some(len as usize))],
        _ => ids.into_iter().map(|id| Type::from_id(id, None)).collect(),
    }
}

/// An element as it is listed, and whether it is only the end of a range.
fn listed(a: Attrs) -> Option<(ListedElement, bool)> {
    let (element, flags) = element(a)?;
    let counts = a.get(element::EXPR).map(|expr| Counts::read(expr.nested().nested(expr::DATA)));
    let listed = ListedElement { element, expires: a.u64(element::EXPIRATION), counts };
    Some((listed, flags & ELEMENT_END != 0))
}

/// An element and its flags.
pub(super) fn element(a: Attrs) -> Option<(Element, u32)> {
    let key = value(a.get(element::KEY)).unwrap_or_else(|| Data::new(&[]));
    let last = value(a.get(element::KEY_END)).filter(|last| *last != key);
    let held = a.get(element::DATA).and_then(|data| {
        verdict(data.nested()).map(Value::Verdict).or_else(|| value(Some(data)).map(Value::Data))
    });
    let element = Element {
        key,
        last,
        value: held.or_else(|| a.string(element::OBJREF).map(Value::Object)),
        timeout: a.u64(element::TIMEOUT),
        comment: text(a, element::USERDATA),
    };
    Some((element, a.u32(element::FLAGS).unwrap_or(0)))
}

/// Starts and ends of single-valued ranges, made ranges again, in ascending order.
fn ranges(mut raw: Vec<(ListedElement, bool)>) -> Vec<ListedElement> {
    // Where one range ends and the next starts, the kernel may have both.
    raw.sort_by(|(a, a_ends), (b, b_ends)| a.element.key.cmp(&b.element.key).then(b_ends.cmp(a_ends)));
    let mut out: Vec<ListedElement> = Vec::new();
    let mut open: Option<ListedElement> = None;
    for (listed, ends) in raw {
        if let Some(mut range) = open.take() {
            range.element.last = listed.element.key.predecessor().filter(|last| *last != range.element.key);
            out.push(range);
        }
        if !ends {
            open = Some(listed);
        }
    }
    // The last range reaches the greatest value there is.
    if let Some(mut range) = open {
        let greatest = Data::new(&vec![0xff; range.element.key.len()]);
        range.element.last = Some(greatest).filter(|last| *last != range.element.key);
        out.push(range);
    }
    out
}
