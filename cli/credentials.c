/* Client certificates for the parts of a node, asked for through the API; see agent.h. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "cli/agent.h"
#include "kube/decode.h"
#include "net/x509_csr.h"

#define CSRS       "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define SIGNER     "kubernetes.io/kube-apiserver-client"
#define WAIT_MS    20000
#define RETRY_MS   50
#define RENEW_DAYS 90

static const struct part {
    const char *name, *user;
} parts[] = {
    {"proxy", "system:kube-proxy"}, {"dns", "system:coracle-dns"}, {"flannel", "system:flannel"}};

static const char *user_of(const char *part)
{
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (str_eq(parts[i].name, part))
            return parts[i].user;
    return NULL;
}

/* Whether the kubeconfig's certificate holds for long enough. */
static bool lasts(const char *path)
{
    struct kubeconfig config = {.server = NULL};
    X509 *cert = NULL;
    bool good = fs_exists(path) && kubeconfig_load(path, NULL, &config, NULL) == 0 &&
                config.cert_pem &&
                x509_cert_parse(config.cert_pem, strlen(config.cert_pem), &cert, NULL) == 0 &&
                x509_expires(cert) > time_now() + RENEW_DAYS * 86400L;
    X509_free(cert);
    kubeconfig_done(&config);
    return good;
}

static int post(struct session *s, const char *part, EVP_PKEY *key, char **ret_name,
                struct error *err)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    _cleanup_json_ json_t *made = NULL;
    const struct x509_request request = {.common_name = user_of(part)};
    int r = x509_csr_make(&request, key, &pem, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *encoded = base64_encode(pem.data, pem.len);
    _cleanup_free_ char *prefix = str_printf("coracle-%s-", part);
    _cleanup_json_ json_t *body = json_pack(
        "{ss ss s{ss} s{ss ss s[ss]}}", "apiVersion", "certificates.k8s.io/v1", "kind",
        "CertificateSigningRequest", "metadata", "generateName", prefix, "spec", "request", encoded,
        "signerName", SIGNER, "usages", "digital signature", "client auth");
    r = session_call(s, "POST", CSRS, NULL, NULL, body, &made, err);
    if (r == 0)
        *ret_name = str_dup(json_path_string(made, "metadata.name"));
    return r;
}

/* 0 with the certificate, -EAGAIN while there is none. */
static int look(struct session *s, const char *name, char **ret, struct error *err)
{
    _cleanup_json_ json_t *csr = NULL;
    _cleanup_free_ char *path = str_printf(CSRS "/%s", name);
    int r = session_call(s, "GET", path, NULL, NULL, NULL, &csr, err);
    if (r < 0)
        return r;
    const json_t *conditions = json_path(csr, "status.conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *c = json_array_get(conditions, i);
        const char *type = json_path_string(c, "type"), *message = json_path_string(c, "message");
        if (str_eq(type, "Denied") || str_eq(type, "Failed"))
            return error_set(err, -EACCES, "request %s: %s: %s", name, type,
                             message ? message : "");
    }
    const char *encoded = json_path_string(csr, "status.certificate");
    struct bytes pem;
    if (!encoded)
        return -EAGAIN;
    if (base64_decode(encoded, strlen(encoded), &pem) < 0)
        return error_set(err, -EINVAL, "request %s: its certificate is not base64", name);
    *ret = (char *)pem.data;
    return 0;
}

static int await(struct session *s, const char *name, char **ret, struct error *err)
{
    uint64_t began = now_ms();
    for (;;) {
        int r = look(s, name, ret, err);
        if (r != -EAGAIN)
            return r;
        if (now_ms() - began > WAIT_MS)
            return error_set(err, -ETIMEDOUT,
                             "nobody approves the certificate request %s: `kubectl certificate "
                             "approve %s` does, then try again",
                             name, name);
        (void)poll(NULL, 0, RETRY_MS);
    }
}

int agent_credentials(const struct node_config *c, struct session *s, const char *part,
                      struct error *err)
{
    _cleanup_free_ char *dir = node_path(c, "/etc/coracle");
    _cleanup_free_ char *path = str_printf("%s/%s.kubeconfig", dir, part);
    _cleanup_free_ char *name = NULL, *cert = NULL;
    _cleanup_strbuf_ struct strbuf key_pem = STRBUF_INIT;
    if (lasts(path))
        return 0;
    EVP_PKEY *key = x509_key_new();
    int r = post(s, part, key, &name, err);
    if (r == 0)
        r = await(s, name, &cert, err);
    x509_key_pem(key, &key_pem);
    EVP_PKEY_free(key);
    if (r < 0)
        return error_prefix(err, r, "credentials of coracle-%s", part);
    struct kubeconfig config = {.server = s->config.server,
                                .ca_pem = s->config.ca_pem,
                                .cert_pem = cert,
                                .key_pem = key_pem.data,
                                .user = (char *)(uintptr_t)user_of(part)};
    r = kubeconfig_write(path, &config, err);
    explicit_bzero(key_pem.data, key_pem.len);
    return r;
}

int agent_all_credentials(const struct node_config *c, struct session *s, struct error *err)
{
    const char *const on[] = {c->proxy, c->dns, c->flannel};
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts) && r == 0; i++)
        if (str_eq(on[i], "on"))
            r = agent_credentials(c, s, parts[i].name, err);
    return r;
}
