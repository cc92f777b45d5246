/* Token-based discovery; see discovery.h. The order of things is kubeadm's. */
#include "cli/discovery.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "cli/token.h"
#include "kube/decode.h"
#include "kube/jws.h"
#include "kube/yaml.h"
#include "net/http_client.h"
#include "net/x509.h"

#define ANSWER_MAX   (1 << 20)
#define ANSWER_MS    10000
#define CLOCK_S      300 /* certificates begin so long before they are made */
#define DEFAULT_PORT 6443
#define INFO_PATH    "/api/v1/namespaces/kube-public/configmaps/cluster-info"
#define BEGIN        "-----BEGIN CERTIFICATE-----"

/* ---- what a cluster-info says ---- */

static int check_signature(const struct discovery *d, const json_t *data, const char *kubeconfig,
                           struct error *err)
{
    char id[TOKEN_ID_LEN + 1];
    struct error why = ERROR_INIT;
    (void)snprintf(id, sizeof(id), "%s", d->token);
    _cleanup_free_ char *key = str_printf("jws-kubeconfig-%s", id);
    const char *jws = json_string_value(json_object_get(data, key));
    if (!jws)
        return error_set(err, -EKEYEXPIRED,
                         "the cluster knows no token %s, or it has expired: make another on the "
                         "server with `coracle token create` (`kubeadm token create`)",
                         id);
    int r = jws_verify(jws, id, d->token + TOKEN_ID_LEN + 1, kubeconfig, strlen(kubeconfig), &why);
    return r < 0 ? error_set(err, -EKEYREJECTED,
                             "the token's second half is not the cluster's (%s): check what was "
                             "typed, or somebody stands between you and the server",
                             error_text(&why))
                 : 0;
}

static bool pin_given(const struct option_list *pins, const char *pin)
{
    for (size_t i = 0; i < pins->count; i++)
        if (strcasecmp(pins->items[i], pin) == 0)
            return true;
    return false;
}

/* Whether one of the CA's certificates is pinned, as kubeadm has it. */
static int check_pins(const struct discovery *d, const char *ca, struct error *err)
{
    char first[X509_PIN_MAX] = "";
    for (const char *p = strstr(ca, BEGIN); p; p = strstr(p + 1, BEGIN)) {
        X509 *cert = NULL;
        char pin[X509_PIN_MAX];
        int r = x509_cert_parse(p, strlen(p), &cert, err);
        if (r < 0)
            return error_prefix(err, -EINVAL, "the cluster's CA");
        x509_pin(cert, pin);
        X509_free(cert);
        if (d->unpinned || pin_given(d->pins, pin))
            return 0;
        if (!*first)
            (void)snprintf(first, sizeof(first), "%s", pin);
    }
    if (!*first)
        return error_set(err, -EINVAL, "the cluster's CA is no certificate");
    return error_set(err, -EKEYREJECTED,
                     "the cluster's CA is %s, which is not the pin that was given: this is another "
                     "cluster, or somebody stands between you and the server",
                     first);
}

/* Server and CA of a kubeconfig's first cluster. */
static int take_cluster(const char *text, struct kubeconfig *ret, struct error *err)
{
    _cleanup_json_ json_t *j = yaml_parse_one(text, strlen(text), err);
    if (!j)
        return error_prefix(err, -EINVAL, "the cluster-info's kubeconfig");
    const json_t *cluster =
        json_object_get(json_array_get(json_object_get(j, "clusters"), 0), "cluster");
    const char *server = json_path_string(cluster, "server");
    const char *ca = json_path_string(cluster, "certificate-authority-data");
    struct bytes pem;
    if (!server || !str_starts(server, "https://") || !ca ||
        base64_decode(ca, strlen(ca), &pem) < 0)
        return error_set(err, -EINVAL,
                         "the cluster-info's kubeconfig names no https server with its CA");
    free(ret->server);
    free(ret->ca_pem);
    ret->server = str_dup(server);
    ret->ca_pem = (char *)pem.data;
    return 0;
}

int discovery_check(const struct discovery *d, const json_t *cluster_info, struct kubeconfig *ret,
                    struct error *err)
{
    const json_t *data = json_object_get(cluster_info, "data");
    const char *text = json_string_value(json_object_get(data, "kubeconfig"));
    if (!text)
        return error_set(err, -EINVAL, "the cluster-info holds no kubeconfig");
    int r = check_signature(d, data, text, err);
    if (r == 0)
        r = take_cluster(text, ret, err);
    return r == 0 ? check_pins(d, ret->ca_pem, err) : r;
}

/* ---- asking ---- */

struct question {
    struct loop *loop;
    const char *host; /* as the user gave it, for messages */
    json_t *answer;
    int code;
    struct error *err;
};

