/* status.containerStatuses[].resources and allocatedResources: what is in force, what is set aside.
 */
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/worker/worker.h"

static json_t *map_json(const struct string_map *m)
{
    json_t *o = json_object();
    for (size_t i = 0; i < m->count; i++)
        (void)json_object_set_new(o, m->items[i].key, json_text(m->items[i].value));
    return o;
}

static void put_quantity(json_t *o, const char *key, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    (void)json_object_set_new(o, key, json_string(quantity_format(&q, text)));
}

/* What the container runs with, where that is not yet what was set aside. */
static void put_actual(json_t *limits, json_t *requests, const struct container_limits *now,
                       const struct container_limits *want)
{
    if (now->quota != want->quota && now->quota > 0)
        put_quantity(limits, "cpu",
                     quantity_from_milli(now->quota * 1000 / CPU_PERIOD_US, QUANTITY_DECIMAL_SI));
    else if (now->quota != want->quota)
        (void)json_object_del(limits, "cpu");
    if (now->memory != want->memory && now->memory > 0)
        put_quantity(limits, "memory", quantity_from_int(now->memory, QUANTITY_BINARY_SI));
    else if (now->memory != want->memory)
        (void)json_object_del(limits, "memory");
    if (now->shares != want->shares)
        put_quantity(requests, "cpu",
                     quantity_from_milli((now->shares * 1000 + 1023) / 1024, QUANTITY_DECIMAL_SI));
}

void slot_put_resources(const struct container_slot *s, json_t *status)
{
    const struct container_spec *c = slot_spec(s);
    const struct resource_requirements *r = &c->resources;
    if (slot_is_ephemeral(s) || (!r->limits.count && !r->requests.count))
        return;
    json_t *limits = map_json(&r->limits), *requests = map_json(&r->requests);
    json_t *resources = json_object();
    if (r->requests.count)
        (void)json_object_set_new(status, "allocatedResources", map_json(&r->requests));
    if (slot_is_running(s) && s->run->applied_known) {
        struct container_limits want = container_limits_of(c);
        put_actual(limits, requests, &s->run->applied, &want);
    }
    if (json_object_size(limits))
        (void)json_object_set(resources, "limits", limits);
    if (json_object_size(requests))
        (void)json_object_set(resources, "requests", requests);
    (void)json_object_set_new(status, "resources", resources);
    json_decref(limits);
    json_decref(requests);
}
