//! Builds packets for the tests of this module.

use super::checksum::checksum;

pub struct Packet {
    source: [u8; 4],
    destination: [u8; 4],
    ttl: u8,
    protocol: u8,
    fragment: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Packet {
    pub fn new(source: [u8; 4], destination: [u8; 4]) -> Self {
        Self {
            source,
            destination,
            ttl: 64,
            protocol: 17,
            fragment: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }
    /// Flags and offset as they stand in the header.
    pub fn fragment(mut self, fragment: u16) -> Self {
        self.fragment = fragment;
        self
    }
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }
    pub fn bytes(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let mut out = vec![0x40 | (header_len / 4) as u8, 0];
        out.extend(((header_len + self.payload.len()) as u16).to_be_bytes());
        out.extend([0x12, 0x34]);
        out.extend(self.fragment.to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(self.source);
        out.extend(self.destination);
        out.extend(&self.options);
        let check = checksum(&out);
        out[10..12].copy_from_slice(&check.to_be_bytes());
        out.extend(&self.payload);
        out
    }
}
