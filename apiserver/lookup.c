/* Objects by key, from cache or store; see lookup.h. */
#include "apiserver/lookup.h"

#include <errno.h>

#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"

struct lookup {
    struct part {
        struct lookup *of;
        char *key;
        struct encoded *found;
        struct store_request *call;
    } parts[LOOKUP_MAX];
    size_t n, waiting;
    lookup_fn *done;
    void *arg;
};

struct lookup *lookup_cancel(struct lookup *l)
{
    for (size_t i = 0; l && i < l->n; i++) {
        store_cancel(l->parts[i].call);
        (void)encoded_unref(l->parts[i].found);
        free(l->parts[i].key);
    }
    free(l);
    return NULL;
}

static void finish(struct lookup *l, int code, const struct error *err)
{
    struct encoded *found[LOOKUP_MAX] = {NULL};
    for (size_t i = 0; !code && i < l->n; i++)
        found[i] = l->parts[i].found;
    l->done(l->arg, code, found, err);
    (void)lookup_cancel(l);
}

static void on_read(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct part *part = arg;
    struct lookup *l = part->of;
    struct error bad = ERROR_INIT;
    part->call = NULL;
    l->waiting--;
    if (code == 0 && result->n) {
        const struct store_kv *kv = &result->kvs[0];
        part->found = encoded_new(kv->key, kv->value, kv->len, kv->mod_revision, &bad);
    }
    if (code < 0)
        finish(l, code, err);
    else if (bad.code)
        finish(l, bad.code, &bad);
    else if (!l->waiting)
        finish(l, 0, NULL);
}

struct lookup *lookup_start(struct apiserver *srv, const char *const *keys, size_t n, bool fresh,
                            lookup_fn *done, void *arg)
{
    struct lookup *l = mem_zalloc(sizeof(*l));
    l->done = done;
    l->arg = arg;
    for (; l->n < n && l->n < LOOKUP_MAX; l->n++) {
        struct part *part = &l->parts[l->n];
        struct encoded *known = fresh ? NULL : watch_cache_get(srv->cache, keys[l->n]);
        *part = (struct part){.of = l, .key = str_dup(keys[l->n])};
        if (known) {
            part->found = encoded_ref(known);
            continue;
        }
        const struct store_range range = {.key = part->key};
        part->call = store_range(srv->store, &range, on_read, part);
        l->waiting++;
    }
    if (l->waiting)
        return l;
    finish(l, 0, NULL);
    return NULL;
}
