/*
 * The list verb. resourceVersion and resourceVersionMatch choose where the state comes from:
 *
 *   not set          the store, newest (linearizable)
 *   0                the watch cache, as it is; limit does not count then
 *   N, NotOlderThan  the watch cache when it has reached N, else the store, newest
 *   N, Exact         the store at N
 *   continue         the store at the token's revision
 *
 * Values read from the store that the watch cache holds at the same revision are taken from there:
 * they are encoded and indexed already.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "apiserver/continue_token.h"
#include "apiserver/reply.h"
#include "apiserver/selection.h"
#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"

struct list_op {
    struct request *r;
    struct selection sel;
    struct encoded_list list;
    int64_t limit;    /* 0: none */
    int64_t revision; /* to read at; 0: newest */
    int64_t at_least; /* the newest state must have reached this */
    int64_t found;    /* the revision that was read */
    char *from;       /* next key; NULL: the start */
    bool continued;
};

static void list_op_free(void *p)
{
    struct list_op *op = p;
    selection_done(&op->sel);
    encoded_list_done(&op->list);
    free(op->from);
    free(op);
}

json_t *status_version_too_large(int64_t wanted, int64_t current)
{
    json_t *status = status_timeout("Too large resource version: %" PRId64 ", current: %" PRId64,
                                    wanted, current);
    (void)json_path_set(status, "details.retryAfterSeconds", json_integer(1));
    (void)json_path_set(status, "details.causes",
                        json_pack("[{s:s,s:s}]", "reason", "ResourceVersionTooLarge", "message",
                                  "Too large resource version"));
    return status;
}

static void list_expired(struct list_op *op)
{
    json_t *status = status_expired(
        op->continued
            ? "the continue token is too old for a consistent list: start again, or go on "
              "with the token in this answer, which reads the newest state"
            : "the resourceVersion is too old: that state has been compacted");
    if (op->continued && op->from) {
        _cleanup_free_ char *token = continue_token_make(op->r->route->prefix, op->from, -1);
        (void)json_path_set(status, "metadata.continue", json_string(token));
    }
    reply_status(op->r, status);
}

static void read_page(struct list_op *op);

static void list_done(struct list_op *op, bool more, int64_t remaining)
{
    _cleanup_free_ char *token = NULL;
    if (more)
        token = continue_token_make(op->r->route->prefix, op->from, op->found);
    reply_list(op->r, &op->list, op->found, token, op->sel.everything ? remaining : -1);
}

/* 0, or -EBADMSG: answered. */
static int list_take(struct list_op *op, const struct store_kv *kv)
{
    struct error err = ERROR_INIT;
    struct request *r = op->r;
    struct encoded *known = watch_cache_get(r->srv->cache, kv->key);
    struct encoded *e = known && known->revision == kv->mod_revision
                            ? encoded_ref(known)
                            : encoded_new(kv->key, kv->value, kv->len, kv->mod_revision, &err);
    if (!e) {
        reply_status(r, status_internal_error("%s", error_text(&err)));
        return -EBADMSG;
    }
    if (selection_matches(&op->sel, e, r->route->res))
        encoded_list_add(&op->list, e);
    else
        (void)encoded_unref(e);
    return 0;
}

/* The smallest key after @key. */
static char *key_after(const char *key)
{
    return str_printf("%s\x01", key);
}

static void on_page(void *arg, int code, const struct store_range_result *result,
                    const struct error *err)
{
    struct list_op *op = arg;
    struct request *r = op->r;
    r->call = NULL;
    if (code == STORE_E_COMPACTED) {
        list_expired(op);
        return;
    }
    if (code == -ERANGE) {
        reply_status(r,
                     status_version_too_large(op->revision, watch_cache_revision(r->srv->cache)));
        return;
    }
    if (code && code != STORE_E_NOT_FOUND) {
        reply_store_error(r, code, err);
        return;
    }
    if (!op->found)
        op->found = op->revision > 0 ? op->revision : result->revision;
    if (op->at_least > op->found) {
        reply_status(r, status_version_too_large(op->at_least, op->found));
        return;
    }
    for (size_t i = 0; i < result->n; i++) {
        if (list_take(op, &result->kvs[i]) < 0)
            return;
        bool last = i + 1 == result->n && !result->more;
        if (op->limit && (int64_t)op->list.count >= op->limit && !last) {
            free(op->from);
            op->from = key_after(result->kvs[i].key);
            list_done(op, true, result->count - (int64_t)i - 1);
            return;
        }
    }
    if (!result->more || !result->n) {
        list_done(op, false, -1);
        return;
    }
    free(op->from);
    op->from = key_after(result->kvs[result->n - 1].key);
    op->revision = op->found;
    read_page(op);
}

