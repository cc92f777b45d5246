/* The kubelet's identity; see credentials.h. */
#include "kubelet/credentials/credentials.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/yaml.h"
#include "kubelet/credentials/certificate.h"
#include "net/x509.h"

struct credentials {
    struct kubelet *k;
    struct credentials_options options;
    struct kube_client *bootstrap; /* NULL: there is no token, or none was needed */
    struct certificate *certificate;
    int64_t expires; /* of the one in use; 0: there is none */
    bool write_kubeconfig;
};

static int64_t expiry(const char *pem)
{
    X509 *cert = NULL;
    int64_t at =
        pem && x509_cert_parse(pem, strlen(pem), &cert, NULL) == 0 ? x509_expires(cert) : 0;
    X509_free(cert);
    return at;
}

/* With a token as long as, and whenever, there is no certificate that holds. */
static struct kube_client *whom_to_ask(void *arg)
{
    struct credentials *c = arg;
    return c->bootstrap && c->expires <= time_now() ? c->bootstrap : c->k->api;
}

/* As upstream writes it: the certificate by its path, which stays when it is renewed. */
static int write_kubeconfig(const struct credentials *c, struct error *err)
{
    const struct kubeconfig *from = kube_client_config(c->bootstrap);
    const char *pem = certificate_path(c->certificate);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_t *cluster = json_pack("{s:s}", "server", from->server);
    if (from->ca_pem) {
        _cleanup_free_ char *ca = base64_encode(from->ca_pem, strlen(from->ca_pem));
        (void)json_object_set_new(cluster, "certificate-authority-data", json_text(ca));
    }
    if (from->tls_server_name)
        (void)json_object_set_new(cluster, "tls-server-name", json_text(from->tls_server_name));
    if (from->insecure)
        (void)json_object_set_new(cluster, "insecure-skip-tls-verify", json_true());
    _cleanup_json_ json_t *j = json_pack(
        "{ss ss s[{ss so}] s[{ss s{ss ss}}] s[{ss s{ss ss ss}}] ss}", "apiVersion", "v1", "kind",
        "Config", "clusters", "name", "default-cluster", "cluster", cluster, "users", "name",
        "default-auth", "user", "client-certificate", pem, "client-key", pem, "contexts", "name",
        "default-context", "context", "cluster", "default-cluster", "user", "default-auth",
        "namespace", "default", "current-context", "default-context");
    yaml_write(j, &text);
    return fs_write_atomic(c->options.kubeconfig, text.data, text.len, 0600, FS_DURABLE, err);
}

static int on_changed(void *arg, const char *pem, struct error *err)
{
    struct credentials *c = arg;
    int r = c->write_kubeconfig ? write_kubeconfig(c, err) : 0;
    if (r == 0)
        r = kube_client_use_certificate(c->k->api, pem, pem, err);
    if (r < 0)
        return r;
    c->write_kubeconfig = false;
    c->expires = expiry(pem);
    return 0;
}

/* Where to the kubeconfig leads, without who we are. */
static int open_suspended(struct credentials *c, const struct kubeconfig *from, struct error *err)
{
    struct kubeconfig bare = {.server = from->server,
                              .ca_pem = from->ca_pem,
                              .tls_server_name = from->tls_server_name,
                              .insecure = from->insecure};
    int r = kube_client_new(&c->k->api, c->k->loop, &bare, "kubelet", err);
    if (r == 0)
        kube_client_suspend(c->k->api, "there is no client certificate yet");
    return r;
}

static int open_bootstrap(struct credentials *c, struct error *err)
{
    struct kubeconfig config = {.server = NULL};
    int r = kubeconfig_load(c->options.bootstrap, NULL, &config, err);
    if (r < 0)
        return r;
    r = kube_client_new(&c->bootstrap, c->k->loop, &config, "kubelet", err);
    kubeconfig_done(&config);
    return r;
}

/* A kubeconfig that works. One that was renewed before wins over the certificate in it. */
static int open_configured(struct credentials *c, const struct kubeconfig *config,
                           struct error *err)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    int r = kube_client_new(&c->k->api, c->k->loop, config, "kubelet", err);
    if (r < 0 || !config->cert_pem || !c->options.rotate)
        return r;
    const char *in_use = config->cert_pem;
    struct error old = ERROR_INIT;
    if (certificate_read(c->certificate, &pem, &old) == 0 &&
        kube_client_use_certificate(c->k->api, strbuf_text(&pem), strbuf_text(&pem), &old) == 0)
        in_use = strbuf_text(&pem);
    c->expires = expiry(in_use);
    certificate_start(c->certificate, in_use);
    return 0;
}

static int open_api(struct credentials *c, struct error *err)
{
    struct kubeconfig config = {.server = NULL};
    struct error bad = ERROR_INIT;
    int r = kubeconfig_load(c->options.kubeconfig, NULL, &config, &bad);
    bool expired = r == 0 && config.cert_pem && expiry(config.cert_pem) <= time_now();
    if (c->options.bootstrap && (r < 0 || expired)) {
        log_info("bootstrapping", "because",
                 r < 0 ? error_text(&bad) : "the certificate has expired", NULL);
        c->write_kubeconfig = true;
        r = open_bootstrap(c, err);
        if (r == 0)
            r = open_suspended(c, kube_client_config(c->bootstrap), err);
        if (r == 0)
            certificate_start(c->certificate, NULL);
    } else if (r < 0) {
        r = error_set(err, r, "%s", error_text(&bad));
    } else {
        r = open_configured(c, &config, err);
    }
    kubeconfig_done(&config);
    return r;
}

int credentials_new(struct kubelet *k, const struct credentials_options *options,
                    struct credentials **ret, struct error *err)
{
    if (options->bootstrap && !options->kubeconfig)
        return error_set(err, -EINVAL,
                         "--bootstrap-kubeconfig: --kubeconfig must say where the result goes");
    struct credentials *c = mem_zalloc(sizeof(*c));
    *c = (struct credentials){.k = k, .options = *options};
    struct certificate_options certificate = {
        .dir = k->cert_dir,
        .prefix = "kubelet-client",
        .signer = "kubernetes.io/kube-apiserver-client-kubelet",
        .usage = "client auth",
        .node_name = k->node_name,
        .once = !options->rotate,
        .api = whom_to_ask,
        .changed = on_changed,
        .arg = c,
    };
    c->certificate = certificate_new(k->loop, &certificate);
    int r = options->kubeconfig ? open_api(c, err) : 0;
    if (r < 0)
        (void)credentials_free(c);
    else
        *ret = c;
    return r;
}

struct credentials *credentials_free(struct credentials *c)
{
    if (!c)
        return NULL;
    (void)certificate_free(c->certificate);
    (void)kube_client_free(c->bootstrap);
    c->k->api = kube_client_free(c->k->api);
    free(c);
    return NULL;
}
