//! Changes as netlink messages. The flags are those of linux/netfilter/nf_tables.h.

use super::batch::{Batch, Op};
use super::data::Type;
use super::encode::write_data;
use super::expr::Expr;
use super::numbers::*;
use super::object::*;
use super::set::*;
use super::userdata::{comment, set_userdata};
use crate::wire::{ACK, Header, NLA_F_NESTED, REQUEST, Writer};

const SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// The content of an attribute that holds elements stays below this; an element is far below 4 KiB, and a
/// length has 16 bits.
const ELEMENTS_LIMIT: usize = 60 << 10;

pub(super) const FLAG_CONSTANT: u32 = 0x2;
pub(super) const FLAG_INTERVAL: u32 = 0x4;
pub(super) const FLAG_MAP: u32 = 0x8;
pub(super) const FLAG_TIMEOUT: u32 = 0x10;
pub(super) const FLAG_EVAL: u32 = 0x20;
pub(super) const FLAG_OBJECT: u32 = 0x40;
pub(super) const FLAG_CONCAT: u32 = 0x80;
pub(super) const TYPE_VERDICT: u32 = 0xffff_ff00;
pub(super) const OBJECT_COUNTER: u32 = 1;
pub(super) const ELEMENT_END: u32 = 1;

/// A whole batch in bytes. Message `n` behind the begin mark belongs to `ops[n]` and has sequence number
/// `n + 1`, the begin mark 0.
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    pub ops: Vec<usize>,
}

/// The header of a request that stands alone.
pub(super) fn request(kind: u16, flags: u16, family: u8, seq: u32) -> Header {
    Header::netfilter(SUBSYS_NFTABLES << 8 | kind, REQUEST | flags, seq, family)
}

/// The kind of one of nf_tables' messages.
pub(super) fn kind_of(header: &Header) -> Option<u16> {
    (header.kind >> 8 == SUBSYS_NFTABLES).then_some(header.kind & 0xff)
}

pub(super) fn encode(batch: &Batch) -> Encoded {
    let mut w = Writer::default();
    let mut ops = Vec::new();
    let mark = |kind, seq| Header { res_id: SUBSYS_NFTABLES, ..Header::netfilter(kind, REQUEST, seq, 0) };
    w.message(mark(BATCH_BEGIN, 0), |w| {
        if let Some(generation) = batch.generation {
            w.u32(batch::GENERATION, generation);
        }
    });
    let mut last = 0;
    for (index, op) in batch.ops.iter().enumerate() {
        write_op(&mut Sink { w: &mut w, ops: &mut ops, last: &mut last, index }, op);
    }
    // The kernel is silent about what went well. One answer, to the last message, proves that it read all.
    if let Some(flags) = w.bytes.get_mut(last + 6..last + 8).filter(|_| !ops.is_empty()) {
        let old = u16::from_ne_bytes([flags[0], flags[1]]);
        flags.copy_from_slice(&(old | ACK).to_ne_bytes());
    }
    w.message(mark(BATCH_END, ops.len() as u32 + 1), |_| {});
    Encoded { bytes: w.bytes, ops }
}

/// Where the messages of one change go.
struct Sink<'a> {
    w: &'a mut Writer,
    ops: &'a mut Vec<usize>,
    /// Where the last message starts.
    last: &'a mut usize,
    index: usize,
}

impl Sink<'_> {
    fn message(&mut self, kind: u16, flags: u16, table: &TableId, body: impl FnOnce(&mut Writer)) {
        *self.last = self.w.bytes.len();
        self.ops.push(self.index);
        self.w.message(request(kind, flags, table.family.code(), self.ops.len() as u32), |w| {
            w.string(any::TABLE, &table.name);
            body(w);
        });
    }
}

