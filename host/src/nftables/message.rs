//! Changes as netlink messages. The numbers are those of linux/netfilter/nf_tables.h.

use super::attr::{Header, NLA_F_NESTED, Writer};
use super::batch::{Batch, Op};
use super::data::Type;
use super::encode::{LIST_ELEM, write_data};
use super::object::*;
use super::set::*;
use super::userdata::{comment, set_userdata};

const SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
pub(super) const DUMP: u16 = 0x300;

/// The content of an attribute that holds elements stays below this; an element is far below 4 KiB, and a
/// length has 16 bits.
const ELEMENTS_LIMIT: usize = 60 << 10;

/// The kinds of messages.
pub(super) mod kind {
    pub const NEWTABLE: u16 = 0;
    pub const GETTABLE: u16 = 1;
    pub const DELTABLE: u16 = 2;
    pub const NEWCHAIN: u16 = 3;
    pub const GETCHAIN: u16 = 4;
    pub const DELCHAIN: u16 = 5;
    pub const NEWRULE: u16 = 6;
    pub const GETRULE: u16 = 7;
    pub const DELRULE: u16 = 8;
    pub const NEWSET: u16 = 9;
    pub const GETSET: u16 = 10;
    pub const DELSET: u16 = 11;
    pub const NEWSETELEM: u16 = 12;
    pub const GETSETELEM: u16 = 13;
    pub const DELSETELEM: u16 = 14;
    pub const NEWGEN: u16 = 15;
    pub const GETGEN: u16 = 16;
    pub const NEWOBJ: u16 = 18;
    pub const GETOBJ: u16 = 19;
    pub const DELOBJ: u16 = 20;
    pub const GETOBJ_RESET: u16 = 21;
}

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
    Header { kind: SUBSYS_NFTABLES << 8 | kind, flags: REQUEST | flags, seq, family, res_id: 0 }
}

/// The kind of one of nf_tables' messages.
pub(super) fn kind_of(header: &Header) -> Option<u16> {
    (header.kind >> 8 == SUBSYS_NFTABLES).then_some(header.kind & 0xff)
}

pub(super) fn encode(batch: &Batch) -> Encoded {
    let mut w = Writer::default();
    let mut ops = Vec::new();
    let mark = |kind, seq| Header { kind, flags: REQUEST, seq, family: 0, res_id: SUBSYS_NFTABLES };
    w.message(mark(BATCH_BEGIN, 0), |w| {
        if let Some(generation) = batch.generation {
            w.u32(1, generation);
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
            w.string(1, &table.name);
            body(w);
        });
    }
}

fn write_op(sink: &mut Sink, op: &Op) {
    // A set needs a number that is its own within the batch.
    let set_id = sink.index as u32 + 1;
    match op {
        Op::AddTable(table) => sink.message(kind::NEWTABLE, CREATE, &table.id, |w| {
            w.u32(2, table.dormant.into());
            if let Some(text) = &table.comment {
                w.raw(6, &comment(0, text));
            }
        }),
        Op::DeleteTable(table) => sink.message(kind::DELTABLE, 0, table, |_| {}),
        Op::AddChain(chain) => {
            sink.message(kind::NEWCHAIN, CREATE, &chain.table, |w| write_chain(w, chain));
        }
        Op::DeleteChain(table, name) => sink.message(kind::DELCHAIN, 0, table, |w| w.string(3, name)),
        Op::FlushChain(table, name) => sink.message(kind::DELRULE, 0, table, |w| w.string(2, name)),
        Op::AddRule(rule, place) => {
            let (flags, position) = match *place {
                Place::First => (CREATE, None),
                Place::Last => (CREATE | APPEND, None),
                Place::Before(handle) => (CREATE, Some(handle)),
                Place::After(handle) => (CREATE | APPEND, Some(handle)),
            };
            sink.message(kind::NEWRULE, flags, &rule.table, |w| {
                write_rule(w, rule);
                if let Some(handle) = position {
                    w.u64(6, handle);
                }
            });
        }
        Op::ReplaceRule(handle, rule) => {
            sink.message(kind::NEWRULE, CREATE | REPLACE, &rule.table, |w| {
                write_rule(w, rule);
                w.u64(3, *handle);
            });
        }
        Op::DeleteRule { table, chain, handle } => sink.message(kind::DELRULE, 0, table, |w| {
            w.string(2, chain);
            w.u64(3, *handle);
        }),
        Op::AddSet(set) => {
            sink.message(kind::NEWSET, CREATE, &set.table, |w| write_set(w, set, set_id));
        }
        Op::DeleteSet(set) => sink.message(kind::DELSET, 0, &set.table, |w| w.string(2, &set.name)),
        Op::FlushSet(set) => sink.message(kind::DELSETELEM, 0, &set.table, |w| w.string(2, &set.name)),
        Op::AddElements(set, elements) => write_elements(sink, kind::NEWSETELEM, CREATE, set, elements),
        Op::DeleteElements(set, elements) => write_elements(sink, kind::DELSETELEM, 0, set, elements),
        Op::AddCounter(counter) => sink.message(kind::NEWOBJ, CREATE, &counter.table, |w| {
            w.string(2, &counter.name);
            w.u32(3, OBJECT_COUNTER);
            w.nested(4, |w| {
                w.u64(1, 0);
                w.u64(2, 0);
            });
            if let Some(text) = &counter.comment {
                w.raw(8, &comment(0, text));
            }
        }),
        Op::DeleteCounter(table, name) => sink.message(kind::DELOBJ, 0, table, |w| {
            w.string(2, name);
            w.u32(3, OBJECT_COUNTER);
        }),
    }
}

