/*
 * The images of this node: what status.images lists, and which of them go when the disk fills up or
 * they were not used for long. Looked at when the kubelet starts, after a pull, and every 5
 * minutes.
 */
#pragma once

#include "kubelet/kubelet.h"

struct image_gc;

struct image_gc_policy {
    int64_t high, low; /* percent of the disk in use: from which images go, down to which */
    int64_t min_age_ms, max_age_ms; /* 0: no maximum */
};

/* @changed: k->images is another. */
struct image_gc *image_gc_new(struct kubelet *k, const struct image_gc_policy *policy,
                              void (*changed)(void *arg), void *arg);
struct image_gc *image_gc_free(struct image_gc *g); /* NULL is harmless; returns NULL */
/* An image has come. NULL is harmless. */
void image_gc_refresh(struct image_gc *g);

/* Removes whatever nobody uses and is old enough. @cb is called once, later, also when it could not
 * be done. One at a time: -EBUSY while another is under way. */
int image_gc_reclaim(struct image_gc *g, void (*cb)(void *arg), void *arg);
/* @cb will not be called. NULL is harmless. */
void image_gc_forget(struct image_gc *g);

/* ---- the decision, pure ---- */
struct image_record {
    char *id;
    uint64_t size;
    int64_t first_seen; /* ms; 0: was there when the kubelet started */
    int64_t last_used;  /* ms; while not used yet, when it was first seen or the kubelet started */
    bool used, pinned;
};
/* Sorts @records: those that go first come first. Sets *ret_n to how many of them go, to free
 * @bytes or because of their age, and returns what that frees. */
uint64_t image_gc_choose(struct image_record *records, size_t n,
                         const struct image_gc_policy *policy, uint64_t bytes, int64_t now,
                         size_t *ret_n);