/* Clocks that differ make certificates and tokens fail in ways that say nothing. */
static int check_clock(const struct http_response *response, const char *host, struct error *err)
{
    struct tm tm = {.tm_sec = 0};
    const char *date = http_headers_get(response->headers, "Date");
    if (!date || !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return 0;
    long long ahead = (long long)time_now() - (long long)timegm(&tm);
    long long off = ahead < 0 ? -ahead : ahead;
    if (off <= CLOCK_S)
        return 0;
    return error_set(err, -ETIME,
                     "this machine's clock is %lld minutes %s that of %s: set it (`timedatectl "
                     "set-ntp true`) and try again",
                     off / 60, ahead > 0 ? "ahead of" : "behind", host);
}

static int explain(const char *host, const struct error *why, struct error *err)
{
    switch (why->code) {
    case -ECONNREFUSED:
        return error_set(err, why->code,
                         "nothing listens at %s: is the server up, and is this its port?", host);
    case -ETIMEDOUT:
        return error_set(err, why->code,
                         "%s does not answer: if the machine is up, a firewall blocks the port; "
                         "open it on the server",
                         host);
    case -EPROTO:
        return error_set(err, why->code,
                         "the certificate of %s is not the cluster's, or not for that name: %s",
                         host, error_text(why));
    default:
        return error_set(err, why->code ? why->code : -EIO, "%s: %s", host, error_text(why));
    }
}

static void on_answer(const struct http_response *response, const struct error *why, void *arg)
{
    struct question *q = arg;
    loop_stop(q->loop, 0);
    if (!response) {
        q->code = explain(q->host, why, q->err);
        return;
    }
    q->code = check_clock(response, q->host, q->err);
    if (q->code < 0)
        return;
    if (response->status == 404)
        q->code = error_set(q->err, -ENOENT,
                            "%s has no ConfigMap kube-public/cluster-info: is it a Kubernetes API "
                            "server whose cluster can be joined?",
                            q->host);
    else if (response->status == 401 || response->status == 403)
        q->code = error_set(q->err, -EACCES,
                            "%s lets nobody read kube-public/cluster-info: use --discovery-file",
                            q->host);
    else if (response->status != 200)
        q->code = error_set(q->err, -EIO, "%s answers with status %d", q->host, response->status);
    else if (!(q->answer = json_parse(response->body, response->body_len, q->err)))
        q->code = error_prefix(q->err, -EINVAL, "the answer of %s", q->host);
}

static int ask(const char *base, const struct tls_client_config *tls, json_t **ret,
               struct error *err)
{
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    struct question q = {.loop = loop, .host = base + strlen("https://"), .err = err};
    _cleanup_free_ char *url = str_printf("%s" INFO_PATH, base);
    const struct http_request request = {
        .url = url, .tls = tls, .connect_timeout_ms = ANSWER_MS, .timeout_ms = ANSWER_MS};
    struct http_client *http = http_client_new(loop);
    int r = http_client_call(http, &request, ANSWER_MAX, on_answer, &q, NULL, err);
    if (r == 0) {
        (void)loop_run(loop);
        r = q.code;
    }
    http_client_free(http);
    *ret = q.answer;
    return r;
}

/* ---- the whole ---- */

static int check_flags(const struct discovery *d, struct error *err)
{
    if (!d->server || !d->token)
        return error_set(err, -EINVAL,
                         "HOST:PORT and --token are needed, or --discovery-file: on the server "
                         "`coracle token create --print-join-command` prints the line");
    if (!token_is(d->token))
        return error_set_field(err, -EINVAL, "token",
                               "--token: \"%s\" is no token: six letters or digits, a dot, sixteen",
                               d->token);
    for (size_t i = 0; i < d->pins->count; i++)
        if (!str_starts(d->pins->items[i], "sha256:") ||
            strlen(d->pins->items[i]) != strlen("sha256:") + SHA256_HEX_LEN)
            return error_set_field(err, -EINVAL, "discovery-token-ca-cert-hash",
                                   "--discovery-token-ca-cert-hash: \"%s\" is not sha256: with 64 "
                                   "hexadecimal digits",
                                   d->pins->items[i]);
    if (!d->pins->count && !d->unpinned)
        return error_set_field(err, -EINVAL, "discovery-token-ca-cert-hash",
                               "--discovery-token-ca-cert-hash is missing: `coracle token create "
                               "--print-join-command` on the server prints it; without it "
                               "(--discovery-token-unsafe-skip-ca-verification) whoever knows the "
                               "token can pose as the server");
    return 0;
}

/* "https://HOST:PORT", the port filled in. */
static char *base_url(const char *server, struct error *err)
{
    struct http_url url = {.scheme = NULL};
    _cleanup_free_ char *text = str_printf("https://%s", server);
    if (http_url_parse(&url, text, err) < 0)
        return NULL;
    const char *last = strrchr(server, ':');
    bool has_port = last && !strchr(last, ']');
    char *base = str_printf(strchr(url.host, ':') ? "https://[%s]:%d" : "https://%s:%d", url.host,
                            has_port ? url.port : DEFAULT_PORT);
    http_url_done(&url);
    return base;
}

static const char *kubeconfig_of(const json_t *info)
{
    return json_string_value(json_object_get(json_object_get(info, "data"), "kubeconfig"));
}

static int discover_by_token(const struct discovery *d, struct kubeconfig *ret, struct error *err)
{
    _cleanup_json_ json_t *first = NULL, *second = NULL;
    int r = check_flags(d, err);
    _cleanup_free_ char *base = r == 0 ? base_url(d->server, err) : NULL;
    if (!base)
        return r < 0 ? r : -EINVAL;
    const struct tls_client_config anybody = {.insecure = true};
    r = ask(base, &anybody, &first, err);
    if (r == 0)
        r = discovery_check(d, first, ret, err);
    if (r < 0)
        return r;
    const struct tls_client_config trusted = {.ca_pem = ret->ca_pem};
    r = ask(ret->server, &trusted, &second, err);
    if (r == 0 && !str_eq(kubeconfig_of(first), kubeconfig_of(second)))
        return error_set(err, -EKEYREJECTED,
                         "%s says something else over a trusted connection: somebody stands "
                         "between you and the server, or it was just changed",
                         ret->server);
    return r;
}

int discover(const struct discovery *d, struct kubeconfig *ret, struct error *err)
{
    *ret = (struct kubeconfig){.server = NULL};
    int r = d->file ? kubeconfig_load(d->file, NULL, ret, err) : discover_by_token(d, ret, err);
    if (r == 0 && d->file && !ret->ca_pem)
        r = error_set(err, -EINVAL, "%s names no certificate authority", d->file);
    if (r < 0)
        kubeconfig_done(ret);
    return r;
}
