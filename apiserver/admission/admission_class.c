/*
 * Classes that pods name: PriorityClass gives the number that the scheduler and the kubelet go by,
 * RuntimeClass what a pod of it takes and where it can run.
 */
#include <inttypes.h>
#include <string.h>

#include "apiserver/admission/admission.h"
#include "apiserver/store/peek.h"
#include "apiserver/store/watch_cache.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

static const char *text_at(const json_t *obj, const char *path)
{
    const char *text = json_path_string(obj, path);
    return text ? text : "";
}

/* A label's name has dots: no path. */
static const char *text_at_key(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text ? text : "";
}

static enum verdict refuse(const struct admission *a, const json_t *pod, json_t **status,
                           const char *fmt, ...) _printf_(4, 5);
static enum verdict refuse(const struct admission *a, const json_t *pod, json_t **status,
                           const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    *status = status_forbidden(&a->route->about, meta_name(pod), "%s", strbuf_text(&text));
    return VERDICT_REFUSE;
}

/* ---- priority ---- */

/* The class of pods that name none; NULL when there is none. New reference. */
static json_t *default_priority(const struct admission *a)
{
    const struct route *route =
        routes_find(a->srv->routes, "scheduling.k8s.io", "v1", "priorityclasses");
    struct encoded_list all = {.items = NULL};
    json_t *best = NULL;
    watch_cache_snapshot(a->srv->cache, route, route->prefix, &all);
    for (size_t i = 0; i < all.count; i++) {
        json_t *class = encoded_tree(all.items[i], NULL);
        bool better = json_path_bool(class, "globalDefault", false) &&
                      (!best || json_path_int(class, "value", 0) > json_path_int(best, "value", 0));
        if (better) {
            json_decref(best);
            best = json_incref(class);
        }
        json_decref(class);
    }
    encoded_list_done(&all);
    return best;
}

enum verdict admit_pod_priority(const struct admission *a, json_t *pod, json_t **status)
{
    json_t *spec = json_object_get(pod, "spec");
    const char *name = text_at(spec, "priorityClassName");
    _cleanup_json_ json_t *class = NULL;
    if (!json_is_object(spec) || strchr(name, '/'))
        return VERDICT_WRITE; /* validation says so */
    if (*name) {
        _cleanup_free_ char *key = str_printf("/registry/priorityclasses/%s", name);
        _cleanup_(peeked_done) struct peeked found = peek(a->srv, a->plan, key);
        if (found.known && !found.tree)
            return refuse(a, pod, status, "no PriorityClass with name %s was found", name);
        peek_guard(a->plan, key, &found);
        if (!found.known)
            return VERDICT_WRITE; /* the next attempt knows */
        class = json_incref(found.tree);
    } else {
        class = default_priority(a);
        if (class)
            (void)json_object_set_new(spec, "priorityClassName", json_text(meta_name(class)));
    }
    int64_t value = json_path_int(class, "value", 0);
    const json_t *given = json_object_get(spec, "priority");
    if (given && json_integer_value(given) != value)
        return refuse(a, pod, status,
                      "the integer value of priority (%" JSON_INTEGER_FORMAT
                      ") must not be provided in pod spec; priority admission controller computed "
                      "%" PRId64 " from the given PriorityClass name",
                      json_integer_value(given), value);
    const char *policy = json_path_string(class, "preemptionPolicy");
    const char *asked = json_path_string(spec, "preemptionPolicy");
    policy = policy ? policy : "PreemptLowerPriority";
    if (asked && !str_eq(asked, policy))
        return refuse(a, pod, status,
                      "the string value of PreemptionPolicy (%s) must not be provided in pod spec; "
                      "priority admission controller computed %s from the given PriorityClass name",
                      asked, policy);
    (void)json_object_set_new(spec, "priority", json_integer(value));
    (void)json_object_set_new(spec, "preemptionPolicy", json_text(policy));
    return VERDICT_WRITE;
}

/* ---- runtime ---- */

/* Adds the class's selector to the pod's; NULL, or the label about which they disagree. */
static const char *merge_selector(json_t *spec, const json_t *selector)
{
    const char *key;
    json_t *value, *have = json_object_get(spec, "nodeSelector");
    if (!json_object_size(selector))
        return NULL;
    if (!json_is_object(have)) {
        have = json_object();
        (void)json_object_set_new(spec, "nodeSelector", have);
    }
    json_object_foreach((json_t *)(uintptr_t)selector, key, value) {
        const json_t *other = json_object_get(have, key);
        if (other && !json_equal(other, value))
            return key;
        (void)json_object_set(have, key, value);
    }
    return NULL;
}

static void merge_tolerations(json_t *spec, const json_t *tolerations)
{
    size_t i, k;
    json_t *one, *other, *have = json_object_get(spec, "tolerations");
    if (json_array_size(tolerations) && !json_is_array(have)) {
        have = json_array();
        (void)json_object_set_new(spec, "tolerations", have);
    }
    json_array_foreach(tolerations, i, one) {
        bool there = false;
        json_array_foreach(have, k, other) {
            there |= json_equal(one, other) != 0;
        }
        if (!there)
            (void)json_array_append(have, one);
    }
}

enum verdict admit_pod_runtime(const struct admission *a, json_t *pod, json_t **status)
{
    json_t *spec = json_object_get(pod, "spec");
    const char *name = text_at(spec, "runtimeClassName");
    const json_t *given = json_object_get(spec, "overhead");
    if (!*name || strchr(name, '/'))
        return json_object_size(given)
                   ? refuse(a, pod, status,
                            "pod rejected: Pod Overhead set without corresponding "
                            "RuntimeClass defined Overhead")
                   : VERDICT_WRITE;
    _cleanup_free_ char *key = str_printf("/registry/runtimeclasses/%s", name);
    _cleanup_(peeked_done) struct peeked class = peek(a->srv, a->plan, key);
    if (class.known && !class.tree)
        return refuse(a, pod, status, "pod rejected: RuntimeClass \"%s\" not found", name);
    peek_guard(a->plan, key, &class);
    if (!class.known)
        return VERDICT_WRITE; /* the next attempt knows */
    json_t *overhead = json_object_get(json_object_get(class.tree, "overhead"), "podFixed");
    if (given && !json_equal(given, overhead))
        return refuse(a, pod, status,
                      "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    if (json_object_size(overhead))
        (void)json_object_set(spec, "overhead", overhead);
    const json_t *selector = json_path(class.tree, "scheduling.nodeSelector");
    const char *key_at_odds = merge_selector(spec, selector);
    if (key_at_odds)
        return refuse(a, pod, status,
                      "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; "
                      "pod.spec.nodeSelector[%s] = %s",
                      key_at_odds, text_at_key(selector, key_at_odds), key_at_odds,
                      text_at_key(json_object_get(spec, "nodeSelector"), key_at_odds));
    merge_tolerations(spec, json_path(class.tree, "scheduling.tolerations"));
    return VERDICT_WRITE;
}
