/*
 * `coracle apply -f FILE`: creates objects or patches them to what the manifest says, as `kubectl
 * apply` does: the annotation kubectl.kubernetes.io/last-applied-configuration holds what was
 * applied last, so both commands may be used on the same objects.
 */
#include "cli/apply.h"

#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/threeway.h"

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define CONFLICTS    5

/* A copy of the object that carries its own text as annotation. */
static json_t *with_annotation(const struct manifest *m, const char *ns)
{
    json_t *plain = json_deep_copy(m->object);
    json_t *annotations = (json_t *)(uintptr_t)json_path(plain, "metadata.annotations");
    if (!json_is_object(annotations)) {
        annotations = json_object();
        (void)json_path_set(plain, "metadata.annotations", annotations);
    }
    (void)json_object_del(annotations, LAST_APPLIED);
    if (ns)
        (void)json_path_set(plain, "metadata.namespace", json_string(ns));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(plain, &text);
    strbuf_addc(&text, '\n');
    (void)json_object_set_new(annotations, LAST_APPLIED, json_string(strbuf_text(&text)));
    return plain;
}

static json_t *last_applied(const json_t *live)
{
    const json_t *annotations = json_path(live, "metadata.annotations");
    const char *text = json_string_value(json_object_get(annotations, LAST_APPLIED));
    return text ? json_parse(text, strlen(text), NULL) : NULL;
}

static int patch_live(struct session *s, const struct manifest *m, const char *path,
                      const json_t *wanted, const json_t *live, const char **what,
                      struct error *err)
{
    _cleanup_json_ json_t *last = last_applied(live);
    /* The annotation is not part of what the annotation says: it is never removed. */
    json_t *annotations = (json_t *)(uintptr_t)json_path(last, "metadata.annotations");
    (void)json_object_del(annotations, LAST_APPLIED);
    _cleanup_json_ json_t *patch = threeway_patch(m->resource->type, last, wanted);
    _cleanup_json_ json_t *answer = NULL;
    int r = session_call(s, "PATCH", path, NULL, KUBE_PATCH_STRATEGIC, patch, &answer, err);
    if (r < 0)
        return r;
    const char *before = json_path_string(live, "metadata.resourceVersion");
    *what = str_eq(before, json_path_string(answer, "metadata.resourceVersion")) ? "unchanged"
                                                                                 : "configured";
    return 0;
}

static int apply_one(struct session *s, const struct manifest *m, const char **what,
                     struct error *err)
{
    const char *ns = manifest_namespace(m, s->ns);
    _cleanup_free_ char *path = manifest_path(m, s->ns, true);
    _cleanup_free_ char *collection = manifest_path(m, s->ns, false);
    if (!json_path_string(m->object, "metadata.name"))
        return error_set_field(err, -EINVAL, "metadata.name",
                               "metadata.name: Required value: apply needs a name");
    _cleanup_json_ json_t *wanted = with_annotation(m, ns);
    for (int attempt = 0;; attempt++) {
        _cleanup_json_ json_t *live = NULL;
        int r = session_call(s, "GET", path, NULL, NULL, NULL, &live, err);
        if (r == -ENOENT) {
            *what = "created";
            r = session_call(s, "POST", collection, NULL, NULL, wanted, NULL, err);
            if (r != -EEXIST || attempt >= CONFLICTS)
                return r;
            continue;
        }
        if (r < 0)
            return r;
        r = patch_live(s, m, path, wanted, live, what, err);
        if (r != -EAGAIN || attempt >= CONFLICTS)
            return r;
    }
}

/* Asks the server whether each object is well-formed, without making it: a file with a mistake in
 * its last document changes nothing. An object that cannot be judged yet (its namespace comes with
 * the same file, it exists already) passes here. Returns the number of refusals. */
static int check_all(struct session *s, const struct manifests *m,
                     void (*failed)(const struct error *err, void *arg), void *arg)
{
    int failures = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ char *collection = manifest_path(&m->items[i], s->ns, false);
        _cleanup_free_ char *path = str_printf("%s?dryRun=All", collection);
        _cleanup_json_ json_t *object =
            with_annotation(&m->items[i], manifest_namespace(&m->items[i], s->ns));
        int r = session_call(s, "POST", path, NULL, NULL, object, NULL, &err);
        if (r != -EINVAL)
            continue;
        (void)error_prefix(&err, r, "%s", m->items[i].where);
        failed(&err, arg);
        failures++;
    }
    return failures;
}

int apply_manifests(struct session *s, const struct manifests *m,
                    void (*report)(const char *title, const char *what, void *arg),
                    void (*failed)(const struct error *err, void *arg), void *arg)
{
    int failures = check_all(s, m, failed, arg);
    bool refused = failures > 0;
    for (size_t i = 0; i < m->count && !refused; i++) {
        struct error err = ERROR_INIT;
        const char *what = "";
        int r = apply_one(s, &m->items[i], &what, &err);
        if (r == 0) {
            _cleanup_free_ char *title = manifest_title(&m->items[i]);
            report(title, what, arg);
            continue;
        }
        (void)error_prefix(&err, r, "%s", m->items[i].where);
        failed(&err, arg);
        failures++;
    }
    return failures;
}

static void print_applied(const char *title, const char *what, _unused_ void *arg)
{
    (void)printf("%s %s\n", title, what);
}

static void print_failed(const struct error *err, _unused_ void *arg)
{
    (void)fprintf(stderr, "coracle apply: %s\n", error_text(err));
}

int command_apply(int argc, char **argv)
{
    struct cluster_flags flags = CLUSTER_FLAGS_INIT;
    struct option_list files = {.items = NULL};
    const struct option_def options[] = {
        {"filename", 'f', OPTION_LIST, &files, "FILE", "manifest file or directory, - for stdin"},
        CLUSTER_OPTIONS(&flags),
        {NULL}};
    struct error err = ERROR_INIT;
    char *words[128];
    int n = argc > (int)ARRAY_SIZE(words) ? error_set(&err, -E2BIG, "too many arguments")
                                          : options_parse(options, argc, argv, false, words, &err);
    if (n != 0 || files.count == 0) {
        (void)fprintf(stderr, "coracle apply: %s\n\nusage: coracle apply -f FILE\n",
                      err.code ? err.text : "name the manifest with -f");
        options_help(options, stderr);
        option_list_done(&files);
        return 2;
    }
    struct session s = {.loop = NULL};
    struct manifests m = {.items = NULL};
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    int status = 1;
    int r = manifests_load(registry, &files, &m, &err);
    if (r == 0)
        r = session_open_flags(&s, &flags, &err);
    if (r < 0)
        print_failed(&err, NULL);
    else
        status = apply_manifests(&s, &m, print_applied, print_failed, NULL) ? 1 : 0;
    session_close(&s);
    manifests_done(&m);
    option_list_done(&files);
    return status;
}
