/* The keys and certificates of a server; see pki.h. Names follow kubeadm's, so that people find
 * their way: pki/ca.crt, pki/apiserver.crt, pki/apiserver-kubelet-client.crt. */
#include "cli/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/times.h"
#include "kube/kubeconfig.h"
#include "net/x509.h"

#define CA_DAYS    3650
#define CERT_DAYS  365
#define RENEW_DAYS 90 /* made again at a start that finds fewer days left */

/* One certificate authority and the directory of what it issues. */
struct authority {
    char *dir;
    struct x509_pair ca;
};

static int64_t days(int64_t n)
{
    return n * 24 * 3600;
}

static void authority_done(struct authority *a)
{
    x509_pair_done(&a->ca);
    free(a->dir);
}

static int authority_open(struct authority *a, const char *root, const char *dir, const char *name,
                          struct error *err)
{
    a->dir = daemon_path(root, dir);
    _cleanup_free_ char *crt = fs_join(a->dir, "ca.crt");
    _cleanup_free_ char *key = fs_join(a->dir, "ca.key");
    int r = fs_mkdirs(a->dir, 0755, err);
    if (r < 0)
        return r;
    if (fs_exists(crt) && fs_exists(key))
        return x509_pair_read(crt, key, &a->ca, err);
    if (fs_exists(crt))
        return error_set(err, -EINVAL,
                         "%s is there without its key: restore ca.key or run `coracle reset`", crt);
    r = x509_ca_new(name, CA_DAYS, &a->ca, err);
    return r < 0 ? r : x509_pair_write(&a->ca, crt, key, err);
}

/* What a certificate was made for, beside it: when this changes it is made again. */
static char *describe(const struct x509_request *request, const struct x509_pair *ca)
{
    struct strbuf b = STRBUF_INIT;
    char pin[X509_PIN_MAX];
    x509_pin(ca->cert, pin);
    strbuf_addf(&b, "ca %s\nname %s\n", pin, request->common_name);
    for (size_t i = 0; request->organizations && request->organizations[i]; i++)
        strbuf_addf(&b, "organization %s\n", request->organizations[i]);
    for (size_t i = 0; request->dns_names && request->dns_names[i]; i++)
        strbuf_addf(&b, "dns %s\n", request->dns_names[i]);
    for (size_t i = 0; request->ip_addresses && request->ip_addresses[i]; i++)
        strbuf_addf(&b, "ip %s\n", request->ip_addresses[i]);
    return strbuf_take(&b);
}

/* Keeps a certificate that was made for the same request and lasts; else makes it. */
static int ensure_cert(const struct authority *a, const char *name,
                       const struct x509_request *request, struct error *err)
{
    _cleanup_free_ char *crt = str_printf("%s/%s.crt", a->dir, name);
    _cleanup_free_ char *key = str_printf("%s/%s.key", a->dir, name);
    _cleanup_free_ char *made_for = str_printf("%s/%s.for", a->dir, name);
    _cleanup_free_ char *want = describe(request, &a->ca);
    _cleanup_strbuf_ struct strbuf have = STRBUF_INIT;
    int64_t expires = 0;
    if (fs_exists(key) && fs_read(made_for, 65536, &have, NULL) == 0 &&
        str_eq(strbuf_text(&have), want) && x509_file_expires(crt, &expires, NULL) == 0 &&
        expires > time_now() + days(RENEW_DAYS))
        return 0;
    _cleanup_x509_pair_ struct x509_pair pair = {.cert = NULL};
    int r = x509_issue(&a->ca, request, &pair, err);
    if (r == 0)
        r = x509_pair_write(&pair, crt, key, err);
    if (r == 0)
        r = fs_write_atomic(made_for, want, strlen(want), 0644, FS_DURABLE, err);
    return r < 0 ? error_prefix(err, r, "certificate %s", name) : 0;
}

static int read_text(const char *dir, const char *name, char **ret, struct error *err)
{
    _cleanup_free_ char *path = fs_join(dir, name);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, 65536, &text, err);
    if (r == 0)
        *ret = strbuf_take(&text);
    return r;
}

