//! Userdata: what nft stores beside objects for itself. The kernel keeps it and does not look at it.
//!
//! A list of type (one byte), length (one byte), value; numbers in the host's order. Comments, the byte order
//! of a set's keys, and the expressions behind `typeof`. The layout was read off nft 1.0.6's messages.

use super::comment::{LONGEST_COMMENT, clip};
use super::data::Type;
use super::set::{Holds, Set};

const SET_KEY_BYTEORDER: u8 = 0;
const SET_DATA_BYTEORDER: u8 = 1;
const SET_KEY_TYPEOF: u8 = 3;
const SET_DATA_TYPEOF: u8 = 4;
const SET_COMMENT: u8 = 7;

const BYTEORDER_MIXED: u32 = 0;
const BYTEORDER_HOST: u32 = 1;
const BYTEORDER_BIG: u32 = 2;

/// nft's numbers for the kinds of expressions.
const PAYLOAD: u32 = 7;
const META: u32 = 9;
const CONCAT: u32 = 13;
const CT: u32 = 12;
const FIB: u32 = 22;
const NUMGEN: u32 = 23;

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).expect("an item of userdata has at most 255 bytes");
    [&[kind, len], value].concat()
}

fn number(kind: u8, value: u32) -> Vec<u8> {
    item(kind, &value.to_ne_bytes())
}

/// A comment: type 0 for everything but sets.
pub(super) fn comment(kind: u8, text: &str) -> Vec<u8> {
    item(kind, &[clip(text, LONGEST_COMMENT).as_bytes(), &[0]].concat())
}

/// The comment in an object's userdata.
pub(super) fn read_comment(userdata: &[u8]) -> Option<String> {
    find(userdata, 0)
}

pub(super) fn read_set_comment(userdata: &[u8]) -> Option<String> {
    find(userdata, SET_COMMENT)
}

fn find(mut rest: &[u8], wanted: u8) -> Option<String> {
    while let [kind, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len))?;
        if *kind == wanted {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = &tail[usize::from(*len)..];
    }
    None
}

pub(super) fn set_userdata(set: &Set) -> Vec<u8> {
    let mut out = number(SET_KEY_BYTEORDER, byteorder(&set.key));
    if let Holds::Data(types) = &set.holds {
        out.extend(number(SET_DATA_BYTEORDER, byteorder(types)));
    }
    // nft cannot name the type of numgen; only then does it need the expressions.
    let unnamed = |types: &[Type]| types.contains(&Type::Integer);
    let data = match &set.holds {
        Holds::Data(types) => types.as_slice(),
        _ => &[],
    };
    if unnamed(&set.key) || unnamed(data) {
        out.extend(item(SET_KEY_TYPEOF, &type_of(&set.key)));
        if !data.is_empty() {
            out.extend(item(SET_DATA_TYPEOF, &type_of(data)));
        }
    }
    if let Some(text) = &set.comment {
        out.extend(comment(SET_COMMENT, text));
    }
    out
}

fn byteorder(types: &[Type]) -> u32 {
    match types {
        [single] if single.host_order() => BYTEORDER_HOST,
        [_] => BYTEORDER_BIG,
        _ => BYTEORDER_MIXED,
    }
}

/// The expression that nft is to print for these types.
fn type_of(types: &[Type]) -> Vec<u8> {
    match types {
        [single] => expression(*single),
        fields => {
            let list: Vec<u8> =
                fields.iter().enumerate().flat_map(|(n, field)| item(n as u8, &expression(*field))).collect();
            [number(0, CONCAT), item(1, &list)].concat()
        }
    }
}

/// An expression of the type, by the numbers that nft gives its templates.
fn expression(kind: Type) -> Vec<u8> {
    // (header's number, field's number)
    let payload = |header, field| (PAYLOAD, [number(0, header), number(1, field)].concat());
    let meta = |key: u32| (META, number(0, key));
    let (which, data) = match kind {
        Type::Ipv4Addr => payload(12, 12),
        Type::Ipv6Addr => payload(13, 9),
        Type::InetService => payload(11, 2),
        Type::InetProto => meta(16),
        Type::NfProto => meta(15),
        Type::IfIndex => meta(4),
        Type::IfName => meta(6),
        Type::CtState => (CT, [number(0, 0), number(1, u32::MAX)].concat()),
        Type::CtDirection => (CT, [number(0, 1), number(1, u32::MAX)].concat()),
        Type::CtStatus => (CT, [number(0, 2), number(1, u32::MAX)].concat()),
        Type::FibAddrType => (FIB, [number(0, 3), number(1, 2)].concat()),
        // numgen random mod 65536: of the modulus only the printed form depends.
        Type::Integer => (NUMGEN, [number(0, 1), number(1, 65536), number(2, 0)].concat()),
        Type::Mark | Type::EtherAddr | Type::Other(..) => meta(3),
    };
    [number(0, which), item(1, &data)].concat()
}
