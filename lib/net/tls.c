/* TLS contexts: see tls.h. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"

#define PEM_FILE_MAX (1024 * 1024)
/* Certificate and key are replaced one after the other: wait until both are there. */
#define RELOAD_DELAY_MS 200

struct tls_server {
    unsigned refs;
    struct tls_server_options options; /* strings owned */
    SSL_CTX *ctx;
    struct loop *loop;
    struct loop_io inotify;
    struct loop_timer reload;
    int inotify_fd;
};

int tls_error(struct error *err, int code, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    unsigned long e = ERR_get_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    (void)error_set(err, code, "%s: %s", strbuf_text(&text),
                    reason ? reason : "unknown TLS failure");
    ERR_clear_error();
    return code;
}

/* ---- loading PEM ---- */

static int read_pem(const char *file, const char *pem, struct strbuf *out, struct error *err)
{
    if (pem) {
        strbuf_adds(out, pem);
        return 0;
    }
    return fs_read(file, PEM_FILE_MAX, out, err);
}

static int use_chain(SSL_CTX *ctx, const char *file, const char *pem, struct error *err)
{
    const char *what = file ? file : "certificate";
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = read_pem(file, pem, &text, err);
    if (r < 0)
        return r;
    BIO *bio = BIO_new_mem_buf(strbuf_text(&text), (int)text.len);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    BIO_free(bio);
    if (!ok)
        return tls_error(err, -EINVAL, "%s", what);
    ERR_clear_error(); /* the end of the file is one */
    return 0;
}

static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

static int use_key(SSL_CTX *ctx, const char *file, const char *pem, struct error *err)
{
    const char *what = file ? file : "private key";
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = read_pem(file, pem, &text, err);
    if (r < 0)
        return r;
    BIO *bio = BIO_new_mem_buf(strbuf_text(&text), (int)text.len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    OPENSSL_cleanse(text.data, text.len);
    return ok ? 0 : tls_error(err, -EINVAL, "%s", what);
}

/* Adds every certificate of a bundle to the store; the names go to @names when given. */
static int use_ca(SSL_CTX *ctx, const char *file, const char *pem, STACK_OF(X509_NAME) * names,
                  struct error *err)
{
    const char *what = file ? file : "CA certificate";
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = read_pem(file, pem, &text, err);
    if (r < 0)
        return r;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio = BIO_new_mem_buf(strbuf_text(&text), (int)text.len);
    size_t n = 0;
    bool ok = true;
    for (X509 *cert; ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
        ok = X509_STORE_add_cert(store, cert) == 1;
        if (ok && names) {
            X509_NAME *name = X509_NAME_dup(X509_get_subject_name(cert));
            if (!name || !sk_X509_NAME_push(names, name))
                abort();
        }
        X509_free(cert);
    }
    BIO_free(bio);
    if (!ok || n == 0)
        return tls_error(err, -EINVAL, "%s", what);
    ERR_clear_error();
    return 0;
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        abort();
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    return ctx;
}

/* ---- server ---- */

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *selected;
    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&selected, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

/* A certificate that doesn't verify goes through. The first error is kept beside the connection:
 * what OpenSSL reports at the end may be overwritten by later steps of the verification. */
static int accept_any(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (!ok && ssl && !SSL_get_app_data(ssl))
        (void)SSL_set_app_data(ssl, (void *)(intptr_t)X509_STORE_CTX_get_error(store));
    return 1;
}

long tls_server_verify_result(const SSL *ssl)
{
    intptr_t first = (intptr_t)SSL_get_app_data(ssl);
    return first ? (long)first : SSL_get_verify_result(ssl);
}

static int server_context(const struct tls_server_options *o, SSL_CTX **ret, struct error *err)
{
    SSL_CTX *ctx = new_context(TLS_server_method());
    STACK_OF(X509_NAME) *names = NULL;
    int r = use_chain(ctx, o->cert_file, NULL, err);
    if (r == 0)
        r = use_key(ctx, o->key_file, NULL, err);
    if (r == 0 && SSL_CTX_check_private_key(ctx) != 1)
        r = tls_error(err, -EINVAL, "%s and %s", o->cert_file, o->key_file);
    if (r == 0 && o->client_ca_file) {
        names = sk_X509_NAME_new_null();
        r = use_ca(ctx, o->client_ca_file, NULL, names, err);
    }
    if (r < 0) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        SSL_CTX_free(ctx);
        return r;
    }
    if (names)
        SSL_CTX_set_client_CA_list(ctx, names);
    if (o->client_auth == TLS_CLIENT_REQUIRE)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    else if (o->client_auth == TLS_CLIENT_REQUEST)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    *ret = ctx;
    return 0;
}

int tls_server_new(const struct tls_server_options *options, struct tls_server **ret,
                   struct error *err)
{
    if (!options->cert_file || !options->key_file)
        return error_set(err, -EINVAL, "TLS needs a certificate file and a key file");
    SSL_CTX *ctx;
    int r = server_context(options, &ctx, err);
    if (r < 0)
        return r;
    struct tls_server *t = mem_zalloc(sizeof(*t));
    t->refs = 1;
    t->ctx = ctx;
    t->inotify_fd = -1;
    t->options = (struct tls_server_options){.cert_file = str_dup(options->cert_file),
                                             .key_file = str_dup(options->key_file),
                                             .client_ca_file = str_dup(options->client_ca_file),
                                             .client_auth = options->client_auth};
    *ret = t;
    return 0;
}

