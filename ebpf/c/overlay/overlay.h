/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the overlay programs share with ebpf/src/overlay/layout.rs. Whoever changes a layout, the meaning of
 * a map or the numbers below raises OVERLAY_LAYOUT in both places: pinned maps of another layout are
 * then replaced instead of taken over.
 */
#pragma once

#include "../common/bpf.h"

enum {
	OVERLAY_LAYOUT = 2,
	OVERLAY_MAX_LEASES = 32768,
	OVERLAY_MAX_PORTS = 4096,
	/* See `programmed` in maps.h: three agings without a word, and a peer counts as plain. */
	OVERLAY_CREDIT = 3,
};

/* Constant while a program is loaded, so that the verifier can cut dead branches. */
struct overlay_config {
	u32 tun; /* interface index */
	u32 underlay; /* interface index */
	u32 local_be; /* our underlay address */
	u16 port_be;
	u8 check_source; /* inner source must lie in the sender's lease */
	u8 tun_mac_len; /* bytes of MAC header on the tun: 0 (14 in BPF_PROG_TEST_RUN) */
	u8 underlay_mac_len; /* 14, or 0 on a layer 3 device */
	u8 pad[3];
};
_Static_assert(sizeof(struct overlay_config) == 20, "layout.rs: Config");
_Static_assert(offset_of(struct overlay_config, underlay_mac_len) == 16, "layout.rs: Config");

/* Key of `peers`: the inner network of a lease. The value is the peer's public address (be32). */
struct overlay_lease_key {
	u32 prefix_len;
	u32 addr_be;
};
_Static_assert(sizeof(struct overlay_lease_key) == 8, "aya's lpm_trie::Key<u32>");

/* Value of `counts`, keyed by public address: who has an entry holds a lease. Inner bytes. */
struct overlay_count {
	u64 tx_packets;
	u64 tx_bytes;
	u64 rx_packets;
	u64 rx_bytes;
};
_Static_assert(sizeof(struct overlay_count) == 32, "layout.rs: Count");

/* Key of `ports`: a MAC address that the bridge knows. The value is its port's interface index. */
struct overlay_port_key {
	u8 mac[6];
	u8 pad[2]; /* 0 */
};
_Static_assert(sizeof(struct overlay_port_key) == 8, "layout.rs: PortKey");

/* The single value of `state`. */
struct overlay_state {
	u32 layout;
	u32 tun;
	u32 underlay;
	u32 ready; /* the leases are complete: a sender without one is unknown */
	u32 bridge; /* where `ports` is attached, or 0 */
};
_Static_assert(sizeof(struct overlay_state) == 20, "layout.rs: State");

/* Index into `events`. */
enum overlay_event {
	DROP_UNKNOWN_SENDER = 0,
	DROP_TRUNCATED = 1,
	DROP_NOT_IPV4 = 2,
	DROP_BAD_LENGTH = 3,
	DROP_SPOOFED_SOURCE = 4,
	DROP_TTL = 5,
	DROP_INTERNAL = 6,

	USER_NOT_IPV4 = 16,
	USER_BAD_LENGTH = 17,
	USER_TTL = 18,
	USER_NO_LEASE = 19,
	USER_NO_ROUTE = 20,
	USER_TOO_BIG = 21,
	USER_REFUSED = 22,
	USER_OPTIONS = 23,
	USER_FRAGMENT = 24,
	USER_AGGREGATE = 25,
	USER_NOT_READY = 26,
	USER_PLAIN_PEER = 27,
	USER_UNFINISHED = 28,

	OVERLAY_EVENTS = 32,
};
