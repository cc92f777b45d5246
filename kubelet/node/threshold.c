/* Eviction thresholds as text; see threshold.h. */
#include "kubelet/node/threshold.h"

#include <errno.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "kube/quantity.h"

static const char *const names[EVICTION_SIGNALS] = {
    [SIGNAL_MEMORY] = "memory.available",
    [SIGNAL_NODEFS] = "nodefs.available",
    [SIGNAL_NODEFS_INODES] = "nodefs.inodesFree",
    [SIGNAL_IMAGEFS] = "imagefs.available",
    [SIGNAL_IMAGEFS_INODES] = "imagefs.inodesFree",
    [SIGNAL_PID] = "pid.available",
    [SIGNAL_ALLOCATABLE_MEMORY] = "allocatableMemory.available",
};

const char *signal_name(enum eviction_signal s)
{
    return names[s];
}

/* "0%" and "100%" switch a threshold off, as upstream has it. */
int threshold_parse(const char *text, const char *field, const char *name, struct threshold *ret,
                    struct error *err)
{
    struct quantity q;
    char *end;
    *ret = (struct threshold){.form = QUANTITY_BINARY_SI};
    if (!str_ends(text, "%")) {
        if (quantity_parse(text, &q, NULL) < 0 || quantity_sign(&q) < 0)
            return error_set(err, -EINVAL, "%s[%s]: \"%.60s\" is not a quantity", field, name,
                             text);
        ret->value = quantity_value(&q);
        ret->form = q.form;
        return 0;
    }
    double percent = strtod(text, &end);
    if (end == text || !str_eq(end, "%") || !(percent >= 0 && percent <= 100))
        return error_set(err, -EINVAL, "%s[%s]: \"%.60s\" is not a percentage from 0 to 100", field,
                         name, text);
    ret->percent = percent < 100 ? percent : 0;
    return 0;
}

int signal_parse(const char *name, const char *field, enum eviction_signal *ret, struct error *err)
{
    for (int s = 0; s < EVICTION_SIGNALS; s++)
        if (str_eq(names[s], name)) {
            *ret = (enum eviction_signal)s;
            return 0;
        }
    return error_set(err, -EINVAL, "%s: unknown eviction signal \"%.60s\"", field, name);
}

int thresholds_parse(const struct string_map *texts, const char *field, struct threshold_set *ret,
                     struct error *err)
{
    struct threshold_set set = {.of = {{0}}};
    for (size_t i = 0; i < EVICTION_SIGNALS; i++)
        set.of[i].form = QUANTITY_BINARY_SI;
    if (!texts || !texts->count) {
        set.of[SIGNAL_MEMORY].value = 100LL << 20;
        set.of[SIGNAL_NODEFS].percent = 10;
        set.of[SIGNAL_NODEFS_INODES].percent = 5;
        set.of[SIGNAL_IMAGEFS].percent = 15;
        set.of[SIGNAL_IMAGEFS_INODES].percent = 5;
    }
    for (size_t i = 0; texts && i < texts->count; i++) {
        enum eviction_signal s = SIGNAL_MEMORY;
        int r = signal_parse(texts->items[i].key, field, &s, err);
        if (r == 0)
            r = threshold_parse(texts->items[i].value, field, names[s], &set.of[s], err);
        if (r < 0)
            return r;
    }
    *ret = set;
    return 0;
}

int64_t threshold_amount(const struct threshold *t, int64_t capacity)
{
    return t->percent > 0 ? (int64_t)((double)capacity * t->percent / 100) : t->value;
}
