/* The arithmetic of rolling updates; see deployment.h. */
#include "controllers/deployment.h"

#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"

static int64_t set_wanted(const struct replica_set *rs)
{
    return rs->replicas.set ? rs->replicas.value : 1;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t rollout_wanted(const struct deployment *d)
{
    return d->replicas.set ? d->replicas.value : 1;
}

/* "25%" of the wanted replicas, rounded up or down, or a plain number. */
static int64_t resolve(const struct int_or_string *v, const char *fallback, int64_t total,
                       bool round_up)
{
    if (v->set && !v->text)
        return larger(v->value, 0);
    const char *text = v->set ? v->text : fallback;
    int64_t percent = strtoll(text, NULL, 10);
    return round_up ? (percent * total + 99) / 100 : percent * total / 100;
}

int64_t rollout_max_surge(const struct deployment *d)
{
    if (str_eq(d->strategy, "Recreate"))
        return 0;
    return resolve(&d->max_surge, "25%", rollout_wanted(d), true);
}

int64_t rollout_max_unavailable(const struct deployment *d)
{
    if (str_eq(d->strategy, "Recreate"))
        return rollout_wanted(d);
    int64_t n = resolve(&d->max_unavailable, "25%", rollout_wanted(d), false);
    if (n == 0 && rollout_max_surge(d) == 0)
        n = 1; /* else nothing could ever move */
    return smaller(n, rollout_wanted(d));
}

bool rollout_is_empty(const struct replica_set *rs)
{
    return set_wanted(rs) == 0 && rs->st_replicas == 0 && rs->st_observed >= rs->meta.generation;
}

int64_t rollout_old_pods(const struct rollout *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->n_old; i++)
        n += larger(set_wanted(r->old[i]), r->old[i]->st_replicas);
    return n;
}

bool rollout_is_under_way(_unused_ const struct deployment *d, const struct rollout *r)
{
    for (size_t i = 0; i < r->n_old; i++)
        if (set_wanted(r->old[i]))
            return true;
    return false;
}

static int64_t all_wanted(const struct rollout *r)
{
    int64_t n = r->current ? set_wanted(r->current) : 0;
    for (size_t i = 0; i < r->n_old; i++)
        n += set_wanted(r->old[i]);
    return n;
}

int64_t rollout_new_replicas(const struct deployment *d, const struct rollout *r)
{
    int64_t wanted = rollout_wanted(d);
    int64_t have = r->current ? set_wanted(r->current) : 0;
    if (str_eq(d->strategy, "Recreate"))
        return rollout_old_pods(r) ? have : wanted;
    if (have >= wanted)
        return wanted;
    int64_t room = wanted + rollout_max_surge(d) - all_wanted(r);
    if (room <= 0)
        return have;
    return have + smaller(room, wanted - have);
}

void rollout_old_replicas(const struct deployment *d, const struct rollout *r, int64_t *replicas)
{
    for (size_t i = 0; i < r->n_old; i++)
        replicas[i] = set_wanted(r->old[i]);
    if (str_eq(d->strategy, "Recreate")) {
        memset(replicas, 0, r->n_old * sizeof(*replicas));
        return;
    }
    int64_t wanted = rollout_wanted(d);
    int64_t at_least = wanted - rollout_max_unavailable(d);
    int64_t new_wanted = r->current ? set_wanted(r->current) : 0;
    int64_t new_available = r->current ? r->current->st_available : 0;
    int64_t room = all_wanted(r) - at_least - (new_wanted - smaller(new_available, new_wanted));
    if (room <= 0)
        return;
    /* Pods that are not available help nobody: they go first. */
    for (size_t i = 0; i < r->n_old && room > 0; i++) {
        int64_t unhealthy = larger(replicas[i] - r->old[i]->st_available, 0);
        int64_t n = smaller(unhealthy, room);
        replicas[i] -= n;
        room -= n;
    }
    int64_t available = new_available;
    for (size_t i = 0; i < r->n_old; i++)
        available += smaller(r->old[i]->st_available, replicas[i]);
    room = available - at_least;
    for (size_t i = 0; i < r->n_old && room > 0; i++) {
        int64_t n = smaller(replicas[i], room);
        replicas[i] -= n;
        room -= n;
    }
}

/* ---- status ---- */

struct totals {
    int64_t replicas, updated, ready, available;
};

static struct totals add_up(const struct rollout *r)
{
    struct totals t = {.replicas = 0};
    if (r->current) {
        t.replicas = r->current->st_replicas;
        t.updated = r->current->st_replicas;
        t.ready = r->current->st_ready;
        t.available = r->current->st_available;
    }
    for (size_t i = 0; i < r->n_old; i++) {
        t.replicas += r->old[i]->st_replicas;
        t.ready += r->old[i]->st_ready;
        t.available += r->old[i]->st_available;
    }
    return t;
}

