/* What a deletion comes to; see removal.h. */
#include "apiserver/removal.h"

#include <string.h>

#include "apiserver/namespaces.h"
#include "apiserver/objects.h"
#include "base/json.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/status.h"

#define FINALIZER_ORPHAN     "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

void delete_options_done(struct delete_options *o)
{
    free(o->uid);
    free(o->version);
    *o = (struct delete_options){.has_grace = false};
}

static json_t *set_propagation(struct delete_options *o, const char *text)
{
    if (str_eq(text, "Orphan"))
        o->propagation = 'O';
    else if (str_eq(text, "Background"))
        o->propagation = 'B';
    else if (str_eq(text, "Foreground"))
        o->propagation = 'F';
    else
        return status_bad_request("propagationPolicy: unsupported value \"%.64s\": supported: "
                                  "\"Foreground\", \"Background\", \"Orphan\"",
                                  text);
    return NULL;
}

static json_t *from_query(const struct http_query *q, struct delete_options *o)
{
    const char *grace = http_query_get(q, "gracePeriodSeconds");
    const char *policy = http_query_get(q, "propagationPolicy");
    const char *orphan = http_query_get(q, "orphanDependents");
    if (grace && *grace) {
        o->grace = http_query_int(q, "gracePeriodSeconds", -1);
        o->has_grace = true;
    }
    if (orphan && *orphan)
        o->propagation = http_query_bool(q, "orphanDependents") ? 'O' : 'B';
    return policy && *policy ? set_propagation(o, policy) : NULL;
}

static json_t *from_body(const json_t *body, struct delete_options *o)
{
    const char *kind = meta_kind(body);
    if (*kind && !str_eq(kind, "DeleteOptions"))
        return status_bad_request("the body of a deletion is a DeleteOptions, not a %.64s", kind);
    const json_t *grace = json_object_get(body, "gracePeriodSeconds");
    if (json_is_integer(grace)) {
        o->grace = json_integer_value(grace);
        o->has_grace = true;
    }
    const json_t *orphan = json_object_get(body, "orphanDependents");
    if (json_is_boolean(orphan))
        o->propagation = json_is_true(orphan) ? 'O' : 'B';
    size_t i;
    json_t *mode;
    json_array_foreach(json_object_get(body, "dryRun"), i, mode) {
        if (!str_eq(json_string_value(mode), "All"))
            return status_bad_request("dryRun: supported: \"All\"");
        o->dry_run = true;
    }
    o->uid = str_dup(json_path_string(body, "preconditions.uid"));
    o->version = str_dup(json_path_string(body, "preconditions.resourceVersion"));
    const char *policy = json_path_string(body, "propagationPolicy");
    return policy ? set_propagation(o, policy) : NULL;
}

json_t *delete_options_from(const struct request *r, const json_t *body, struct delete_options *ret)
{
    *ret = (struct delete_options){.has_grace = false};
    json_t *status = object_dry_run(r, &ret->dry_run);
    if (!status)
        status = from_query(http_exchange_query(r->x), ret);
    if (!status && body)
        status = from_body(body, ret);
    if (!status && ret->has_grace && ret->grace < 0)
        status = status_bad_request("gracePeriodSeconds must not be negative");
    if (status)
        delete_options_done(ret);
    return status;
}

json_t *delete_options_parse(const struct request *r, struct delete_options *ret)
{
    *ret = (struct delete_options){.has_grace = false};
    if (!r->body_len)
        return delete_options_from(r, NULL, ret);
    _cleanup_json_ json_t *body = NULL;
    json_t *status = object_raw_body(r, &body);
    if (status)
        return status;
    return delete_options_from(r, body, ret);
}

static json_t *check_preconditions(const struct route *route, const struct delete_options *o,
                                   const json_t *tree)
{
    if (o->uid && !str_eq(o->uid, meta_uid(tree)))
        return status_conflict(&route->about, meta_name(tree),
                               "Precondition failed: UID in precondition: %s, UID in object meta: "
                               "%s",
                               o->uid, meta_uid(tree));
    if (o->version && !str_eq(o->version, meta_resource_version(tree)))
        return status_conflict(&route->about, meta_name(tree),
                               "Precondition failed: ResourceVersion in precondition: %s, "
                               "ResourceVersion in object meta: %s",
                               o->version, meta_resource_version(tree));
    return NULL;
}

static void add_finalizer(json_t *obj, const char *finalizer)
{
    if (meta_has_finalizer(obj, finalizer))
        return;
    json_t *list = json_object_get(meta_of(obj), "finalizers");
    if (!list) {
        list = json_array();
        (void)json_object_set_new(meta_of(obj), "finalizers", list);
    }
    (void)json_array_append_new(list, json_string(finalizer));
}

