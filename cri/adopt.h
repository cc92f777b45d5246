/*
 * What the last daemon left: sandboxes and containers are read from their records, live shims are
 * connected to and asked, dead ones cleaned up after, and everything that belongs to nobody
 * (half-made sandboxes, layers, leases, links) goes. A damaged record costs its pod, never the
 * start.
 */
#pragma once

#include "cri/sandbox.h"

/* Begins; rt->adopted is called when every shim has answered (or not, in time). */
void adopt_begin(struct runtime *rt);

/* Asks a connected shim for its containers and brings ours in line with the answer; @done (may be
 * NULL) when that is over. */
void adopt_reconcile(struct sandbox *sandbox, void (*done)(struct sandbox *sandbox));