fn write_op(sink: &mut Sink, op: &Op) {
    // A set needs a number that is its own within the batch.
    let set_id = sink.index as u32 + 1;
    match op {
        Op::AddTable(table) => sink.message(message::NEWTABLE, CREATE, &table.id, |w| {
            w.u32(table::FLAGS, table.dormant.into());
            if let Some(text) = &table.comment {
                w.raw(table::USERDATA, &comment(0, text));
            }
        }),
        Op::DeleteTable(table) => sink.message(message::DELTABLE, 0, table, |_| {}),
        Op::AddChain(chain) => {
            sink.message(message::NEWCHAIN, CREATE, &chain.table, |w| write_chain(w, chain));
        }
        Op::DeleteChain(table, name) => {
            sink.message(message::DELCHAIN, 0, table, |w| w.string(chain::NAME, name))
        }
        Op::FlushChain(table, name) => {
            sink.message(message::DELRULE, 0, table, |w| w.string(rule::CHAIN, name))
        }
        Op::AddRule(rule, place) => {
            let (flags, position) = match *place {
                Place::First => (CREATE, None),
                Place::Last => (CREATE | APPEND, None),
                Place::Before(handle) => (CREATE, Some(handle)),
                Place::After(handle) => (CREATE | APPEND, Some(handle)),
            };
            sink.message(message::NEWRULE, flags, &rule.table, |w| {
                write_rule(w, rule);
                if let Some(handle) = position {
                    w.u64(rule::POSITION, handle);
                }
            });
        }
        Op::ReplaceRule(handle, rule) => {
            sink.message(message::NEWRULE, CREATE | REPLACE, &rule.table, |w| {
                write_rule(w, rule);
                w.u64(rule::HANDLE, *handle);
            });
        }
        Op::DeleteRule { table, chain, handle } => sink.message(message::DELRULE, 0, table, |w| {
            w.string(rule::CHAIN, chain);
            w.u64(rule::HANDLE, *handle);
        }),
        Op::AddSet(set) => {
            sink.message(message::NEWSET, CREATE, &set.table, |w| write_set(w, set, set_id));
        }
        Op::DeleteSet(set) => {
            sink.message(message::DELSET, 0, &set.table, |w| w.string(set::NAME, &set.name))
        }
        Op::FlushSet(set) => {
            sink.message(message::DELSETELEM, 0, &set.table, |w| w.string(elements::SET, &set.name))
        }
        Op::AddElements(set, elements) => write_elements(sink, message::NEWSETELEM, CREATE, set, elements),
        Op::DeleteElements(set, elements) => write_elements(sink, message::DELSETELEM, 0, set, elements),
        Op::AddCounter(counter) => sink.message(message::NEWOBJ, CREATE, &counter.table, |w| {
            w.string(object::NAME, &counter.name);
            w.u32(object::TYPE, OBJECT_COUNTER);
            w.nested(object::DATA, |w| {
                w.u64(counter::BYTES, 0);
                w.u64(counter::PACKETS, 0);
            });
            if let Some(text) = &counter.comment {
                w.raw(object::USERDATA, &comment(0, text));
            }
        }),
        Op::DeleteCounter(table, name) => sink.message(message::DELOBJ, 0, table, |w| {
            w.string(object::NAME, name);
            w.u32(object::TYPE, OBJECT_COUNTER);
        }),
    }
}

fn write_chain(w: &mut Writer, chain: &Chain) {
    w.string(chain::NAME, &chain.name);
    if let Some(base) = &chain.base {
        w.nested(chain::HOOK, |w| {
            w.u32(hook::NUMBER, base.hook as u32);
            w.u32(hook::PRIORITY, base.priority as u32);
        });
        w.u32(chain::POLICY, base.policy as u32);
        w.string(chain::TYPE, base.kind.name());
    }
    if let Some(text) = &chain.comment {
        w.raw(chain::USERDATA, &comment(0, text));
    }
}

fn write_rule(w: &mut Writer, rule: &Rule) {
    w.string(rule::CHAIN, &rule.chain);
    w.nested(rule::EXPRESSIONS, |w| rule.exprs.iter().for_each(|expr| expr.write(w)));
    if let Some(text) = &rule.comment {
        w.raw(rule::USERDATA, &comment(0, text));
    }
}

