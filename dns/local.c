/* The service's address on this node; see local.h. */
#include "dns/local.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "nl/iptables.h"

#define STATE_MAX 4096

/* ---- addresses ---- */

static struct ip_prefix whole(const struct ip_addr *a)
{
    return (struct ip_prefix){.addr = *a, .len = (unsigned)ip_addr_size(a) * 8};
}

struct search {
    const struct ip_addr *address;
    bool found;
};

static int on_address(const struct ip_prefix *p, void *arg)
{
    struct search *s = arg;
    s->found |= ip_addr_equal(&p->addr, s->address);
    return 0;
}

/* The record of what is ours is there before the address is. */
static int add_one(struct netlink *nl, const struct dns_local_options *o, const struct ip_addr *a,
                   struct strbuf *state, struct error *err)
{
    struct search s = {.address = a};
    struct ip_prefix p = whole(a);
    char text[IP_TEXT_MAX];
    int r = address_list(nl, LINK_LOOPBACK, a->family, on_address, &s, err);
    if (r < 0 || s.found)
        return r;
    strbuf_addf(state, "%s\n", ip_addr_format(a, text));
    r = fs_write_atomic(o->state, state->data, state->len, 0600, FS_VOLATILE, err);
    return r < 0 ? r : address_add(nl, LINK_LOOPBACK, &p, err);
}

int dns_local_add(const struct dns_local_options *o, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    _cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
    int r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r == 0 && fs_exists(o->state))
        r = fs_read(o->state, STATE_MAX, &state, err);
    for (size_t i = 0; i < o->n_addresses && r == 0; i++)
        r = add_one(nl, o, &o->addresses[i], &state, err);
    return r;
}

static int remove_addresses(const char *file, struct error *err)
{
    _cleanup_(netlink_freep) struct netlink *nl = NULL;
    _cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
    int first = 0;
    if (!fs_exists(file))
        return 0;
    int r = fs_read(file, STATE_MAX, &state, err);
    if (r == 0)
        r = netlink_open(NETLINK_ROUTE, &nl, err);
    if (r < 0)
        return r;
    for (const char *at = strbuf_text(&state); *at; at += strspn(at, "\n")) {
        _cleanup_free_ char *text = str_ndup(at, strcspn(at, "\n"));
        struct ip_addr a;
        at += strlen(text);
        if (ip_addr_parse(text, &a) < 0)
            continue; /* nothing that we put there */
        struct ip_prefix p = whole(&a);
        r = address_delete(nl, LINK_LOOPBACK, &p, first ? NULL : err);
        if (r < 0 && r != -EADDRNOTAVAIL && !first)
            first = r;
    }
    if (!first && unlink(file) < 0 && errno != ENOENT)
        first = error_errno(err, -errno, "%s", file);
    return first;
}

static bool is_ours(const char *chain)
{
    return str_eq(chain, DNS_CHAIN);
}

int dns_local_remove(const struct dns_local_options *o, struct error *err)
{
    struct error second = ERROR_INIT;
    int first = remove_addresses(o->state, err);
    int r = iptables_remove_chains(o->journal, is_ours, first ? &second : err);
    return first ? first : r;
}
