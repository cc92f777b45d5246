/* Objects that a write depends on; see peek.h. */
#include "apiserver/store/peek.h"

#include "apiserver/store/watch_cache.h"
#include "base/json.h"

/* A guard at this revision never holds: the store says what is there instead, and the next attempt
 * knows. */
#define NEVER INT64_MAX

void peeked_done(struct peeked *p)
{
    json_decref(p->tree);
    p->tree = NULL;
}

struct peeked peek(struct apiserver *srv, const struct plan *plan, const char *key)
{
    const struct learned *learned = plan_learned(plan, key);
    const struct encoded *cached = learned ? NULL : watch_cache_get(srv->cache, key);
    struct peeked p = {.known = learned || cached, .fresh = learned != NULL};
    if (cached) {
        p.revision = cached->revision;
        p.tree = encoded_tree(cached, NULL);
    } else if (learned && learned->revision) {
        p.revision = learned->revision;
        p.tree = json_parse(learned->value, learned->len, NULL);
    }
    return p;
}

void peek_guard(struct plan *plan, const char *key, const struct peeked *p)
{
    if (!p->known)
        plan_guard(plan, key, STORE_AT_REVISION, NEVER);
    else if (p->revision)
        plan_guard(plan, key, STORE_AT_REVISION, p->revision);
    else
        plan_guard(plan, key, STORE_ABSENT, 0);
}

void peek_again(struct plan *plan, const char *key)
{
    plan_guard(plan, key, STORE_AT_REVISION, NEVER);
}
