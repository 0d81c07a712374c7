//! What the kernel leaves to the reader of a TUN that was opened with `IFF_VNET_HDR`: checksums not yet computed,
//! and TCP super-packets of up to 64 KiB. flannel's wire has room for neither.
//!
//! Such packets come here only when the kernel program at the TUN passed them on.

use super::checksum::{checksum, fold, sum};
use super::inner::{HEADER_MIN, Inner};
use super::reason::DropReason;

/// Length of `struct virtio_net_hdr`, in bytes: it stands before every packet read from or written to such a TUN.
/// All zero, as we write it, it means: nothing left to do.
pub const VNET_HEADER: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`
const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_*`; the ECN bit (CWR in the first segment only) is something that cutting has to do anyway.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_ECN: u8 = 0x80;

const TCP: u8 = 6;
const TCP_HEADER_MIN: usize = 20;
/// FIN and PSH belong to the last segment, CWR to the first.
const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

/// `struct virtio_net_hdr` (linux/virtio_net.h), in the byte order of the machine, as a TUN gives it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    needs_csum: bool,
    gso_type: u8,
    /// Payload bytes of each segment.
    gso_size: usize,
    csum_start: usize,
    csum_offset: usize,
}

impl Offload {
    /// Takes the header off what was read from the TUN: the header and the packet.
    pub fn split(read: &mut [u8]) -> Result<(Self, &mut [u8]), DropReason> {
        let Some((head, packet)) = read.split_first_chunk_mut::<VNET_HEADER>() else {
            return Err(DropReason::Truncated);
        };
        let word = |at: usize| usize::from(u16::from_ne_bytes([head[at], head[at + 1]]));
        let offload = Self {
            needs_csum: head[0] & NEEDS_CSUM != 0,
            gso_type: head[1],
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        };
        Ok((offload, packet))
    }

    /// True if the packet has to be cut before it is sent.
    pub fn is_super(&self) -> bool {
        self.gso_type != GSO_NONE
    }

    /// Computes the checksum that the kernel left out, if it did. The field holds the sum of the pseudo header.
    pub fn finish_checksum(&self, packet: &mut [u8]) -> Result<(), DropReason> {
        if !self.needs_csum {
            return Ok(());
        }
        let covered = packet.get_mut(self.csum_start..).ok_or(DropReason::BadOffload)?;
        let check = match !fold(sum(covered)) {
            // RFC 768: zero would say that there is none. For TCP both zeros are the same.
            0 => 0xffff,
            check => check,
        };
        let field = covered.get_mut(self.csum_offset..).and_then(|at| at.first_chunk_mut::<2>());
        *field.ok_or(DropReason::BadOffload)? = check.to_be_bytes();
        Ok(())
    }

    /// Cuts a TCP super-packet. Fails with [`DropReason::BadOffload`] for any other kind.
    pub fn segments<'a>(&self, packet: &'a [u8]) -> Result<Segments<'a>, DropReason> {
        let inner = Inner::parse(packet)?;
        let packet = &packet[..inner.total_len];
        let tcp_len = packet.get(inner.header_len + 12).map(|byte| usize::from(byte >> 4) * 4);
        let header_len = inner.header_len + tcp_len.unwrap_or(0);
        let cuttable = self.gso_type & !GSO_ECN == GSO_TCPV4
            && self.gso_size > 0
            && inner.protocol == TCP
            && inner.fragment_offset == 0
            && header_len >= inner.header_len + TCP_HEADER_MIN
            && header_len < packet.len();
        if !cuttable {
            return Err(DropReason::BadOffload);
        }
        let (header, payload) = packet.split_at(header_len);
        Ok(Segments { header, payload, ip_len: inner.header_len, size: self.gso_size, done: 0, index: 0 })
    }
}

/// The segments of a super-packet, one after the other.
#[derive(Debug)]
pub struct Segments<'a> {
    /// IP and TCP header.
    header: &'a [u8],
    payload: &'a [u8],
    ip_len: usize,
    size: usize,
    /// Payload bytes already given out.
    done: usize,
    index: u16,
}

