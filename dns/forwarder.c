/* Names that are not the cluster's; see forwarder.h. */
#include "dns/forwarder.h"

#include "base/list.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "dns/cache.h"

#define KEY_MAX (NAME_TEXT_MAX + 8)

struct forwarder {
    struct upstream *upstream;
    struct dns_cache *cache;
    struct map pending; /* key → struct pending */
    uint64_t hits, misses;
    uint64_t odd; /* numbers of questions that have no key */
};
/* A question under way. */
struct pending {
    struct forwarder *f;
    char key[KEY_MAX];
    bool remember;
    ldns_rdf *name;
    ldns_rr_type type;
    struct upstream_query *query;
    struct list waiters;
};
struct waiter {
    struct list entry;
    forward_fn done;
    void *arg;
};

/* Whether questions for this name have a key: an odd name's text could be another's, too. */
static bool make_key(const ldns_rdf *name, ldns_rr_type type, char key[KEY_MAX])
{
    char text[NAME_TEXT_MAX];
    bool plain = name_text(name, text);
    (void)snprintf(key, KEY_MAX, "%u %s", (unsigned)type, text);
    return plain;
}

static void fail(forward_fn done, void *arg)
{
    const struct forward_answer answer = {.rcode = LDNS_RCODE_SERVFAIL};
    done(arg, &answer);
}

static void pending_free(void *arg)
{
    struct pending *p = arg;
    (void)upstream_query_free(p->query);
    ldns_rdf_deep_free(p->name);
    free(p);
}

/* Gives everybody the answer. They may ask the next question at once: the pending one is out of the
 * map by then. */
static void deliver(struct pending *p, const struct forward_answer *answer)
{
    struct list *l;
    while ((l = list_pop(&p->waiters))) {
        struct waiter *w = LIST_ENTRY(l, struct waiter, entry);
        w->done(w->arg, answer);
        free(w);
    }
    pending_free(p);
}

static void on_answer(void *arg, int result, const uint8_t *data, size_t len)
{
    struct pending *p = arg;
    _cleanup_forward_ struct forward_answer answer = {.rcode = LDNS_RCODE_SERVFAIL};
    (void)map_take(&p->f->pending, p->key);
    if (result == 0 && forward_read(p->name, p->type, data, len, 0, &answer) == 0 && p->remember)
        dns_cache_put(p->f->cache, p->key, data, len, answer.ttl, now_ms());
    deliver(p, &answer);
}

static uint8_t *write_query(const ldns_rdf *name, ldns_rr_type type, size_t *ret_len)
{
    uint8_t *wire = NULL;
    _cleanup_pkt_ ldns_pkt *pkt =
        ldns_pkt_query_new(ldns_rdf_clone(name), type, LDNS_RR_CLASS_IN, LDNS_RD);
    if (!pkt)
        return NULL;
    ldns_pkt_set_edns_udp_size(pkt, MESSAGE_UDP_MAX);
    return ldns_pkt2wire(&wire, pkt, ret_len) == LDNS_STATUS_OK ? wire : NULL;
}

static bool from_cache(struct forwarder *f, const char *key, const ldns_rdf *name,
                       ldns_rr_type type, forward_fn done, void *arg)
{
    size_t len;
    uint32_t age;
    const uint8_t *message = dns_cache_get(f->cache, key, now_ms(), &len, &age);
    _cleanup_forward_ struct forward_answer answer = {.rcode = LDNS_RCODE_SERVFAIL};
    if (!message || forward_read(name, type, message, len, age, &answer) < 0)
        return false;
    done(arg, &answer);
    return true;
}

static struct pending *begin(struct forwarder *f, const char *key, bool remember,
                             const ldns_rdf *name, ldns_rr_type type)
{
    size_t len;
    _cleanup_free_ uint8_t *query = write_query(name, type, &len);
    if (!query || !upstream_count(f->upstream) || map_count(&f->pending) >= FORWARDER_PENDING_MAX)
        return NULL;
    struct pending *p = mem_zalloc(sizeof(*p));
    p->f = f;
    (void)snprintf(p->key, sizeof(p->key), "%s", key);
    p->remember = remember;
    p->name = ldns_rdf_clone(name);
    p->type = type;
    list_init(&p->waiters);
    p->query = upstream_ask(f->upstream, query, len, on_answer, p);
    map_set(&f->pending, key, p);
    return p;
}

void forwarder_ask(struct forwarder *f, const ldns_rdf *name, ldns_rr_type type, forward_fn done,
                   void *arg)
{
    char key[KEY_MAX];
    bool plain = make_key(name, type, key);
    if (plain && from_cache(f, key, name, type, done, arg)) {
        f->hits++;
        return;
    }
    f->misses++;
    if (!plain)
        (void)snprintf(key, sizeof(key), "#%llu", (unsigned long long)f->odd++);
    struct pending *p = map_get(&f->pending, key);
    if (!p)
        p = begin(f, key, plain, name, type);
    if (!p) {
        fail(done, arg);
        return;
    }
    struct waiter *w = mem_zalloc(sizeof(*w));
    w->done = done;
    w->arg = arg;
    list_append(&p->waiters, &w->entry);
}

void forwarder_stats(const struct forwarder *f, struct forwarder_stats *ret)
{
    *ret = (struct forwarder_stats){
        .entries = dns_cache_count(f->cache), .hits = f->hits, .misses = f->misses};
}

bool forwarder_is_loop(const struct forwarder *f, const uint8_t *data, size_t len)
{
    MAP_FOR_EACH(e, &f->pending) {
        const struct pending *p = map_value(e);
        if (upstream_is_query(p->query, data, len))
            return true;
    }
    return false;
}

void forwarder_set_servers(struct forwarder *f, const struct ip_addr *servers, size_t n)
{
    upstream_set(f->upstream, servers, n);
    dns_cache_clear(f->cache);
}

struct forwarder *forwarder_new(struct loop *loop)
{
    struct forwarder *f = mem_zalloc(sizeof(*f));
    f->upstream = upstream_new(loop);
    f->cache = dns_cache_new(FORWARDER_CACHE_BYTES);
    return f;
}

struct forwarder *forwarder_free(struct forwarder *f)
{
    if (f) {
        const struct forward_answer none = {.rcode = LDNS_RCODE_SERVFAIL};
        struct map_entry *e;
        while ((e = map_first(&f->pending)))
            deliver(map_take(&f->pending, map_key(e)), &none);
        (void)dns_cache_free(f->cache);
        (void)upstream_free(f->upstream);
        free(f);
    }
    return NULL;
}