/* A client certificate and the kubeconfig that holds it. */
static int ensure_client(const struct authority *a, const struct pki_config *config,
                         const char *name, const char *file, const char *common_name,
                         const char *organization, struct error *err)
{
    const char *organizations[] = {organization, NULL};
    const struct x509_request request = {.common_name = common_name,
                                         .organizations = organization ? organizations : NULL,
                                         .usage = X509_CLIENT,
                                         .days = CERT_DAYS};
    int r = ensure_cert(a, name, &request, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *crt = str_printf("%s.crt", name);
    _cleanup_free_ char *key = str_printf("%s.key", name);
    _cleanup_free_ char *path = daemon_path(config->root, file);
    struct kubeconfig c = {.server = str_dup(config->server_url), .user = str_dup(common_name)};
    if ((r = read_text(a->dir, "ca.crt", &c.ca_pem, err)) == 0 &&
        (r = read_text(a->dir, crt, &c.cert_pem, err)) == 0 &&
        (r = read_text(a->dir, key, &c.key_pem, err)) == 0) {
        struct kubeconfig old = {.server = NULL};
        bool same = kubeconfig_load(path, NULL, &old, NULL) == 0 && str_eq(old.server, c.server) &&
                    str_eq(old.ca_pem, c.ca_pem) && str_eq(old.cert_pem, c.cert_pem);
        kubeconfig_done(&old);
        if (!same)
            r = kubeconfig_write(path, &c, err);
    }
    kubeconfig_done(&c);
    return r;
}

static int ensure_servers(const struct authority *a, const struct pki_config *c, struct error *err)
{
    struct in6_addr addr;
    const char *dns[] = {"kubernetes",
                         "kubernetes.default",
                         "kubernetes.default.svc",
                         "kubernetes.default.svc.cluster.local",
                         "localhost",
                         c->node_name,
                         NULL,
                         NULL};
    const char *ips[] = {"127.0.0.1", c->service_ip, c->node_ip, NULL, NULL};
    if (c->extra_san) {
        if (inet_pton(AF_INET, c->extra_san, &addr) == 1 ||
            inet_pton(AF_INET6, c->extra_san, &addr) == 1)
            ips[3] = c->extra_san;
        else
            dns[6] = c->extra_san;
    }
    const struct x509_request api = {.common_name = "kube-apiserver",
                                     .dns_names = dns,
                                     .ip_addresses = ips,
                                     .usage = X509_SERVER,
                                     .days = CERT_DAYS};
    int r = ensure_cert(a, "apiserver", &api, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *node_user = str_printf("system:node:%s", c->node_name);
    const char *nodes[] = {"system:nodes", NULL};
    const char *node_dns[] = {c->node_name, NULL};
    const char *node_ips[] = {c->node_ip, "127.0.0.1", NULL};
    const struct x509_request kubelet = {.common_name = node_user,
                                         .organizations = nodes,
                                         .dns_names = node_dns,
                                         .ip_addresses = node_ips,
                                         .usage = X509_SERVER,
                                         .days = CERT_DAYS};
    if ((r = ensure_cert(a, "kubelet", &kubelet, err)) < 0)
        return r;
    /* Of no group: apiserver/auth/policy.text says what it may ask of kubelets, and no more. */
    const struct x509_request client = {
        .common_name = "kube-apiserver-kubelet-client", .usage = X509_CLIENT, .days = CERT_DAYS};
    return ensure_cert(a, "apiserver-kubelet-client", &client, err);
}

/* etcd trusts a CA of its own: a certificate of the cluster opens no door to the store. */
static int ensure_etcd(const struct pki_config *config, struct error *err)
{
    struct authority a = {.dir = NULL};
    const char *dns[] = {"localhost", NULL};
    const char *ips[] = {"127.0.0.1", NULL};
    const struct x509_request server = {.common_name = "etcd",
                                        .dns_names = dns,
                                        .ip_addresses = ips,
                                        .usage = X509_SERVER | X509_CLIENT, /* peers are both */
                                        .days = CERT_DAYS};
    const struct x509_request client = {
        .common_name = "coracle-apiserver", .usage = X509_CLIENT, .days = CERT_DAYS};
    int r = authority_open(&a, config->root, "/etc/coracle/pki/etcd", "coracle-etcd-ca", err);
    if (r == 0)
        r = ensure_cert(&a, "server", &server, err);
    if (r == 0)
        r = ensure_cert(&a, "client", &client, err);
    authority_done(&a);
    return r;
}

/* What ServiceAccount tokens are signed with, and what they are checked with. */
static int ensure_account_keys(const struct authority *a, struct error *err)
{
    _cleanup_free_ char *key_file = fs_join(a->dir, "sa.key");
    _cleanup_free_ char *public_file = fs_join(a->dir, "sa.pub");
    EVP_PKEY *key = NULL;
    int r = x509_key_ensure(key_file, &key, err);
    if (r == 0 && !fs_exists(public_file))
        r = x509_public_key_write(key, public_file, err);
    EVP_PKEY_free(key);
    return r;
}

static int ensure_cluster(const struct pki_config *config, struct error *err)
{
    struct authority a = {.dir = NULL};
    _cleanup_free_ char *node_user = str_printf("system:node:%s", config->node_name);
    int r = authority_open(&a, config->root, "/etc/coracle/pki", "coracle-ca", err);
    if (r == 0)
        r = ensure_servers(&a, config, err);
    if (r == 0)
        r = ensure_account_keys(&a, err);
    if (r == 0)
        r = ensure_client(&a, config, "admin", "/etc/coracle/kubeconfig", "kubernetes-admin",
                          "system:masters", err);
    if (r == 0)
        r = ensure_client(&a, config, "kubelet-client", "/etc/coracle/kubelet.kubeconfig",
                          node_user, "system:nodes", err);
    if (r == 0)
        r = ensure_client(&a, config, "controllers", "/etc/coracle/controllers.kubeconfig",
                          "system:kube-controller-manager", NULL, err);
    if (r == 0)
        r = ensure_client(&a, config, "proxy", "/etc/coracle/proxy.kubeconfig", "system:kube-proxy",
                          NULL, err);
    if (r == 0)
        r = ensure_client(&a, config, "dns", "/etc/coracle/dns.kubeconfig", "system:coracle-dns",
                          NULL, err);
    if (r == 0)
        r = ensure_client(&a, config, "flannel", "/etc/coracle/flannel.kubeconfig",
                          "system:flannel", NULL, err);
    authority_done(&a);
    return r;
}

int pki_ensure(const struct pki_config *config, struct error *err)
{
    int r = ensure_etcd(config, err);
    return r == 0 ? ensure_cluster(config, err) : r;
}
