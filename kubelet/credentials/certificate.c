/*
 * A certificate that the cluster signs; see certificate.h. One timer: it waits for the time to ask
 * (again), or for an answer that does not come.
 *
 * Theory of operation. The key is on disk before anything is asked for, and the request's name is a
 * digest of all that is in it: asking again, after a failure or in the next process, finds the same
 * request. So nothing else has to be remembered, and requests do not pile up while nobody approves
 * them. The key is thrown away when the certificate is in use, or when the request came to nothing:
 * then the next one is another.
 */
#include "kubelet/credentials/certificate.h"

#include <errno.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "kubelet/credentials/store.h"
#include "net/x509_csr.h"

#define CSR_API      "certificates.k8s.io/v1"
#define CSR_PLURAL   "certificatesigningrequests"
#define IPS_MAX      2
#define ANSWER_MS    900000  /* then it is asked for again, and somebody is told */
#define LOOK_MS      3600000 /* the clock may be set meanwhile */
#define RETRY_MS     1000
#define RETRY_MAX_MS 300000

struct certificate {
    struct loop *loop;
    struct certificate_options options;
    struct cert_store store;
    char *path;
    struct loop_timer timer;
    struct loop_deferred answered;
    struct kube_call *call;
    struct informer *informer; /* of the request that was made */
    EVP_PKEY *key;             /* of it */
    char *name;                /* of it */
    char *answer;              /* the certificate (PEM), */
    char *refusal;             /* or why there is none */
    bool final;                /* nothing will come of this request */
    int64_t due;               /* seconds since the epoch; 0: now */
    int64_t expires;           /* of the one in use; 0: there is none */
    uint64_t retry_ms, failures;
    char *complaint; /* told last */
};

const char *certificate_path(const struct certificate *c)
{
    return c->path;
}

int64_t certificate_expires(const struct certificate *c)
{
    return c->expires;
}

uint64_t certificate_failures(const struct certificate *c)
{
    return c->failures;
}

int certificate_read(const struct certificate *c, struct strbuf *pem, struct error *err)
{
    return cert_store_read(&c->store, pem, err);
}

/* ---- what it is for, and until when ---- */

/* The alternative names, without the node's: a copy to be freed, cut into @list. */
static char *addresses_of(const struct certificate *c, const char *list[IPS_MAX + 1])
{
    char *ips = str_dup(c->options.ips ? c->options.ips : ""), *save = NULL;
    size_t n = 0;
    for (char *ip = strtok_r(ips, ",", &save); ip && n < IPS_MAX; ip = strtok_r(NULL, ",", &save))
        list[n++] = ip;
    list[n] = NULL;
    return ips;
}

/* Whether it is for all the names that it has to be for. */
static bool covers(const struct certificate *c, X509 *cert)
{
    const char *addresses[IPS_MAX + 1];
    _cleanup_free_ char *ips = addresses_of(c, addresses);
    bool all = !c->options.dns || X509_check_host(cert, c->options.node_name, 0, 0, NULL) == 1;
    for (size_t i = 0; addresses[i]; i++)
        all = all && X509_check_ip_asc(cert, addresses[i], 0) == 1;
    return all;
}

/* Seconds since the epoch at which to ask anew. A signer may date back: life is counted from the
 * moment the certificate was here. */
static int64_t due_time(const struct certificate *c, X509 *cert)
{
    uint32_t random;
    int64_t begin = x509_begins(cert), end = x509_expires(cert);
    int64_t written = cert_store_written_at(&c->store);
    if (!covers(c, cert))
        return 0;
    if (written > begin && written < end)
        begin = written;
    random_bytes(&random, sizeof(random));
    double share = 0.7 + 0.1 * ((double)random / (double)UINT32_MAX);
    return begin + (int64_t)((double)(end - begin) * share);
}

static void wait_until_due(struct certificate *c)
{
    int64_t left_ms = (c->due - time_now()) * 1000;
    if (c->options.once && c->expires)
        loop_timer_stop(&c->timer);
    else
        loop_timer_set(&c->timer, left_ms < 0         ? 0
                                  : left_ms > LOOK_MS ? LOOK_MS
                                                      : (uint64_t)left_ms);
}

static void note(struct certificate *c, X509 *cert)
{
    c->expires = x509_expires(cert);
    c->due = due_time(c, cert);
}

/* ---- asking ---- */

static void drop_request(struct certificate *c)
{
    kube_call_cancel(c->call);
    c->call = NULL;
    c->informer = informer_free(c->informer);
    EVP_PKEY_free(c->key);
    c->key = NULL;
    free(c->name);
    free(c->answer);
    free(c->refusal);
    c->name = c->answer = c->refusal = NULL;
    c->final = false;
}

static void try_later(struct certificate *c, const char *error)
{
    if (!str_eq(c->complaint, error))
        log_warn("no certificate yet", "certificate", c->options.prefix, "error", error, NULL);
    else
        log_debug("no certificate yet", "certificate", c->options.prefix, "error", error, NULL);
    char *complaint = str_dup(error);
    free(c->complaint);
    c->complaint = complaint;
    c->failures++;
    if (c->final)
        cert_store_forget_key(&c->store);
    drop_request(c);
    loop_timer_set(&c->timer, c->retry_ms);
    c->retry_ms = c->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : c->retry_ms * 2;
}