static void read_page(struct list_op *op)
{
    size_t page = STORE_PAGE;
    if (op->limit && op->limit < STORE_PAGE && op->sel.everything)
        page = (size_t)op->limit;
    const struct store_range range = {
        .key = op->sel.prefix,
        .prefix = !op->sel.exact,
        .from = op->sel.exact ? NULL : op->from,
        .revision = op->revision,
        .limit = op->sel.exact ? 0 : page,
    };
    op->r->call = store_range(op->r->srv->store, &range, on_page, op);
}

static void list_from_cache(struct list_op *op)
{
    struct request *r = op->r;
    struct encoded_list all = {.items = NULL};
    if (op->sel.exact) {
        struct encoded *e = watch_cache_get(r->srv->cache, op->sel.prefix);
        if (e)
            encoded_list_add(&all, encoded_ref(e));
    } else {
        watch_cache_snapshot(r->srv->cache, r->route, op->sel.prefix, &all);
    }
    for (size_t i = 0; i < all.count; i++)
        if (selection_matches(&op->sel, all.items[i], r->route->res))
            encoded_list_add(&op->list, encoded_ref(all.items[i]));
    encoded_list_done(&all);
    op->found = watch_cache_revision(r->srv->cache);
    list_done(op, false, -1);
}

/* The parameters of a list that choose its revision. 0, or -EINVAL and a Status. */
static int list_parameters(struct list_op *op, bool *ret_cache, json_t **ret_status)
{
    const struct request *r = op->r;
    const char *version = http_exchange_query_get(r->x, "resourceVersion");
    const char *match = http_exchange_query_get(r->x, "resourceVersionMatch");
    const char *token = http_exchange_query_get(r->x, "continue");
    version = version ? version : "";
    match = match ? match : "";
    op->limit = http_query_int(http_exchange_query(r->x), "limit", 0);
    if (op->limit < 0)
        op->limit = 0;
    *ret_cache = false;
    int64_t wanted = 0;
    struct error err = ERROR_INIT;
    bool exact = str_eq(match, "Exact");
    if (version_parse(version, &wanted) < 0)
        (void)error_set(&err, -EINVAL, "invalid resourceVersion \"%.64s\"", version);
    else if (*match && !exact && !str_eq(match, "NotOlderThan"))
        (void)error_set(&err, -EINVAL, "resourceVersionMatch must be Exact or NotOlderThan");
    else if (*match && token && *token)
        (void)error_set(&err, -EINVAL, "resourceVersionMatch is forbidden with continue");
    else if (*match && !*version)
        (void)error_set(&err, -EINVAL, "resourceVersionMatch is forbidden without resourceVersion");
    else if (exact && wanted == 0)
        (void)error_set(&err, -EINVAL,
                        "resourceVersionMatch Exact needs a resourceVersion other "
                        "than \"0\"");
    else if (token && *token && wanted > 0)
        (void)error_set(&err, -EINVAL, "resourceVersion is forbidden with continue");
    else if (token && *token)
        (void)continue_token_parse(token, r->route->prefix, &op->from, &op->revision, &err);
    if (err.code) {
        *ret_status = status_bad_request("%s", error_text(&err));
        return -EINVAL;
    }
    if (token && *token) {
        op->continued = true;
        return 0;
    }
    if (!*version)
        return 0;
    if (exact || (wanted > 0 && op->limit && !*match)) {
        op->revision = wanted;
        return 0;
    }
    op->at_least = wanted;
    *ret_cache = watch_cache_check(r->srv->cache, r->route, NULL) == 0 &&
                 watch_cache_revision(r->srv->cache) >= wanted;
    return 0;
}

void verb_list(struct request *r)
{
    struct list_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = list_op_free;
    json_t *status = NULL;
    bool cache = false;
    if (selection_parse(&op->sel, r, &status) < 0 || list_parameters(op, &cache, &status) < 0) {
        reply_status(r, status);
        return;
    }
    if (op->from && !str_starts(op->from, op->sel.prefix) && !op->sel.exact) {
        reply_status(r, status_bad_request("the continue token belongs to another list"));
        return;
    }
    if (cache)
        list_from_cache(op);
    else
        read_page(op);
}
