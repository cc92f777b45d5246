/*
 * A certificate that the cluster signs; see certificate.h. One timer: it waits for the time to ask
 * (again), or for an answer that does not come. The key is made for the request and written only
 * together with the certificate.
 */
#include "kubelet/credentials/certificate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "net/x509_csr.h"

#define CSR_API      "certificates.k8s.io/v1"
#define CSR_PLURAL   "certificatesigningrequests"
#define PEM_MAX      (1u << 20)
#define ANSWER_MS    900000  /* until a request that nobody approves is given up */
#define LOOK_MS      3600000 /* the clock may be set meanwhile */
#define RETRY_MS     1000
#define RETRY_MAX_MS 300000

struct certificate {
    struct loop *loop;
    struct certificate_options options;
    char *path;
    struct loop_timer timer;
    struct loop_deferred answered;
    struct kube_call *call;
    struct informer *informer; /* of the request that was made */
    EVP_PKEY *key;             /* of it */
    char *answer;              /* the certificate (PEM), */
    char *refusal;             /* or why there is none */
    int64_t due;               /* seconds since the epoch; 0: now */
    uint64_t retry_ms;
    bool complained;
};

const char *certificate_path(const struct certificate *c)
{
    return c->path;
}

/* ---- the file ---- */

int certificate_read(const struct certificate *c, struct strbuf *pem, struct error *err)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    int r = fs_read(c->path, PEM_MAX, pem, err);
    if (r == 0)
        r = x509_cert_parse(strbuf_text(pem), pem->len, &cert, err);
    if (r == 0)
        r = x509_key_parse(strbuf_text(pem), pem->len, &key, err);
    if (r == 0 && X509_check_private_key(cert, key) != 1)
        r = error_set(err, -EINVAL, "%s: the key is another certificate's", c->path);
    if (r == 0 && x509_expires(cert) <= time_now())
        r = error_set(err, -ESTALE, "%s: the certificate has expired", c->path);
    X509_free(cert);
    EVP_PKEY_free(key);
    return r;
}

/* Removes those that came before @name. */
static void remove_old(const struct certificate *c, const char *name)
{
    _cleanup_free_ char *prefix = str_printf("%s-2", c->options.prefix); /* a year */
    DIR *dir = opendir(c->options.dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!str_starts(e->d_name, prefix) || str_eq(e->d_name, name))
            continue;
        _cleanup_free_ char *path = fs_join(c->options.dir, e->d_name);
        (void)unlink(path);
    }
    if (dir)
        (void)closedir(dir);
}

/* The link must be on disk before what it led to goes. */
static int sync_dir(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? error_errno(err, -errno, "%s", path) : 0;
    if (fd >= 0)
        (void)close(fd);
    return r;
}

static int write_file(const struct certificate *c, const char *pem, struct error *err)
{
    char when[32];
    time_t now = (time_t)time_now();
    struct tm tm;
    (void)strftime(when, sizeof(when), "%Y-%m-%d-%H-%M-%S", gmtime_r(&now, &tm));
    _cleanup_free_ char *name = str_printf("%s-%s.pem", c->options.prefix, when);
    _cleanup_free_ char *path = fs_join(c->options.dir, name);
    _cleanup_free_ char *link = str_printf("%s.new", c->path);
    int r = fs_mkdirs(c->options.dir, 0755, err);
    if (r == 0)
        r = fs_write_atomic(path, pem, strlen(pem), 0600, FS_DURABLE, err);
    if (r < 0)
        return r;
    (void)unlink(link);
    if (symlink(name, link) < 0 || rename(link, c->path) < 0)
        return error_errno(err, -errno, "%s", c->path);
    r = sync_dir(c->options.dir, err);
    if (r == 0)
        remove_old(c, name);
    return r;
}

/* ---- when ---- */

/* Seconds since the epoch at which to ask anew. A signer may date back: life is counted from the
 * moment the certificate was here. */
static int64_t due_time(const struct certificate *c, const X509 *cert)
{
    struct stat st;
    uint32_t random;
    int64_t begin = x509_begins(cert), end = x509_expires(cert);
    if (lstat(c->path, &st) == 0 && st.st_mtime > begin && st.st_mtime < end)
        begin = st.st_mtime;
    random_bytes(&random, sizeof(random));
    double share = 0.7 + 0.1 * ((double)random / (double)UINT32_MAX);
    return begin + (int64_t)((double)(end - begin) * share);
}

static void wait_until_due(struct certificate *c)
{
    int64_t left_ms = (c->due - time_now()) * 1000;
    loop_timer_set(&c->timer, left_ms < 0 ? 0 : left_ms > LOOK_MS ? LOOK_MS : (uint64_t)left_ms);
}

void certificate_start(struct certificate *c, const char *pem)
{
    X509 *cert = NULL;
    if (pem && x509_cert_parse(pem, strlen(pem), &cert, NULL) == 0)
        c->due = due_time(c, cert);
    X509_free(cert);
    wait_until_due(c);
}

/* ---- asking ---- */

static void drop_request(struct certificate *c)
{
    kube_call_cancel(c->call);
    c->call = NULL;
    c->informer = informer_free(c->informer);
    EVP_PKEY_free(c->key);
    c->key = NULL;
    free(c->answer);
    free(c->refusal);
    c->answer = c->refusal = NULL;
}

