/* Who goes first, and what people are told; see eviction.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/eviction/eviction.h"

#define TAINT_MEMORY "node.kubernetes.io/memory-pressure"

static int64_t priority_of(const struct pod *pod)
{
    return pod->spec.priority.set ? pod->spec.priority.value : 0;
}

/* Those that come first are smaller. */
static int compare_rest(const struct eviction_candidate *x, const struct eviction_candidate *y,
                        int64_t x_amount, int64_t y_amount)
{
    int64_t a = priority_of(x->pod), b = priority_of(y->pod);
    if (a != b)
        return a < b ? -1 : 1;
    if (x_amount != y_amount)
        return x_amount > y_amount ? -1 : 1;
    return 0;
}

static int by_excess(const void *a, const void *b)
{
    const struct eviction_candidate *x = a, *y = b;
    if (x->known != y->known)
        return x->known ? 1 : -1;
    bool x_over = x->usage > x->request, y_over = y->usage > y->request;
    if (x_over != y_over)
        return x_over ? -1 : 1;
    return compare_rest(x, y, x->usage - x->request, y->usage - y->request);
}

static int by_usage(const void *a, const void *b)
{
    const struct eviction_candidate *x = a, *y = b;
    return compare_rest(x, y, x->known ? x->usage : INT64_MAX, y->known ? y->usage : INT64_MAX);
}

void eviction_rank(struct eviction_candidate *list, size_t n, enum eviction_signal signal)
{
    qsort(list, n, sizeof(*list), signal == SIGNAL_PID ? by_usage : by_excess);
}

static bool tolerates_memory_pressure(const struct pod *pod)
{
    for (size_t i = 0; i < pod->spec.tolerations.count; i++) {
        const struct toleration *t = &pod->spec.tolerations.items[i];
        bool exists = str_eq(t->operator, "Exists");
        bool any = !t->key || !*t->key;
        bool same =
            any ? exists : str_eq(t->key, TAINT_MEMORY) && (exists || !t->value || !*t->value);
        if (same && (!t->effect || !*t->effect || str_eq(t->effect, "NoSchedule")))
            return true;
    }
    return false;
}

bool eviction_lets_in(const struct pod *pod, const bool on[PRESSURES], char **ret_text)
{
    static const char *const names[PRESSURES] = {"MemoryPressure", "DiskPressure", "PIDPressure"};
    struct strbuf text = STRBUF_INIT;
    bool others = on[PRESSURE_DISK] || on[PRESSURE_PID];
    if ((!others && !on[PRESSURE_MEMORY]) || pod_is_critical(pod))
        return true;
    if (!others && (pod->qos != QOS_BEST_EFFORT || tolerates_memory_pressure(pod)))
        return true;
    strbuf_adds(&text, "The node had condition: [");
    const char *space = "";
    for (size_t i = 0; i < PRESSURES; i++) {
        if (!on[i])
            continue;
        strbuf_addf(&text, "%s%s", space, names[i]);
        space = " ";
    }
    strbuf_adds(&text, "]. ");
    *ret_text = strbuf_take(&text);
    return false;
}

static const char *format(int64_t value, enum quantity_form form, char *buf)
{
    struct quantity q = quantity_from_int(value, form);
    return quantity_format(&q, buf);
}

char *eviction_message(const struct eviction_threshold *t, const struct observation *o,
                       const struct pod *pod, const int64_t *usage)
{
    struct strbuf text = STRBUF_INIT;
    char a[QUANTITY_TEXT_MAX], b[QUANTITY_TEXT_MAX];
    const char *resource = eviction_resource(t->signal);
    bool bytes = str_eq(resource, "memory") || str_eq(resource, "ephemeral-storage");
    enum quantity_form form = bytes ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI;
    strbuf_addf(&text, "The node was low on resource: %s. ", resource);
    strbuf_addf(&text, "Threshold quantity: %s, available: %s. ",
                format(threshold_amount(&t->at, o->capacity), t->at.form, a),
                format(o->available, form, b));
    for (size_t i = 0; bytes && i < pod_container_count(pod); i++) {
        const struct container_spec *c = pod_container_at(pod, i);
        int64_t request = resource_value(&c->resources.requests, resource, 0);
        const char *asked = string_map_get(&c->resources.requests, resource);
        if (usage[i] <= request)
            continue;
        strbuf_addf(
            &text, "Container %s was using %s, request is %s, has larger consumption of %s. ",
            c->name, format(usage[i], QUANTITY_BINARY_SI, a), asked ? asked : "0", resource);
    }
    return strbuf_take(&text);
}
