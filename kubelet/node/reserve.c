/* What of the machine pods may have: capacity less what is kept for the system, the kubelet, and
 * less what has to stay free. */
#include <errno.h>
#include <inttypes.h>

#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/config/file.h"
#include "kubelet/node/node.h"

/* Adds what is reserved under @field. */
static int add_reserved(const struct string_map *m, const char *field, struct node_capacity *sum,
                        struct error *err)
{
    for (size_t i = 0; i < m->count; i++) {
        const char *name = m->items[i].key, *text = m->items[i].value;
        struct quantity q;
        if (quantity_parse(text, &q, NULL) < 0 || quantity_sign(&q) < 0)
            return error_set(err, -EINVAL, "%s[%.40s]: \"%.60s\" is not a quantity", field, name,
                             text);
        if (str_eq(name, "cpu"))
            sum->cpu_milli += quantity_milli_value(&q);
        else if (str_eq(name, "memory"))
            sum->memory += quantity_value(&q);
        else if (str_eq(name, "ephemeral-storage"))
            sum->ephemeral += quantity_value(&q);
        else if (str_eq(name, "pid"))
            return error_set(err, -ENOTSUP, "%s[pid]: is not supported", field);
        else
            return error_set(err, -EINVAL,
                             "%s: \"%.40s\" cannot be reserved: cpu, memory, ephemeral-storage "
                             "can",
                             field, name);
    }
    return 0;
}

static int check(const char *name, int64_t reserved, int64_t capacity, struct error *err)
{
    if (reserved <= capacity)
        return 0;
    return error_set(err, -EINVAL,
                     "kubeReserved, systemReserved: \"%s\" has a reservation of %" PRId64
                     " but capacity of %" PRId64,
                     name, reserved, capacity);
}

static int64_t rest(int64_t a, int64_t b)
{
    return a > b ? a - b : 0;
}

int node_allocatable(const struct node_capacity *capacity, const struct kubelet_config *c,
                     struct node_capacity *ret_pods, struct node_capacity *ret, struct error *err)
{
    struct node_capacity kept = {.cpu_milli = 0};
    struct threshold_set hard;
    int r = add_reserved(&c->kube_reserved, "kubeReserved", &kept, err);
    if (r == 0)
        r = add_reserved(&c->system_reserved, "systemReserved", &kept, err);
    if (r == 0)
        r = thresholds_parse(&c->eviction_hard, "evictionHard", &hard, err);
    if (r == 0)
        r = check("cpu", kept.cpu_milli, capacity->cpu_milli, err);
    if (r == 0)
        r = check("memory", kept.memory, capacity->memory, err);
    if (r == 0)
        r = check("ephemeral-storage", kept.ephemeral, capacity->ephemeral, err);
    if (r < 0)
        return r;
    *ret_pods = (struct node_capacity){.cpu_milli = capacity->cpu_milli - kept.cpu_milli,
                                       .memory = capacity->memory - kept.memory,
                                       .ephemeral = capacity->ephemeral - kept.ephemeral,
                                       .pods = capacity->pods};
    *ret = *ret_pods;
    ret->memory = rest(ret->memory, threshold_amount(&hard.of[SIGNAL_MEMORY], capacity->memory));
    ret->ephemeral =
        rest(ret->ephemeral, threshold_amount(&hard.of[SIGNAL_NODEFS], capacity->ephemeral));
    ret->ephemeral = ret->ephemeral / 1024 * 1024; /* as it is written */
    return 0;
}
