//! Netlink messages and attributes as bytes: a writer that knows lengths and padding, a reader that trusts nothing.
//!
//! Headers are in the host's byte order. Netfilter puts its numbers in network byte order (linux/netfilter/nf_tables.h),
//! generic netlink in the host's: the methods whose names end in `_host` read and write those.

/// Length of `struct nlmsghdr` and of what follows it in netfilter's and in generic messages.
pub(crate) const HEADER: usize = 20;
const NLA_HEADER: usize = 4;
/// The kernel asks for this mark on attributes that hold attributes.
pub(crate) const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// The two headers of a message: `struct nlmsghdr`, and `struct nfgenmsg` or `struct genlmsghdr`, both four bytes long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    /// Address family of netfilter's messages, command of generic ones.
    pub family: u8,
    /// In a batch mark the subsystem; in a message of the kernel the low half of the generation. 0 in generic ones.
    pub res_id: u16,
    /// Version of a generic family. 0 in netfilter's messages.
    pub version: u8,
}

impl Header {
    /// The header of a message to a subsystem of netfilter.
    pub const fn netfilter(kind: u16, flags: u16, seq: u32, family: u8) -> Self {
        Self { kind, flags, seq, family, res_id: 0, version: 0 }
    }

    /// The header of a command to a generic family.
    pub const fn generic(family: u16, flags: u16, seq: u32, command: u8, version: u8) -> Self {
        Self { kind: family, flags, seq, family: command, res_id: 0, version }
    }
}

/// Builds messages one behind the other.
#[derive(Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    /// Writes one message; `body` writes its attributes.
    pub fn message(&mut self, header: Header, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&header.kind.to_ne_bytes());
        self.bytes.extend_from_slice(&header.flags.to_ne_bytes());
        self.bytes.extend_from_slice(&header.seq.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&[header.family, header.version]);
        self.bytes.extend_from_slice(&header.res_id.to_be_bytes());
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub fn raw(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&((NLA_HEADER + value.len()) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// A string with its terminating zero.
    pub fn string(&mut self, kind: u16, value: &str) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&((NLA_HEADER + value.len() + 1) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(start + (self.bytes.len() - start).next_multiple_of(4), 0);
    }

    pub fn u8(&mut self, kind: u16, value: u8) {
        self.raw(kind, &[value]);
    }

    pub fn u16(&mut self, kind: u16, value: u16) {
        self.raw(kind, &value.to_be_bytes());
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    pub fn u64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// An attribute whose value is attributes. The caller keeps its content below 64 KiB.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(self);
        let length = u16::try_from(self.bytes.len() - start).expect("a nested attribute is below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// One attribute, with the place of its header in what was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

impl<'a> Attr<'a> {
    pub fn nested(&self) -> Attrs<'a> {
        Attrs(self.value)
    }

    pub fn u8(&self) -> u8 {
        self.value.first().copied().unwrap_or_default()
    }

    pub fn u16(&self) -> u16 {
        self.value.get(..2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
    }

    pub fn u32(&self) -> u32 {
        self.value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    pub fn u64(&self) -> u64 {
        self.value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// A number in the host's byte order.
    pub fn u16_host(&self) -> u16 {
        self.value.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes))
    }

    /// A number in the host's byte order.
    pub fn u32_host(&self) -> u32 {
        self.value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    pub fn string(&self) -> String {
        let end = self.value.iter().position(|&byte| byte == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(&self.value[..end]).into_owned()
    }
}

/// The attributes in a stretch of bytes; ends at the first one that does not fit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attrs<'a>(pub &'a [u8]);

impl<'a> Attrs<'a> {
    pub fn get(&self, kind: u16) -> Option<Attr<'a>> {
        self.into_iter().find(|attr| attr.kind == kind)
    }

    pub fn u32(&self, kind: u16) -> Option<u32> {
        self.get(kind).map(|attr| attr.u32())
    }

    pub fn u64(&self, kind: u16) -> Option<u64> {
        self.get(kind).map(|attr| attr.u64())
    }

    pub fn string(&self, kind: u16) -> Option<String> {
        self.get(kind).map(|attr| attr.string())
    }

    /// The attributes nested in attribute `kind`; none where it is absent.
    pub fn nested(&self, kind: u16) -> Attrs<'a> {
        self.get(kind).map_or(Attrs(&[]), |attr| attr.nested())
    }
}

impl<'a> IntoIterator for Attrs<'a> {
    type Item = Attr<'a>;
    type IntoIter = AttrIter<'a>;

    fn into_iter(self) -> AttrIter<'a> {
        AttrIter(self.0)
    }
}

pub(crate) struct AttrIter<'a>(&'a [u8]);

impl<'a> Iterator for AttrIter<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let header: [u8; 4] = *self.0.first_chunk()?;
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let value = self.0.get(NLA_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attr { kind, value })
    }
}

/// One message: its headers and what follows them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub header: Header,
    /// The socket that sent it, or that sent what it tells of.
    pub port: u32,
    /// All behind `struct nlmsghdr`, with the `nfgenmsg` that [`Message::attrs`] leaves out.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    pub fn attrs(&self) -> Attrs<'a> {
        Attrs(self.payload.get(4..).unwrap_or_default())
    }
}

/// The messages in one datagram; ends at the first one that does not fit.
pub(crate) struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let h: [u8; 16] = *self.0.first_chunk()?;
        let length = u32::from_ne_bytes([h[0], h[1], h[2], h[3]]) as usize;
        let payload = self.0.get(16..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let generic = payload.first_chunk::<4>().copied().unwrap_or_default();
        let header = Header {
            kind: u16::from_ne_bytes([h[4], h[5]]),
            flags: u16::from_ne_bytes([h[6], h[7]]),
            seq: u32::from_ne_bytes([h[8], h[9], h[10], h[11]]),
            family: generic[0],
            res_id: u16::from_be_bytes([generic[2], generic[3]]),
            version: generic[1],
        };
        let port = u32::from_ne_bytes([h[12], h[13], h[14], h[15]]);
        Some(Message { header, port, payload })
    }
}