fn write_set(w: &mut Writer, set: &Set, id: u32) {
    w.string(set::NAME, &set.name);
    let concat = set.interval && set.key.len() > 1;
    let flags = [
        (set.constant, FLAG_CONSTANT),
        (set.interval, FLAG_INTERVAL),
        (matches!(set.holds, Holds::Data(_) | Holds::Verdict), FLAG_MAP),
        (set.timeouts, FLAG_TIMEOUT),
        (set.dynamic, FLAG_EVAL),
        (set.holds == Holds::Counter, FLAG_OBJECT),
        (concat, FLAG_CONCAT),
    ];
    w.u32(set::FLAGS, flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
    w.u32(set::KEY_TYPE, type_code(&set.key));
    w.u32(set::KEY_LEN, padded_len(&set.key));
    match &set.holds {
        Holds::Nothing => {}
        Holds::Data(types) => {
            w.u32(set::DATA_TYPE, type_code(types));
            w.u32(set::DATA_LEN, padded_len(types));
        }
        Holds::Verdict => w.u32(set::DATA_TYPE, TYPE_VERDICT),
        Holds::Counter => w.u32(set::OBJ_TYPE, OBJECT_COUNTER),
    }
    if concat || set.size.is_some() {
        w.nested(set::DESC, |w| {
            if let Some(size) = set.size {
                w.u32(set_desc::SIZE, size);
            }
            if concat {
                w.nested(set_desc::CONCAT, |w| {
                    for field in &set.key {
                        w.nested(list::ELEM, |w| w.u32(set_desc::FIELD_LEN, field.size() as u32));
                    }
                });
            }
        });
    }
    w.u32(set::ID, id);
    if let Some(timeout) = set.timeout {
        w.u64(set::TIMEOUT, timeout);
    }
    w.raw(set::USERDATA, &set_userdata(set));
    if set.counting {
        w.nested(set::EXPR, |w| Expr::Counter.write_named(w));
    }
}

/// nft's number for a concatenation: six bits for each type.
fn type_code(types: &[Type]) -> u32 {
    types.iter().fold(0, |code, kind| code << 6 | u32::from(kind.id()))
}

/// The bytes of a concatenation, or of a single value, which is not padded.
fn padded_len(types: &[Type]) -> u32 {
    match types {
        [single] => single.size() as u32,
        fields => fields.iter().map(|field| field.size().next_multiple_of(4) as u32).sum(),
    }
}

fn write_elements(sink: &mut Sink, kind: u16, flags: u16, set: &Set, elements: &[Element]) {
    let mut list = Writer::default();
    let mut elements = elements.iter().peekable();
    while let Some(element) = elements.next() {
        write_element(&mut list, set, element);
        if list.bytes.len() > ELEMENTS_LIMIT || elements.peek().is_none() {
            sink.message(kind, flags, &set.table, |w| {
                w.string(elements::SET, &set.name);
                w.raw(elements::LIST | NLA_F_NESTED, &list.bytes);
            });
            list.bytes.clear();
        }
    }
}

fn write_element(list: &mut Writer, set: &Set, element: &Element) {
    let last = element.last.as_ref().unwrap_or(&element.key);
    let concat = set.key.len() > 1;
    list.nested(list::ELEM, |w| {
        write_data(w, element::KEY, &element.key);
        if set.interval && concat {
            write_data(w, element::KEY_END, last);
        }
        match &element.value {
            None => {}
            Some(Value::Data(data)) => write_data(w, element::DATA, data),
            Some(Value::Verdict(verdict)) => w.nested(element::DATA, |w| verdict.write(w)),
            Some(Value::Object(name)) => w.string(element::OBJREF, name),
        }
        if let Some(timeout) = element.timeout {
            w.u64(element::TIMEOUT, timeout);
        }
        if let Some(text) = &element.comment {
            w.raw(element::USERDATA, &comment(0, text));
        }
    });
    // A range of single values is two elements: where it starts, and the first value behind it.
    if set.interval
        && !concat
        && let Some(end) = last.successor()
    {
        list.nested(list::ELEM, |w| {
            write_data(w, element::KEY, &end);
            w.u32(element::FLAGS, ELEMENT_END);
        });
    }
}
