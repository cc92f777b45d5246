/*
 * `coracle get`: tables as the server makes them, or the objects as YAML, JSON or names; with -w
 * goes on with what changes.
 */
#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/session.h"
#include "cli/target.h"
#include "kube/yaml.h"
#include "net/http.h"

#define ACCEPT_TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

struct get {
    struct session session;
    struct cluster_flags flags;
    const char *output, *selector, *field_selector;
    bool watch, no_headers, show_labels;
    struct printer printer;
    struct strbuf line; /* of a watch */
    struct error end;
};

static char *make_path(struct get *g, const struct target *t, const char *watch_from)
{
    struct strbuf path = STRBUF_INIT;
    struct target where = *t;
    if (watch_from)
        where.name = NULL; /* a watch of one object is one of its collection */
    _cleanup_free_ char *base = target_path(&where, g->session.ns);
    _cleanup_strbuf_ struct strbuf fields = STRBUF_INIT;
    strbuf_addf(&path, "%s?", base);
    if (g->selector)
        http_query_add(&path, "labelSelector", g->selector);
    if (g->field_selector)
        strbuf_adds(&fields, g->field_selector);
    if (watch_from) {
        http_query_add(&path, "watch", "true");
        http_query_add(&path, "resourceVersion", watch_from);
        if (t->name)
            strbuf_addf(&fields, "%smetadata.name=%s", fields.len ? "," : "", t->name);
    }
    if (fields.len)
        http_query_add(&path, "fieldSelector", strbuf_text(&fields));
    return strbuf_take(&path);
}

static bool wants_table(const struct get *g)
{
    return !g->output || str_eq(g->output, "wide");
}

/* ---- watch ---- */

static void on_watch_data(const void *data, size_t len, void *arg)
{
    struct get *g = arg;
    strbuf_add(&g->line, data, len);
    const char *end;
    while (g->line.len && (end = memchr(g->line.data, '\n', g->line.len))) {
        size_t n = (size_t)(end - g->line.data);
        _cleanup_json_ json_t *event = json_parse(g->line.data, n, NULL);
        const json_t *object = json_object_get(event, "object");
        const char *type = json_path_string(event, "type");
        if (str_eq(type, "ERROR"))
            (void)fprintf(stderr, "coracle get: %s\n",
                          json_path_string(object, "message") ? json_path_string(object, "message")
                                                              : "watch failed");
        else if (object && !str_eq(type, "BOOKMARK"))
            printer_object(&g->printer, object);
        (void)fflush(stdout);
        strbuf_consume(&g->line, n + 1);
    }
}

static void on_watch_end(const struct kube_result *result, void *arg)
{
    struct get *g = arg;
    if (result->error)
        (void)error_set(&g->end, -EIO, "%s", result->error);
    loop_stop(g->session.loop, 0);
}

static int follow(struct get *g, const struct target *t, const char *version, struct error *err)
{
    static const struct kube_stream_handler handler = {.on_data = on_watch_data,
                                                       .on_end = on_watch_end};
    _cleanup_free_ char *path = make_path(g, t, version);
    (void)kube_stream_as(g->session.client, path, wants_table(g) ? ACCEPT_TABLE : NULL, &handler,
                         g);
    (void)loop_run(g->session.loop);
    return g->end.code ? error_set(err, g->end.code, "%s", g->end.text) : 0;
}

/* ---- get ---- */

static int get_one(struct get *g, const struct target *t, struct error *err)
{
    _cleanup_free_ char *path = make_path(g, t, NULL);
    _cleanup_json_ json_t *answer = NULL;
    int r = session_call(&g->session, "GET", path, wants_table(g) ? ACCEPT_TABLE : NULL, NULL, NULL,
                         &answer, err);
    if (r < 0)
        return r;
    printer_object(&g->printer, answer);
    if (wants_table(g) && !json_array_size(json_object_get(answer, "rows")) && !g->watch) {
        if (g->session.ns && t->resource->namespaced)
            (void)fprintf(stderr, "No resources found in %s namespace.\n", g->session.ns);
        else
            (void)fputs("No resources found\n", stderr);
    }
    const char *version = json_path_string(answer, "metadata.resourceVersion");
    return g->watch ? follow(g, t, version ? version : "0", err) : 0;
}

static int run(struct get *g, int n, char **words, struct error *err)
{
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    struct targets targets;
    int r = targets_parse(registry, n, words, &targets, err);
    if (r < 0)
        return r;
    r = session_open_flags(&g->session, &g->flags, err);
    if (r == 0 && g->watch && targets.count != 1)
        r = error_set(err, -EINVAL, "-w watches one type at a time");
    struct printer_options options = {.output = g->output,
                                      .no_headers = g->no_headers,
                                      .with_namespace = g->flags.all_namespaces,
                                      .show_labels = g->show_labels,
                                      .with_kind = targets.count > 1};
    if (r == 0)
        r = printer_init(&g->printer, &options, err);
    int first = 0;
    for (size_t i = 0; i < targets.count && r == 0; i++) {
        printer_resource(&g->printer, targets.items[i].resource);
        int one = get_one(g, &targets.items[i], first ? NULL : err);
        first = first ? first : one;
    }
    if (r == 0)
        printer_end(&g->printer);
    targets_done(&targets);
    return r < 0 ? r : first;
}

int command_get(int argc, char **argv)
{
    struct get g = {.flags = CLUSTER_FLAGS_INIT, .line = STRBUF_INIT};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"output", 'o', OPTION_STRING, &g.output, "FORM", "wide, yaml, json or name"},
        {"watch", 'w', OPTION_BOOL, &g.watch, NULL, "go on with what changes"},
        {"selector", 'l', OPTION_STRING, &g.selector, "LABELS", "a=b,c!=d,e in (f,g)"},
        {"field-selector", 0, OPTION_STRING, &g.field_selector, "FIELDS", "status.phase=Running"},
        {"all-namespaces", 'A', OPTION_BOOL, &g.flags.all_namespaces, NULL, "in all namespaces"},
        {"no-headers", 0, OPTION_BOOL, &g.no_headers, NULL, "rows only"},
        {"show-labels", 0, OPTION_BOOL, &g.show_labels, NULL, "a column of labels"},
        CLUSTER_OPTIONS(&g.flags),
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n <= 0) {
        (void)fprintf(stderr, "coracle get: %s\n\nusage: coracle get TYPE [NAME...] [flags]\n",
                      err.code ? err.text : "name a resource type, for example pods");
        options_help(options, stderr);
        return 2;
    }
    int r = run(&g, n, words, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle get: %s\n", error_text(&err));
    printer_done(&g.printer);
    strbuf_done(&g.line);
    session_close(&g.session);
    return r < 0;
}