/* Whether the answer is a certificate for our key that is valid now. */
static int check_answer(struct certificate *c, X509 **ret, struct error *err)
{
    int r = x509_cert_parse(c->answer, strlen(c->answer), ret, err);
    if (r == 0 && !x509_fits(*ret, c->key))
        r = error_set(err, -EINVAL, "the certificate is not for the key of the request");
    if (r == 0 && x509_expires(*ret) <= time_now())
        r = error_set(err, -ESTALE, "the certificate has expired already: is the clock right?");
    c->final = r < 0;
    return r < 0 ? error_prefix(err, r, "the request %s", c->name) : 0;
}

/* It goes to the file, then into use, then its key is no request's any more. */
static int accept_answer(struct certificate *c, struct error *err)
{
    X509 *cert = NULL;
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    int r = check_answer(c, &cert, err);
    if (r == 0) {
        strbuf_adds(&pem, c->answer);
        if (pem.len && pem.data[pem.len - 1] != '\n')
            strbuf_addc(&pem, '\n');
        x509_key_pem(c->key, &pem);
        r = cert_store_write(&c->store, strbuf_text(&pem), err);
    }
    if (r == 0)
        r = c->options.changed(c->options.arg, strbuf_text(&pem), err);
    if (r == 0) {
        note(c, cert);
        cert_store_forget_key(&c->store);
    }
    X509_free(cert);
    if (pem.data)
        OPENSSL_cleanse(pem.data, pem.len);
    return r;
}

/* Outside the client's callbacks: its connections may be closed here. */
static void on_answered(void *arg)
{
    struct certificate *c = arg;
    struct error err = ERROR_INIT;
    if (c->refusal) {
        _cleanup_free_ char *why = TAKE_PTR(c->refusal);
        try_later(c, why);
        return;
    }
    if (accept_answer(c, &err) < 0) {
        try_later(c, error_text(&err));
        return;
    }
    log_info("certificate is in use", "certificate", c->options.prefix, NULL);
    drop_request(c);
    free(c->complaint);
    c->complaint = NULL;
    c->retry_ms = RETRY_MS;
    wait_until_due(c);
}

static void refused(struct certificate *c, const char *why)
{
    if (c->answer || c->refusal)
        return;
    c->refusal = str_dup(why);
    loop_defer(&c->answered);
}

static void on_upsert(void *arg, const char *key, const json_t *object)
{
    struct certificate *c = arg;
    const char *text = json_path_string(object, "status.certificate");
    json_t *condition;
    size_t i;
    struct bytes bytes;
    if (c->answer || c->refusal)
        return;
    if (text && *text && base64_decode(text, strlen(text), &bytes) == 0) {
        c->answer = (char *)bytes.data;
        loop_defer(&c->answered);
        return;
    }
    json_array_foreach(json_path(object, "status.conditions"), i, condition) {
        const char *type = json_path_string(condition, "type");
        const char *message = json_path_string(condition, "message");
        bool denied = str_eq(type, "Denied");
        if (!denied && !str_eq(type, "Failed"))
            continue;
        _cleanup_free_ char *why =
            str_printf("the request %s %s: %s", key,
                       denied ? "was denied" : "was approved, but the signer failed",
                       message && *message ? message : "no reason is given");
        c->final = true;
        refused(c, why);
    }
}

static void on_remove(void *arg, const char *key, const json_t *object)
{
    (void)key, (void)object;
    refused(arg, "the request was deleted");
}

/* Why the request could not even be made, and what to look at. */
static char *explain(const struct kube_client *api, const struct kube_result *r)
{
    const struct kubeconfig *to = kube_client_config(api);
    const char *who = to->token ? "bootstrap token" : "client certificate";
    if (r->failure == -EAGAIN) /* of our own */
        return str_dup(r->error);
    if (r->failure == -EPROTO)
        return str_printf("TLS with %s fails (the certificate of the server must be signed by the "
                          "CA in the kubeconfig, and the clocks must agree): %s",
                          to->server, r->error);
    if (!r->status)
        return str_printf("%s cannot be reached: %s", to->server, r->error);
    if (r->status == 401)
        return str_printf("%s does not accept the %s: it has expired or is not known there: %s",
                          to->server, who, r->error);
    if (r->status == 403)
        return str_printf("%s accepts the %s but does not let it ask for certificates: %s",
                          to->server, who, r->error);
    return str_printf("%s does not take the request: %s", to->server, r->error);
}

