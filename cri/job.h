/*
 * Work that blocks for milliseconds (netlink under the RTNL lock, unmounting, removing trees) or
 * that enters a network namespace: each piece runs on a helper thread of its own that ends with it.
 * Work gets plain data only; the result comes back on the loop.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct jobs;

/* Aborts when the wake-up descriptor cannot be had. */
struct jobs *jobs_new(struct loop *loop);
/* Waits for the jobs under way and drops their results (@done is not called, @data not freed by
 * anybody but the waiting owner). NULL is harmless; returns NULL. */
struct jobs *jobs_free(struct jobs *jobs);

/* Runs @work(@data) on a thread, later @done on the loop with what it returned. At most a few run
 * at once; the others wait their turn, in order. */
void job_run(struct jobs *jobs, int (*work)(void *data, struct error *err),
             void (*done)(int code, const struct error *err, void *data), void *data);