fn write_chain(w: &mut Writer, chain: &Chain) {
    w.string(3, &chain.name);
    if let Some(base) = &chain.base {
        w.nested(4, |w| {
            w.u32(1, base.hook as u32);
            w.u32(2, base.priority as u32);
        });
        w.u32(5, base.policy as u32);
        w.string(7, base.kind.name());
    }
    if let Some(text) = &chain.comment {
        w.raw(12, &comment(0, text));
    }
}

fn write_rule(w: &mut Writer, rule: &Rule) {
    w.string(2, &rule.chain);
    w.nested(4, |w| rule.exprs.iter().for_each(|expr| expr.write(w)));
    if let Some(text) = &rule.comment {
        w.raw(7, &comment(0, text));
    }
}

fn write_set(w: &mut Writer, set: &Set, id: u32) {
    w.string(2, &set.name);
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
    w.u32(3, flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
    w.u32(4, type_code(&set.key));
    w.u32(5, padded_len(&set.key));
    match &set.holds {
        Holds::Nothing => {}
        Holds::Data(types) => {
            w.u32(6, type_code(types));
            w.u32(7, padded_len(types));
        }
        Holds::Verdict => w.u32(6, TYPE_VERDICT),
        Holds::Counter => w.u32(15, OBJECT_COUNTER),
    }
    if concat || set.size.is_some() {
        w.nested(9, |w| {
            if let Some(size) = set.size {
                w.u32(1, size);
            }
            if concat {
                w.nested(2, |w| {
                    for field in &set.key {
                        w.nested(LIST_ELEM, |w| w.u32(1, field.size() as u32));
                    }
                });
            }
        });
    }
    w.u32(10, id);
    if let Some(timeout) = set.timeout {
        w.u64(11, timeout);
    }
    w.raw(13, &set_userdata(set));
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
                w.string(2, &set.name);
                w.raw(3 | NLA_F_NESTED, &list.bytes);
            });
            list.bytes.clear();
        }
    }
}

fn write_element(list: &mut Writer, set: &Set, element: &Element) {
    let last = element.last.as_ref().unwrap_or(&element.key);
    let concat = set.key.len() > 1;
    list.nested(LIST_ELEM, |w| {
        write_data(w, 1, &element.key);
        if set.interval && concat {
            write_data(w, 10, last);
        }
        match &element.value {
            None => {}
            Some(Value::Data(data)) => write_data(w, 2, data),
            Some(Value::Verdict(verdict)) => w.nested(2, |w| verdict.write(w)),
            Some(Value::Object(name)) => w.string(9, name),
        }
        if let Some(timeout) = element.timeout {
            w.u64(4, timeout);
        }
        if let Some(text) = &element.comment {
            w.raw(6, &comment(0, text));
        }
    });
    // A range of single values is two elements: where it starts, and the first value behind it.
    if set.interval
        && !concat
        && let Some(end) = last.successor()
    {
        list.nested(LIST_ELEM, |w| {
            write_data(w, 1, &end);
            w.u32(3, ELEMENT_END);
        });
    }
}
