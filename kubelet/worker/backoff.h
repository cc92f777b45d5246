/*
 * Restart back-off: 10 s, doubling to 5 minutes, forgotten after a run of 10 minutes. Pure; times
 * in milliseconds of any one clock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FIRST_MS 10000u
#define BACKOFF_MAX_MS   300000u

struct backoff {
    uint32_t delay_ms;   /* 0: nothing failed yet */
    int64_t last_update; /* when delay_ms was last raised */
};

/* How long to wait at @now before trying again after a failure at @failed; 0: at once. */
uint64_t backoff_wait(const struct backoff *b, int64_t failed, int64_t now);
/* A new try is made at @now after a failure at @failed: raises the delay. */
void backoff_next(struct backoff *b, int64_t failed, int64_t now);
/* What the state must have been when run number @restarts was started at @started: for a kubelet
 * that was restarted. */
struct backoff backoff_restore(uint32_t restarts, int64_t started);