static void drop_finalizer(json_t *obj, const char *finalizer)
{
    (void)meta_remove_finalizer(obj, finalizer);
}

/* The finalizers that make the garbage collector keep or first remove the dependents. */
static void set_propagation_finalizers(json_t *obj, char propagation)
{
    if (propagation == 'O')
        add_finalizer(obj, FINALIZER_ORPHAN);
    else if (propagation)
        drop_finalizer(obj, FINALIZER_ORPHAN);
    if (propagation == 'F')
        add_finalizer(obj, FINALIZER_FOREGROUND);
    else if (propagation)
        drop_finalizer(obj, FINALIZER_FOREGROUND);
}

/* How long a pod may take: what was asked for, what its spec says, nothing when nobody runs it. */
static int64_t pod_grace(const struct delete_options *o, const json_t *pod)
{
    const char *node = json_path_string(pod, "spec.nodeName");
    const char *phase = json_path_string(pod, "status.phase");
    if (!node || !*node || str_eq(phase, "Succeeded") || str_eq(phase, "Failed"))
        return 0;
    int64_t grace =
        o->has_grace ? o->grace : json_path_int(pod, "spec.terminationGracePeriodSeconds", 30);
    return grace < 0 ? 1 : grace;
}

static void mark(json_t *obj, int64_t grace, int64_t now)
{
    char buf[TIME_TEXT_MAX];
    meta_set(obj, "deletionTimestamp", time_format(now + grace, buf));
    meta_set_int(obj, "deletionGracePeriodSeconds", grace);
    if (meta_generation(obj) > 0)
        meta_set_int(obj, "generation", meta_generation(obj) + 1);
}

static enum verdict decide_pod(const struct delete_options *o, json_t *pod, json_t **next)
{
    bool deleting = *meta_deletion_timestamp(pod) != '\0';
    int64_t had = json_path_int(pod, "metadata.deletionGracePeriodSeconds", 0);
    int64_t grace = pod_grace(o, pod);
    if (deleting && !o->has_grace && had > 0 && grace > 0)
        return VERDICT_NOTHING;
    if (deleting && grace >= had && had > 0)
        return VERDICT_NOTHING;
    bool held = json_array_size(json_path(pod, "metadata.finalizers")) > 0;
    if (grace == 0 && !held)
        return VERDICT_REMOVE;
    if (deleting && grace == had)
        return VERDICT_NOTHING;
    /* A shorter grace counts from the moment the deletion was first asked for. */
    int64_t start = time_now(), ns;
    if (deleting && time_parse(meta_deletion_timestamp(pod), &ns) == 0)
        start = ns / 1000000000 - had;
    mark(pod, grace, start);
    *next = json_incref(pod);
    return VERDICT_WRITE;
}

static enum verdict decide_namespace(json_t *ns, json_t **next)
{
    bool held = json_array_size(json_path(ns, "metadata.finalizers")) ||
                json_array_size(json_path(ns, "spec.finalizers"));
    if (!held)
        return VERDICT_REMOVE;
    if (*meta_deletion_timestamp(ns))
        return VERDICT_NOTHING;
    mark(ns, 0, time_now());
    (void)json_object_del(meta_of(ns), "deletionGracePeriodSeconds");
    (void)json_path_set(ns, "status.phase", json_string("Terminating"));
    *next = json_incref(ns);
    return VERDICT_WRITE;
}

enum verdict removal_decide(const struct route *route, const struct delete_options *o, json_t *tree,
                            json_t **next, json_t **status)
{
    *status = check_preconditions(route, o, tree);
    if (*status)
        return VERDICT_REFUSE;
    const char *kind = route->res->kind;
    if (str_eq(kind, "Namespace") && namespace_is_immortal(meta_name(tree))) {
        *status =
            status_forbidden(&route->about, meta_name(tree), "this namespace may not be deleted");
        return VERDICT_REFUSE;
    }
    set_propagation_finalizers(tree, o->propagation);
    if (str_eq(kind, "Pod"))
        return decide_pod(o, tree, next);
    if (str_eq(kind, "Namespace"))
        return decide_namespace(tree, next);
    if (!json_array_size(json_path(tree, "metadata.finalizers")))
        return VERDICT_REMOVE;
    if (!*meta_deletion_timestamp(tree))
        mark(tree, 0, time_now());
    *next = json_incref(tree);
    return VERDICT_WRITE;
}
