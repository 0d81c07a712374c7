/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Headers on the wire and the little arithmetic that goes with them. */
#pragma once

#include "bpf.h"

enum {
	ETH_LEN = 14,
	ETH_P_IPV4 = 0x0800,
	IPV4_LEN = 20,
	UDP_LEN = 8,
	OUTER_LEN = IPV4_LEN + UDP_LEN, /* what flannel's udp format puts before the inner packet */
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	IP_DF = 0x4000,
	IP_MF_OR_OFFSET = 0x3fff,
	IP_OFFSET = 0x1fff,
};

struct ipv4 {
	u8 version_ihl;
	u8 tos;
	u16 total_be;
	u16 id_be;
	u16 fragment_be;
	u8 ttl;
	u8 protocol;
	u16 check;
	u32 src_be;
	u32 dst_be;
};
_Static_assert(sizeof(struct ipv4) == IPV4_LEN, "IPv4 header");

struct udp {
	u16 src_be;
	u16 dst_be;
	u16 len_be;
	u16 check;
};
_Static_assert(sizeof(struct udp) == UDP_LEN, "UDP header");

struct outer {
	struct ipv4 ip;
	struct udp udp;
};
_Static_assert(sizeof(struct outer) == OUTER_LEN, "outer headers");

ALWAYS_INLINE void *packet(const struct skb *skb)
{
	return (void *)(unsigned long)skb->data;
}

ALWAYS_INLINE void *packet_end(const struct skb *skb)
{
	return (void *)(unsigned long)skb->data_end;
}

/* The one's complement sum of a header without options; 0xffff when its checksum is right. */
ALWAYS_INLINE u16 ipv4_sum(const struct ipv4 *ip)
{
	const u16 *word = (const u16 *)ip;
	u32 sum = 0;

#pragma unroll
	for (int i = 0; i < IPV4_LEN / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * The UDP checksum is left to hardware: it is the sum of the pseudo header alone (RFC 768), as a virtual
 * link hands it over from a socket. One finished checksum in 65536 looks like that too.
 */
ALWAYS_INLINE int udp_unfinished(const struct outer *out)
{
	u32 sum = be16(PROTO_UDP) + out->udp.len_be;

	sum += (out->ip.src_be & 0xffff) + (out->ip.src_be >> 16);
	sum += (out->ip.dst_be & 0xffff) + (out->ip.dst_be >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return out->udp.check == sum;
}

/* One hop, with the checksum put right as in RFC 1624. The caller has seen that ttl > 1. */
ALWAYS_INLINE void decrement_ttl(struct ipv4 *ip)
{
	u32 check = (u32)ip->check + be16(0x0100);

	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

/* How a packet will look on the wire: many segments when it is a GSO packet, else one. */
struct segments {
	u32 headers; /* bytes repeated in each segment; 0 when not a GSO packet */
	u32 count;
};

/* `at` is where the IP header lies, `ip` a copy or view of it whose length fields were checked. */
ALWAYS_INLINE struct segments segments(struct skb *skb, u32 at, u32 header_len, u8 protocol, u32 total)
{
	struct segments s = {.headers = 0, .count = 1};
	u32 size = skb->gso_size;

	if (!size)
		return s;
	s.headers = header_len + UDP_LEN;
	if (protocol == PROTO_TCP) {
		u8 data_offset = 5 << 4;

		skb_load_bytes(skb, at + header_len + 12, &data_offset, 1);
		s.headers = header_len + (data_offset >> 4) * 4;
	}
	if (total > s.headers)
		s.count = (total - s.headers + size - 1) / size;
	return s;
}
