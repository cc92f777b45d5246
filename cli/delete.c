/* `coracle delete`: by type and name, by label, or by manifest; waits until the objects are gone.
 */
#include <errno.h>
#include <poll.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/manifest.h"
#include "cli/session.h"
#include "cli/target.h"
#include "net/http.h"

#define GONE_MS 120000
#define POLL_MS 50

struct deletion {
    struct session session;
    struct cluster_flags flags;
    struct option_list files;
    const char *selector;
    int grace;
    bool force, all, wait, ignore_not_found;
    json_t *options;
};

static char *title(const struct schema_resource *r, const char *name)
{
    return str_printf("%s%s%s \"%s\"", r->singular, *r->group ? "." : "", r->group, name);
}

/* Waits until the object of this uid is gone. */
static int wait_gone(struct deletion *d, const char *path, const char *uid, struct error *err)
{
    for (uint64_t began = now_ms(); now_ms() - began < GONE_MS; (void)poll(NULL, 0, POLL_MS)) {
        _cleanup_json_ json_t *object = NULL;
        int r = session_call(&d->session, "GET", path, NULL, NULL, NULL, &object, NULL);
        if (r == -ENOENT ||
            (r == 0 && uid && !str_eq(json_path_string(object, "metadata.uid"), uid)))
            return 0;
    }
    return error_set(err, -ETIMEDOUT, "still there after %d s", GONE_MS / 1000);
}

static int delete_path(struct deletion *d, const struct schema_resource *resource, const char *name,
                       const char *path, struct error *err)
{
    _cleanup_json_ json_t *before = NULL;
    _cleanup_free_ char *shown = title(resource, name);
    int r = session_call(&d->session, "GET", path, NULL, NULL, NULL, &before, err);
    if (r == 0)
        r = session_call(&d->session, "DELETE", path, NULL, NULL, d->options, NULL, err);
    if (r == -ENOENT && d->ignore_not_found)
        return 0;
    if (r < 0)
        return r;
    (void)printf("%s %s\n", shown, d->force ? "force deleted" : "deleted");
    (void)fflush(stdout);
    if (d->wait)
        r = wait_gone(d, path, json_path_string(before, "metadata.uid"), err);
    return r < 0 ? error_prefix(err, r, "%s", shown) : 0;
}

static int delete_list(struct deletion *d, const struct target *t, struct error *err)
{
    _cleanup_free_ char *base = target_path(t, d->session.ns);
    struct strbuf path = STRBUF_INIT;
    strbuf_addf(&path, "%s?", base);
    if (d->selector)
        http_query_add(&path, "labelSelector", d->selector);
    _cleanup_json_ json_t *list = NULL;
    int r = session_call(&d->session, "GET", strbuf_text(&path), NULL, NULL, NULL, &list, err);
    strbuf_done(&path);
    const json_t *items = json_object_get(list, "items");
    if (r == 0 && !json_array_size(items))
        (void)fputs("No resources found\n", stderr);
    for (size_t i = 0; i < json_array_size(items) && r == 0; i++) {
        const json_t *item = json_array_get(items, i);
        const char *ns = json_path_string(item, "metadata.namespace");
        struct target one = {.resource = t->resource,
                             .name = json_path_string(item, "metadata.name")};
        _cleanup_free_ char *item_path = target_path(&one, ns);
        r = delete_path(d, t->resource, one.name, item_path, err);
    }
    return r;
}

static int delete_targets(struct deletion *d, const struct schema_registry *registry, int n,
                          char **words, struct error *err)
{
    struct targets targets;
    int r = targets_parse(registry, n, words, &targets, err);
    for (size_t i = 0; r == 0 && i < targets.count; i++) {
        const struct target *t = &targets.items[i];
        if (!t->name && !d->selector && !d->all) {
            r = error_set(err, -EINVAL, "name what to delete, or give -l or --all");
        } else if (!t->name) {
            r = delete_list(d, t, err);
        } else {
            _cleanup_free_ char *path = target_path(t, d->session.ns);
            r = delete_path(d, t->resource, t->name, path, err);
        }
    }
    targets_done(&targets);
    return r;
}

/* In reverse order: what came last may need what came first. */
static int delete_manifests(struct deletion *d, const struct manifests *m, struct error *err)
{
    int first = 0;
    for (size_t i = m->count; i-- > 0;) {
        _cleanup_free_ char *path = manifest_path(&m->items[i], d->session.ns, true);
        struct error one = ERROR_INIT;
        int r = delete_path(d, m->items[i].resource,
                            json_path_string(m->items[i].object, "metadata.name"), path, &one);
        if (r < 0 && !first)
            first = error_set(err, r, "%s: %s", m->items[i].where, error_text(&one));
    }
    return first;
}

static int run(struct deletion *d, int n, char **words, struct error *err)
{
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    struct manifests m = {.items = NULL};
    int r = d->files.count ? manifests_load(registry, &d->files, &m, err) : 0;
    if (r == 0)
        r = session_open_flags(&d->session, &d->flags, err);
    if (r == 0 && d->files.count)
        r = delete_manifests(d, &m, err);
    else if (r == 0)
        r = delete_targets(d, registry, n, words, err);
    manifests_done(&m);
    return r;
}

int command_delete(int argc, char **argv)
{
    struct deletion d = {.flags = CLUSTER_FLAGS_INIT, .grace = -1, .wait = true};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"filename", 'f', OPTION_LIST, &d.files, "FILE", "manifest file or directory, - for stdin"},
        {"selector", 'l', OPTION_STRING, &d.selector, "LABELS", "what these labels select"},
        {"all", 0, OPTION_BOOL, &d.all, NULL, "everything of the type in the namespace"},
        {"grace-period", 0, OPTION_INT, &d.grace, "SECONDS", "instead of the object's own"},
        {"force", 0, OPTION_BOOL, &d.force, NULL, "at once, without waiting for the node"},
        {"wait", 0, OPTION_BOOL, &d.wait, NULL, "until it is gone (true)"},
        {"ignore-not-found", 0, OPTION_BOOL, &d.ignore_not_found, NULL, "missing is success"},
        CLUSTER_OPTIONS(&d.flags),
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n < 0 || (n == 0 && d.files.count == 0)) {
        (void)fprintf(stderr,
                      "coracle delete: %s\n\nusage: coracle delete TYPE NAME... | -f FILE\n",
                      err.code ? err.text : "name what to delete");
        options_help(options, stderr);
        option_list_done(&d.files);
        return 2;
    }
    if (d.force && d.grace < 0)
        d.grace = 0;
    d.options = json_pack("{ssssss}", "apiVersion", "v1", "kind", "DeleteOptions",
                          "propagationPolicy", "Background");
    if (d.grace >= 0)
        (void)json_object_set_new(d.options, "gracePeriodSeconds", json_integer(d.grace));
    int r = run(&d, n, words, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle delete: %s\n", error_text(&err));
    json_decref(d.options);
    option_list_done(&d.files);
    session_close(&d.session);
    return r < 0;
}
