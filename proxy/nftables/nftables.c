/*
 * The nftables back end: one table in one family; see backend.h and ruleset.h.
 *
 * Theory of operation. A change is the difference of two lists of elements, plus chains of groups
 * that nobody used before or nobody uses any more: one transaction of a few messages, whatever else
 * is in the table. To reconcile, the chains with the comments of their rules and all elements are
 * read and compared; a table that another version, another configuration or somebody else's
 * kube-proxy has made is replaced as a whole, in one transaction. So is one whose differences the
 * kernel refuses: somebody else's map may lead to a chain that is to go.
 *
 * The table is not owned in the kernel's sense (NFT_TABLE_F_OWNER): such a table goes when its
 * owner's socket does, and services must outlive this process. It is ours by its name; whoever
 * changes it is noticed by netlink's events.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "nl/monitor.h"
#include "proxy/nftables/ruleset.h"

struct nftables {
    const struct backend_config *c;
    struct nft *nft;
    struct monitor *monitor;
    struct map chains;    /* name → how many services use it */
    struct map hairpins;  /* key in hexadecimal → how many services have the endpoint */
    struct elements node; /* addresses as installed */
    bool refused;         /* the kernel did not take what a comparison came to */
};

/* A transaction in the making: chains first, then what goes, what comes, and chains that go. */
struct change {
    struct nftables *b;
    struct ruleset rules;
    struct elements removed, added;
    struct map gone; /* names of chains */
};

static void change_init(struct change *c, struct nftables *b)
{
    *c = (struct change){.b = b, .gone = MAP_INIT(NULL)};
    ruleset_init(&c->rules, b->c);
}

static void change_done(struct change *c)
{
    ruleset_done(&c->rules);
    elements_done(&c->removed);
    elements_done(&c->added);
    map_clear(&c->gone);
}

/* ---- counting ---- */

/* Returns the count from now on. */
static uintptr_t count(struct map *m, const char *key, int by)
{
    uintptr_t n = (uintptr_t)map_get(m, key) + (uintptr_t)by;
    if (n)
        map_set(m, key, (void *)n);
    else
        map_remove(m, key);
    return n;
}