impl Segments<'_> {
    /// Writes the next segment, a complete IPv4 packet, into `out`, and returns its length; `None` after the last.
    /// A segment that does not fit ends the sequence with [`DropReason::BadOffload`].
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<Result<usize, DropReason>> {
        let rest = self.payload.get(self.done..).filter(|rest| !rest.is_empty())?;
        let chunk = &rest[..rest.len().min(self.size)];
        let len = self.header.len() + chunk.len();
        let Some(out) = out.get_mut(..len) else {
            self.done = self.payload.len();
            return Some(Err(DropReason::BadOffload));
        };
        out[..self.header.len()].copy_from_slice(self.header);
        out[self.header.len()..].copy_from_slice(chunk);
        let (ip, tcp) = out.split_at_mut(self.ip_len);
        self.number_ip(ip, len);
        self.number_tcp(ip, tcp, chunk.len() == rest.len());
        self.done += chunk.len();
        self.index = self.index.wrapping_add(1);
        Some(Ok(len))
    }

    /// Length, id (counting, as the kernel's own segmentation does) and checksum.
    fn number_ip(&self, ip: &mut [u8], len: usize) {
        let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(self.index);
        ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        ip[10..12].fill(0);
        let check = checksum(ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
    }

    /// Sequence number, flags and checksum.
    fn number_tcp(&self, ip: &[u8], tcp: &mut [u8], last: bool) {
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(self.done as u32);
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        if !last {
            tcp[13] &= !TCP_FIN_PSH;
        }
        if self.index > 0 {
            tcp[13] &= !TCP_CWR;
        }
        tcp[16..18].fill(0);
        let pseudo = sum(&ip[12..HEADER_MIN]) + u64::from(TCP) + tcp.len() as u64;
        let check = !fold(pseudo + sum(tcp));
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Packet;
    use super::*;
    use proptest::prelude::*;

    fn header(
        flags: u8,
        gso_type: u8,
        gso_size: u16,
        csum_start: u16,
        csum_offset: u16,
    ) -> [u8; VNET_HEADER] {
        let mut head = [0; VNET_HEADER];
        head[0] = flags;
        head[1] = gso_type;
        head[4..6].copy_from_slice(&gso_size.to_ne_bytes());
        head[6..8].copy_from_slice(&csum_start.to_ne_bytes());
        head[8..10].copy_from_slice(&csum_offset.to_ne_bytes());
        head
    }

    fn offload(head: [u8; VNET_HEADER]) -> Offload {
        Offload::split(&mut head.clone()).unwrap().0
    }

    /// A TCP packet with every flag set, a sequence number near the wrap, and `payload`.
    fn tcp(payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0x30, 0x39, 0, 80];
        segment.extend(0xffff_ff00u32.to_be_bytes());
        segment.extend([0, 0, 0, 1, 0x80, 0xff, 1, 0, 0, 0, 0, 0]);
        segment.extend([1; 12]); // options
        segment.extend(payload);
        Packet::new([10, 5, 1, 2], [10, 5, 2, 2]).protocol(TCP).fragment(0x4000).payload(&segment).bytes()
    }

    fn transport_checksum(packet: &[u8]) -> u16 {
        let pseudo = sum(&packet[12..20]) + u64::from(packet[9]) + (packet.len() - 20) as u64;
        !fold(pseudo + sum(&packet[20..]))
    }

    #[test]
    fn nothing_to_do_changes_nothing() {
        let mut read = header(0, 0, 0, 0, 0).to_vec();
        read.extend(tcp(b"x"));
        let (offload, packet) = Offload::split(&mut read).unwrap();
        assert!(!offload.is_super());
        assert_eq!(offload.finish_checksum(packet), Ok(()));
        assert_eq!(packet, tcp(b"x"));
        assert_eq!(Offload::split(&mut [0; 9]), Err(DropReason::Truncated));
    }

    #[test]
    fn completes_a_checksum() {
        let mut packet = tcp(b"some payload");
        let pseudo = fold(sum(&packet[12..20]) + u64::from(TCP) + (packet.len() - 20) as u64);
        packet[36..38].copy_from_slice(&pseudo.to_be_bytes());
        offload(header(NEEDS_CSUM, 0, 0, 20, 16)).finish_checksum(&mut packet).unwrap();
        assert_eq!(transport_checksum(&packet), 0);
    }

    #[test]
    fn a_checksum_field_outside_the_packet_is_refused() {
        for (start, offset) in [(20, 60), (100, 0), (0xffff, 0xffff), (52, 0)] {
            let got = offload(header(NEEDS_CSUM, 0, 0, start, offset)).finish_checksum(&mut tcp(b""));
            assert_eq!(got, Err(DropReason::BadOffload), "{start} {offset}");
        }
    }

    #[test]
    fn only_tcp_is_cut() {
        let packet = tcp(&[0; 100]);
        let kind = |gso_type, size| {
            offload(header(NEEDS_CSUM, gso_type, size, 20, 16)).segments(&packet).map(|_| ())
        };
        assert_eq!(kind(GSO_TCPV4, 50), Ok(()));
        assert_eq!(kind(GSO_TCPV4 | GSO_ECN, 50), Ok(()));
        for (gso_type, size) in [(GSO_TCPV4, 0), (3, 50), (4, 50), (5, 50), (0xff, 50)] {
            assert_eq!(kind(gso_type, size), Err(DropReason::BadOffload), "{gso_type} {size}");
        }
        let udp = Packet::new([10, 5, 1, 2], [10, 5, 2, 2]).payload(&[0; 100]).bytes();
        assert_eq!(
            offload(header(1, GSO_TCPV4, 50, 20, 6)).segments(&udp).err(),
            Some(DropReason::BadOffload)
        );
    }

    #[test]
    fn a_segment_longer_than_the_buffer_ends_it() {
        let packet = tcp(&[0; 100]);
        let mut segments = offload(header(1, GSO_TCPV4, 50, 20, 16)).segments(&packet).unwrap();
        assert_eq!(segments.next_into(&mut [0; 101]), Some(Err(DropReason::BadOffload)));
        assert_eq!(segments.next_into(&mut [0; 2000]), None);
    }

    proptest! {
        #[test]
        fn segments_carry_the_payload_once_and_are_whole_packets(payload in proptest::collection::vec(any::<u8>(), 1..5000), size in 1u16..2000) {
            let packet = tcp(&payload);
            let mut segments = offload(header(NEEDS_CSUM, GSO_TCPV4, size, 20, 16)).segments(&packet).unwrap();
            let (mut got, mut out, mut n) = (Vec::new(), [0; 2100], 0u16);
            let count = payload.len().div_ceil(usize::from(size));
            while let Some(len) = segments.next_into(&mut out) {
                let segment = &out[..len.unwrap()];
                let inner = Inner::parse(segment).unwrap();
                prop_assert_eq!(inner.total_len, segment.len());
                prop_assert_eq!(checksum(&segment[..20]), 0);
                prop_assert_eq!(transport_checksum(segment), 0);
                prop_assert_eq!(&segment[4..6], &0x1234u16.wrapping_add(n).to_be_bytes());
                prop_assert_eq!(&segment[6..8], &packet[6..8]);
                prop_assert_eq!(&segment[24..28], &0xffff_ff00u32.wrapping_add(got.len() as u32).to_be_bytes());
                let (first, last) = (n == 0, usize::from(n) + 1 == count);
                let want = !(if last { 0 } else { TCP_FIN_PSH } | if first { 0 } else { TCP_CWR });
                prop_assert_eq!(segment[33], want);
                got.extend_from_slice(&segment[52..]);
                n += 1;
            }
            prop_assert_eq!(usize::from(n), count);
            prop_assert_eq!(got, payload);
        }

        #[test]
        fn any_bytes_from_a_tun(bytes in proptest::collection::vec(any::<u8>(), 0..200), ours in any::<bool>()) {
            let mut bytes = bytes;
            if ours && bytes.len() > 40 {
                bytes[1] = GSO_TCPV4;
                bytes[10] = 0x45;
                bytes[12..14].copy_from_slice(&[0, 60]);
                bytes[16..18].fill(0);
                bytes[19] = TCP;
            }
            if let Ok((offload, packet)) = Offload::split(&mut bytes) {
                let _ = offload.finish_checksum(packet);
                if let Ok(mut segments) = offload.segments(packet) {
                    let mut left = packet.len();
                    while segments.next_into(&mut [0; 300]).is_some() {
                        prop_assert!(left > 0);
                        left -= 1;
                    }
                }
            }
        }
    }
}