static void on_created(const struct kube_result *result, void *arg)
{
    static const struct informer_ops ops = {.upsert = on_upsert, .remove = on_remove};
    struct certificate *c = arg;
    bool again = str_eq(result->reason, "AlreadyExists");
    c->call = NULL;
    struct kube_client *api = c->options.api(c->options.arg);
    if (!api || (result->error && !again)) {
        _cleanup_free_ char *why =
            api ? explain(api, result) : str_dup("there is nobody to be asked");
        if (result->failure == -EAGAIN) /* the server's follows the client's closely */
            c->retry_ms = RETRY_MS;
        refused(c, why);
        return;
    }
    log_info(again ? "certificate request is there already" : "certificate requested",
             "certificate", c->options.prefix, "request", c->name, NULL);
    struct informer_config config = {
        .api = CSR_API, .plural = CSR_PLURAL, .name = c->name, .ops = &ops, .arg = c};
    c->informer = informer_new(api, &config);
    loop_timer_set(&c->timer, ANSWER_MS);
}

/* A digest of all that is in the request. */
static char *request_name(const struct certificate *c)
{
    const struct certificate_options *o = &c->options;
    const char *parts[] = {o->signer, o->usage, o->node_name, o->ips ? o->ips : ""};
    char hex[SHA256_HEX_LEN + 1];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(c->key, &der);
    if (len < 0)
        abort();
    _cleanup_(digest_freep) struct digest *d = digest_new();
    digest_add(d, der, (size_t)len);
    OPENSSL_free(der);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        digest_add(d, parts[i], strlen(parts[i]) + 1);
    digest_hex(d, hex);
    return str_printf("node-csr-%s", hex);
}

static int make_request(struct certificate *c, struct strbuf *pem, struct error *err)
{
    const struct certificate_options *o = &c->options;
    static const char *const groups[] = {"system:nodes", NULL};
    _cleanup_free_ char *user = str_printf("system:node:%s", o->node_name);
    const char *names[] = {o->dns ? o->node_name : NULL, NULL};
    const char *addresses[IPS_MAX + 1];
    _cleanup_free_ char *ips = addresses_of(c, addresses);
    struct x509_request request = {.common_name = user,
                                   .organizations = groups,
                                   .dns_names = names,
                                   .ip_addresses = addresses};
    int r = cert_store_key(&c->store, &c->key, err);
    if (r < 0)
        return r;
    c->name = request_name(c);
    return x509_csr_make(&request, c->key, pem, err);
}

static void ask(struct certificate *c)
{
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    struct kube_client *api = c->options.api(c->options.arg);
    if (!api) {
        try_later(c, "there is nobody to be asked");
        return;
    }
    if (make_request(c, &pem, &err) < 0) {
        try_later(c, error_text(&err));
        return;
    }
    _cleanup_free_ char *text = base64_encode(pem.data, pem.len);
    _cleanup_free_ char *path = kube_path(CSR_API, NULL, CSR_PLURAL, NULL, NULL);
    _cleanup_json_ json_t *body =
        json_pack("{s:s,s:s,s:{s:s},s:{s:s,s:s,s:[s,s]}}", "apiVersion", CSR_API, "kind",
                  "CertificateSigningRequest", "metadata", "name", c->name, "spec", "request", text,
                  "signerName", c->options.signer, "usages", "digital signature", c->options.usage);
    c->call = kube_create(api, path, body, on_created, c);
}

static void on_timer(void *arg)
{
    struct certificate *c = arg;
    if (c->informer) {
        _cleanup_free_ char *why = str_printf("nobody has approved the request %s yet", c->name);
        refused(c, why);
    } else if (c->call) {
        return;
    } else if (c->due > time_now()) {
        wait_until_due(c);
    } else {
        ask(c);
    }
}

void certificate_start(struct certificate *c, const char *pem)
{
    X509 *cert = NULL;
    c->due = c->expires = 0;
    if (pem && x509_cert_parse(pem, strlen(pem), &cert, NULL) == 0) {
        note(c, cert);
        cert_store_forget_key_of(&c->store, pem);
    }
    X509_free(cert);
    if (c->due > time_now())
        drop_request(c);
    if (!c->call && !c->informer)
        wait_until_due(c);
}

void certificate_readdress(struct certificate *c, const char *ips)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    drop_request(c);
    c->options.ips = ips;
    c->retry_ms = RETRY_MS;
    certificate_start(c, certificate_read(c, &pem, NULL) == 0 ? strbuf_text(&pem) : NULL);
}

struct certificate *certificate_new(struct loop *loop, const struct certificate_options *options)
{
    struct certificate *c = mem_zalloc(sizeof(*c));
    *c = (struct certificate){.loop = loop, .options = *options, .retry_ms = RETRY_MS};
    c->store = (struct cert_store){.dir = options->dir, .prefix = options->prefix};
    c->path = cert_store_path(&c->store);
    loop_timer_init(&c->timer, loop, "certificate", on_timer, c);
    loop_deferred_init(&c->answered, loop, on_answered, c);
    return c;
}

struct certificate *certificate_free(struct certificate *c)
{
    if (!c)
        return NULL;
    drop_request(c);
    loop_timer_done(&c->timer);
    loop_deferred_done(&c->answered);
    free(c->complaint);
    free(c->path);
    free(c);
    return NULL;
}
