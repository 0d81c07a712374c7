/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * encap: egress of flannel0. Oldest kernel: 5.10 (bpf_redirect_neigh with a next hop).
 *
 * Makes flannel's udp packet: outer IPv4 (TOS 0, id 0, DF, TTL 64), outer UDP (both ports the
 * configured one, checksum 0), then the inner packet with one hop taken off its TTL, as flannel does.
 *
 * - Outer TOS is always 0, thus not ECN capable: RFC 6040's compatibility mode, the one to use when
 *   the other end is not known to copy congestion marks back, and flannel's does not.
 * - id 0 with DF: RFC 6864 allows any id there. (A socket's counts up on 6.18.)
 * - To a peer that is not known to have these programs user space sends: see `programmed`.
 * - A packet too big for the path goes to user space: the socket's IP_PMTUDISC_WANT fragments it.
 * - A GSO packet stays whole here; the kernel gives every segment its own outer headers later.
 * - What is not plain work goes on to the tun (TC_NEXT), unchanged, and user space decides.
 */
#pragma once

#include "maps.h"

SECTION("classifier")
int weft_encap(struct skb *skb)
{
	const u32 at = config.tun_mac_len;
	struct ipv4 *in = packet(skb) + at;
	struct overlay_lease_key key = {.prefix_len = 32};
	struct next_hop hop = {}, *next;
	struct fib_lookup route = {};
	struct overlay_count *count;
	struct segments seg;
	struct outer *out;
	u32 *credit;
	u32 total, header_len;
	u32 *peer;
	s64 found;

	if (unlikely(skb->protocol != be16(ETH_P_IPV4)))
		return to_user(USER_NOT_IPV4);
	if (unlikely((void *)(in + 1) > packet_end(skb))) {
		if (skb_pull_data(skb, at + IPV4_LEN))
			return to_user(USER_BAD_LENGTH);
		in = packet(skb) + at;
		if ((void *)(in + 1) > packet_end(skb))
			return to_user(USER_BAD_LENGTH);
	}
	header_len = (in->version_ihl & 15) * 4;
	if (unlikely(in->version_ihl >> 4 != 4 || header_len < IPV4_LEN))
		return to_user(USER_NOT_IPV4);
	total = be16(in->total_be);
	if (unlikely(total < header_len || total + at != skb->len || total > 0xffff - OUTER_LEN))
		return to_user(USER_BAD_LENGTH);
	if (unlikely(in->ttl <= 1))
		return to_user(USER_TTL);

	key.addr_be = in->dst_be;
	peer = map_lookup(&peers, &key);
	if (unlikely(!peer))
		return to_user(USER_NO_LEASE);
	key.addr_be = *peer;
	credit = map_lookup(&programmed, &key.addr_be);
	if (unlikely(!credit || !*credit))
		return to_user(USER_PLAIN_PEER);
	count = map_lookup(&counts, &key.addr_be);

	/* Ask as if the packet were forwarded from the tun: the host's routes choose the way out. */
	seg = segments(skb, at, header_len, in->protocol, total);
	route.family = AF_INET;
	route.l4_protocol = PROTO_UDP;
	route.sport_be = config.port_be;
	route.dport_be = config.port_be;
	route.tot_len = OUTER_LEN + (seg.headers ? seg.headers + skb->gso_size : total);
	route.ifindex = config.tun;
	route.ipv4_src_be = config.local_be;
	route.ipv4_dst_be = key.addr_be;
	found = fib_lookup(skb, &route, sizeof(route), 0);
	if (likely(found == FIB_SUCCESS)) {
		next = &hop;
		hop.family = route.family;
		hop.ipv6_be[0] = route.ipv6_dst_be[0];
		if (unlikely(hop.family != AF_INET)) {
			hop.ipv6_be[1] = route.ipv6_dst_be[1];
			hop.ipv6_be[2] = route.ipv6_dst_be[2];
			hop.ipv6_be[3] = route.ipv6_dst_be[3];
		}
	} else if (found == FIB_NO_NEIGH) {
		/*
		 * No next hop from us then: the kernel looks the route up again and gives it to the packet,
		 * which waits for the neighbour. With ours it would wait with the inner route, and be lost
		 * when the neighbour answers (seen on 6.18).
		 */
		next = 0;
	} else if (found == FIB_FRAG_NEEDED) {
		return to_user(USER_TOO_BIG);
	} else {
		return to_user(USER_NO_ROUTE);
	}

	if (unlikely(skb_adjust_room(skb, OUTER_LEN, ADJ_ROOM_MAC,
				     ADJ_ROOM_FIXED_GSO | ADJ_ROOM_ENCAP_L3_IPV4 | ADJ_ROOM_ENCAP_L4_UDP)))
		return to_user(USER_REFUSED);

	/* From here on the packet is no longer what user space should see. */
	out = packet(skb) + at;
	in = (void *)(out + 1);
	if (unlikely((void *)(in + 1) > packet_end(skb)))
		return drop(DROP_INTERNAL);
	decrement_ttl(in);
	out->ip = (struct ipv4){
		.version_ihl = 0x45,
		.total_be = be16(total + OUTER_LEN),
		.fragment_be = be16(IP_DF),
		.ttl = 64,
		.protocol = PROTO_UDP,
		.src_be = config.local_be,
		.dst_be = key.addr_be,
	};
	out->ip.check = ~ipv4_sum(&out->ip);
	out->udp = (struct udp){
		.src_be = config.port_be,
		.dst_be = config.port_be,
		.len_be = be16(total + UDP_LEN),
	};
	/* bpf_redirect_neigh wants a MAC header to fill; without one it drops in silence. */
	if (!at && unlikely(skb_change_head(skb, ETH_LEN, 0)))
		return drop(DROP_INTERNAL);
	if (likely(count)) {
		count->tx_packets += seg.count;
		count->tx_bytes += total + (seg.count - 1) * seg.headers;
	}
	return redirect_neigh(route.ifindex, next, next ? sizeof(hop) : 0, 0);
}
