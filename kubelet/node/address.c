/* The node's address, followed; see address.h. */
#include "kubelet/node/address.h"

#include <linux/rtnetlink.h>

#include "base/log.h"
#include "kubelet/node/node.h"
#include "nl/monitor.h"

/* A lease that is renewed, or a link that flaps, takes an address away for a moment. */
#define SETTLE_MS 1000

struct node_address {
    struct kubelet *k;
    struct monitor *monitor;
    struct loop_timer settle;
    void (*changed)(void *arg);
    void *arg;
};

static void on_settled(void *arg)
{
    struct node_address *a = arg;
    struct kubelet *k = a->k;
    _cleanup_free_ char *now = node_default_address();
    if (!now || str_eq(now, k->node_ip))
        return;
    log_info("the node has another address", "address", now, "before",
             k->node_ip ? k->node_ip : "none", NULL);
    char *old_ip = k->node_ip, *old_ips = k->node_ips;
    k->node_ip = str_dup(now);
    k->node_ips = TAKE_PTR(now);
    a->changed(a->arg);
    free(old_ip);
    free(old_ips);
}

static void on_message(_unused_ const struct nlmsghdr *h, void *arg)
{
    struct node_address *a = arg;
    if (!loop_timer_armed(&a->settle))
        loop_timer_set(&a->settle, SETTLE_MS);
}

int node_address_new(struct kubelet *k, void (*changed)(void *arg), void *arg,
                     struct node_address **ret, struct error *err)
{
    static const unsigned groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE};
    struct node_address *a = mem_zalloc(sizeof(*a));
    *a = (struct node_address){.k = k, .changed = changed, .arg = arg};
    loop_timer_init(&a->settle, k->loop, "node address", on_settled, a);
    int r = monitor_new(&a->monitor, k->loop, NETLINK_ROUTE, groups, ARRAY_SIZE(groups), on_message,
                        a, err);
    if (r < 0)
        (void)node_address_free(a);
    else
        *ret = a;
    return r;
}

struct node_address *node_address_free(struct node_address *a)
{
    if (!a)
        return NULL;
    (void)monitor_free(a->monitor);
    loop_timer_done(&a->settle);
    free(a);
    return NULL;
}
