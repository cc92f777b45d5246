/* The kubelet's identity; see credentials.h. */
#include "kubelet/credentials/credentials.h"

#include <errno.h>
#include <string.h>

#include "base/dirwatch.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/yaml.h"
#include "kubelet/credentials/certificate.h"
#include "net/x509.h"

/* Directories of the kubeconfig, of the certificate that it names, and of the renewed ones. */
#define WATCHES 3

struct credentials {
    struct kubelet *k;
    struct credentials_options options;
    struct kube_client *bootstrap; /* NULL: there is no token, or none was needed */
    struct certificate *certificate;
    struct dirwatch *watches[WATCHES];
    bool write_kubeconfig;
};

/* From when on, and until when, in seconds since the epoch; 0: no certificate. */
struct validity {
    int64_t begins, expires;
};

static struct validity validity_of(const char *pem)
{
    struct validity v = {.begins = 0};
    X509 *cert = NULL;
    if (pem && x509_cert_parse(pem, strlen(pem), &cert, NULL) == 0)
        v = (struct validity){.begins = x509_begins(cert), .expires = x509_expires(cert)};
    X509_free(cert);
    return v;
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

/* With a token as long as, and whenever, there is no certificate that holds: also when one has
 * expired because nobody renewed it. */
static struct kube_client *whom_to_ask(void *arg)
{
    struct credentials *c = arg;
    struct error err = ERROR_INIT;
    if (certificate_expires(c->certificate) > time_now())
        return c->k->api;
    if (!c->bootstrap && c->options.bootstrap && open_bootstrap(c, &err) < 0)
        log_debug("there is no token", "error", error_text(&err), NULL);
    return c->bootstrap ? c->bootstrap : c->k->api;
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

/* Whether there is one of before that was renewed and still holds. */
static bool has_renewed(const struct credentials *c)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    return c->options.rotate && certificate_read(c->certificate, &pem, NULL) == 0;
}

/* Of the certificate in the kubeconfig and the one that was renewed last, the one that was issued
 * later: it may be that neither is in use yet, or that somebody has replaced a file. 1 when it is
 * another than before. */
static int adopt(struct credentials *c, const struct kubeconfig *config, struct error *err)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    const struct kubeconfig *now = kube_client_config(c->k->api);
    const char *cert = config->cert_pem, *key = config->key_pem;
    if (c->options.rotate && certificate_read(c->certificate, &pem, NULL) == 0 &&
        validity_of(strbuf_text(&pem)).begins >= validity_of(cert).begins)
        cert = key = strbuf_text(&pem);
    bool same = str_eq(now->cert_pem, cert) && str_eq(now->key_pem, key);
    if (same && certificate_expires(c->certificate))
        return 0;
    int64_t expires = validity_of(cert).expires; /* 0: it cannot be read, which is told below */
    if (!same && expires && expires <= time_now())
        return error_set(err, -ESTALE, "the certificate has expired");
    int r = same ? 0 : kube_client_use_certificate(c->k->api, cert, key, err);
    if (r == 0)
        certificate_start(c->certificate, cert);
    return r < 0 ? r : !same;
}

/* Somebody may have put another certificate there; what cannot be used leaves the one that is in
 * use. While we wait for the first there is nothing to be said. */
static void on_files(void *arg)
{
    struct credentials *c = arg;
    struct kubeconfig config = {.server = NULL};
    struct error err = ERROR_INIT;
    int r = kubeconfig_load(c->options.kubeconfig, NULL, &config, &err);
    if (r == 0 && config.cert_pem)
        r = adopt(c, &config, &err);
    if (r > 0) {
        log_info("client certificate was replaced", "kubeconfig", c->options.kubeconfig, NULL);
        c->write_kubeconfig = false;
    } else if (r < 0 && certificate_expires(c->certificate)) {
        log_warn("client certificate is not replaced", "kubeconfig", c->options.kubeconfig, "error",
                 error_text(&err), NULL);
    }
    kubeconfig_done(&config);
}

static char *dir_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return !slash ? str_dup(".") : str_ndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static void watch_files(struct credentials *c, const char *cert_file)
{
    _cleanup_free_ char *ours = dir_of(c->options.kubeconfig);
    _cleanup_free_ char *other = dir_of(cert_file ? cert_file : c->options.kubeconfig);
    const char *dirs[WATCHES] = {c->k->cert_dir, ours, other};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < WATCHES; i++) {
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again = again || str_eq(dirs[i], dirs[j]);
        if (!again && !(c->watches[i] = dirwatch_new(c->k->loop, dirs[i], on_files, c, &err)))
            log_warn("that certificates are replaced will not be seen", "directory", dirs[i],
                     "error", error_text(&err), NULL);
    }
}

static int open_configured(struct credentials *c, const struct kubeconfig *config,
                           struct error *err)
{
    int r = kube_client_new(&c->k->api, c->k->loop, config, "kubelet", err);
    if (r == 0 && config->cert_pem)
        r = adopt(c, config, err);
    return r < 0 ? r : 0;
}

static int open_api(struct credentials *c, struct error *err)
{
    struct kubeconfig config = {.server = NULL};
    struct error bad = ERROR_INIT;
    int r = kubeconfig_load(c->options.kubeconfig, NULL, &config, &bad);
    bool expired = r == 0 && config.cert_pem &&
                   validity_of(config.cert_pem).expires <= time_now() && !has_renewed(c);
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
    if (r == 0)
        watch_files(c, config.cert_file);
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
    k->client_certificate = c->certificate = certificate_new(k->loop, &certificate);
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
    for (size_t i = 0; i < WATCHES; i++)
        (void)dirwatch_free(c->watches[i]);
    c->k->client_certificate = NULL;
    (void)certificate_free(c->certificate);
    (void)kube_client_free(c->bootstrap);
    c->k->api = kube_client_free(c->k->api);
    free(c);
    return NULL;
}
