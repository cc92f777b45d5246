/* `coracle service`: what this node's proxy has programmed for a service, and why an endpoint is
 * not used. Asks the proxy, not the API. */
#include "base/json.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/local.h"

/* ---- printing ---- */

static const char *text_of(const json_t *j, const char *field)
{
    const char *s = json_path_string(j, field);
    return s ? s : "";
}

static void print_list(const json_t *list, const char *what, int port)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        (void)printf("  %-14s %s port %d\n", what, json_string_value(json_array_get(list, i)),
                     port);
}

static void print_policy(const json_t *p, const char *field, const char *what)
{
    if (!str_eq(text_of(p, field), "Cluster"))
        (void)printf("  %-14s %s\n", what, text_of(p, field));
}

static void print_port(const json_t *p)
{
    const json_t *endpoints = json_object_get(p, "endpoints");
    int port = (int)json_path_int(p, "port", 0), node_port = (int)json_path_int(p, "nodePort", 0);
    int affinity = (int)json_path_int(p, "affinitySeconds", 0);
    (void)printf("\n%s, %s, %s\n  %-14s %s port %d\n", text_of(p, "title"), text_of(p, "protocol"),
                 text_of(p, "family"), "cluster IP", text_of(p, "clusterIP"), port);
    if (node_port)
        (void)printf("  %-14s %d\n", "node port", node_port);
    print_list(json_object_get(p, "externalIPs"), "external IP", port);
    print_list(json_object_get(p, "loadBalancerIPs"), "load balancer", port);
    print_policy(p, "internalTrafficPolicy", "from inside");
    print_policy(p, "externalTrafficPolicy", "from outside");
    if (affinity)
        (void)printf("  %-14s %d seconds\n", "affinity", affinity);
    if (!json_path_bool(p, "hasEndpoints", false))
        (void)puts("  no endpoint can take traffic: clients are refused");
    for (size_t i = 0; i < json_array_size(endpoints); i++) {
        const json_t *e = json_array_get(endpoints, i);
        _cleanup_free_ char *where =
            str_printf("%s port %d", text_of(e, "address"), (int)json_path_int(e, "port", 0));
        const char *node = text_of(e, "node");
        (void)printf("  -> %-28s %s%s%s\n", where, *node ? node : "", *node ? ": " : "",
                     text_of(e, "verdict"));
    }
    if (!json_array_size(endpoints))
        (void)puts("  no EndpointSlice has endpoints for it");
}

static void print(const json_t *j)
{
    const json_t *families = json_object_get(j, "families"), *ports = json_object_get(j, "ports");
    const json_t *problems = json_object_get(j, "problems");
    int health = (int)json_path_int(j, "healthCheckNodePort", 0);
    (void)printf("%s on node %s, mode %s\n", text_of(j, "service"), text_of(j, "node"),
                 text_of(j, "mode"));
    for (size_t i = 0; i < json_array_size(families); i++) {
        const json_t *f = json_array_get(families, i);
        const char *error = text_of(f, "error");
        (void)printf("%s: %s%s%s\n", text_of(f, "family"),
                     json_path_bool(f, "programmed", false) ? "programmed" : "not programmed yet",
                     *error ? ": " : "", error);
    }
    for (size_t i = 0; i < json_array_size(problems); i++)
        (void)printf("problem: %s\n", json_string_value(json_array_get(problems, i)));
    if (health)
        (void)printf("health check on port %d\n", health);
    for (size_t i = 0; i < json_array_size(ports); i++)
        print_port(json_array_get(ports, i));
}

int command_service(int argc, char **argv)
{
    const char *ns = "default", *proxy = "127.0.0.1:10249";
    struct error err = ERROR_INIT;
    bool as_json = false;
    const struct option_def options[] = {
        {"namespace", 'n', OPTION_STRING, &ns, "NAME", "namespace (default)"},
        {"proxy", 0, OPTION_STRING, &proxy, "ADDRESS:PORT",
         "metrics address of the proxy (127.0.0.1:10249)"},
        {"json", 0, OPTION_BOOL, &as_json, NULL, "everything, as JSON"},
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n != 1) {
        (void)fprintf(stderr, "coracle service: %s\n\nusage: coracle service NAME [flags]\n",
                      err.code ? err.text : "name one service");
        options_help(options, stderr);
        return 2;
    }
    _cleanup_json_ json_t *j = NULL;
    _cleanup_free_ char *path = str_printf("services/%s/%s", ns, words[0]);
    int r = local_get("proxy", proxy, path, &j, &err);
    if (r == 0 && as_json) {
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        json_encode_pretty(j, 2, &out);
        (void)puts(strbuf_text(&out));
    } else if (r == 0) {
        print(j);
    } else {
        (void)fprintf(stderr, "coracle service: %s\n", error_text(&err));
    }
    return r < 0;
}
