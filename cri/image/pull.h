/*
 * Pulling images from registries. Pulls of the same image with the same credentials that are under
 * way at once are one pull; layers that different images share are fetched once.
 */
#pragma once

#include "base/options.h"
#include "cri/image/ingest.h"
#include "cri/image/registry.h"

struct puller;
struct pull_wait;

/* @table and @insecure are borrowed. @registries is the path of registries.yaml, @docker_config
 * that of docker's config.json (registries.h, docker_config.h), both read whenever a pull begins;
 * NULL: none. */
struct puller *puller_new(struct ingest_table *table, struct loop *loop,
                          const struct option_list *insecure, const char *registries,
                          const char *docker_config);
struct puller *puller_free(struct puller *puller); /* stops all pulls, no callbacks; returns NULL */

/* Pulls what @name says, for this machine's platform. @cb is called once, later: the image, or NULL
 * with @err (-ENOENT: no such image or none for this platform; -EACCES: not allowed; -EAGAIN: the
 * registry cannot be had now; -EBADMSG: what came is not what its digest says; -ENOSPC; …), whose
 * text names each endpoint that was tried and its answer. NULL with @err -EINVAL for a malformed
 * name. */
struct pull_wait *puller_pull(struct puller *puller, const char *name,
                              const struct registry_auth *auth,
                              void (*cb)(struct image *image, const struct error *err, void *arg),
                              void *arg, struct error *err);
/* Stops waiting; the pull itself ends when nobody waits any more. */
void pull_wait_cancel(struct pull_wait *wait);
