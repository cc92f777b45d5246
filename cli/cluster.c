/* What joining nodes are told of a cluster; see cluster.h. */
#include "cli/cluster.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kube/yaml.h"

#define RETRY_MS     5000
#define NET_CONF_MAX 65536
#define DOMAIN       "cluster.local"
#define OURS         "+coracle" /* in the version that a server of ours tells */

/* ---- reading ---- */

void cluster_settings_done(struct cluster_settings *c)
{
    free(c->version);
    free(c->pod_cidr);
    free(c->service_cidr);
    free(c->dns_ip);
    free(c->kubelet_config);
    free(c->net_conf);
}

/* A key of a ConfigMap of kube-system; NULL without an error when it is not there, or is not for
 * us to read. */
static int read_key(struct session *s, const char *name, const char *key, char **ret,
                    struct error *err)
{
    struct error why = ERROR_INIT;
    _cleanup_json_ json_t *map = NULL;
    _cleanup_free_ char *path = kube_path("v1", "kube-system", "configmaps", name, NULL);
    int r = session_call(s, "GET", path, NULL, NULL, NULL, &map, &why);
    if (r == -ENOENT || r == -EACCES)
        return 0;
    if (r < 0)
        return error_set(err, r, "ConfigMap kube-system/%s: %s", name, error_text(&why));
    const char *text = json_string_value(json_object_get(json_object_get(map, "data"), key));
    *ret = text ? str_dup(text) : NULL;
    return 0;
}

/* The first IPv4 range of a list. */
static char *first_range(const char *list)
{
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (!memchr(p, ':', len))
            return str_ndup(p, len);
    }
    return NULL;
}

static int take_kubeadm(struct cluster_settings *c, const char *text, struct error *err)
{
    _cleanup_json_ json_t *j = text ? yaml_parse_one(text, strlen(text), err) : NULL;
    if (text && !j)
        return error_prefix(err, -EINVAL, "ConfigMap kube-system/kubeadm-config");
    c->pod_cidr = first_range(json_path_string(j, "networking.podSubnet"));
    c->service_cidr = first_range(json_path_string(j, "networking.serviceSubnet"));
    return 0;
}

static int take_kubelet(struct cluster_settings *c, struct error *err)
{
    const char *text = c->kubelet_config;
    _cleanup_json_ json_t *j = text ? yaml_parse_one(text, strlen(text), err) : NULL;
    if (text && !j)
        return error_prefix(err, -EINVAL, "ConfigMap kube-system/kubelet-config");
    const char *ip = json_string_value(json_array_get(json_path(j, "clusterDNS"), 0));
    c->dns_ip = ip ? str_dup(ip) : NULL;
    return 0;
}

int cluster_read(struct session *s, struct cluster_settings *ret, struct error *err)
{
    _cleanup_json_ json_t *version = NULL;
    _cleanup_free_ char *kubeadm = NULL, *older = NULL;
    *ret = (struct cluster_settings){.version = NULL};
    int r = session_call(s, "GET", "/version", NULL, NULL, NULL, &version, err);
    if (r < 0)
        return r;
    const char *text = json_path_string(version, "gitVersion");
    const char *minor = json_path_string(version, "minor");
    ret->version = str_dup(text ? text : "");
    ret->ours = strstr(ret->version, OURS);
    /* Up to 1.23 the name carries the version. */
    older = str_printf("kubelet-config-1.%d", minor ? (int)strtol(minor, NULL, 10) : 0);
    r = read_key(s, "kubeadm-config", "ClusterConfiguration", &kubeadm, err);
    if (r == 0)
        r = take_kubeadm(ret, kubeadm, err);
    if (r == 0)
        r = read_key(s, "kubelet-config", "kubelet", &ret->kubelet_config, err);
    if (r == 0 && !ret->kubelet_config)
        r = read_key(s, older, "kubelet", &ret->kubelet_config, err);
    if (r == 0)
        r = take_kubelet(ret, err);
    if (r == 0 && ret->ours)
        r = read_key(s, "kube-flannel-cfg", CLUSTER_NET_CONF, &ret->net_conf, err);
    return r;
}

/* ---- writing ---- */

static char *net_conf_path(const struct node_config *c)
{
    return node_path(c, "/etc/coracle/" CLUSTER_NET_CONF);
}

