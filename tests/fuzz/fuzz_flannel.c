/* The overlay's foreign bytes: net-conf.json (when the first byte is 'c'), or a Node that a
 * neighbour has written. */
#include <stdint.h>
#include <string.h>

#include "flannel/backend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_config(const char *text, size_t len)
{
    struct flannel_config c;
    if (config_parse(text, len, &c, NULL) == 0 && (!c.backend || (!c.on[V4] && !c.on[V6])))
        abort();
}

/* Whatever a neighbour says, nothing but its own part of the network leads to it. */
static void read_node(const json_t *node, const struct flannel_config *c)
{
    struct lease l;
    struct own_node own;
    struct plan plan;
    (void)lease_own_node(node, LEASE_PREFIX, c, &own, NULL);
    if (lease_from_node(node, LEASE_PREFIX, c, &l, NULL) != 1)
        return;
    struct plan_self self = {.node = "me", .config = c};
    (void)ip_prefix_parse("10.244.1.0/24", &self.family[V4].subnet);
    (void)ip_prefix_parse("192.0.2.1/24", &self.family[V4].address);
    self.family[V4].on = true;
    self.family[V4].public_ip = self.family[V4].address.addr;
    const struct lease *list[] = {&l, &l};
    overlay_plan_make(&self, list, 2, &plan);
    if (plan.n_routes > 1)
        abort();
    for (size_t i = 0; i < plan.n_routes; i++)
        if (!ip_prefix_contains(&c->network[V4], &plan.routes[i].destination.addr) ||
            ip_prefix_contains(&plan.routes[i].destination, &self.family[V4].subnet.addr))
            abort();
    overlay_plan_done(&plan);
    lease_done(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char conf[] = "{\"Network\":\"10.244.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}";
    struct flannel_config c;
    if (size && data[0] == 'c') {
        read_config((const char *)data + 1, size - 1);
        return 0;
    }
    if (config_parse(conf, strlen(conf), &c, NULL) < 0)
        abort();
    _cleanup_json_ json_t *node = json_parse((const char *)data, size, NULL);
    if (node)
        read_node(node, &c);
    return 0;
}
