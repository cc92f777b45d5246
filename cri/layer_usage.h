/*
 * What containers have written to their root file systems. Nobody counts it for us on most file
 * systems, so the tree is looked at when somebody asks and what is known is old: on helper threads
 * of their own, few at once, and the longer a look takes the longer it lasts.
 */
#pragma once

#include <stdbool.h>

#include "base/fs.h"

struct container;
struct runtime;
struct layers;

struct layer_usage { /* kept in the container */
    struct fs_usage usage;
    int64_t at_ns; /* when it was looked at; 0: not known yet */
    uint64_t old_ms;
    bool looking;
};

struct layers *layers_new(struct runtime *rt);
/* Ends the looks under way. NULL is harmless; returns NULL. */
struct layers *layers_free(struct layers *l);

/* Begins a look unless what is known is young. Whether one is under way: stats_layer_known()
 * (stats.h) is told at its end, whatever its outcome. */
bool layers_refresh(struct container *c);
