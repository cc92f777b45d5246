/*
 * The HTTP client: libcurl's multi interface on the loop. curl tells which descriptors and which
 * timer to watch (on_socket, on_timeout); we tell it what happened and then collect the transfers
 * that have ended. Handles are never added or removed from inside curl's callbacks: calls are
 * started and cancelled ones freed by a deferred call.
 */
#include "net/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <netinet/tcp.h>

#include "base/list.h"
#include "net/socket.h"

#define CONNECT_TIMEOUT_MS 10000
#define RECEIVE_BUFFER     (64L * 1024)
#define IDLE_CONNECTIONS   16L

struct http_client {
    struct loop *loop;
    struct pool *pool; /* of new calls */
    struct loop_deferred work;
    struct list calls;
};

/* A multi handle with its connections. curl cannot be told to drop idle ones, so forgetting them
 * means a new pool; an old one lives until its last call has ended. */
struct pool {
    struct http_client *client;
    CURLM *multi;
    struct loop_timer timer;
    struct list sockets;
    size_t calls;
};

/* A descriptor curl wants watched. */
struct watch {
    struct list entry;
    struct pool *pool;
    struct loop_io io;
};

struct http_call {
    struct http_client *client;
    struct pool *pool; /* it runs in; NULL before and after */
    struct list entry;
    CURL *curl;
    bool cancelled, finished;
    char *body;
    struct curl_slist *headers, *connect_to;
    char *tls_text[3];
    char error_text[CURL_ERROR_SIZE];

    struct http_headers reply_headers;
    size_t head_bytes;
    bool head_told, too_large, bad_head;
    bool paused, curl_paused;
    CURLcode result;

    size_t limit; /* whole-body calls */
    struct strbuf gathered;
    void (*cb)(const struct http_response *response, const struct error *err, void *arg);
    const struct http_stream_handler *handler; /* streaming calls */
    void *arg;
};

static void watch_free(struct watch *w)
{
    loop_io_done(&w->io);
    list_remove(&w->entry);
    free(w);
}

static void pool_free(struct pool *p)
{
    (void)curl_multi_cleanup(p->multi);
    LIST_FOR_EACH(e, &p->sockets)
        watch_free(LIST_ENTRY(e, struct watch, entry));
    loop_timer_done(&p->timer);
    free(p);
}

static void leave_pool(struct http_call *call)
{
    struct pool *p = TAKE_PTR(call->pool);
    if (!p)
        return;
    (void)curl_multi_remove_handle(p->multi, call->curl);
    if (--p->calls == 0 && p != p->client->pool)
        pool_free(p);
}

static void call_free(struct http_call *call)
{
    list_remove(&call->entry);
    leave_pool(call);
    curl_easy_cleanup(call->curl);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    for (size_t i = 0; i < ARRAY_SIZE(call->tls_text); i++)
        free(call->tls_text[i]);
    http_headers_done(&call->reply_headers);
    strbuf_done(&call->gathered);
    free(call->body);
    free(call);
}

/* ---- the loop ---- */

static void collect(struct pool *p)
{
    const CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(p->multi, &left))) {
        struct http_call *call = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
        call->result = m->data.result;
        call->finished = true;
        loop_defer(&p->client->work);
    }
}

static void on_io(int fd, short events, void *arg)
{
    const struct watch *w = arg;
    struct pool *p = w->pool;
    int running, mask = (events & EV_READ ? CURL_CSELECT_IN : 0) |
                        (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    (void)curl_multi_socket_action(p->multi, fd, mask, &running);
    collect(p);
}

static void on_timer(void *arg)
{
    struct pool *p = arg;
    int running;
    (void)curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(p);
}

static int on_timeout(_unused_ CURLM *multi, long ms, void *arg)
{
    struct pool *p = arg;
    if (ms < 0)
        loop_timer_stop(&p->timer);
    else
        loop_timer_set(&p->timer, (uint64_t)ms);
    return 0;
}

static int on_socket(_unused_ CURL *curl, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct pool *p = arg;
    struct watch *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            watch_free(w);
        (void)curl_multi_assign(p->multi, fd, NULL);
        return 0;
    }
    if (!w) {
        w = mem_zalloc(sizeof(*w));
        w->pool = p;
        list_append(&p->sockets, &w->entry);
        (void)curl_multi_assign(p->multi, fd, w);
    }
    loop_io_done(&w->io);
    return loop_io_init(
               &w->io, p->client->loop, "http client", fd,
               (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0)),
               on_io, w) < 0
               ? -1
               : 0;
}

/* ---- the response ---- */

