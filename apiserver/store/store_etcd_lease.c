/*
 * Leases for values that expire. One lease per value would cost etcd dearly (there are thousands of
 * Events), so values written at about the same time share one: it is granted for 5 % longer (at
 * most a minute) than asked and handed out during that margin, to at most 1,000 values. That is
 * what upstream does, too.
 */
#include "apiserver/store/store_etcd_internal.h"

#define MARGIN_PERCENT 5
#define MARGIN_MAX_S   60
#define VALUES_MAX     1000

struct shared_lease {
    struct list entry;
    struct etcd_store *s;
    uint64_t ttl_s;
    int64_t id; /* 0: being granted */
    uint64_t reuse_until;
    unsigned values;
    struct etcd_call *granting;
    struct list waiting;
};

struct lease_wait {
    struct list entry;
    void (*cb)(void *arg, int code, const char *message, int64_t lease);
    void *arg;
};

static void lease_free(struct shared_lease *l)
{
    list_remove(&l->entry);
    etcd_cancel(l->granting);
    struct list *entry;
    while ((entry = list_pop(&l->waiting)))
        free(LIST_ENTRY(entry, struct lease_wait, entry));
    free(l);
}

static void on_granted(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    struct shared_lease *l = arg;
    l->granting = NULL;
    if (code == 0)
        l->id = reply->lease;
    else
        list_remove(&l->entry); /* nobody else shall wait for it */
    struct list *entry;
    while ((entry = list_pop(&l->waiting))) {
        struct lease_wait *w = LIST_ENTRY(entry, struct lease_wait, entry);
        l->values++;
        w->cb(w->arg, code, message, l->id);
        free(w);
    }
    if (code != 0)
        lease_free(l);
}

static struct shared_lease *find(struct etcd_store *s, uint64_t ttl_s)
{
    uint64_t now = now_ms();
    struct shared_lease *found = NULL;
    LIST_FOR_EACH(e, &s->leases) {
        struct shared_lease *l = LIST_ENTRY(e, struct shared_lease, entry);
        if (!l->granting && (now >= l->reuse_until || l->values >= VALUES_MAX))
            lease_free(l);
        else if (l->ttl_s == ttl_s)
            found = l;
    }
    return found;
}

struct lease_wait *lease_get(struct etcd_store *s, uint64_t ttl_s,
                             void (*cb)(void *arg, int code, const char *message, int64_t lease),
                             void *arg)
{
    struct shared_lease *l = find(s, ttl_s);
    if (l && l->id) {
        l->values++;
        cb(arg, 0, "", l->id);
        return NULL;
    }
    if (!l) {
        uint64_t margin = ttl_s * MARGIN_PERCENT / 100;
        margin = margin > MARGIN_MAX_S ? MARGIN_MAX_S : margin;
        l = mem_zalloc(sizeof(*l));
        l->s = s;
        l->ttl_s = ttl_s;
        l->reuse_until = now_ms() + margin * 1000;
        list_init(&l->waiting);
        list_append(&s->leases, &l->entry);
        l->granting = etcd_lease_grant(s->etcd, 0, (int64_t)(ttl_s + margin), 0, on_granted, l);
    }
    struct lease_wait *w = mem_zalloc(sizeof(*w));
    w->cb = cb;
    w->arg = arg;
    list_append(&l->waiting, &w->entry);
    return w;
}

void lease_wait_cancel(struct lease_wait *wait)
{
    if (!wait)
        return;
    list_remove(&wait->entry);
    free(wait);
}

void lease_forget(struct etcd_store *s, int64_t lease)
{
    LIST_FOR_EACH(e, &s->leases) {
        struct shared_lease *l = LIST_ENTRY(e, struct shared_lease, entry);
        if (l->id == lease)
            lease_free(l);
    }
}

void leases_done(struct etcd_store *s)
{
    struct list *entry;
    while ((entry = list_pop(&s->leases)))
        lease_free(LIST_ENTRY(entry, struct shared_lease, entry));
}
