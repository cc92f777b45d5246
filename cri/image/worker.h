/* Running coracle-unpack (cri/unpack/main.c describes its jobs). */
#pragma once

#include "base/json.h"
#include "base/process.h"
#include "cri/image/store.h"

struct worker_spec {
    const char *const *args; /* after the program's name, NULL-terminated */
    const char *cwd;
    const int *fds; /* become 3, 4, … */
    size_t n_fds;
    uint64_t deadline_ms;
};

struct worker;

/* Starts a job. @cb is called once, later: @answer is its result, or NULL with @err (the job's own
 * code and text). NULL with @err when it cannot be started. */
struct worker *worker_start(struct image_store *store, const struct worker_spec *spec,
                            void (*cb)(const json_t *answer, const struct error *err, void *arg),
                            void *arg, struct error *err);
/* Kills the job; no callback. NULL is harmless. Returns NULL. */
struct worker *worker_cancel(struct worker *worker);