static void try_later(struct certificate *c, const char *error)
{
    if (!c->complained)
        log_warn("no certificate yet", "certificate", c->options.prefix, "error", error, NULL);
    else
        log_debug("no certificate yet", "certificate", c->options.prefix, "error", error, NULL);
    c->complained = true;
    drop_request(c);
    loop_timer_set(&c->timer, c->retry_ms);
    c->retry_ms = c->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : c->retry_ms * 2;
}

/* The certificate @text is here: it goes to the file, then into use. */
static int accept_answer(struct certificate *c, struct error *err)
{
    X509 *cert = NULL;
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    int r = x509_cert_parse(c->answer, strlen(c->answer), &cert, err);
    if (r == 0 && X509_check_private_key(cert, c->key) != 1)
        r = error_set(err, -EINVAL, "the certificate is not for the key of the request");
    if (r == 0) {
        strbuf_adds(&pem, c->answer);
        if (pem.len && pem.data[pem.len - 1] != '\n')
            strbuf_addc(&pem, '\n');
        x509_key_pem(c->key, &pem);
        r = write_file(c, strbuf_text(&pem), err);
    }
    if (r == 0)
        r = c->options.changed(c->options.arg, strbuf_text(&pem), err);
    if (r == 0)
        c->due = due_time(c, cert);
    X509_free(cert);
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
    c->complained = false;
    c->retry_ms = RETRY_MS;
    if (c->options.once)
        loop_timer_stop(&c->timer);
    else
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
        if (!str_eq(type, "Denied") && !str_eq(type, "Failed"))
            continue;
        _cleanup_free_ char *why =
            str_printf("the request %s: %s: %s", key, type, message ? message : "no reason given");
        refused(c, why);
    }
}

static void on_remove(void *arg, const char *key, const json_t *object)
{
    (void)key, (void)object;
    refused(arg, "the request was deleted");
}

static void on_created(const struct kube_result *result, void *arg)
{
    static const struct informer_ops ops = {.upsert = on_upsert, .remove = on_remove};
    struct certificate *c = arg;
    c->call = NULL;
    struct kube_client *api = c->options.api(c->options.arg);
    if (result->error || !api) {
        refused(c, result->error ? result->error : "nobody can be asked");
        return;
    }
    log_info("certificate requested", "certificate", c->options.prefix, "request",
             meta_name(result->body), NULL);
    struct informer_config config = {.api = CSR_API,
                                     .plural = CSR_PLURAL,
                                     .name = meta_name(result->body),
                                     .ops = &ops,
                                     .arg = c};
    c->informer = informer_new(api, &config);
    loop_timer_set(&c->timer, ANSWER_MS);
}

static int make_request(struct certificate *c, struct strbuf *pem, struct error *err)
{
    const struct certificate_options *o = &c->options;
    static const char *const groups[] = {"system:nodes", NULL};
    _cleanup_free_ char *user = str_printf("system:node:%s", o->node_name);
    _cleanup_free_ char *ips = str_dup(o->ips ? o->ips : "");
    const char *names[] = {o->dns ? o->node_name : NULL, NULL};
    const char *addresses[3] = {NULL};
    char *save = NULL;
    size_t n = 0;
    for (char *ip = strtok_r(ips, ",", &save); ip && n < 2; ip = strtok_r(NULL, ",", &save))
        addresses[n++] = ip;
    struct x509_request request = {.common_name = user,
                                   .organizations = groups,
                                   .dns_names = names,
                                   .ip_addresses = addresses};
    c->key = x509_key_new();
    return x509_csr_make(&request, c->key, pem, err);
}

static void ask(struct certificate *c)
{
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    struct kube_client *api = c->options.api(c->options.arg);
    if (!api) {
        try_later(c, "nobody can be asked");
        return;
    }
    if (make_request(c, &pem, &err) < 0) {
        try_later(c, error_text(&err));
        return;
    }
    _cleanup_free_ char *text = base64_encode(pem.data, pem.len);
    _cleanup_free_ char *path = kube_path(CSR_API, NULL, CSR_PLURAL, NULL, NULL);
    _cleanup_json_ json_t *body = json_pack(
        "{s:s,s:s,s:{s:s},s:{s:s,s:s,s:[s,s]}}", "apiVersion", CSR_API, "kind",
        "CertificateSigningRequest", "metadata", "generateName", "csr-", "spec", "request", text,
        "signerName", c->options.signer, "usages", "digital signature", c->options.usage);
    c->call = kube_create(api, path, body, on_created, c);
}

static void on_timer(void *arg)
{
    struct certificate *c = arg;
    if (c->informer)
        refused(c, "nobody has answered the request");
    else if (c->call)
        return;
    else if (c->due > time_now())
        wait_until_due(c);
    else
        ask(c);
}

struct certificate *certificate_new(struct loop *loop, const struct certificate_options *options)
{
    struct certificate *c = mem_zalloc(sizeof(*c));
    *c = (struct certificate){.loop = loop, .options = *options, .retry_ms = RETRY_MS};
    c->path = str_printf("%s/%s-current.pem", options->dir, options->prefix);
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
    free(c->path);
    free(c);
    return NULL;
}
