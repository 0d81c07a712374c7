/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's side of BPF, as far as these programs use it.
 *
 * Own declarations, so that neither libbpf nor kernel headers are needed to build: numbers and
 * layouts are the kernel's user ABI (include/uapi/linux/bpf.h), which never changes. Fields that
 * nobody reads are left as padding.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define SECTION(name) __attribute__((section(name), used))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define offset_of(type, field) __builtin_offsetof(type, field)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define be16(x) ((u16)__builtin_bswap16(x))
#else
#define be16(x) ((u16)(x))
#endif

/* Map definitions: clang turns these members into BTF, which the loader reads. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, type) type *name

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_F_NO_PREALLOC = 1,
};

/* What a tc program returns. NEXT lets other people's programs see the packet, then the stack. */
enum { TC_NEXT = -1, TC_DROP = 2 };

enum {
	ADJ_ROOM_MAC = 1, /* mode: room right behind the MAC header */

	ADJ_ROOM_FIXED_GSO = 1 << 0,
	ADJ_ROOM_ENCAP_L3_IPV4 = 1 << 1,
	ADJ_ROOM_ENCAP_L4_UDP = 1 << 4,
};

enum { REDIRECT_INGRESS = 1 };

enum {
	FIB_SUCCESS = 0,
	FIB_FWD_DISABLED = 5,
	FIB_NO_NEIGH = 7,
	FIB_FRAG_NEEDED = 8,
};

enum { AF_INET = 2, PACKET_HOST = 0 };

/* struct __sk_buff */
struct skb {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol; /* network byte order */
	u32 vlan_present;
	u32 unused_24[13];
	u32 data;
	u32 data_end;
	u32 unused_84[23];
	u32 gso_size;
	u32 unused_180[3];
};
_Static_assert(offset_of(struct skb, data) == 76, "__sk_buff.data");
_Static_assert(offset_of(struct skb, gso_size) == 176, "__sk_buff.gso_size");

/* struct bpf_fib_lookup */
struct fib_lookup {
	u8 family;
	u8 l4_protocol;
	u16 sport_be;
	u16 dport_be;
	u16 tot_len; /* comes back as the path MTU */
	u32 ifindex;
	u32 tos;
	union {
		u32 ipv4_src_be;
		u32 ipv6_src_be[4];
	};
	union {
		u32 ipv4_dst_be; /* comes back as the next hop */
		u32 ipv6_dst_be[4];
	};
	u32 vlan;
	u8 smac[6];
	u8 dmac[6];
};
_Static_assert(sizeof(struct fib_lookup) == 64, "struct bpf_fib_lookup");

/* struct bpf_redir_neigh */
struct next_hop {
	u32 family;
	union {
		u32 ipv4_be;
		u32 ipv6_be[4];
	};
};
_Static_assert(sizeof(struct next_hop) == 20, "struct bpf_redir_neigh");

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static s64 (*redirect)(u32 ifindex, u64 flags) = (void *)23;
static s64 (*skb_load_bytes)(const void *skb, u32 offset, void *to, u32 len) = (void *)26;
static s64 (*skb_pull_data)(void *skb, u32 len) = (void *)39;
static s64 (*skb_change_head)(void *skb, u32 len, u64 flags) = (void *)43;
static s64 (*set_hash_invalid)(void *skb) = (void *)48;
static s64 (*skb_adjust_room)(void *skb, s32 len_diff, u32 mode, u64 flags) = (void *)50;
static s64 (*fib_lookup)(void *skb, void *params, s32 size, u32 flags) = (void *)69;
static s64 (*redirect_neigh)(u32 ifindex, void *params, s32 size, u64 flags) = (void *)152;
