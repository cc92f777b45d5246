/*
 * Running jobs of coracle-unpack (cri/unpack/jobs.h describes them). Jobs are forked by a server
 * (cri/unpack/serve.h) that is started for the first one and stays a few seconds after the last.
 */
#pragma once

#include "base/json.h"
#include "cri/image/store.h"

#define WORKER_WORDS_MAX 100
#define WORKER_FDS_MAX   3

struct worker_spec {
    const char *const *args; /* the job and its words, NULL-terminated */
    const char *dir;         /* to work in: the store's own, or one below it */
    const int *fds;          /* become 3, 4, …; at most WORKER_FDS_MAX */
    size_t n_fds;
    uint64_t deadline_ms;
};

struct worker;

/* Starts a job. @cb is called once, later: @answer is its result, or NULL with @err (the job's own
 * code and text). NULL with @err when it cannot be started. */
struct worker *worker_start(struct image_store *store, const struct worker_spec *spec,
                            void (*cb)(const json_t *answer, const struct error *err, void *arg),
                            void *arg, struct error *err);
/* Kills the job; no callback. It is gone before a job that is started later begins. NULL is
 * harmless. Returns NULL. */
struct worker *worker_cancel(struct worker *worker);

/* Ends the server; no job may be left. NULL is harmless; returns NULL. */
struct worker_server;
struct worker_server *worker_server_free(struct worker_server *server);
