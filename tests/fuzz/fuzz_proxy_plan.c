/* Services and EndpointSlices as the API could send them: one JSON document a line, a service
 * then a slice in turn, through the plan and into rules. */
#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"
#include "proxy/plan.h"
#include "proxy/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan *plan = plan_new("node");
    const struct rules_config config = {.cluster_cidr = "10.244.0.0/16"};
    bool service = true;
    for (size_t at = 0; at < size; service = !service) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        struct error err = ERROR_INIT;
        _cleanup_json_ json_t *j = json_parse((const char *)data + at, len, &err);
        if (j && service)
            (void)plan_service_set(plan, "default/web", j, &err);
        else if (j)
            (void)plan_slice_set(plan, "default/web-1", j, &err);
        at += len + 1;
    }
    struct map dirty, nat = MAP_INIT(free), filter = MAP_INIT(free);
    plan_take_dirty(plan, &dirty);
    map_clear(&dirty);
    const struct plan_service *s = plan_get(plan, "default/web");
    if (s)
        rules_of_service(&config, s, &nat);
    rules_lists(plan_services(plan), &nat, &filter);
    map_clear(&nat);
    map_clear(&filter);
    plan_free(plan);
    return 0;
}
