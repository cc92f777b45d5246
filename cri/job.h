/*
 * Work that blocks for milliseconds (netlink under the RTNL lock, unmounting, removing trees) or
 * that enters a network namespace: each piece runs on a helper thread of its own that ends with it.
 * Work gets plain data only; the result comes back on the loop.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct jobs;

#define JOBS_AT_ONCE 8 /* of a runtime's common jobs */

/* At most @at_once jobs run at the same time. Aborts when the wake-up descriptor cannot be had. */
struct jobs *jobs_new(struct loop *loop, unsigned at_once);
/* Waits for the jobs under way and drops their results (@done is not called, @data not freed by
 * anybody but the waiting owner, or by @discard). NULL is harmless; returns NULL. */
struct jobs *jobs_free(struct jobs *jobs);

/* Runs @work(@data) on a thread, later @done on the loop with what it returned. Those beyond
 * @at_once wait their turn, in order. */
void job_run(struct jobs *jobs, int (*work)(void *data, struct error *err),
             void (*done)(int code, const struct error *err, void *data), void *data);
/* As job_run(); when the job is dropped @discard gets the data. */
void job_run_owned(struct jobs *jobs, int (*work)(void *data, struct error *err),
                   void (*done)(int code, const struct error *err, void *data),
                   void (*discard)(void *data), void *data);
