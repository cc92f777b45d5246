/* `coracle dns`: what this node's DNS answers for a name, and why. Goes through the search domains
 * as the resolver of a pod does. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/local.h"
#include "net/http.h"

#define NDOTS 5 /* with fewer dots the search domains come first, as in pods */

struct question {
    const char *ns, *domain, *address, *name, *type;
    bool as_json;
};

static void print_list(const json_t *list, const char *prefix)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        (void)printf("%s%s\n", prefix, json_string_value(json_array_get(list, i)));
}

static void print(const json_t *j)
{
    const json_t *records = json_object_get(j, "records");
    const char *status = json_path_string(j, "status");
    (void)printf("%s %s: %s%s\n", json_path_string(j, "name"), json_path_string(j, "type"), status,
                 str_eq(status, "NOERROR") && !json_array_size(records) ? ", no such record" : "");
    print_list(json_object_get(j, "why"), "  # ");
    print_list(records, "  ");
}

/* Asks for one name. 1: a resolver would stop here; 0: it would go on; -errno. */
static int ask(const struct question *q, const char *name, struct error *err)
{
    _cleanup_json_ json_t *j = NULL;
    _cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
    strbuf_adds(&path, "names/");
    http_percent_encode(name, NULL, &path);
    strbuf_adds(&path, "?type=");
    http_percent_encode(q->type, NULL, &path);
    int r = local_get("dns", q->address, strbuf_text(&path), &j, err);
    if (r < 0)
        return r;
    if (q->as_json) {
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        json_encode_pretty(j, 2, &out);
        (void)puts(strbuf_text(&out));
    } else {
        print(j);
    }
    return json_array_size(json_object_get(j, "records")) > 0;
}

static int walk(const struct question *q, struct error *err)
{
    const char *suffixes[] = {q->ns, "svc", "", NULL};
    size_t dots = 0, len = strlen(q->name);
    for (const char *c = q->name; *c; c++)
        dots += *c == '.';
    bool whole = len && q->name[len - 1] == '.', first = whole || dots >= NDOTS;
    int r = first ? ask(q, q->name, err) : 0;
    for (size_t i = 0; r == 0 && !whole && suffixes[i]; i++) {
        _cleanup_free_ char *name =
            str_printf("%s.%s%s%s%s", q->name, suffixes[i], i == 0 ? ".svc" : "",
                       *suffixes[i] ? "." : "", q->domain);
        r = ask(q, name, err);
    }
    return r == 0 && !first ? ask(q, q->name, err) : r;
}

int command_dns(int argc, char **argv)
{
    struct question q = {
        .ns = "default", .domain = "cluster.local", .address = "127.0.0.1:9153", .type = "A"};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"namespace", 'n', OPTION_STRING, &q.ns, "NAME",
         "namespace of the pod that asks (default)"},
        {"cluster-domain", 0, OPTION_STRING, &q.domain, "NAME", "domain (cluster.local)"},
        {"dns", 0, OPTION_STRING, &q.address, "ADDRESS:PORT",
         "metrics address of the DNS (127.0.0.1:9153)"},
        {"json", 0, OPTION_BOOL, &q.as_json, NULL, "everything, as JSON"},
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n < 1 || n > 2) {
        (void)fprintf(stderr, "coracle dns: %s\n\nusage: coracle dns NAME [TYPE] [flags]\n",
                      err.code ? err.text : "give a name, and perhaps a type (A)");
        options_help(options, stderr);
        return 2;
    }
    q.name = words[0];
    if (n == 2)
        q.type = words[1];
    int r = walk(&q, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle dns: %s\n", error_text(&err));
    return r <= 0;
}
