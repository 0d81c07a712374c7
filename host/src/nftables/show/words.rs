//! The words of nft's language: names, flags, and values that registers hold.

use crate::nftables::data::{Data, Type};
use crate::nftables::expr::*;

/// What a register holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub text: String,
    pub kind: Option<Type>,
    pub len: usize,
    /// The value is `(text & mask) ^ xor`.
    pub bits: Option<(Data, Data)>,
    pub constant: Option<Data>,
    /// Turned to network order.
    pub swapped: bool,
    /// Only the first of the field's bytes were loaded.
    pub cut: bool,
    /// What a map held; the registers behind belong to it.
    pub map: bool,
    /// Loaded in the statement that is being read.
    pub fresh: bool,
}

/// Expressions that need no register.
pub(super) fn stateless(expr: &Expr) -> String {
    match expr {
        Expr::Counter => "counter".to_owned(),
        Expr::Object { kind: 1, name } => format!("counter name \"{name}\""),
        Expr::Object { kind, name } => format!("object {kind} name \"{name}\""),
        Expr::Notrack => "notrack".to_owned(),
        Expr::Limit(limit) => limit_text(limit),
        Expr::Log(log) => log_text(log),
        Expr::Unknown { name, data } => format!("[{name} {data:?}]"),
        other => format!("[{other:?}]"),
    }
}

pub(super) fn limit_text(limit: &Limit) -> String {
    let per = match limit.per {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3600 => "hour".to_owned(),
        86400 => "day".to_owned(),
        604800 => "week".to_owned(),
        seconds => format!("{seconds}s"),
    };
    let over = if limit.over { "over " } else { "" };
    match limit.unit {
        LimitUnit::Packets => format!("limit rate {over}{}/{per} burst {} packets", limit.rate, limit.burst),
        LimitUnit::Bytes if limit.burst == 0 => format!("limit rate {over}{} bytes/{per}", limit.rate),
        LimitUnit::Bytes => {
            format!("limit rate {over}{} bytes/{per} burst {} bytes", limit.rate, limit.burst)
        }
    }
}

pub(super) fn log_text(log: &Log) -> String {
    const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    let mut text = "log".to_owned();
    if let Some(prefix) = &log.prefix {
        text.push_str(&format!(" prefix \"{prefix}\""));
    }
    if let Some(group) = log.group {
        text.push_str(&format!(" group {group}"));
    }
    if let Some(level) = log.level.and_then(|level| LEVELS.get(level as usize)) {
        text.push_str(&format!(" level {level}"));
    }
    text
}

pub(super) fn word(text: String, kind: Option<Type>, len: usize) -> Word {
    Word { text, len: kind.map_or(len, Type::size), kind, ..Word::default() }
}

pub(super) fn number(text: String) -> Word {
    word(text, Some(Type::Integer), 4)
}

pub(super) fn shifted(offset: u32) -> String {
    if offset == 0 { String::new() } else { format!(" offset {offset}") }
}

pub(super) fn fib(result: FibResult, flags: FibFlags) -> Word {
    let names = [
        (flags.saddr, "saddr"),
        (flags.daddr, "daddr"),
        (flags.mark, "mark"),
        (flags.iif, "iif"),
        (flags.oif, "oif"),
    ];
    let from: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let (name, kind) = match result {
        FibResult::Oif => ("oif", Type::IfIndex),
        FibResult::OifName => ("oifname", Type::IfName),
        FibResult::Type => ("type", Type::FibAddrType),
    };
    word(format!("fib {} {name}", from.join(" . ")), Some(kind), 4)
}

pub(super) fn nat_flags(flags: NatFlags) -> String {
    let names =
        [(flags.random, "random"), (flags.fully_random, "fully-random"), (flags.persistent, "persistent")];
    let set: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if set.is_empty() { String::new() } else { format!(" {}", set.join(",")) }
}