static void hairpin_key(const struct element *e, char out[2 * ELEMENT_KEY_MAX + 1])
{
    for (size_t i = 0; i < e->key_len; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", e->key[i]);
}

/* An endpoint's address may belong to several services: it is there once. */
static bool is_shared(struct change *c, const struct element *e, int by)
{
    char key[2 * ELEMENT_KEY_MAX + 1];
    if (e->set != SET_HAIRPIN)
        return false;
    hairpin_key(e, key);
    return count(&c->b->hairpins, key, by) != (by > 0 ? 1 : 0);
}

/* ---- elements into the transaction ---- */

static void keep(struct elements *list, const struct element *e)
{
    struct element *copy = elements_add(list, e->set, e->comment);
    *copy = *e;
}

static void on_removed(const struct element *e, void *arg)
{
    struct change *c = arg;
    if (!is_shared(c, e, -1))
        keep(&c->removed, e);
}

static void on_added(const struct element *e, void *arg)
{
    struct change *c = arg;
    if (!is_shared(c, e, 1))
        keep(&c->added, e);
}

static struct nft_element element_of(const struct element *e)
{
    return (struct nft_element){.key = e->key,
                                .key_len = e->key_len,
                                .data = e->data_len ? e->data : NULL,
                                .data_len = e->data_len,
                                .verdict = !e->verdict ? NFT_CONTINUE
                                           : *e->chain ? NFT_GOTO
                                                       : NF_DROP,
                                .chain = *e->chain ? e->chain : NULL,
                                .comment = e->comment};
}

/* An address that one service lost and another got in the same run is in both lists. */
static void write_elements(struct change *c)
{
    elements_sort(&c->removed);
    elements_sort(&c->added);
    for (size_t i = 0; i < c->removed.n; i++) {
        const struct nft_element e = element_of(&c->removed.items[i]);
        nft_delete_element(c->rules.batch, ruleset_set_name(c->removed.items[i].set), &e);
    }
    for (size_t i = 0; i < c->added.n; i++) {
        const struct nft_element e = element_of(&c->added.items[i]);
        nft_add_element(c->rules.batch, ruleset_set_name(c->added.items[i].set), &e);
    }
}

/* Chains refer to each other: all are emptied first. */
static void write_gone(struct change *c)
{
    MAP_FOR_EACH(e, &c->gone) {
        nft_flush_chain(c->rules.batch, map_key(e));
    }
    MAP_FOR_EACH(e, &c->gone) {
        nft_delete_chain(c->rules.batch, map_key(e));
    }
}

static int commit(struct change *c, struct error *err)
{
    write_elements(c);
    write_gone(c);
    return nft_commit(c->b->nft, c->rules.batch, err);
}

/* ---- changes ---- */

/* Chains that others use too are counted; those of a service's own are compared. */
static void add_chains(struct change *c, const struct map *old, const struct map *now)
{
    MAP_FOR_EACH(e, now) {
        const struct chain *chain = map_value(e), *was = map_get(old, chain->name);
        if (chain->own) {
            _cleanup_free_ char *is_text = ruleset_signature(chain);
            _cleanup_free_ char *was_text = was ? ruleset_signature(was) : NULL;
            if (!str_eq(is_text, was_text))
                ruleset_write_chain(&c->rules, chain, was != NULL);
        } else if (count(&c->b->chains, chain->name, 1) == 1) {
            if (map_has(&c->gone, chain->name)) /* another service gave it up in the same run */
                map_remove(&c->gone, chain->name);
            else
                ruleset_write_chain(&c->rules, chain, false);
        }
    }
}

static void drop_chains(struct change *c, const struct map *old, const struct map *now)
{
    MAP_FOR_EACH(e, old) {
        const struct chain *chain = map_value(e);
        if (chain->own ? !map_has(now, chain->name) : count(&c->b->chains, chain->name, -1) == 0)
            map_set(&c->gone, chain->name, NULL);
    }
}

static void take_change(struct change *c, const struct backend_change *change)
{
    struct contribution old = CONTRIBUTION_INIT, now = CONTRIBUTION_INIT;
    contribution_of(c->b->c, change->old, &old);
    contribution_of(c->b->c, change->now, &now);
    elements_sort(&old.elements);
    elements_sort(&now.elements);
    add_chains(c, &old.chains, &now.chains);
    drop_chains(c, &old.chains, &now.chains);
    elements_compare(&old.elements, &now.elements, on_removed, on_added, c);
    contribution_done(&old);
    contribution_done(&now);
}

static void take_node(struct change *c)
{
    struct elements now = {.items = NULL};
    contribution_of_node(c->b->c, &now);
    elements_sort(&now);
    elements_compare(&c->b->node, &now, on_removed, on_added, c);
    elements_done(&c->b->node);
    c->b->node = now;
}

static void finish(struct nftables *b, struct change *c)
{
    struct error err = ERROR_INIT;
    int r = commit(c, &err);
    change_done(c);
    b->c->done(b->c->arg, r < 0 ? err.text : NULL);
}

static void apply(void *arg, const struct backend_change *changes, size_t n, bool node)
{
    struct nftables *b = arg;
    struct change c;
    change_init(&c, b);
    if (node)
        take_node(&c);
    for (size_t i = 0; i < n; i++)
        take_change(&c, &changes[i]);
    finish(b, &c);
}

/* ---- comparing with what is there ---- */

struct reading {
    struct map chains; /* name → comments of its rules, a line each */
    struct elements elements;
    enum nft_table_set set;
};

static int on_chain(const char *chain, void *arg)
{
    map_set(&((struct reading *)arg)->chains, chain, str_dup(""));
    return 0;
}

static int on_rule(const char *chain, const char *comment, _unused_ const struct nlattr *rule,
                   void *arg)
{
    struct reading *r = arg;
    const char *before = map_get(&r->chains, chain);
    map_set(&r->chains, chain, str_printf("%s%s\n", before ? before : "", comment));
    return 0;
}

static int on_element(const struct nft_element *from, void *arg)
{
    struct reading *r = arg;
    if (from->key_len > ELEMENT_KEY_MAX || from->data_len > ELEMENT_DATA_MAX)
        return -EPROTO;
    struct element *e = elements_add(&r->elements, r->set, NULL);
    element_key(e, from->key, from->key_len);
    if (from->data)
        memcpy(e->data, from->data, from->data_len);
    e->data_len = (uint8_t)from->data_len;
    e->verdict = from->verdict != NFT_CONTINUE;
    if (from->chain)
        (void)snprintf(e->chain, sizeof(e->chain), "%s", from->chain);
    return 0;
}

/* 1: the table is one of ours, and what is in it is in @r. 0: it is not there, or it is another.
 * @ret_there: whether there is a table of this name. */
static int read_table(struct nftables *b, struct reading *r, bool *ret_there, struct error *err)
{
    const char *table = b->c->nft_table;
    int family = b->c->family;
    char comment[NFT_COMMENT_MAX];
    _cleanup_free_ char *version = ruleset_version(b->c);
    int code = nft_find_table(b->nft, family, table, comment, err);
    *ret_there = code == 1;
    if (code <= 0 || !str_eq(comment, version))
        return code < 0 ? code : 0;
    code = nft_list_chains(b->nft, family, table, on_chain, r, err);
    if (code == 0)
        code = nft_list_rules(b->nft, family, table, NULL, on_rule, r, err);
    for (int s = 0; code == 0 && s < SETS; s++) {
        r->set = s;
        code = nft_list_elements(b->nft, family, table, ruleset_set_name(s), on_element, r, err);
    }
    if (code == -ENOENT) /* a set is missing */
        return 0;
    return code < 0 ? code : 1;
}

/* Everything that is wanted, written as if there was nothing. */
static void want_everything(struct change *c, struct contribution *all, const struct map *services)
{
    struct nftables *b = c->b;
    map_clear(&b->chains);
    map_clear(&b->hairpins);
    elements_done(&b->node);
    contribution_of_node(b->c, &b->node);
    elements_sort(&b->node);
    for (size_t i = 0; i < b->node.n; i++)
        keep(&all->elements, &b->node.items[i]);
    MAP_FOR_EACH(e, services) {
        struct contribution one = CONTRIBUTION_INIT;
        contribution_of(b->c, map_value(e), &one);
        elements_sort(&one.elements);
        for (size_t i = 0; i < one.elements.n; i++)
            if (!is_shared(c, &one.elements.items[i], 1))
                keep(&all->elements, &one.elements.items[i]);
        MAP_FOR_EACH(k, &one.chains) {
            const struct chain *chain = map_value(k);
            if (!chain->own)
                (void)count(&b->chains, chain->name, 1);
            if (!map_has(&all->chains, chain->name))
                map_set(&all->chains, chain->name, mem_dup(chain, sizeof(*chain)));
        }
        contribution_done(&one);
    }
    elements_sort(&all->elements);
}

/* In order: a service's chains come after those they go to, and shared ones go to shared ones. */
static void write_chains(struct ruleset *r, const struct map *chains)
{
    for (int bare = 1; bare >= 0; bare--)
        MAP_FOR_EACH(e, chains) {
            const struct chain *chain = map_value(e);
            if (chain->bare == (bare == 1))
                ruleset_write_chain(r, chain, false);
        }
}

/* Whether the chains that are there whatever the services look as they should, and those of groups
 * that are wanted are as they should be, if they are there. */
static bool is_sound(struct nftables *b, const struct reading *r, const struct contribution *all)
{
    struct ruleset wanted;
    bool sound = true;
    ruleset_init(&wanted, b->c);
    ruleset_write_table(&wanted);
    size_t fixed = map_count(&wanted.chains);
    write_chains(&wanted, &all->chains);
    MAP_FOR_EACH(e, &wanted.chains) {
        const char *there = map_get(&r->chains, map_key(e));
        sound = sound && (there ? str_eq(there, map_value(e)) : fixed == 0);
        fixed -= fixed > 0;
    }
    ruleset_done(&wanted);
    return sound;
}

/* Only what differs from what was read. */
static void write_difference(struct change *c, const struct contribution *all,
                             const struct reading *r)
{
    struct ruleset fixed;
    struct map missing = MAP_INIT(free);
    MAP_FOR_EACH(e, &all->chains) {
        if (!map_has(&r->chains, map_key(e)))
            map_set(&missing, map_key(e), mem_dup(map_value(e), sizeof(struct chain)));
    }
    write_chains(&c->rules, &missing);
    map_clear(&missing);
    ruleset_init(&fixed, c->b->c);
    ruleset_write_table(&fixed);
    MAP_FOR_EACH(e, &r->chains) {
        if (!map_has(&fixed.chains, map_key(e)) && !map_has(&all->chains, map_key(e)))
            map_set(&c->gone, map_key(e), NULL);
    }
    ruleset_done(&fixed);
}

/* Elements are counted already: here they are only compared. */
static void keep_removed(const struct element *e, void *arg)
{
    keep(&((struct change *)arg)->removed, e);
}

static void keep_added(const struct element *e, void *arg)
{
    keep(&((struct change *)arg)->added, e);
}

static void reconcile(void *arg, const struct map *services)
{
    static const struct elements nothing = {.items = NULL};
    struct nftables *b = arg;
    struct error err = ERROR_INIT;
    struct reading r = {.chains = MAP_INIT(free)};
    struct contribution all = CONTRIBUTION_INIT;
    struct change c;
    bool there = false;
    int code = read_table(b, &r, &there, &err);
    change_init(&c, b);
    if (code >= 0) {
        want_everything(&c, &all, services);
        bool same = code == 1 && !b->refused && is_sound(b, &r, &all);
        if (same) {
            write_difference(&c, &all, &r);
        } else {
            if (there)
                nft_delete_table(c.rules.batch);
            ruleset_write_table(&c.rules);
            write_chains(&c.rules, &all.chains);
        }
        elements_sort(&r.elements);
        elements_compare(same ? &r.elements : &nothing, &all.elements, keep_removed, keep_added,
                         &c);
        code = commit(&c, &err);
        b->refused = same && code < 0;
    }
    change_done(&c);
    contribution_done(&all);
    map_clear(&r.chains);
    elements_done(&r.elements);
    b->c->done(b->c->arg, code < 0 ? err.text : NULL);
}

/* ---- life ---- */

/* Somebody else's change to our table; ours are not told. */
static void on_event(const struct nlmsghdr *h, void *arg)
{
    struct nftables *b = arg;
    const char *table;
    int family;
    if (!h)
        b->c->disturbed(b->c->arg, "events were lost");
    else if (nft_event(h, &family, &table) >= 0 && family == b->c->family &&
             str_eq(table, b->c->nft_table))
        b->c->disturbed(b->c->arg, table);
}

static void destroy(void *arg)
{
    struct nftables *b = arg;
    (void)monitor_free(b->monitor);
    (void)nft_free(b->nft);
    map_clear(&b->chains);
    map_clear(&b->hairpins);
    elements_done(&b->node);
    free(b);
}

static int create(void **ret, struct loop *loop, const struct backend_config *c, struct error *err)
{
    static const unsigned group[] = {NFNLGRP_NFTABLES};
    struct nftables *b = mem_zalloc(sizeof(*b));
    *b = (struct nftables){.c = c, .chains = MAP_INIT(NULL), .hairpins = MAP_INIT(NULL)};
    int r = nft_open(&b->nft, err);
    if (r == 0)
        r = monitor_new(&b->monitor, loop, NETLINK_NETFILTER, group, 1, on_event, b, err);
    if (r == 0)
        r = monitor_ignore(b->monitor, nft_port(b->nft), err);
    if (r < 0) {
        destroy(b);
        return r;
    }
    *ret = b;
    return 0;
}

const struct backend_ops backend_nftables = {.mode = "nftables",
                                             .probe = nftables_probe,
                                             .create = create,
                                             .destroy = destroy,
                                             .reconcile = reconcile,
                                             .apply = apply,
                                             .cleanup = nftables_cleanup};
