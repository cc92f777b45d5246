/* The server's certificate; see serving.h. */
#include "kubelet/server/serving.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/credentials/certificate.h"
#include "net/x509.h"

struct serving {
    struct kubelet *k;
    struct tls_server *tls;
    struct certificate *certificate; /* NULL: none of the cluster's */
};

/* One of before is taken while it is valid. */
static int self_signed(struct kubelet *k, char **ret_cert, char **ret_key, struct error *err)
{
    char *cert = fs_join(k->cert_dir, "kubelet.crt");
    char *key = fs_join(k->cert_dir, "kubelet.key");
    int64_t expires;
    *ret_cert = cert;
    *ret_key = key;
    if (fs_exists(key) && x509_file_expires(cert, &expires, NULL) == 0 && expires > time_now())
        return 0;
    _cleanup_x509_pair_ struct x509_pair pair = {.cert = NULL};
    _cleanup_free_ char *ips = str_dup(k->node_ips ? k->node_ips : "");
    char *second = strchr(ips, ',');
    if (second)
        *second++ = 0;
    const char *names[] = {k->node_name, NULL}, *addresses[] = {*ips ? ips : NULL, second, NULL};
    struct x509_request request = {.common_name = k->node_name,
                                   .dns_names = names,
                                   .ip_addresses = addresses,
                                   .usage = X509_SERVER,
                                   .days = 365};
    int r = x509_self_signed(&request, &pair, err);
    return r < 0 ? r : x509_pair_write(&pair, cert, key, err);
}

static struct kube_client *whom_to_ask(void *arg)
{
    const struct serving *s = arg;
    return s->k->api;
}

static int on_changed(void *arg, const char *pem, struct error *err)
{
    struct serving *s = arg;
    const char *path = certificate_path(s->certificate);
    (void)pem;
    return tls_server_use(s->tls, path, path, err);
}

static void order(struct serving *s)
{
    struct certificate_options options = {
        .dir = s->k->cert_dir,
        .prefix = "kubelet-server",
        .signer = "kubernetes.io/kubelet-serving",
        .usage = "server auth",
        .node_name = s->k->node_name,
        .ips = s->k->node_ips,
        .dns = true,
        .api = whom_to_ask,
        .changed = on_changed,
        .arg = s,
    };
    s->k->server_certificate = s->certificate = certificate_new(s->k->loop, &options);
}

int serving_new(struct kubelet *k, const struct kubelet_config *config, struct serving **ret,
                struct error *err)
{
    _cleanup_free_ char *cert = NULL, *key = NULL;
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    bool configured = config->cert && *config->cert, ready = false;
    if (configured != (config->key && *config->key))
        return error_set(err, -EINVAL, "%s: %s is missing",
                         configured ? "tlsCertFile" : "tlsPrivateKeyFile",
                         configured ? "tlsPrivateKeyFile" : "tlsCertFile");
    if (config->server_tls_bootstrap && !configured && !k->api)
        return error_set(err, -EINVAL, "serverTLSBootstrap: there is no API server to ask");
    struct serving *s = mem_zalloc(sizeof(*s));
    int r = 0;
    s->k = k;
    if (config->server_tls_bootstrap && !configured) {
        order(s);
        ready = certificate_read(s->certificate, &pem, NULL) == 0;
    }
    if (configured || ready) {
        cert = str_dup(configured ? config->cert : certificate_path(s->certificate));
        key = str_dup(configured ? config->key : certificate_path(s->certificate));
    } else {
        r = self_signed(k, &cert, &key, err);
    }
    struct tls_server_options tls = {.cert_file = cert,
                                     .key_file = key,
                                     .client_ca_file = config->authentication.x509.client_ca,
                                     .client_auth = TLS_CLIENT_REQUEST};
    if (r == 0)
        r = tls_server_new(&tls, &s->tls, err);
    if (r < 0) {
        (void)serving_free(s);
        return r;
    }
    (void)tls_server_watch(s->tls, k->loop, NULL);
    if (s->certificate)
        certificate_start(s->certificate, ready ? strbuf_text(&pem) : NULL);
    *ret = s;
    return 0;
}

struct tls_server *serving_tls(const struct serving *s)
{
    return s->tls;
}

void serving_readdress(struct serving *s)
{
    if (s && s->certificate)
        certificate_readdress(s->certificate, s->k->node_ips);
}

struct serving *serving_free(struct serving *s)
{
    if (!s)
        return NULL;
    s->k->server_certificate = NULL;
    (void)certificate_free(s->certificate);
    tls_server_unref(s->tls);
    free(s);
    return NULL;
}
