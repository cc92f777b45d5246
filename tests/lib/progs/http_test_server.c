/*
 * An HTTP server for tests with other people's clients.
 *   http_test_server DIR    makes a CA, a server's and a client's certificate in DIR, listens on
 *                           free ports of 127.0.0.1 (plain, TLS) and on DIR/s, and prints
 *                           "PLAIN TLS" when it serves.
 */
#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/digest.h"
#include "base/fs.h"
#include "net/http_server.h"
#include "net/x509.h"

struct upload {
    struct digest *digest;
    size_t len;
};

static void on_piece(_unused_ struct http_exchange *x, const void *data, size_t len, void *arg)
{
    struct upload *u = arg;
    u->len += len;
    digest_add(u->digest, data, len);
}

static void on_pieces_end(struct http_exchange *x, int result, void *arg)
{
    struct upload *u = arg;
    char hex[SHA256_HEX_LEN + 1];
    digest_hex(u->digest, hex);
    if (result < 0)
        http_exchange_abort(x);
    else
        http_exchange_replyf(x, 200, "%zu %s\n", u->len, hex);
    (void)digest_free(u->digest);
    free(u);
}

static void on_body(struct http_exchange *x, int result, const char *data, size_t len, void *arg)
{
    (void)arg;
    if (result == -EFBIG)
        http_exchange_replyf(x, 413, "too large\n");
    else if (result < 0)
        http_exchange_abort(x);
    else
        http_exchange_reply(x, 200, "text/plain", data, len);
}

/* As many megabytes as the query's n says, in chunks. */
static void fill(struct http_exchange *x, void *arg)
{
    static const char block[16384] = {'c'};
    size_t *left = arg;
    while (*left > 0 && http_exchange_pending(x) < 65536) {
        size_t n = *left < sizeof(block) ? *left : sizeof(block);
        http_exchange_write(x, block, n);
        *left -= n;
    }
    if (*left == 0) {
        free(left);
        http_exchange_end(x);
    }
}

static void on_gone(struct http_exchange *x, void *arg)
{
    free(arg);
    http_exchange_abort(x);
}

static void on_request(struct http_exchange *x, _unused_ void *arg)
{
    const char *path = http_exchange_path(x);
    const struct http_peer *p = http_exchange_peer(x);
    if (strcmp(path, "/who") == 0) {
        http_exchange_replyf(x, 200, "tls=%d certificate=%d verified=%d cn=%s o=%s unix=%d\n",
                             p->tls, p->has_certificate, p->verified, p->common_name,
                             p->organizations[0] ? p->organizations[0] : "", p->is_unix);
    } else if (strcmp(path, "/echo") == 0) {
        http_exchange_read_body(x, 1000000, on_body, NULL);
    } else if (strcmp(path, "/refuse") == 0) {
        http_exchange_replyf(x, 403, "not wanted\n");
    } else if (strcmp(path, "/digest") == 0) {
        struct upload *u = mem_zalloc(sizeof(*u));
        u->digest = digest_new();
        http_exchange_stream_body(x, on_piece, on_pieces_end, u);
    } else if (strcmp(path, "/chunks") == 0) {
        size_t *left = mem_zalloc(sizeof(*left));
        *left = (size_t)http_query_int(http_exchange_query(x), "n", 1) << 20;
        http_exchange_on_close(x, on_gone, left);
        http_exchange_begin(x, 200, "application/octet-stream", -1);
        http_exchange_on_drain(x, 16384, fill, left);
        fill(x, left);
    } else {
        http_exchange_replyf(x, 404, "no %s here\n", http_exchange_decoded_path(x));
    }
}

static char *issue(const struct x509_pair *ca, const char *dir, const char *name, unsigned usage)
{
    static const char *const groups[] = {"testers", NULL};
    static const char *const names[] = {"localhost", NULL};
    static const char *const addresses[] = {"127.0.0.1", NULL};
    const struct x509_request q = {.common_name = name,
                                   .organizations = groups,
                                   .dns_names = names,
                                   .ip_addresses = addresses,
                                   .usage = usage,
                                   .days = 1};
    struct x509_pair p;
    char *cert = str_printf("%s/%s.crt", dir, name);
    _cleanup_free_ char *key = str_printf("%s/%s.key", dir, name);
    if (x509_issue(ca, &q, &p, NULL) < 0 || x509_pair_write(&p, cert, key, NULL) < 0)
        abort();
    x509_pair_done(&p);
    return cert;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct daemon_signals signals;
    _cleanup_x509_pair_ struct x509_pair ca = {.cert = NULL};
    struct tls_server *tls = NULL;
    uint16_t plain, secure;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: http_test_server DIR\n");
        return 2;
    }
    daemon_init("http_test_server", 0);
    _cleanup_free_ char *ca_cert = fs_join(argv[1], "ca.crt"), *ca_key = fs_join(argv[1], "ca.key");
    _cleanup_free_ char *key = fs_join(argv[1], "server.key"), *sock = fs_join(argv[1], "s");
    if (x509_ca_new("test-ca", 1, &ca, &err) < 0 ||
        x509_pair_write(&ca, ca_cert, ca_key, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    _cleanup_free_ char *cert = issue(&ca, argv[1], "server", X509_SERVER);
    _cleanup_free_ char *client = issue(&ca, argv[1], "client", X509_CLIENT);
    const struct tls_server_options options = {.cert_file = cert,
                                               .key_file = key,
                                               .client_ca_file = ca_cert,
                                               .client_auth = TLS_CLIENT_REQUEST};
    struct loop *loop = loop_new();
    struct http_server *s = http_server_new(loop, NULL, on_request, NULL);
    if (tls_server_new(&options, &tls, &err) < 0 ||
        http_server_listen_tcp(s, "127.0.0.1", 0, NULL, &plain, &err) < 0 ||
        http_server_listen_tcp(s, "127.0.0.1", 0, tls, &secure, &err) < 0 ||
        http_server_listen_unix(s, sock, 0600, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    daemon_stop_on_signals(&signals, loop);
    (void)printf("%u %u\n", plain, secure);
    (void)fflush(stdout);
    int r = loop_run(loop);
    (void)http_server_free(s);
    (void)tls_server_unref(tls);
    daemon_signals_done(&signals);
    (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)loop_free(loop);
    return r;
}
