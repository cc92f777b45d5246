/* What plugins are told of a pod; see cni_runtime.h. */
#include "cri/cni_runtime.h"

#include <errno.h>
#include <string.h>

#include "cri/hostport.h"
#include "kube/quantity.h"

#define RATE_MIN  1000             /* bits a second, as the kubelet's validation has it */
#define RATE_MAX  1000000000000000 /* 1P */
#define BURST_MAX UINT32_MAX       /* no limit but that of the bandwidth plugin */

int cni_runtime_args(const char *sandbox, const Runtime__V1__PodSandboxMetadata *metadata,
                     char **ret, struct error *err)
{
    const char *const values[] = {metadata->namespace_, metadata->name, metadata->uid};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        if (strpbrk(values[i], ";=\n"))
            return error_set_field(err, -EINVAL, "config.metadata",
                                   "config.metadata: \"%.100s\" cannot be told to CNI plugins",
                                   values[i]);
    *ret = str_printf("IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;"
                      "K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%s",
                      metadata->namespace_, metadata->name, sandbox, metadata->uid);
    return 0;
}

static int port_mappings(const Runtime__V1__PodSandboxConfig *config, json_t *runtime,
                         struct error *err)
{
    struct hostport *ports;
    size_t n;
    int r = hostports_parse(config, &ports, &n, err);
    if (r < 0 || !n)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char text[IP_TEXT_MAX];
        json_t *m = json_pack("{sisiss}", "hostPort", ports[i].host_port, "containerPort",
                              ports[i].pod_port, "protocol", hostport_protocol(&ports[i]));
        if (ports[i].host_ip.family)
            (void)json_object_set_new(m, "hostIP",
                                      json_string(ip_addr_format(&ports[i].host_ip, text)));
        (void)json_array_append_new(list, m);
    }
    free(ports);
    return json_object_set_new(runtime, "portMappings", list);
}

static json_t *strings(char **list, size_t n)
{
    json_t *j = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(j, json_text(list[i]));
    return j;
}

static void dns(const Runtime__V1__DNSConfig *d, json_t *runtime)
{
    if (!d)
        return;
    json_t *j = json_object();
    (void)json_object_set_new(j, "servers", strings(d->servers, d->n_servers));
    (void)json_object_set_new(j, "searches", strings(d->searches, d->n_searches));
    (void)json_object_set_new(j, "options", strings(d->options, d->n_options));
    (void)json_object_set_new(runtime, "dns", j);
}

static int rate(const Runtime__V1__PodSandboxConfig *config, const char *annotation,
                const char *rate_key, const char *burst_key, json_t *to, struct error *err)
{
    for (size_t i = 0; i < config->n_annotations; i++) {
        const char *value = config->annotations[i]->value;
        struct quantity q;
        if (!str_eq(config->annotations[i]->key, annotation))
            continue;
        int64_t bits = quantity_parse(value, &q, NULL) == 0 ? quantity_value(&q) : 0;
        if (bits < RATE_MIN || bits > RATE_MAX)
            return error_set_field(err, -EINVAL, "config.annotations",
                                   "config.annotations[%s]: \"%.60s\" is no rate from 1k to 1P",
                                   annotation, value);
        (void)json_object_set_new(to, rate_key, json_integer(bits));
        (void)json_object_set_new(to, burst_key, json_integer(BURST_MAX));
    }
    return 0;
}

static int bandwidth(const Runtime__V1__PodSandboxConfig *config, json_t *runtime,
                     struct error *err)
{
    _cleanup_json_ json_t *j = json_object();
    int r = rate(config, "kubernetes.io/ingress-bandwidth", "ingressRate", "ingressBurst", j, err);
    if (r == 0)
        r = rate(config, "kubernetes.io/egress-bandwidth", "egressRate", "egressBurst", j, err);
    if (r == 0 && json_object_size(j))
        (void)json_object_set(runtime, "bandwidth", j);
    return r;
}

int cni_runtime_config(const Runtime__V1__PodSandboxConfig *config, json_t **ret, struct error *err)
{
    _cleanup_json_ json_t *runtime = json_object();
    int r = port_mappings(config, runtime, err);
    if (r == 0)
        r = bandwidth(config, runtime, err);
    if (r < 0)
        return r;
    dns(config->dns_config, runtime);
    *ret = TAKE_PTR(runtime);
    return 0;
}
