/* From a request for a pod's log, exec, attach or portforward to its kubelet's URL. */
#include <inttypes.h>
#include <string.h>

#include "apiserver/kubelet_proxy.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

#define KUBELET_PORT 10250

const char *kubelet_address(const json_t *node)
{
    static const char *const order[] = {"InternalIP", "ExternalIP", "Hostname"};
    for (size_t want = 0; want < ARRAY_SIZE(order); want++) {
        size_t i;
        json_t *a;
        json_array_foreach(json_path(node, "status.addresses"), i, a) {
            if (str_eq(json_path_string(a, "type"), order[want]))
                return json_path_string(a, "address");
        }
    }
    return NULL;
}

int64_t kubelet_port(const json_t *node)
{
    int64_t port = json_path_int(node, "status.daemonEndpoints.kubeletEndpoint.Port", KUBELET_PORT);
    return port > 0 && port < 65536 ? port : KUBELET_PORT;
}

static bool in_list(const json_t *list, const char *name, struct strbuf *names)
{
    size_t i;
    json_t *c;
    json_array_foreach(list, i, c) {
        const char *known = json_path_string(c, "name");
        if (str_eq(known, name))
            return true;
        strbuf_addf(names, "%s%s", names->len ? " " : "", known ? known : "");
    }
    return false;
}

/* The container that is meant; NULL with a Status. Borrowed from @pod or @asked. */
static const char *choose_container(const json_t *pod, const char *asked, json_t **ret_status)
{
    const json_t *containers = json_path(pod, "spec.containers");
    _cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
    if (!asked || !*asked) {
        if (json_array_size(containers) == 1)
            return json_path_string(json_array_get(containers, 0), "name");
        (void)in_list(containers, "", &names);
        *ret_status =
            status_bad_request("a container name must be specified for pod %s, choose one of: [%s]",
                               meta_name(pod), strbuf_text(&names));
        return NULL;
    }
    if (in_list(containers, asked, &names) ||
        in_list(json_path(pod, "spec.initContainers"), asked, &names) ||
        in_list(json_path(pod, "spec.ephemeralContainers"), asked, &names))
        return asked;
    *ret_status =
        status_bad_request("container %.128s is not valid for pod %s", asked, meta_name(pod));
    return NULL;
}

static void add_path(struct strbuf *url, const char *segment)
{
    strbuf_addc(url, '/');
    http_percent_encode(segment, "", url);
}

/* A log's options go on under their own names. */
static json_t *add_log_options(struct strbuf *url, const struct http_query *q)
{
    static const char *const numbers[] = {"tailLines", "sinceSeconds", "limitBytes"};
    static const char *const flags[] = {"follow", "previous", "timestamps"};
    static const char *const texts[] = {"sinceTime", "stream"};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        const char *value = http_query_get(q, numbers[i]);
        if (!value || !*value)
            continue;
        if (http_query_int(q, numbers[i], -1) < 0)
            return status_bad_request("%s must be a number that is not negative", numbers[i]);
        http_query_add(url, numbers[i], value);
    }
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (http_query_bool(q, flags[i]))
            http_query_add(url, flags[i], "true");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const char *value = http_query_get(q, texts[i]);
        if (value && *value)
            http_query_add(url, texts[i], value);
    }
    return NULL;
}

/* exec and attach have other names at the kubelet. */
static json_t *add_stream_options(struct strbuf *url, const struct http_query *q, bool exec)
{
    static const char *const names[][2] = {
        {"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
    bool any = false;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!http_query_bool(q, names[i][0]))
            continue;
        any |= i < 3;
        http_query_add(url, names[i][1], "1");
    }
    if (!any)
        return status_bad_request("you must specify at least one of stdin, stdout, stderr");
    const char *word;
    for (size_t i = 0; exec && (word = http_query_get_nth(q, "command", i)); i++)
        http_query_add(url, "command", word);
    if (exec && !http_query_get(q, "command"))
        return status_bad_request("you must specify at least 1 command for the container");
    return NULL;
}

static json_t *add_options(struct strbuf *url, const char *subresource, const struct http_query *q)
{
    if (str_eq(subresource, "log"))
        return add_log_options(url, q);
    if (!str_eq(subresource, "portforward"))
        return add_stream_options(url, q, str_eq(subresource, "exec"));
    const char *port;
    for (size_t i = 0; (port = http_query_get_nth(q, "ports", i)); i++)
        http_query_add(url, "port", port);
    return NULL;
}

char *kubelet_url(const json_t *node, const json_t *pod, const char *subresource,
                  const struct http_query *query, json_t **ret_status)
{
    static const char *const paths[][2] = {{"log", "containerLogs"},
                                           {"exec", "exec"},
                                           {"attach", "attach"},
                                           {"portforward", "portForward"}};
    const char *address = kubelet_address(node), *container = NULL;
    int64_t port = kubelet_port(node);
    bool forward = str_eq(subresource, "portforward");
    if (!address || !*address) {
        *ret_status = status_internal_error("node %s has no address to reach its kubelet at",
                                            meta_name(node));
        return NULL;
    }
    if (!forward) {
        container = choose_container(pod, http_query_get(query, "container"), ret_status);
        if (!container)
            return NULL;
    }
    _cleanup_strbuf_ struct strbuf url = STRBUF_INIT, options = STRBUF_INIT;
    strbuf_addf(&url, strchr(address, ':') ? "https://[%s]:%" PRId64 : "https://%s:%" PRId64,
                address, port);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (str_eq(paths[i][0], subresource))
            add_path(&url, paths[i][1]);
    add_path(&url, meta_namespace(pod));
    add_path(&url, meta_name(pod));
    if (container)
        add_path(&url, container);
    strbuf_addc(&options, '?');
    *ret_status = add_options(&options, subresource, query);
    if (*ret_status)
        return NULL;
    if (options.len > 1)
        strbuf_add(&url, options.data, options.len);
    return strbuf_take(&url);
}
