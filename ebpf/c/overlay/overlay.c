/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flannel's udp overlay in the kernel: one object, three tc programs, five maps. */
#include "decap.h"
#include "encap.h"
#include "ports.h"

/* bpf_fib_lookup is for GPL-compatible programs only. */
char _license[] SECTION("license") = "Dual BSD/GPL";
