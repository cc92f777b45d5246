/*
 * An informer: list, then watch, for ever. It resumes from the last resourceVersion after a broken
 * connection, lists again after 410, backs off with jitter while the server is away, and tells
 * its owner about differences only.
 *
 * It keeps, per object, its key and resourceVersion (so that a list after an outage yields removes
 * and changes); objects themselves are the owner's business: decode what is needed and keep that.
 */
#pragma once

#include <stdbool.h>

#include "kube/client.h"

struct informer;

struct informer_ops {
    /* An object is new or has changed. @key is "ns/name" or "name". */
    void (*upsert)(void *arg, const char *key, const json_t *object);
    /* An object is gone. @object is its last state when the server sent it, else NULL. */
    void (*remove)(void *arg, const char *key, const json_t *object);
    /* The first list is through (once). May be NULL. */
    void (*synced)(void *arg);
};

struct informer_config {
    const char *api;            /* "v1", "apps/v1" */
    const char *plural;         /* "pods" */
    const char *ns;             /* NULL: all namespaces, or cluster scope */
    const char *name;           /* NULL: all; else one object (fieldSelector metadata.name) */
    const char *label_selector; /* NULL: all */
    const char *field_selector; /* NULL: all; combined with @name */
    const struct informer_ops *ops;
    void *arg;
};

/* Starts listing at once. Strings are copied. Never fails: trouble is retried and logged once. */
struct informer *informer_new(struct kube_client *client, const struct informer_config *config);
struct informer *informer_free(struct informer *inf); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct informer *, informer_free);
bool informer_synced(const struct informer *inf);
/* Whether a watch stands now: false while the server cannot be reached. */
bool informer_connected(const struct informer *inf);
size_t informer_count(const struct informer *inf);
