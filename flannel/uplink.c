/* Choosing the uplink; see uplink.h. */
#include "flannel/uplink.h"

#include <errno.h>
#include <regex.h>
#include <string.h>

#include "base/strbuf.h"
#include "nl/route.h"

#define LINKS_MAX 4096

struct candidate {
    struct link_info link;
    struct ip_prefix address[N_FAMILIES];
};
struct survey {
    struct candidate *list;
    size_t n;
    int default_link[N_FAMILIES]; /* of the default route; 0: none */
};

static int on_link(const struct link_info *info, void *arg)
{
    struct survey *s = arg;
    if (s->n == LINKS_MAX)
        return 0;
    s->list = mem_grow(s->list, s->n + 1, sizeof(*s->list));
    s->list[s->n++] = (struct candidate){.link = *info};
    return 0;
}

static bool reachable(const struct ip_addr *a)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    if (a->family == AF_INET)
        return a->bytes[0] != 127 && !(a->bytes[0] == 169 && a->bytes[1] == 254);
    return !(a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80) &&
           memcmp(a->bytes, loopback6, 16) != 0;
}

static int on_address(int ifindex, const struct ip_prefix *p, void *arg)
{
    struct survey *s = arg;
    int i = p->addr.family == AF_INET ? V4 : V6;
    for (size_t k = 0; k < s->n; k++)
        if (s->list[k].link.index == ifindex && !s->list[k].address[i].len && reachable(&p->addr))
            s->list[k].address[i] = *p;
    return 0;
}

static int on_route(const struct route_info *r, void *arg)
{
    struct survey *s = arg;
    int i = r->destination.addr.family == AF_INET ? V4 : V6;
    if (!r->destination.len && !s->default_link[i])
        s->default_link[i] = r->ifindex;
    return 0;
}

static int look(struct netlink *nl, struct survey *s, struct error *err)
{
    int r = link_list(nl, on_link, s, err);
    for (int i = 0; r == 0 && i < N_FAMILIES; i++) {
        r = address_list_all(nl, family_of(i), on_address, s, err);
        if (r == 0)
            r = route_list(nl, family_of(i), on_route, s, err);
    }
    return r;
}

/* ---- choosing ---- */

static bool has_address(const struct candidate *c, const struct ip_addr *a)
{
    for (int i = 0; i < N_FAMILIES; i++)
        if (c->address[i].len && ip_addr_equal(&c->address[i].addr, a))
            return true;
    return false;
}

static const struct candidate *by_name(const struct survey *s, const char *name)
{
    struct ip_addr a;
    bool is_address = ip_addr_parse(name, &a) == 0;
    for (size_t k = 0; k < s->n; k++)
        if (is_address ? has_address(&s->list[k], &a) : str_eq(s->list[k].link.name, name))
            return &s->list[k];
    return NULL;
}

static const struct candidate *by_index(const struct survey *s, int index)
{
    for (size_t k = 0; k < s->n; k++)
        if (index && s->list[k].link.index == index)
            return &s->list[k];
    return NULL;
}

static bool matches(const regex_t *re, const struct candidate *c)
{
    char text[IP_TEXT_MAX];
    if (regexec(re, c->link.name, 0, NULL, 0) == 0)
        return true;
    for (int i = 0; i < N_FAMILIES; i++)
        if (c->address[i].len &&
            regexec(re, ip_addr_format(&c->address[i].addr, text), 0, NULL, 0) == 0)
            return true;
    return false;
}

static int by_pattern(const struct survey *s, const char *pattern, const struct candidate **ret,
                      struct error *err)
{
    regex_t re;
    int r = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);
    if (r)
        return error_set(err, -EINVAL, "--iface-regex: \"%.100s\" is no regular expression",
                         pattern);
    for (size_t k = 0; k < s->n && !*ret; k++)
        if (matches(&re, &s->list[k]))
            *ret = &s->list[k];
    regfree(&re);
    return 0;
}

static int choose(const struct survey *s, const struct uplink_choice *choice, const bool *on,
                  const struct candidate **ret, struct error *err)
{
    const struct option_list *names = choice->names, *patterns = choice->patterns;
    int r = 0;
    *ret = NULL;
    for (size_t k = 0; k < names->count && !*ret; k++)
        *ret = by_name(s, names->items[k]);
    for (size_t k = 0; r == 0 && k < patterns->count && !*ret; k++)
        r = by_pattern(s, patterns->items[k], ret, err);
    if (r < 0 || *ret)
        return r;
    if (names->count || patterns->count)
        return error_set(err, -ENODEV, "no link is what --iface or --iface-regex names");
    for (size_t k = 0; k < s->n; k++)
        for (int i = 0; i < N_FAMILIES; i++)
            if (choice->public_ip[i].family && has_address(&s->list[k], &choice->public_ip[i])) {
                *ret = &s->list[k];
                return 0;
            }
    *ret = by_index(s, s->default_link[on[V4] ? V4 : V6]);
    return *ret ? 0
                : error_set(err, -ENODEV,
                            "there is no default route to tell the link that leads to the other "
                            "nodes (--iface names it)");
}

static int fill(const struct candidate *c, const struct uplink_choice *choice, const bool *on,
                struct uplink *ret, struct error *err)
{
    struct uplink u = {.link = c->link};
    for (int i = 0; i < N_FAMILIES; i++) {
        if (!on[i])
            continue;
        if (!c->address[i].len)
            return error_set(err, -ENODEV, "%s has no IPv%d address", c->link.name,
                             i == V4 ? 4 : 6);
        u.address[i] = c->address[i];
        u.public_ip[i] = choice->public_ip[i].family ? choice->public_ip[i] : c->address[i].addr;
    }
    *ret = u;
    return 0;
}

int uplink_find(struct netlink *nl, const struct uplink_choice *choice, const bool on[N_FAMILIES],
                struct uplink *ret, struct error *err)
{
    struct survey s = {.n = 0};
    const struct candidate *c;
    int r = look(nl, &s, err);
    if (r == 0)
        r = choose(&s, choice, on, &c, err);
    if (r == 0)
        r = fill(c, choice, on, ret, err);
    free(s.list);
    return r;
}
