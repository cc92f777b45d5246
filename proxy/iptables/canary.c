/* Noticing what others do to our rules; see canary.h. */
#include "proxy/iptables/canary.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

/* What linux/netfilter_ipv4/ip_tables.h says, which glibc's headers do not go along with. */
#define IPT_SO_GET_INFO 64

#include "base/strbuf.h"
#include "nl/monitor.h"
#include "nl/nft.h"

#define PIDS 16

struct table_info {
    char name[XT_TABLE_MAXNAMELEN];
    uint32_t valid_hooks, hook_entry[5], underflow[5], num_entries, size;
};

struct canary {
    int family;
    void (*disturbed)(void *arg, const char *what);
    void *arg;
    struct monitor *monitor; /* nft */
    pid_t ours[PIDS];        /* the last programs of ours, a ring */
    unsigned next;
    int fd; /* legacy: asks the kernel */
    uint32_t entries[2], sizes[2];
};

static const char *const tables[] = {"nat", "filter"};

/* ---- nft ---- */

static bool is_ours(const struct canary *c, const struct nlmsghdr *h)
{
    for (size_t i = 0; i < PIDS; i++)
        if (c->ours[i] && (uint32_t)c->ours[i] == h->nlmsg_pid)
            return true;
    return false;
}

static void on_event(const struct nlmsghdr *h, void *arg)
{
    struct canary *c = arg;
    const char *table;
    int family;
    if (!h) {
        c->disturbed(c->arg, "events were lost");
        return;
    }
    int type = nft_event(h, &family, &table);
    if ((type != NFT_MSG_DELTABLE && type != NFT_MSG_DELCHAIN && type != NFT_MSG_DELRULE) ||
        family != c->family || is_ours(c, h) ||
        (!str_eq(table, tables[0]) && !str_eq(table, tables[1])))
        return;
    /* A chain of ours, or a jump to one. */
    if (type == NFT_MSG_DELTABLE || memmem(h, h->nlmsg_len, "KUBE-", 5))
        c->disturbed(c->arg, table);
}

void canary_expect(struct canary *c, pid_t pid)
{
    c->ours[c->next++ % PIDS] = pid;
}

/* ---- legacy ---- */

static void ask(const struct canary *c, size_t table, uint32_t *entries, uint32_t *size)
{
    struct table_info info = {.num_entries = 0};
    socklen_t len = sizeof(info);
    (void)snprintf(info.name, sizeof(info.name), "%s", tables[table]);
    if (getsockopt(c->fd, c->family == AF_INET ? SOL_IP : SOL_IPV6, IPT_SO_GET_INFO, &info, &len) <
        0)
        info.num_entries = info.size = 0;
    *entries = info.num_entries;
    *size = info.size;
}

void canary_resume(struct canary *c)
{
    for (size_t i = 0; c->fd >= 0 && i < ARRAY_SIZE(tables); i++)
        ask(c, i, &c->entries[i], &c->sizes[i]);
}

void canary_check(struct canary *c)
{
    for (size_t i = 0; c->fd >= 0 && i < ARRAY_SIZE(tables); i++) {
        uint32_t entries, size;
        ask(c, i, &entries, &size);
        if (entries == c->entries[i] && size == c->sizes[i])
            continue;
        c->disturbed(c->arg, tables[i]);
        return;
    }
}

/* ---- life ---- */

int canary_new(struct canary **ret, struct loop *loop, int family, bool nft,
               void (*disturbed)(void *arg, const char *what), void *arg, struct error *err)
{
    static const unsigned groups[] = {NFNLGRP_NFTABLES};
    struct canary *c = mem_zalloc(sizeof(*c));
    *c = (struct canary){.family = family, .disturbed = disturbed, .arg = arg, .fd = -1};
    int r = 0;
    if (nft)
        r = monitor_new(&c->monitor, loop, NETLINK_NETFILTER, groups, 1, on_event, c, err);
    else if ((c->fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)) < 0)
        r = error_errno(err, -errno, "raw socket");
    if (r < 0) {
        (void)canary_free(c);
        return r;
    }
    canary_resume(c);
    *ret = c;
    return 0;
}

struct canary *canary_free(struct canary *c)
{
    if (c) {
        (void)monitor_free(c->monitor);
        closep(&c->fd);
        free(c);
    }
    return NULL;
}
