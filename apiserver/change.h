/*
 * Changing one object: read, make the next state, write it if nobody was faster, else start again
 * from what the other one wrote. Every write of the server goes through here: creations, updates,
 * patches, deletions, the bootstrap.
 */
#pragma once

#include "apiserver/store/plan.h"
#include "apiserver/server.h"

enum verdict {
    VERDICT_WRITE,   /* store *next */
    VERDICT_REMOVE,  /* remove the object; *next, when set, is what the reply shows */
    VERDICT_NOTHING, /* leave it as it is */
    VERDICT_REFUSE,  /* *status says why */
    VERDICT_AGAIN,   /* change_rename() was called: decide again, as if there were no object */
    VERDICT_LATER,   /* something that is about to come is not there yet: decide again in a while;
                      *status says what is missing, for when it does not come */
};

struct change;

struct change_spec {
    struct apiserver *srv;
    const struct route *route;
    const char *ns, *name;
    bool create;          /* most likely it is not there: don't read first */
    bool dry_run;         /* decide and check the guards, but write nothing */
    bool guard_namespace; /* the namespace must exist and not be terminating */
    /* Decides. @old is NULL when there is no object; @tree is a tree of it with its
     * resourceVersion, which the callee may change (it is thrown away). May be called again after
     * another writer won. @next and @status are new references. Allocations (service.h) and
     * guards of its own go into @plan. */
    enum verdict (*make)(void *arg, const struct encoded *old, json_t *tree, struct plan *plan,
                         json_t **next, json_t **status);
    void *arg;
};

struct change_result {
    int code;       /* 0; -errno of the store with @err; 1: refused with @status */
    json_t *status; /* the callee's when code is 1 */
    const struct error *err;
    struct encoded *object; /* code 0: the state after, or the last state when removed; borrowed */
    bool removed, unchanged;
};
typedef void change_fn(void *arg, struct change_result *result);

/* @done is called once, on a later turn of the loop. The handle is valid until then. */
struct change *change_start(const struct change_spec *spec, change_fn *done, void *arg);
/* No callback; a write under way may still happen. NULL is harmless; returns NULL. */
struct change *change_cancel(struct change *change);
/* For make: another name (generateName met a name that is taken). */
void change_rename(struct change *change, const char *name);
