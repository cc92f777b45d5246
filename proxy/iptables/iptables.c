/* The mode iptables; see backend.h. Rules for every service, kept by restore.h. */
#include "nl/iptables.h"
#include "proxy/iptables/restore.h"

static int create(void **ret, struct loop *loop, const struct backend_config *c, struct error *err)
{
    const struct iptables_handler handler = {
        .done = c->done, .disturbed = c->disturbed, .arg = c->arg};
    struct iptables *b = NULL;
    int r = iptables_new(&b, loop, c, &rules_source, &handler, err);
    *ret = b;
    return r;
}

static void destroy(void *b)
{
    (void)iptables_free(b);
}

static void reconcile(void *b, const struct map *services)
{
    iptables_reconcile(b, services);
}

static void apply(void *b, const struct backend_change *changes, size_t n, bool node)
{
    iptables_apply(b, changes, n, node);
}

static bool check(void *b)
{
    return iptables_check(b);
}

static void stats(const void *b, struct backend_stats *ret)
{
    iptables_stats(b, ret);
}

static int cleanup(const struct backend_config *c, struct error *err)
{
    return iptables_remove_chains(c->journal, rules_is_ours, err);
}

const struct backend_ops backend_iptables = {.mode = "iptables",
                                             .probe = iptables_probe,
                                             .create = create,
                                             .destroy = destroy,
                                             .reconcile = reconcile,
                                             .apply = apply,
                                             .stats = stats,
                                             .check = check,
                                             .cleanup = cleanup};