pub(super) fn ct(key: Ct, direction: Option<Direction>) -> String {
    let direction = match direction {
        None => "",
        Some(Direction::Original) => "original ",
        Some(Direction::Reply) => "reply ",
    };
    let name = match key {
        Ct::State => "state",
        Ct::Direction => "direction",
        Ct::Status => "status",
        Ct::Mark => "mark",
        Ct::Src => "saddr",
        Ct::Dst => "daddr",
        Ct::ProtoSrc => "proto-src",
        Ct::ProtoDst => "proto-dst",
        Ct::SrcIp => "ip saddr",
        Ct::DstIp => "ip daddr",
        Ct::SrcIp6 => "ip6 saddr",
        Ct::DstIp6 => "ip6 daddr",
        Ct::Other(key) => return format!("ct {direction}key{key}"),
    };
    format!("ct {direction}{name}")
}

impl Meta {
    pub(super) fn text(self) -> String {
        match self {
            Meta::Mark => "meta mark",
            Meta::Iif => "iif",
            Meta::Oif => "oif",
            Meta::IifName => "iifname",
            Meta::OifName => "oifname",
            Meta::NfProto => "meta nfproto",
            Meta::L4Proto => "meta l4proto",
            Meta::Other(key) => return format!("meta key{key}"),
        }
        .to_owned()
    }
}

impl CmpOp {
    pub(super) fn text(self) -> &'static str {
        match self {
            CmpOp::Eq => "",
            CmpOp::Ne => "!= ",
            CmpOp::Lt => "< ",
            CmpOp::Le => "<= ",
            CmpOp::Gt => "> ",
            CmpOp::Ge => ">= ",
        }
    }
}

impl Word {
    /// A value as this word's type has it.
    pub(super) fn show(&self, value: &Data) -> String {
        let mut bytes = value.bytes().to_vec();
        if self.swapped && cfg!(target_endian = "little") {
            bytes.reverse();
        }
        match self.kind {
            Some(kind) => kind.show(&bytes),
            None => Type::Other(0, 0).show(&bytes),
        }
    }

    pub(super) fn is_address(&self) -> bool {
        matches!(self.kind, Some(Type::Ipv4Addr | Type::Ipv6Addr))
    }
}

/// `(word & mask) ^ xor`, as `&`, `|` and `^`.
pub(super) fn bits(word: &Word, mask: &Data, xor: &Data) -> String {
    let (text, show) = (&word.text, |bytes: Vec<u8>| word.show(&Data::new(&bytes)));
    let pairs = || mask.bytes().iter().zip(xor.bytes());
    let or = pairs().all(|(mask, xor)| *mask == !*xor);
    let apart = pairs().all(|(mask, xor)| mask & xor == 0);
    if is_zero(xor) {
        format!("{text} & {}", word.show(mask))
    } else if or {
        format!("{text} | {}", word.show(xor))
    } else if mask.bytes().iter().all(|byte| *byte == 0xff) {
        format!("{text} ^ {}", word.show(xor))
    } else if apart {
        let kept = pairs().map(|(mask, xor)| mask | xor).collect();
        format!("{text} & {} | {}", show(kept), word.show(xor))
    } else {
        format!("{text} & {} ^ {}", word.show(mask), word.show(xor))
    }
}

pub(super) fn is_zero(data: &Data) -> bool {
    data.bytes().iter().all(|byte| *byte == 0)
}

/// The length of the prefix that a mask leaves; none if it is no such mask.
pub(super) fn prefix_len(mask: &Data) -> Option<u32> {
    let ones: u32 = mask.bytes().iter().map(|byte| byte.count_ones()).sum();
    let leading = mask
        .bytes()
        .iter()
        .position(|byte| *byte != 0xff)
        .map_or(ones, |at| at as u32 * 8 + mask.bytes()[at].leading_ones());
    (leading == ones).then_some(ones)
}

pub(super) fn pad(value: &Data, len: usize) -> Data {
    let mut bytes = value.bytes().to_vec();
    bytes.resize(len.max(bytes.len()), 0);
    Data::new(&bytes)
}

/// Milliseconds as nft has them.
pub(in crate::nftables) fn time(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}