static struct http_response response_of(struct http_call *call)
{
    long status = 0;
    char *url = NULL;
    (void)curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(call->curl, CURLINFO_EFFECTIVE_URL, &url);
    return (struct http_response){.status = (int)status,
                                  .headers = &call->reply_headers,
                                  .url = url ? url : "",
                                  .body = strbuf_text(&call->gathered),
                                  .body_len = call->gathered.len};
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * n, end = len;
    if (call->cancelled)
        return 0;
    /* Every response on the way (100, redirects) begins with a status line. */
    if (len > 5 && strncmp(data, "HTTP/", 5) == 0) {
        http_headers_done(&call->reply_headers);
        call->head_bytes = len;
        return len;
    }
    call->head_bytes += len;
    while (end && (data[end - 1] == '\r' || data[end - 1] == '\n'))
        end--;
    const char *colon = end ? memchr(data, ':', end) : NULL;
    if (!colon)
        return len;
    const char *value = colon + 1, *value_end = data + end;
    while (value < value_end && (*value == ' ' || *value == '\t'))
        value++;
    while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
        value_end--;
    if (call->head_bytes > HTTP_HEAD_MAX || call->reply_headers.count >= HTTP_HEADERS_MAX ||
        !http_token_valid(data, (size_t)(colon - data)) ||
        !http_value_valid(value, (size_t)(value_end - value))) {
        call->bad_head = true;
        return 0;
    }
    _cleanup_free_ char *name = str_ndup(data, (size_t)(colon - data));
    _cleanup_free_ char *text = str_ndup(value, (size_t)(value_end - value));
    http_headers_add(&call->reply_headers, name, text);
    return len;
}

