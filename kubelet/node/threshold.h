/*
 * Eviction thresholds: how little of a resource may be left. KubeletConfiguration's evictionHard,
 * a map from signal to quantity ("100Mi") or percentage ("10%") of the capacity.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kube/decode.h"
#include "kube/quantity.h"

enum eviction_signal {
    SIGNAL_MEMORY,
    SIGNAL_NODEFS,
    SIGNAL_NODEFS_INODES,
    SIGNAL_IMAGEFS,
    SIGNAL_IMAGEFS_INODES,
    SIGNAL_PID,
    SIGNAL_ALLOCATABLE_MEMORY, /* of what pods together may use */
    EVICTION_SIGNALS
};
const char *signal_name(enum eviction_signal s); /* "memory.available" */

struct threshold {
    int64_t value;  /* 0 when it is a percentage, or there is none */
    double percent; /* 0 … 100 */
    enum quantity_form form;
};
struct threshold_set {
    struct threshold of[EVICTION_SIGNALS];
};

/* @texts NULL or empty: upstream's defaults. What is given replaces all of them. -EINVAL with
 * "@field[signal]" for an unknown signal or a value that is none. */
int thresholds_parse(const struct string_map *texts, const char *field, struct threshold_set *ret,
                     struct error *err);
/* One of them, of signal @name. */
int threshold_parse(const char *text, const char *field, const char *name, struct threshold *ret,
                    struct error *err);
/* -EINVAL with the field for a name that is no signal's. */
int signal_parse(const char *name, const char *field, enum eviction_signal *ret, struct error *err);
/* The threshold as an amount, of a resource with this capacity. 0: none. */
int64_t threshold_amount(const struct threshold *t, int64_t capacity);
