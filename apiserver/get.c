/* The get verb: one object, from the store, so that it is as new as can be. */
#include "apiserver/continue_token.h"
#include "apiserver/reply.h"
#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"

static void on_read(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct request *r = arg;
    r->call = NULL;
    if (code < 0) {
        reply_store_error(r, code, err);
        return;
    }
    if (code || !result->n) {
        reply_not_found(r);
        return;
    }
    const struct store_kv *kv = &result->kvs[0];
    reply_stored(r, 200, kv->key, kv->value, kv->len, kv->mod_revision);
}

void verb_get(struct request *r)
{
    const char *version = http_exchange_query_get(r->x, "resourceVersion");
    int64_t wanted;
    if (version && version_parse(version, &wanted) < 0) {
        reply_status(r, status_bad_request("invalid resourceVersion \"%.64s\"", version));
        return;
    }
    _cleanup_free_ char *key = route_key(r->route, r->info.namespace_, r->info.name);
    if (str_eq(version, "0")) {
        struct encoded *e = watch_cache_get(r->srv->cache, key);
        if (e) {
            reply_object(r, 200, e);
            return;
        }
    }
    const struct store_range range = {.key = key};
    r->call = store_range(r->srv->store, &range, on_read, r);
}