static const json_t *old_condition(const json_t *old, const char *type)
{
    const json_t *conditions = json_object_get(old, "conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++)
        if (str_eq(json_path_string(json_array_get(conditions, i), "type"), type))
            return json_array_get(conditions, i);
    return NULL;
}

/* Keeps the times of a condition that says the same as before. */
static json_t *make_condition(const json_t *old, const char *type, const char *status,
                              const char *reason, const char *message, const char *now)
{
    const json_t *before = old_condition(old, type);
    bool same_status = str_eq(json_path_string(before, "status"), status);
    bool same = same_status && str_eq(json_path_string(before, "reason"), reason) &&
                str_eq(json_path_string(before, "message"), message);
    const char *updated = same ? json_path_string(before, "lastUpdateTime") : NULL;
    const char *changed = same_status ? json_path_string(before, "lastTransitionTime") : NULL;
    return json_pack("{ssssssssssss}", "type", type, "status", status, "lastUpdateTime",
                     updated ? updated : now, "lastTransitionTime", changed ? changed : now,
                     "reason", reason, "message", message);
}

static bool complete(const struct deployment *d, const struct totals *t)
{
    int64_t wanted = rollout_wanted(d);
    return t->updated == wanted && t->replicas == wanted && t->available == wanted;
}

static bool progressed(const json_t *old, const struct totals *t)
{
    return t->updated > json_path_int(old, "updatedReplicas", 0) ||
           t->ready > json_path_int(old, "readyReplicas", 0) ||
           t->available > json_path_int(old, "availableReplicas", 0) ||
           t->replicas - t->updated <
               json_path_int(old, "replicas", 0) - json_path_int(old, "updatedReplicas", 0);
}

static json_t *progressing(const struct deployment *d, const struct rollout *r, const json_t *old,
                           const struct totals *t, int64_t now, const char *now_text,
                           int64_t *look_again_ms)
{
    const json_t *before = old_condition(old, "Progressing");
    const char *name = r->current ? r->current->meta.name : d->meta.name;
    char message[512];
    if (complete(d, t)) {
        (void)snprintf(message, sizeof(message), "ReplicaSet \"%s\" has successfully progressed.",
                       name);
        return make_condition(old, "Progressing", "True", "NewReplicaSetAvailable", message,
                              now_text);
    }
    const char *reason = json_path_string(before, "reason");
    if (!before || progressed(old, t) || str_eq(reason, "NewReplicaSetAvailable")) {
        (void)snprintf(message, sizeof(message), "ReplicaSet \"%s\" is progressing.", name);
        json_t *c =
            make_condition(old, "Progressing", "True", "ReplicaSetUpdated", message, now_text);
        (void)json_object_set_new(c, "lastUpdateTime", json_string(now_text));
        before = NULL;
        if (!d->paused)
            *look_again_ms =
                (d->progress_deadline.set ? d->progress_deadline.value : 600) * 1000 + 1000;
        return c;
    }
    int64_t since = 0;
    int64_t deadline = d->progress_deadline.set ? d->progress_deadline.value : 600;
    const char *updated = json_path_string(before, "lastUpdateTime");
    if (updated)
        (void)time_parse(updated, &since);
    int64_t left = since / 1000000000 + deadline - now;
    if (!d->paused && left <= 0) {
        (void)snprintf(message, sizeof(message), "ReplicaSet \"%s\" has timed out progressing.",
                       name);
        return make_condition(old, "Progressing", "False", "ProgressDeadlineExceeded", message,
                              now_text);
    }
    if (!d->paused)
        *look_again_ms = left * 1000 + 1000;
    return json_deep_copy(before);
}

json_t *rollout_status(const struct deployment *d, const struct rollout *r, const json_t *old,
                       int64_t now, int64_t *look_again_ms)
{
    struct totals t = add_up(r);
    char now_text[TIME_TEXT_MAX];
    (void)time_format(now, now_text);
    bool enough = t.available >= rollout_wanted(d) - rollout_max_unavailable(d);
    json_t *available =
        make_condition(old, "Available", enough ? "True" : "False",
                       enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                       enough ? "Deployment has minimum availability."
                              : "Deployment does not have minimum availability.",
                       now_text);
    json_t *progress = progressing(d, r, old, &t, now, now_text, look_again_ms);
    json_t *status = json_pack(
        "{sIsIsIsIsIsIs[oo]}", "observedGeneration", (json_int_t)d->meta.generation, "replicas",
        (json_int_t)t.replicas, "updatedReplicas", (json_int_t)t.updated, "readyReplicas",
        (json_int_t)t.ready, "availableReplicas", (json_int_t)t.available, "unavailableReplicas",
        (json_int_t)larger(larger(rollout_wanted(d), t.replicas) - t.available, 0), "conditions",
        available, progress);
    if (json_object_get(old, "collisionCount"))
        (void)json_object_set(status, "collisionCount", json_object_get(old, "collisionCount"));
    return status;
}
