/* Claims; see claims.h. Almost every claim has one claimant, so a list is all that is needed. */
#include "proxy/claims.h"

#include <string.h>

#include "base/strbuf.h"

struct claimant {
    struct claimant *next;
    struct owner *owner;
    enum claim_rank rank;
};
struct owner {
    char *key;
    int64_t created;
    struct map claims; /* text → NULL */
};
struct claims {
    struct map owners; /* key → struct owner */
    struct map claims; /* text → struct claimant, the list's head */
};

static void owner_free(void *p)
{
    struct owner *o = p;
    map_clear(&o->claims);
    free(o->key);
    free(o);
}

static void claimants_free(void *p)
{
    for (struct claimant *c = p, *next; c; c = next) {
        next = c->next;
        free(c);
    }
}

struct claims *claims_new(void)
{
    struct claims *c = mem_zalloc(sizeof(*c));
    c->owners = (struct map)MAP_INIT(owner_free);
    c->claims = (struct map)MAP_INIT(claimants_free);
    return c;
}

struct claims *claims_free(struct claims *c)
{
    if (c) {
        map_clear(&c->claims);
        map_clear(&c->owners);
        free(c);
    }
    return NULL;
}

static bool beats(const struct claimant *a, const struct claimant *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->owner->created != b->owner->created)
        return a->owner->created < b->owner->created;
    return strcmp(a->owner->key, b->owner->key) < 0;
}

static const struct owner *winner(const struct claims *c, const char *claim)
{
    const struct claimant *best = map_get(&c->claims, claim);
    for (const struct claimant *i = best; i; i = i->next)
        if (beats(i, best))
            best = i;
    return best ? best->owner : NULL;
}

const char *claims_winner(const struct claims *c, const char *claim)
{
    const struct owner *o = winner(c, claim);
    return o ? o->key : NULL;
}

/* A claim changes hands: both sides hear of it. */
static void touch(const struct owner *before, const struct owner *after, struct map *touched)
{
    if (before == after)
        return;
    if (before)
        map_set(touched, before->key, NULL);
    if (after)
        map_set(touched, after->key, NULL);
}

static void drop(struct claims *c, struct owner *o, const char *claim, struct map *touched)
{
    const struct owner *before = winner(c, claim);
    struct claimant *head = map_get(&c->claims, claim);
    for (struct claimant **at = &head; *at; at = &(*at)->next)
        if ((*at)->owner == o) {
            struct claimant *gone = *at;
            *at = gone->next;
            free(gone);
            break;
        }
    (void)map_take(&c->claims, claim);
    if (head)
        map_set(&c->claims, claim, head);
    touch(before, winner(c, claim), touched);
}

static void add(struct claims *c, struct owner *o, const char *claim, enum claim_rank rank,
                struct map *touched)
{
    const struct owner *before = winner(c, claim);
    struct claimant *new = mem_zalloc(sizeof(*new));
    *new = (struct claimant){.next = map_take(&c->claims, claim), .owner = o, .rank = rank};
    map_set(&c->claims, claim, new);
    touch(before, winner(c, claim), touched);
}

void claims_set(struct claims *c, const char *owner, int64_t created, const struct map *wanted,
                struct map *touched)
{
    struct owner *o = map_get(&c->owners, owner);
    if (!o && !map_count(wanted))
        return;
    if (!o) {
        o = mem_zalloc(sizeof(*o));
        *o = (struct owner){.key = str_dup(owner), .claims = MAP_INIT(NULL)};
        map_set(&c->owners, owner, o);
    }
    /* A claim may have another rank now, or its owner another age: all are made anew. */
    MAP_FOR_EACH(e, &o->claims) {
        drop(c, o, map_key(e), touched);
    }
    map_clear(&o->claims);
    o->created = created;
    MAP_FOR_EACH(e, wanted) {
        add(c, o, map_key(e), (enum claim_rank)(uintptr_t)map_value(e), touched);
        map_set(&o->claims, map_key(e), NULL);
    }
    if (!map_count(wanted))
        map_remove(&c->owners, owner);
}
