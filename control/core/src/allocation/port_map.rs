//! Which node ports are taken, as storage has it: one object with a bit for each port of the range.
//!
//! Facts: the object is a `RangeAllocation` of `v1`, which is not served; its data is a number, highest byte first, whose lowest
//! bit is the first port (Go's `big.Int`).

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_schema::codec::protobuf;
use control_schema::library::{Field, Library, Patch, Presence, Scalar, Schema, Shape, Type};
use serde_json::{Value, json};

use super::ports::PortRange;
use crate::edit::text;

/// Where storage has it.
pub const KEY: &str = "ranges/servicenodeports";

const API_VERSION: &str = "v1";
const KIND: &str = "RangeAllocation";

/// Why what storage has is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortMapError {
    #[error("the allocation of node ports in storage cannot be decoded: {0}")]
    Damaged(String),
}

/// The ports of a range that are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMap {
    pub range: PortRange,
    /// All in the range.
    pub taken: BTreeSet<u16>,
}

/// The object's fields but for its metadata, of which nothing is kept.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let field = |name: &str, number, scalar| Field {
        name: name.into(),
        number,
        presence: Presence::OmitEmpty,
        inline: false,
        required: false,
        patch: Patch::default(),
        of: Type::new(Shape::Scalar(scalar)),
    };
    let mut library = Library::default();
    let fields = vec![field("range", 2, Scalar::String), field("data", 3, Scalar::Bytes)];
    let root = library.add("RangeAllocation", fields, false);
    library.seal();
    Schema { library: Arc::new(library), root }
});

impl PortMap {
    /// No port is taken.
    pub fn new(range: PortRange) -> Self {
        Self { range, taken: BTreeSet::new() }
    }

    /// From storage: protobuf or JSON.
    ///
    /// # Errors
    /// It is no such object.
    pub fn decode(bytes: &[u8]) -> Result<Self, PortMapError> {
        let damaged = |why: &dyn std::fmt::Display| PortMapError::Damaged(why.to_string());
        let object = match bytes.starts_with(protobuf::MAGIC) {
            true => protobuf::decode(&SCHEMA, bytes).map_err(|error| damaged(&error))?.value,
            false => serde_json::from_slice::<Value>(bytes).map_err(|error| damaged(&error))?,
        };
        let range = text(&object, &["range"]);
        let range = PortRange::parse(range).ok_or_else(|| damaged(&format!("{range:?} is no range")))?;
        let data = STANDARD.decode(text(&object, &["data"])).map_err(|error| damaged(&error))?;
        let bits = data.iter().rev().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let ports = (range.first..=range.last).zip(bits);
        Ok(Self { range, taken: ports.filter(|(_, taken)| *taken).map(|(port, _)| port).collect() })
    }

    /// For storage.
    pub fn encode(&self, json: bool) -> Vec<u8> {
        let mut data = Vec::new();
        for offset in self.taken.iter().filter_map(|port| port.checked_sub(self.range.first)) {
            let (byte, bit) = (usize::from(offset / 8), offset % 8);
            data.resize(data.len().max(byte + 1), 0);
            data[byte] |= 1 << bit;
        }
        data.reverse();
        let (range, data) = (self.range.to_string(), STANDARD.encode(data));
        if json {
            let object = json!({"kind": KIND, "apiVersion": API_VERSION, "metadata": {}, "range": range, "data": data});
            return format!("{object}\n").into_bytes();
        }
        protobuf::encode(&SCHEMA, API_VERSION, KIND, &json!({"range": range, "data": data}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PortRange = PortRange { first: 30_000, last: 32_767 };

    #[test]
    fn a_port_is_a_bit_the_first_one_the_lowest_of_the_last_byte() {
        let map = PortMap { range: RANGE, taken: BTreeSet::from([30_000, 30_009]) };
        let json = String::from_utf8(map.encode(true)).expect("text");
        assert!(json.contains(&format!("\"data\":\"{}\"", STANDARD.encode([0b10, 0b1]))), "{json}");
        for as_json in [true, false] {
            assert_eq!(PortMap::decode(&map.encode(as_json)), Ok(map.clone()));
            let (none, all) = (PortMap::new(RANGE), (RANGE.first..=RANGE.last).collect());
            assert_eq!(PortMap::decode(&none.encode(as_json)), Ok(none));
            let all = PortMap { range: RANGE, taken: all };
            assert_eq!(PortMap::decode(&all.encode(as_json)), Ok(all));
        }
    }

    #[test]
    fn damaged_objects_are_named_and_bits_beyond_the_range_are_none() {
        for bytes in [
            &b""[..],
            b"k8s\0",
            b"k8s\0\xff",
            b"{}",
            b"{\"range\": \"9-1\"}",
            b"{\"range\": \"1-9\", \"data\": \"?\"}",
        ] {
            assert!(PortMap::decode(bytes).is_err(), "{bytes:?}");
        }
        let data = STANDARD.encode([0xff; 9]);
        let map = PortMap::decode(format!("{{\"range\": \"7-9\", \"data\": \"{data}\"}}").as_bytes());
        assert_eq!(map.map(|map| map.taken), Ok(BTreeSet::from([7, 8, 9])));
    }
}