static void tell_head(struct http_call *call)
{
    if (call->head_told || !call->handler)
        return;
    call->head_told = true;
    struct http_response response = response_of(call);
    if (call->handler->on_headers)
        call->handler->on_headers(call, &response, call->arg);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * n;
    if (call->cancelled)
        return 0;
    if (!call->handler) {
        if (len > call->limit || call->gathered.len > call->limit - len) {
            call->too_large = true;
            return 0;
        }
        strbuf_add(&call->gathered, data, len);
        return len;
    }
    if (!call->paused)
        tell_head(call);
    if (call->paused) { /* curl shows it again */
        call->curl_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (!call->cancelled)
        call->handler->on_data(call, data, len, call->arg);
    return call->cancelled ? 0 : len;
}

static void describe_failure(const struct http_call *call, struct error *err)
{
    const char *text = *call->error_text ? call->error_text : curl_easy_strerror(call->result);
    long os_error = 0;
    int code = -EIO;
    (void)curl_easy_getinfo(call->curl, CURLINFO_OS_ERRNO, &os_error);
    switch (call->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        code = -EHOSTUNREACH;
        break;
    case CURLE_COULDNT_CONNECT:
        code = os_error ? -(int)os_error : -ECONNREFUSED;
        break;
    case CURLE_OPERATION_TIMEDOUT:
        code = -ETIMEDOUT;
        break;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        code = -ECONNRESET;
        break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        code = -EPROTO;
        break;
    default:
        break;
    }
    if (call->too_large)
        (void)error_set(err, -EFBIG, "the response is larger than %zu bytes", call->limit);
    else if (call->bad_head)
        (void)error_set(err, -EIO, "the response's head is malformed or too large");
    else
        (void)error_set(err, code, "%s", text);
}

/* Tells the end. The call is freed after; its callback may start others or free the client. */
static void tell_end(struct http_call *call)
{
    struct error err = ERROR_INIT;
    const struct error *failed = NULL;
    if (call->result != CURLE_OK) {
        describe_failure(call, &err);
        failed = &err;
    }
    if (!call->handler) {
        struct http_response response = response_of(call);
        call->cb(failed ? NULL : &response, failed, call->arg);
        return;
    }
    if (!failed)
        tell_head(call);
    if (!call->cancelled)
        call->handler->on_end(call, failed, call->arg);
}

static void on_work(void *arg)
{
    struct http_client *c = arg;
    struct list *e = c->calls.next;
    while (e != &c->calls) {
        struct http_call *call = LIST_ENTRY(e, struct http_call, entry);
        e = e->next;
        if (call->cancelled) {
            call_free(call);
        } else if (!call->pool) {
            call->pool = c->pool;
            call->pool->calls++;
            (void)curl_multi_add_handle(call->pool->multi, call->curl);
        } else if (call->finished && !call->paused) {
            /* Out of the client's reach while its callback runs; then look again from the start,
             * unless there is more to do: the callback may have freed the client. */
            bool more = e != &c->calls;
            list_remove(&call->entry);
            leave_pool(call);
            if (more)
                loop_defer(&c->work);
            tell_end(call);
            call_free(call);
            return;
        } else if (call->curl_paused && !call->paused) {
            call->curl_paused = false;
            (void)curl_easy_pause(call->curl, CURLPAUSE_CONT);
            collect(call->pool);
        }
    }
}

/* ---- making a call ---- */

static int on_sockopt(_unused_ void *arg, curl_socket_t fd, curlsocktype purpose)
{
    if (purpose == CURLSOCKTYPE_IPCXN)
        socket_tune(fd);
    return CURL_SOCKOPT_OK;
}

static void set_tls_text(struct http_call *call, int slot, CURLoption file_option,
                         CURLoption blob_option, const char *file, const char *pem)
{
    if (file) {
        (void)curl_easy_setopt(call->curl, file_option, file);
    } else if (pem) {
        call->tls_text[slot] = str_dup(pem);
        struct curl_blob blob = {
            .data = call->tls_text[slot], .len = strlen(pem), .flags = CURL_BLOB_NOCOPY};
        (void)curl_easy_setopt(call->curl, blob_option, &blob);
    }
}

static int check_readable(const char *file, struct error *err)
{
    if (file && access(file, R_OK) < 0)
        return error_errno(err, -errno, "%s", file);
    return 0;
}

static int set_tls(struct http_call *call, const struct tls_client_config *t, struct error *err)
{
    if (check_readable(t->ca_file, err) < 0 || check_readable(t->cert_file, err) < 0 ||
        check_readable(t->key_file, err) < 0)
        return -EINVAL;
    if (t->insecure) {
        (void)curl_easy_setopt(call->curl, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(call->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (t->ca_file || t->ca_pem)
        (void)curl_easy_setopt(call->curl, CURLOPT_CAPATH, NULL);
    (void)curl_easy_setopt(call->curl, CURLOPT_KEYPASSWD, ""); /* never ask on a terminal */
    set_tls_text(call, 0, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB, t->ca_file, t->ca_pem);
    set_tls_text(call, 1, CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB, t->cert_file, t->cert_pem);
    set_tls_text(call, 2, CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB, t->key_file, t->key_pem);
    return 0;
}

/* curl verifies against the URL's host: for another name the URL names that one, and the
 * connection is directed to where the request wanted to go. */
static int set_target(struct http_call *call, const struct http_request *q,
                      const struct http_url *u, struct error *err)
{
    const char *name = q->tls ? q->tls->server_name : NULL;
    _cleanup_strbuf_ struct strbuf to = STRBUF_INIT;
    _cleanup_strbuf_ struct strbuf url = STRBUF_INIT;
    if (q->connect_to)
        strbuf_addf(&to, "::%s", q->connect_to);
    if (name && strcasecmp(name, u->host) != 0) {
        if (!q->connect_to)
            strbuf_addf(&to, strchr(u->host, ':') ? "::[%s]:%u" : "::%s:%u", u->host, u->port);
        strbuf_addf(&url, "%s://%s:%u%s%s%s", u->scheme, name, u->port, u->path,
                    u->query ? "?" : "", u->query ? u->query : "");
        _cleanup_strbuf_ struct strbuf host = STRBUF_INIT;
        http_url_host_field(u, &host);
        _cleanup_free_ char *field = str_printf("Host: %s", strbuf_text(&host));
        call->headers = curl_slist_append(call->headers, field);
    }
    if (curl_easy_setopt(call->curl, CURLOPT_URL, url.len ? url.data : q->url) != CURLE_OK)
        return error_set(err, -EINVAL, "\"%s\": invalid URL", q->url);
    if (to.len > 0) {
        call->connect_to = curl_slist_append(NULL, to.data);
        (void)curl_easy_setopt(call->curl, CURLOPT_CONNECT_TO, call->connect_to);
    }
    return 0;
}

static int add_headers(struct http_call *call, const struct http_request *q, struct error *err)
{
    for (size_t i = 0; q->headers && i < q->headers->count; i++) {
        const struct http_header *h = &q->headers->items[i];
        if (!http_token_valid(h->name, strlen(h->name)) ||
            !http_value_valid(h->value, strlen(h->value)))
            return error_set(err, -EINVAL, "malformed header field %s", h->name);
        /* curl leaves out a field without value unless it is written with a semicolon. */
        _cleanup_free_ char *line = str_printf(*h->value ? "%s: %s" : "%s;", h->name, h->value);
        call->headers = curl_slist_append(call->headers, line);
    }
    if (q->body && !(q->headers && http_headers_get(q->headers, "Content-Type")))
        call->headers = curl_slist_append(call->headers, "Content-Type:");
    /* No waiting for 100: bodies are small and in memory. */
    call->headers = curl_slist_append(call->headers, "Expect:");
    (void)curl_easy_setopt(call->curl, CURLOPT_HTTPHEADER, call->headers);
    return 0;
}

static void set_method(struct http_call *call, const struct http_request *q)
{
    const char *method = q->method ? q->method : "GET";
    CURL *curl = call->curl;
    if (q->body) {
        call->body = mem_dup(q->body, q->body_len ? q->body_len : 1);
        (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_len);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
    } else if (strcmp(method, "HEAD") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    if (strcmp(method, "HEAD") != 0 && strcmp(method, "GET") != 0)
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static void set_options(struct http_call *call, const struct http_request *q)
{
    CURL *curl = call->curl;
    (void)curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->error_text);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    /* A call that is cancelled leaves the thread that looks up its name to itself: to wait for that
     * would hold up the loop for as long as no name server answers. */
    (void)curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    (void)curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_sockopt);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(
        curl, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(q->connect_timeout_ms ? q->connect_timeout_ms : CONNECT_TIMEOUT_MS));
    if (q->timeout_ms)
        (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    if (q->stall_timeout_ms) {
        (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                               (long)((q->stall_timeout_ms + 999) / 1000));
    }
    if (q->max_redirects > 0) {
        (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)q->max_redirects);
    }
    if (q->fresh) {
        (void)curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    }
    if (q->unix_socket)
        (void)curl_easy_setopt(curl,
                               q->unix_socket[0] == '@' ? CURLOPT_ABSTRACT_UNIX_SOCKET
                                                        : CURLOPT_UNIX_SOCKET_PATH,
                               q->unix_socket + (q->unix_socket[0] == '@'));
    if (q->bearer_token) {
        (void)curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        (void)curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, q->bearer_token);
    }
}

static int start(struct http_client *c, const struct http_request *q, struct http_call *call,
                 struct http_call **ret, struct error *err)
{
    _cleanup_http_url_ struct http_url u = {.scheme = NULL};
    call->client = c;
    list_init(&call->entry);
    call->curl = curl_easy_init();
    if (!call->curl)
        abort();
    int r = http_url_parse(&u, q->url, err);
    if (r == 0 && q->method && !http_token_valid(q->method, strlen(q->method)))
        r = error_set(err, -EINVAL, "malformed method");
    if (r == 0 && q->bearer_token && !http_value_valid(q->bearer_token, strlen(q->bearer_token)))
        r = error_set(err, -EINVAL, "malformed bearer token");
    if (r == 0)
        r = set_target(call, q, &u, err);
    if (r == 0)
        r = add_headers(call, q, err);
    if (r == 0 && q->tls)
        r = set_tls(call, q->tls, err);
    if (r < 0) {
        call_free(call);
        return r;
    }
    set_method(call, q);
    set_options(call, q);
    list_append(&c->calls, &call->entry);
    loop_defer(&c->work);
    if (ret)
        *ret = call;
    return 0;
}

int http_client_call(struct http_client *c, const struct http_request *request, size_t limit,
                     void (*cb)(const struct http_response *response, const struct error *err,
                                void *arg),
                     void *arg, struct http_call **ret, struct error *err)
{
    struct http_call *call = mem_zalloc(sizeof(*call));
    call->limit = limit;
    call->cb = cb;
    call->arg = arg;
    return start(c, request, call, ret, err);
}

int http_client_stream(struct http_client *c, const struct http_request *request,
                       const struct http_stream_handler *handler, void *arg, struct http_call **ret,
                       struct error *err)
{
    struct http_call *call = mem_zalloc(sizeof(*call));
    call->handler = handler;
    call->arg = arg;
    return start(c, request, call, ret, err);
}

void http_call_pause(struct http_call *call)
{
    call->paused = true;
}

void http_call_resume(struct http_call *call)
{
    call->paused = false;
    loop_defer(&call->client->work);
}

struct http_call *http_call_cancel(struct http_call *call)
{
    if (call && !call->cancelled) {
        call->cancelled = true;
        loop_defer(&call->client->work);
    }
    return NULL;
}

/* ---- the client ---- */

static struct pool *pool_new(struct http_client *c)
{
    struct pool *p = mem_zalloc(sizeof(*p));
    p->client = c;
    list_init(&p->sockets);
    loop_timer_init(&p->timer, c->loop, "http client", on_timer, p);
    p->multi = curl_multi_init();
    if (!p->multi)
        abort();
    (void)curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    (void)curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    (void)curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    (void)curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    (void)curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    return p;
}

struct http_client *http_client_new(struct loop *loop)
{
    struct http_client *c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    list_init(&c->calls);
    loop_deferred_init(&c->work, loop, on_work, c);
    c->pool = pool_new(c);
    return c;
}

struct http_client *http_client_free(struct http_client *c)
{
    if (!c)
        return NULL;
    LIST_FOR_EACH(e, &c->calls)
        call_free(LIST_ENTRY(e, struct http_call, entry));
    pool_free(c->pool);
    loop_deferred_done(&c->work);
    free(c);
    return NULL;
}

void http_client_forget_connections(struct http_client *c)
{
    struct pool *old = c->pool;
    c->pool = pool_new(c);
    if (old->calls == 0)
        pool_free(old);
}
