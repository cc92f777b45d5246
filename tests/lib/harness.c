/* An API server for tests; see harness.h. */
#include "lib/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/auth/authz.h"
#include "apiserver/documents.h"
#include "apiserver/kubelet_proxy.h"
#include "apiserver/store/watch_cache.h"
#include "base/fs.h"
#include "base/json.h"
#include "lib/memstore.h"

#define TOKEN "harness"

static void on_loaded(void *arg)
{
    struct apiserver *srv = arg;
    authz_load(srv->authz);
    srv->ready = true;
}

static struct authn *tester(struct apiserver *srv)
{
    char path[] = "/tmp/coracle-tokens.XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        abort();
    (void)close(fd);
    if (fs_write_text(path, TOKEN ",tester,1\n", NULL) < 0)
        abort();
    const struct authn_options options = {.token_file = path};
    struct authn *authn = authn_new(srv, &options, NULL);
    (void)unlink(path);
    return authn;
}

static void turn(struct harness *h)
{
    (void)event_base_loop(loop_base(h->srv.loop), EVLOOP_NONBLOCK);
}

struct harness *harness_new(const char *cidr)
{
    struct harness *h = mem_zalloc(sizeof(*h));
    struct apiserver *srv = &h->srv;
    list_init(&srv->requests);
    srv->loop = loop_new();
    srv->store = memstore_new(srv->loop);
    srv->schemas = schema_registry_new();
    srv->routes = routes_new(srv->schemas);
    srv->documents = documents_new();
    srv->accounts = accounts_new(&h->accounts, NULL);
    srv->authz = authz_new(srv, &h->modes);
    srv->authn = tester(srv);
    srv->advertise_address = "192.0.2.1";
    srv->event_ttl_s = 3600;
    srv->kubelets = mem_zalloc(sizeof(*srv->kubelets));
    list_init(&srv->kubelets->tunnels);
    srv->allocations = &h->allocations;
    if (!srv->authn || allocations_init(&h->allocations, cidr, "30000-30003", NULL) < 0)
        abort();
    srv->cache = watch_cache_new(srv->loop, srv->store, srv->routes, on_loaded, srv);
    h->http = http_server_new(srv->loop, NULL, server_handle, srv);
    for (int i = 0; i < 100 && !srv->ready; i++)
        turn(h);
    json_decref(harness_json(h, "POST", "/api/v1/namespaces",
                             "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
                             "\"default\"}}"));
    json_decref(harness_json(h, "POST", "/api/v1/namespaces/default/serviceaccounts",
                             "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{"
                             "\"name\":\"default\"}}"));
    return h;
}

struct harness *harness_free(struct harness *h)
{
    struct apiserver *srv = &h->srv;
    server_drop_requests(srv);
    h->http = http_server_free(h->http);
    server_drop_requests(srv);
    srv->authz = authz_free(srv->authz);
    srv->cache = watch_cache_free(srv->cache);
    srv->store = store_free(srv->store);
    srv->documents = documents_free(srv->documents);
    srv->authn = authn_free(srv->authn);
    srv->accounts = accounts_free(srv->accounts);
    srv->routes = routes_free(srv->routes);
    srv->schemas = schema_registry_free(srv->schemas);
    free(srv->kubelets);
    allocations_done(&h->allocations);
    turn(h);
    srv->loop = loop_free(srv->loop);
    free(h);
    return NULL;
}

/* Undoes chunked coding as far as whole chunks are there. */
static void unchunk(const char *data, struct strbuf *out)
{
    for (;;) {
        char *end;
        unsigned long len = strtoul(data, &end, 16);
        if (!len || strncmp(end, "\r\n", 2) != 0 || strlen(end + 2) < len + 2)
            return;
        strbuf_add(out, end + 2, len);
        data = end + 2 + len + 2;
    }
}

static int read_answer(const struct strbuf *in, struct strbuf *ret_body)
{
    const char *text = strbuf_text(in);
    const char *body = strstr(text, "\r\n\r\n");
    if (!str_starts(text, "HTTP/1.1 ") || !body)
        return 0;
    if (ret_body && strstr(text, "chunked") && strstr(text, "chunked") < body)
        unchunk(body + 4, ret_body);
    else if (ret_body)
        strbuf_adds(ret_body, body + 4);
    return (int)strtol(text + strlen("HTTP/1.1 "), NULL, 10);
}

int harness_request(struct harness *h, const char *method, const char *path,
                    const char *content_type, const void *body, size_t len, int turns,
                    struct strbuf *ret_body)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT, in = STRBUF_INIT;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        abort();
    if (http_server_serve_fd(h->http, fds[1], NULL, NULL) < 0)
        abort();
    strbuf_addf(&out,
                "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " TOKEN
                "\r\n",
                method, path);
    if (content_type)
        strbuf_addf(&out, "Content-Type: %s\r\n", content_type);
    if (body)
        strbuf_addf(&out, "Content-Length: %zu\r\n", len);
    strbuf_adds(&out, "\r\n");
    strbuf_add(&out, body ? body : "", len);
    size_t sent = 0;
    for (int i = 0; i < turns; i++) {
        if (sent < out.len) {
            ssize_t n = send(fds[0], out.data + sent, out.len - sent, MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
        }
        turn(h);
        char *room = strbuf_reserve(&in, 65536);
        ssize_t n = read(fds[0], room, 65536);
        if (n == 0)
            break;
        in.len += n > 0 ? (size_t)n : 0;
        strbuf_terminate(&in);
    }
    (void)close(fds[0]);
    for (int i = 0; i < 5; i++)
        turn(h);
    return read_answer(&in, ret_body);
}

json_t *harness_json(struct harness *h, const char *method, const char *path, const char *body)
{
    _cleanup_strbuf_ struct strbuf answer = STRBUF_INIT;
    const char *type =
        str_eq(method, "PATCH") ? "application/merge-patch+json" : "application/json";
    (void)harness_request(h, method, path, body ? type : NULL, body, body ? strlen(body) : 0, 500,
                          &answer);
    return json_parse(strbuf_text(&answer), answer.len, NULL);
}
