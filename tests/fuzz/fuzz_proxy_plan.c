/* Services and EndpointSlices as the API could send them: one JSON document a line, a service then
 * a slice in turn, through the plan and into rules. */
#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"
#include "proxy/iptables/survey.h"
#include "proxy/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_changed(void *arg, const struct plan_service *old, const struct plan_service *now)
{
    static const struct addresses addresses = {.everywhere = true};
    struct delta *delta = arg;
    for (int i = 0; i < 2; i++) {
        const struct backend_config config = {.family = i ? AF_INET6 : AF_INET,
                                              .local = {.kind = LOCAL_BRIDGE, .interface = "br0"},
                                              .mark = 0x4000,
                                              .addresses = &addresses};
        struct rules before = RULES_INIT, after = RULES_INIT;
        rules_of_service(&config, old, &before);
        rules_of_service(&config, now, &after);
        delta_change(delta, &before, &after);
        rules_done(&before);
        rules_done(&after);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct plan_config config = {.node = "node", .ipv4 = true, .ipv6 = true};
    struct plan *plan = plan_new(&config);
    struct delta delta = DELTA_INIT;
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
        if (!service)
            (void)plan_refresh(plan, on_changed, &delta);
        at += len + 1;
    }
    (void)plan_refresh(plan, on_changed, &delta);
    struct strbuf text = STRBUF_INIT;
    size_t written[RULES_TABLES];
    delta_text(&delta, &text, written);
    strbuf_done(&text);
    delta_done(&delta);
    (void)plan_free(plan);
    return 0;
}
