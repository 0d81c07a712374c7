/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ports: egress of the pods' bridge. Oldest kernel: 5.10.
 *
 * Gives a GSO packet to the bridge port behind which its destination is, before the bridge device
 * gets to see it. Without this a TCP packet that came whole over a virtual link (a lab, nodes as
 * containers) is cut into segments here, at less than half the throughput: bpf_skb_adjust_room leaves
 * skb->encapsulation set when decap has taken the outer headers off, and a bridge of 6.18 has no
 * offloads for encapsulated packets, although all its ports do.
 *
 * The host's routing and IP netfilter are behind us at this place; what is passed by is the bridge's
 * own (ebtables, nft's bridge family, its counters). Only GSO packets are concerned, and only
 * addresses that user space has read from the bridge. Should a port be gone, the packet is lost, and
 * TCP sends it again in one segment, which the bridge handles.
 */
#pragma once

#include "maps.h"

SECTION("classifier")
int weft_ports(struct skb *skb)
{
	struct overlay_port_key key = {};
	u8 *mac = packet(skb);
	u32 *port;

	if (!skb->gso_size || skb->vlan_present)
		return TC_NEXT;
	if ((void *)(mac + ETH_LEN) > packet_end(skb) || mac[0] & 1)
		return TC_NEXT;
	__builtin_memcpy(key.mac, mac, sizeof(key.mac));
	port = map_lookup(&ports, &key);
	return port ? redirect(*port, 0) : TC_NEXT;
}
