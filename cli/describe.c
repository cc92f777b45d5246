/* `coracle describe`: one object as YAML without its noise, and the events about it. */
#include <errno.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "cli/command.h"
#include "cli/session.h"
#include "cli/target.h"
#include "kube/table.h"
#include "kube/yaml.h"
#include "net/http.h"

static void print_events(const json_t *list)
{
    const json_t *items = json_object_get(list, "items");
    if (!json_array_size(items)) {
        (void)puts("events: none");
        return;
    }
    (void)printf("events:\n  %-8s %-8s %-20s %s\n", "TYPE", "AGE", "REASON", "MESSAGE");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *e = json_array_get(items, i);
        const char *type = json_path_string(e, "type");
        const char *reason = json_path_string(e, "reason");
        const char *message = json_path_string(e, "message");
        const char *last = json_path_string(e, "lastTimestamp");
        int64_t at = 0;
        char age[TABLE_AGE_MAX] = "?";
        if (last && time_parse(last, &at) == 0)
            (void)table_age(time_now() - at / 1000000000, age);
        (void)printf("  %-8s %-8s %-20s %s", type ? type : "", age, reason ? reason : "",
                     message ? message : "");
        int64_t count = json_path_int(e, "count", 1);
        if (count > 1)
            (void)printf(" (%d times)", (int)count);
        (void)putchar('\n');
    }
}

static int describe(struct session *s, const struct target *t, struct error *err)
{
    _cleanup_free_ char *path = target_path(t, s->ns);
    _cleanup_json_ json_t *object = NULL;
    int r = session_call(s, "GET", path, NULL, NULL, NULL, &object, err);
    if (r < 0)
        return r;
    const char *uid = json_path_string(object, "metadata.uid");
    const char *ns = json_path_string(object, "metadata.namespace");
    json_t *metadata = json_object_get(object, "metadata");
    _cleanup_free_ char *uid_copy = str_dup(uid ? uid : "");
    _cleanup_free_ char *ns_copy = str_dup(ns ? ns : "default");
    (void)json_object_del(metadata, "managedFields");
    (void)json_object_del(json_object_get(metadata, "annotations"),
                          "kubectl.kubernetes.io/last-applied-configuration");
    struct strbuf text = STRBUF_INIT;
    yaml_write(object, &text);
    (void)fputs(strbuf_text(&text), stdout);
    strbuf_truncate(&text, 0);
    _cleanup_free_ char *events_path = kube_path("v1", ns_copy, "events", NULL, NULL);
    _cleanup_free_ char *fields = str_printf("involvedObject.uid=%s", uid_copy);
    strbuf_addf(&text, "%s?", events_path);
    http_query_add(&text, "fieldSelector", fields);
    _cleanup_json_ json_t *events = NULL;
    r = session_call(s, "GET", strbuf_text(&text), NULL, NULL, NULL, &events, err);
    strbuf_done(&text);
    if (r == 0)
        print_events(events);
    return r;
}

int command_describe(int argc, char **argv)
{
    struct session s = {.loop = NULL};
    struct cluster_flags flags = CLUSTER_FLAGS_INIT;
    struct error err = ERROR_INIT;
    const struct option_def options[] = {CLUSTER_OPTIONS(&flags), {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n <= 0) {
        (void)fprintf(stderr, "coracle describe: %s\n\nusage: coracle describe TYPE NAME\n",
                      err.code ? err.text : "name an object");
        return 2;
    }
    _cleanup_(schema_registry_freep) struct schema_registry *registry = schema_registry_new();
    struct targets targets = {.items = NULL};
    int r = targets_parse(registry, n, words, &targets, &err);
    if (r == 0)
        r = session_open_flags(&s, &flags, &err);
    for (size_t i = 0; r == 0 && i < targets.count; i++) {
        if (!targets.items[i].name)
            r = error_set(&err, -EINVAL, "name the object to describe");
        else
            r = describe(&s, &targets.items[i], &err);
    }
    if (r < 0)
        (void)fprintf(stderr, "coracle describe: %s\n", error_text(&err));
    targets_done(&targets);
    session_close(&s);
    return r < 0;
}
