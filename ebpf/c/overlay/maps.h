/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The overlay's maps, its constants, and how a packet is given up. */
#pragma once

#include "overlay.h"
#include "../common/packet.h"

/* Written by the loader before the program is loaded. */
const volatile struct overlay_config config = {};

/* Leases: inner network to public address. Peers only, never our own lease. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_TYPE(key, struct overlay_lease_key);
	MAP_TYPE(value, u32);
	MAP_UINT(max_entries, OVERLAY_MAX_LEASES);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
} peers SECTION(".maps");

/* Who holds a lease, by public address, and what went to and came from it. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_HASH);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct overlay_count);
	MAP_UINT(max_entries, OVERLAY_MAX_LEASES);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
} counts SECTION(".maps");

/*
 * Peers that are known to take their packets in the kernel as we do, by public address: 0 for "not
 * known", else for how many agings that stays so.
 *
 * What leaves here may be unfinished: a GSO packet, or an inner checksum that is left to hardware. A
 * NIC finishes both. A virtual link (veth, virtio) hands them over as they are, which is right for a
 * kernel and not for a program that reads the datagram from a socket: the original flannel, or
 * `simple`. To such a peer user space sends, which finishes packets itself.
 *
 * A peer shows itself by the UDP checksum 0 of what it sends: encap writes that, and so does the
 * socket of a node with these programs; a socket of anybody else writes a real one.
 */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
	MAP_UINT(max_entries, OVERLAY_MAX_LEASES);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
} programmed SECTION(".maps");

/* Drops and packets handed to user space, by enum overlay_event. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
	MAP_UINT(max_entries, OVERLAY_EVENTS);
} events SECTION(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct overlay_state);
	MAP_UINT(max_entries, 1);
} state SECTION(".maps");

/* The bridge's unicast forwarding table, as user space last read it. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_TYPE(key, struct overlay_port_key);
	MAP_TYPE(value, u32);
	MAP_UINT(max_entries, OVERLAY_MAX_PORTS);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
} ports SECTION(".maps");

ALWAYS_INLINE void event(u32 which)
{
	u64 *n = map_lookup(&events, &which);

	if (n)
		(*n)++;
}

ALWAYS_INLINE int drop(u32 why)
{
	event(why);
	return TC_DROP;
}

/* To the tun or to the socket, whichever lies behind this hook. The packet must be unchanged. */
ALWAYS_INLINE int to_user(u32 why)
{
	event(why);
	return TC_NEXT;
}