int tls_server_reload(struct tls_server *t, struct error *err)
{
    SSL_CTX *ctx;
    int r = server_context(&t->options, &ctx, err);
    if (r < 0)
        return r;
    SSL_CTX_free(t->ctx); /* connections hold it on */
    t->ctx = ctx;
    return 0;
}

int tls_server_use(struct tls_server *t, const char *cert_file, const char *key_file,
                   struct error *err)
{
    struct tls_server_options before = t->options;
    t->options.cert_file = str_dup(cert_file);
    t->options.key_file = str_dup(key_file);
    int r = tls_server_reload(t, err);
    struct tls_server_options *old = r < 0 ? &t->options : &before;
    free((void *)(uintptr_t)old->cert_file);
    free((void *)(uintptr_t)old->key_file);
    if (r < 0)
        t->options = before;
    return r;
}

static void on_reload(void *arg)
{
    struct error err = ERROR_INIT;
    if (tls_server_reload(arg, &err) < 0)
        log_debug("reloading certificates failed", "error", err.text, NULL);
}

static void on_inotify(int fd, _unused_ short events, void *arg)
{
    struct tls_server *t = arg;
    char buf[4096];
    while (read(fd, buf, sizeof(buf)) > 0)
        continue;
    loop_timer_set(&t->reload, RELOAD_DELAY_MS);
}

static int watch_directory_of(int fd, const char *file, struct error *err)
{
    const char *slash = strrchr(file, '/');
    _cleanup_free_ char *dir =
        !slash ? str_dup(".") : str_ndup(file, slash == file ? 1 : (size_t)(slash - file));
    if (inotify_add_watch(fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE) < 0)
        return error_errno(err, -errno, "%s: watching", dir);
    return 0;
}

int tls_server_watch(struct tls_server *t, struct loop *loop, struct error *err)
{
    if (t->inotify_fd >= 0)
        return 0;
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return error_errno(err, -errno, "inotify");
    int r = watch_directory_of(fd, t->options.cert_file, err);
    if (r == 0)
        r = watch_directory_of(fd, t->options.key_file, err);
    if (r == 0 && t->options.client_ca_file)
        r = watch_directory_of(fd, t->options.client_ca_file, err);
    if (r < 0)
        return r;
    r = loop_io_init(&t->inotify, loop, "certificates", fd, EV_READ, on_inotify, t);
    if (r < 0)
        return error_errno(err, r, "inotify");
    loop_timer_init(&t->reload, loop, "certificate reload", on_reload, t);
    t->inotify_fd = TAKE_FD(fd);
    return 0;
}

struct tls_server *tls_server_ref(struct tls_server *t)
{
    t->refs++;
    return t;
}

struct tls_server *tls_server_unref(struct tls_server *t)
{
    if (t && --t->refs == 0) {
        loop_io_done(&t->inotify);
        loop_timer_done(&t->reload);
        closep(&t->inotify_fd);
        SSL_CTX_free(t->ctx);
        free((void *)(uintptr_t)t->options.cert_file);
        free((void *)(uintptr_t)t->options.key_file);
        free((void *)(uintptr_t)t->options.client_ca_file);
        free(t);
    }
    return NULL;
}

SSL *tls_server_ssl(struct tls_server *t)
{
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl)
        abort();
    return ssl;
}

/* ---- client ---- */

int tls_client_context(const struct tls_client_config *c, SSL_CTX **ret, struct error *err)
{
    SSL_CTX *ctx = new_context(TLS_client_method());
    int r = 0;
    if (c && (c->ca_file || c->ca_pem))
        r = use_ca(ctx, c->ca_file, c->ca_pem, NULL, err);
    else if (SSL_CTX_set_default_verify_paths(ctx) != 1)
        r = tls_error(err, -EINVAL, "the system's CA certificates");
    if (r == 0 && c && (c->cert_file || c->cert_pem)) {
        r = use_chain(ctx, c->cert_file, c->cert_pem, err);
        if (r == 0 && !c->key_file && !c->key_pem)
            r = error_set(err, -EINVAL, "a client certificate needs its key");
        if (r == 0)
            r = use_key(ctx, c->key_file, c->key_pem, err);
        if (r == 0 && SSL_CTX_check_private_key(ctx) != 1)
            r = tls_error(err, -EINVAL, "client certificate and key");
    }
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    SSL_CTX_set_verify(ctx, c && c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    *ret = ctx;
    return 0;
}

int tls_client_ssl(SSL_CTX *ctx, const struct tls_client_config *config, const char *host,
                   SSL **ret, struct error *err)
{
    const char *name = config && config->server_name ? config->server_name : host;
    unsigned char address[sizeof(struct in6_addr)];
    bool numeric =
        inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    SSL *ssl = SSL_new(ctx);
    if (!ssl)
        abort();
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    bool ok = numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1
                      : X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
                            SSL_set_tlsext_host_name(ssl, name) == 1;
    if (!ok) {
        SSL_free(ssl);
        return tls_error(err, -EINVAL, "server name \"%s\"", name);
    }
    *ret = ssl;
    return 0;
}