int cluster_write_net_conf(const struct node_config *c, struct error *err)
{
    _cleanup_free_ char *path = net_conf_path(c);
    if (fs_exists(path))
        return 0;
    _cleanup_free_ char *text =
        str_printf("{\n  \"Network\": \"%s\",\n  \"Backend\": {\n    \"Type\": \"vxlan\"\n  }\n}\n",
                   c->cluster_cidr);
    return fs_write_atomic(path, text, strlen(text), 0644, FS_DURABLE, err);
}

static char *kubeadm_config(const struct node_config *c)
{
    return str_printf("apiVersion: kubeadm.k8s.io/v1beta3\nclusterName: kubernetes\n"
                      "kind: ClusterConfiguration\nkubernetesVersion: %s\nnetworking:\n"
                      "  dnsDomain: %s\n  podSubnet: %s\n  serviceSubnet: %s\n",
                      CORACLE_VERSION, DOMAIN, c->cluster_cidr, c->service_cidr);
}

/* What a kubelet of kubeadm's expects, paths among it. */
static char *kubelet_config(const struct node_config *c)
{
    _cleanup_free_ char *dns =
        c->dns_ip ? str_printf("clusterDNS:\n- %s\n", c->dns_ip) : str_dup("");
    return str_printf(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nauthentication:\n  anonymous:\n"
        "    enabled: false\n  webhook:\n    enabled: true\n  x509:\n"
        "    clientCAFile: /etc/kubernetes/pki/ca.crt\nauthorization:\n  mode: Webhook\n"
        "%sclusterDomain: %s\nkind: KubeletConfiguration\nrotateCertificates: true\n"
        "serverTLSBootstrap: true\nstaticPodPath: /etc/kubernetes/manifests\n",
        dns, DOMAIN);
}

static char *net_conf(const struct node_config *c)
{
    _cleanup_free_ char *path = net_conf_path(c);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    return fs_read(path, NET_CONF_MAX, &text, NULL) == 0 ? strbuf_take(&text) : NULL;
}

static const struct document {
    const char *name, *key;
    char *(*make)(const struct node_config *c);
} documents[] = {{"kubeadm-config", "ClusterConfiguration", kubeadm_config},
                 {"kubelet-config", "kubelet", kubelet_config},
                 {"kube-flannel-cfg", CLUSTER_NET_CONF, net_conf}};

struct cluster_publisher {
    const struct node_config *config;
    struct kube_client *client;
    struct loop_timer retry;
    size_t next; /* in documents */
};

static void publish_next(void *arg);

static void on_created(const struct kube_result *result, void *arg)
{
    struct cluster_publisher *p = arg;
    if (result->error && !str_eq(result->reason, "AlreadyExists")) {
        log_warn("nodes that join cannot be told about this cluster yet", "configmap",
                 documents[p->next].name, "error", result->error, NULL);
        loop_timer_set(&p->retry, RETRY_MS);
        return;
    }
    p->next++;
    publish_next(p);
}

static void publish_next(void *arg)
{
    struct cluster_publisher *p = arg;
    if (p->next >= ARRAY_SIZE(documents))
        return;
    const struct document *d = &documents[p->next];
    _cleanup_free_ char *text = d->make(p->config);
    _cleanup_json_ json_t *body =
        json_pack("{ss ss s{ss ss} s{so}}", "apiVersion", "v1", "kind", "ConfigMap", "metadata",
                  "name", d->name, "namespace", "kube-system", "data", d->key, json_text(text));
    (void)kube_create(p->client, "/api/v1/namespaces/kube-system/configmaps", body, on_created, p);
}

struct cluster_publisher *cluster_publish(struct loop *loop, const struct node_config *c)
{
    struct cluster_publisher *p = mem_zalloc(sizeof(*p));
    struct kubeconfig config = {.server = NULL};
    struct error err = ERROR_INIT;
    _cleanup_free_ char *path = node_kubeconfig(c);
    *p = (struct cluster_publisher){.config = c};
    loop_timer_init(&p->retry, loop, "publish", publish_next, p);
    int r = kubeconfig_load(path, NULL, &config, &err);
    if (r == 0)
        r = kube_client_new(&p->client, loop, &config, "coracle", &err);
    kubeconfig_done(&config);
    if (r < 0) {
        log_warn("nodes that join cannot be told about this cluster", "error", error_text(&err),
                 NULL);
        return cluster_publisher_free(p);
    }
    publish_next(p);
    return p;
}

struct cluster_publisher *cluster_publisher_free(struct cluster_publisher *p)
{
    if (!p)
        return NULL;
    loop_timer_done(&p->retry);
    p->client = kube_client_free(p->client);
    free(p);
    return NULL;
}
