/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decap: ingress of the underlay. Oldest kernel: 5.10.
 *
 * Takes the outer headers off flannel's udp packet, one hop off the inner TTL, as flannel does, and
 * lets the inner packet come in on flannel0, where the host's netfilter sees it.
 *
 * - Not for our address and port, or an outer IP header that the host will refuse: TC_NEXT, uncounted.
 * - The unusual (outer options or fragments, GSO packets that are not one TCP packet) goes to the UDP
 *   socket in user space.
 * - What user space would drop as well is dropped and counted here, in this order: sender without a
 *   lease, truncated, not IPv4, bad length, inner source not in the sender's lease, TTL.
 * - The outer UDP checksum is not verified. Whatever it was, bpf_skb_adjust_room takes back the NIC's
 *   "checksum verified", so the inner checksums are verified by who receives the inner packet.
 * - A datagram longer than flannel0's MTU, which user space refuses for want of a buffer, is whole here
 *   and let in.
 * - An outer UDP checksum that is left to hardware (a socket's datagram over a virtual link) would
 *   be computed later, at the place where the outer header was: such a packet goes to user space.
 * - A UDP checksum of 0 shows a sender with these programs: see `programmed`.
 * - Outer ECN and DSCP are ignored, as flannel's socket does.
 */
#pragma once

#include "maps.h"

/* A sender that is not in `counts`: unknown, unless nobody has written the leases yet. */
ALWAYS_INLINE int unknown_sender(void)
{
	u32 zero = 0;
	struct overlay_state *now = map_lookup(&state, &zero);

	return now && now->ready ? drop(DROP_UNKNOWN_SENDER) : to_user(USER_NOT_READY);
}

SECTION("classifier")
int weft_decap(struct skb *skb)
{
	const u32 at = config.underlay_mac_len;
	struct outer *out = packet(skb) + at;
	struct overlay_lease_key key = {.prefix_len = 32};
	struct overlay_count *count;
	struct segments seg;
	struct ipv4 *in;
	u32 *credit, shown, unfinished;
	u32 outer_total, datagram, total, header_len, sender_be;

	if (skb->protocol != be16(ETH_P_IPV4) || skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TC_NEXT;
	if (unlikely((void *)(out + 1) > packet_end(skb))) {
		if (skb->len < at + OUTER_LEN || skb_pull_data(skb, at + OUTER_LEN))
			return TC_NEXT;
		out = packet(skb) + at;
		if ((void *)(out + 1) > packet_end(skb))
			return TC_NEXT;
	}
	if (out->ip.dst_be != config.local_be || out->ip.protocol != PROTO_UDP)
		return TC_NEXT;
	if (unlikely(out->ip.version_ihl != 0x45))
		return to_user(USER_OPTIONS);
	if (out->ip.fragment_be & be16(IP_OFFSET))
		return TC_NEXT;
	if (out->udp.dst_be != config.port_be || ipv4_sum(&out->ip) != 0xffff)
		return TC_NEXT;
	if (unlikely(out->ip.fragment_be & be16(IP_MF_OR_OFFSET)))
		return to_user(USER_FRAGMENT);

	sender_be = out->ip.src_be;
	shown = out->udp.check ? 0 : OVERLAY_CREDIT;
	unfinished = udp_unfinished(out);
	count = map_lookup(&counts, &sender_be);
	if (unlikely(!count))
		return unknown_sender();

	outer_total = be16(out->ip.total_be);
	datagram = be16(out->udp.len_be);
	if (unlikely(outer_total + at > skb->len || datagram + IPV4_LEN > outer_total || datagram < UDP_LEN))
		return drop(DROP_BAD_LENGTH);
	if (unlikely(datagram < UDP_LEN + IPV4_LEN))
		return drop(DROP_TRUNCATED);
	in = (void *)(out + 1);
	if (unlikely((void *)(in + 1) > packet_end(skb))) {
		if (skb_pull_data(skb, at + OUTER_LEN + IPV4_LEN))
			return drop(DROP_INTERNAL);
		in = packet(skb) + at + OUTER_LEN;
		if ((void *)(in + 1) > packet_end(skb))
			return drop(DROP_INTERNAL);
	}

	header_len = (in->version_ihl & 15) * 4;
	total = be16(in->total_be);
	if (unlikely(in->version_ihl >> 4 != 4))
		return drop(DROP_NOT_IPV4);
	if (unlikely(header_len < IPV4_LEN || total < header_len || total + UDP_LEN > datagram))
		return drop(DROP_BAD_LENGTH);
	/*
	 * A GSO packet is either segments of one inner packet, which then fills the datagram, or several
	 * datagrams that a NIC has glued together: these are for the socket, which gets them one by one.
	 * So are inner UDP segments: bpf_skb_adjust_room leaves the tunnel's marks on the packet, and
	 * whoever cuts UDP up then looks for outer headers that are gone (6.18; TCP does not look).
	 */
	if (unlikely(skb->gso_size && (total + UDP_LEN != datagram || in->protocol != PROTO_TCP)))
		return to_user(USER_AGGREGATE);
	if (config.check_source) {
		u32 *owner;

		key.addr_be = in->src_be;
		owner = map_lookup(&peers, &key);
		if (unlikely(!owner || *owner != sender_be))
			return drop(DROP_SPOOFED_SOURCE);
	}
	if (unlikely(in->ttl <= 1))
		return drop(DROP_TTL);

	/* Written only when it changes: the other processors read it for every packet. */
	credit = map_lookup(&programmed, &sender_be);
	if (likely(credit) && unlikely(*credit != shown))
		*credit = shown;
	if (unlikely(unfinished))
		return to_user(USER_UNFINISHED);

	seg = segments(skb, at + OUTER_LEN, header_len, in->protocol, total);
	if (unlikely(skb_adjust_room(skb, -OUTER_LEN, ADJ_ROOM_MAC, ADJ_ROOM_FIXED_GSO)))
		return to_user(USER_REFUSED);
	in = packet(skb) + at;
	if (unlikely((void *)(in + 1) > packet_end(skb)))
		return drop(DROP_INTERNAL);
	decrement_ttl(in);
	count->rx_packets += seg.count;
	count->rx_bytes += total + (seg.count - 1) * seg.headers;
	/* The hash was of the outer flow, which is one for all: receive steering should see the inner. */
	set_hash_invalid(skb);
	return redirect(config.tun, REDIRECT_INGRESS);
}
