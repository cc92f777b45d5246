/*
 * One connection of the HTTP server. Everything that may move it forward ends in advance(): read a
 * head, start an exchange, feed its body, and once the exchange has ended and the body is used up,
 * start over. The bufferevent's callbacks are deferred, so nothing here is entered from inside a
 * write. A reference is held while handlers run: they may close the connection under us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>

#include "base/log.h"
#include "net/http_server_impl.h"
#include "net/socket.h"
#include "net/x509.h"

#define LINGER_MS       2000
#define LINGER_MAX      (64 * 1024 * 1024)
#define OUTPUT_MAX      (256 * 1024) /* a pipelining client reads before it gets more */
#define EMPTY_LINES_MAX 4

static void unref(struct http_conn *c)
{
    if (--c->refs == 0) {
        free(c->common_name);
        (void)x509_names_free(c->organizations);
#ifndef __clang_analyzer__ /* it does not count references */
        free(c);
#endif
    }
}

static struct evbuffer *input(const struct http_conn *c)
{
    return bufferevent_get_input(c->bev);
}

static size_t pending(const struct http_conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

void http_conn_close(struct http_conn *c)
{
    if (!c->bev)
        return;
    struct http_server *s = c->server;
    struct http_exchange *x = TAKE_PTR(c->x);
    bufferevent_free(c->bev);
    c->bev = NULL;
    loop_timer_done(&c->timer);
    loop_deferred_done(&c->work);
    list_remove(&c->entry);
    s->n_conns--;
    if (s->draining && s->n_conns == 0 && s->drain_cb)
        loop_defer(&s->drained);
    if (x)
        http_exchange_vanished(x);
    unref(c);
}

void http_conn_wake(struct http_conn *c)
{
    loop_defer(&c->work);
}

/* At its high watermark libevent would call us again and again: reading stops instead, until some
 * of the input has been used. */
static void throttle(struct http_conn *c)
{
    size_t len = evbuffer_get_length(input(c));
    if (!c->full && len >= HTTP_INPUT_MAX) {
        c->full = true;
        (void)bufferevent_disable(c->bev, EV_READ);
    } else if (c->full && len < HTTP_INPUT_MAX / 2 && !c->peer_eof) {
        c->full = false;
        (void)bufferevent_enable(c->bev, EV_READ);
    }
}

/* ---- closing in order: flush, shut our direction, wait for the client ---- */

static void linger(struct http_conn *c)
{
    SSL *ssl = bufferevent_openssl_get_ssl(c->bev);
    c->state = CONN_LINGER;
    if (ssl) {
        (void)SSL_shutdown(ssl);
        ERR_clear_error();
    }
    if (c->peer_eof) {
        http_conn_close(c);
        return;
    }
    (void)shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    (void)evbuffer_drain(input(c), evbuffer_get_length(input(c)));
    throttle(c);
    loop_timer_set(&c->timer, LINGER_MS);
}

static void flush_and_close(struct http_conn *c)
{
    c->state = CONN_FLUSH;
    loop_timer_stop(&c->timer); /* the write timeout guards what follows */
    bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
    if (c->broken)
        http_conn_close(c);
    else if (pending(c) == 0)
        linger(c);
}

void http_conn_retire(struct http_conn *c)
{
    if (c->state != CONN_HEAD)
        return;
    if (pending(c) > 0)
        flush_and_close(c);
    else
        http_conn_close(c);
}

/* Answers what never became an exchange. */
static void refuse(struct http_conn *c, int status, const char *text)
{
    (void)evbuffer_add_printf(bufferevent_get_output(c->bev),
                              "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                              "Connection: close\r\nContent-Length: %zu\r\n\r\n%s\n",
                              status, http_status_text(status), strlen(text) + 1, text);
    flush_and_close(c);
}

/* ---- the body ---- */

static void stop_body_timer(struct http_conn *c)
{
    if (c->state == CONN_BUSY)
        loop_timer_stop(&c->timer);
}

static bool wants_body(const struct http_conn *c)
{
    const struct http_exchange *x = c->x;
    return !x || ((x->body_mode == BODY_WHOLE || x->body_mode == BODY_STREAM) && !x->body_paused);
}

/* A piece for the exchange, or for nobody when that has ended. */
static void give(struct http_conn *c, const char *data, size_t len)
{
    if (c->x)
        http_exchange_body_piece(c->x, data, len);
    else
        c->discarded += len;
}

/* The next piece of the body, given away and drained. False: more must arrive, or it has ended, or
 * it is malformed (*malformed). */
static bool feed_piece(struct http_conn *c, bool *malformed)
{
    size_t len = evbuffer_get_contiguous_space(input(c));
    size_t used = len, piece_len = len;
    if (len == 0)
        return false;
    const char *data = (const char *)evbuffer_pullup(input(c), (ev_ssize_t)len), *piece = data;
    if (c->framing == HTTP_BODY_LENGTH) {
        if (len > c->left)
            used = piece_len = (size_t)c->left;
        c->left -= used;
        c->body_done = c->left == 0;
    } else {
        ssize_t n = http_chunked_feed(&c->chunked, data, len, &piece, &piece_len);
        if (n < 0) {
            *malformed = true;
            return false;
        }
        used = (size_t)n;
        c->body_done = http_chunked_ended(&c->chunked);
    }
    if (piece_len > 0)
        give(c, piece, piece_len);
    if (!c->bev)
        return false;
    (void)evbuffer_drain(input(c), used);
    return true;
}

/* Feeds the exchange, or throws away, what has arrived of the body. */
static void feed_body(struct http_conn *c)
{
    bool malformed = false;
    while (c->bev && !c->body_done && wants_body(c) && feed_piece(c, &malformed))
        continue;
    if (!c->bev)
        return;
    if (malformed) {
        c->keep_alive = false;
        c->body_done = true;
        if (c->x)
            http_exchange_body_end(c->x, -EBADMSG);
        return;
    }
    if (!c->body_done) {
        if (c->peer_eof && evbuffer_get_length(input(c)) == 0 && c->x)
            http_conn_close(c);
        else if (c->peer_eof && evbuffer_get_length(input(c)) == 0)
            flush_and_close(c);
        else if (wants_body(c))
            loop_timer_set(&c->timer, c->server->options.body_timeout_ms);
        else
            stop_body_timer(c);
        return;
    }
    stop_body_timer(c);
    if (c->x && wants_body(c))
        http_exchange_body_end(c->x, 0);
}

/* ---- heads ---- */

static void fill_peer(struct http_conn *c)
{
    static const char *const none[] = {NULL};
    struct http_peer *p = &c->peer;
    SSL *ssl = bufferevent_openssl_get_ssl(c->bev);
    p->common_name = "";
    p->organizations = none;
    p->tls = ssl != NULL;
    X509 *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
    if (!cert)
        return;
    long result = tls_server_verify_result(ssl);
    p->has_certificate = true;
    p->verified = result == X509_V_OK;
    p->verify_error = p->verified ? NULL : X509_verify_cert_error_string(result);
    c->common_name = x509_common_name(cert);
    (void)x509_organizations(cert, &c->organizations);
    p->common_name = c->common_name ? c->common_name : "";
    p->organizations = (const char *const *)(uintptr_t)c->organizations;
    X509_free(cert);
}

static void start_exchange(struct http_conn *c, struct http_head *head)
{
    const char *expect = http_headers_get(&head->headers, "Expect");
    struct error err = ERROR_INIT;
    c->framing = head->framing;
    c->left = head->length;
    c->chunked = (struct http_chunked)HTTP_CHUNKED_INIT;
    c->body_done = head->framing == HTTP_BODY_NONE;
    c->keep_alive = head->keep_alive;
    c->discarded = 0;
    c->continue_wanted = false;
    if (expect && head->minor == 1) {
        if (!http_headers_has_token(&head->headers, "Expect", "100-continue")) {
            refuse(c, 417, "only 100-continue can be expected");
            return;
        }
        c->continue_wanted = !c->body_done;
    }
    if (c->served++ == 0)
        fill_peer(c);
    struct http_exchange *x = http_exchange_new(c, head, &err);
    if (!x) {
        refuse(c, 400, err.text);
        return;
    }
    c->x = x;
    c->state = CONN_BUSY;
    loop_timer_stop(&c->timer);
    http_conn_set_patient(c, false);
    c->server->handler(x, c->server->arg);
}

/* Returns whether it is worth looking again. */
static bool read_head(struct http_conn *c)
{
    size_t len = evbuffer_get_length(input(c));
    if (len > HTTP_HEAD_MAX + 1)
        len = HTTP_HEAD_MAX + 1;
    const char *data = len ? (const char *)evbuffer_pullup(input(c), (ev_ssize_t)len) : NULL;
    ssize_t n = len ? http_head_find(data, len, &c->scanned) : 0;
    if (n == 0) {
        if (c->peer_eof)
            flush_and_close(c);
        return false;
    }
    if (n < 0) {
        refuse(c, n == -E2BIG ? 431 : 400,
               n == -E2BIG ? "request head too large" : "malformed request");
        return false;
    }
    c->scanned = 0;
    if (n == 2) { /* an empty line before the request (RFC 9112 section 2.2) */
        (void)evbuffer_drain(input(c), 2);
        if (++c->discarded > EMPTY_LINES_MAX)
            refuse(c, 400, "malformed request");
        return true;
    }
    struct http_head head;
    struct error err = ERROR_INIT;
    int r = http_request_parse(data, (size_t)n, &head, &err);
    (void)evbuffer_drain(input(c), (size_t)n);
    if (r < 0)
        refuse(c, head.status, err.text);
    else if (strcmp(head.method, "CONNECT") == 0)
        refuse(c, 501, "CONNECT is not supported");
    else
        start_exchange(c, &head);
    http_head_done(&head);
    return true;
}

/* ---- what moves a connection forward ---- */

static void next_request(struct http_conn *c)
{
    if (!c->keep_alive || c->server->draining || c->broken) {
        flush_and_close(c);
        return;
    }
    c->state = CONN_HEAD;
    c->discarded = 0;
    loop_timer_set(&c->timer, c->server->options.idle_timeout_ms);
}

static void send_continue(struct http_conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    c->continue_wanted = false;
    if (evbuffer_get_length(input(c)) == 0)
        (void)bufferevent_write(c->bev, text, sizeof(text) - 1);
}

static void advance(struct http_conn *c)
{
    c->refs++;
    for (bool again = true; again && c->bev;) {
        again = false;
        if (c->state == CONN_HEAD) {
            if (pending(c) <= OUTPUT_MAX)
                again = read_head(c);
            continue;
        }
        if (c->state != CONN_BUSY)
            break;
        if (c->peer_eof && c->x && c->x->on_close) {
            http_conn_close(c);
            break;
        }
        if (c->x && c->continue_wanted && wants_body(c) && !c->x->begun)
            send_continue(c);
        if (!c->x && !c->body_done &&
            (!c->keep_alive || c->continue_wanted ||
             (c->framing == HTTP_BODY_LENGTH && c->left > HTTP_DISCARD_MAX) ||
             c->discarded > HTTP_DISCARD_MAX)) {
            flush_and_close(c); /* not worth reading the rest of a body that nobody wants */
            break;
        }
        const struct http_exchange *before = c->x;
        if (!c->body_done ||
            (before && before->body_mode != BODY_UNASKED && before->body_mode != BODY_TOLD))
            feed_body(c);
        if (!c->bev || c->state != CONN_BUSY)
            break;
        if (!c->x && c->body_done) {
            next_request(c);
            again = true;
        } else if (!c->x && before) {
            again = true; /* it ended just now */
        }
    }
    if (c->bev)
        throttle(c);
    unref(c);
}

static void on_work(void *arg)
{
    advance(arg);
}

static void on_readable(_unused_ struct bufferevent *bev, void *arg)
{
    struct http_conn *c = arg;
    if (c->state == CONN_LINGER || c->state == CONN_FLUSH) {
        size_t len = evbuffer_get_length(input(c));
        (void)evbuffer_drain(input(c), len);
        c->lingered += len;
        if (c->lingered > LINGER_MAX)
            http_conn_close(c);
        return;
    }
    if (c->state == CONN_HEAD && c->scanned == 0)
        loop_timer_set(&c->timer, c->server->options.head_timeout_ms);
    advance(c);
}

static void on_written(_unused_ struct bufferevent *bev, void *arg)
{
    struct http_conn *c = arg;
    if (c->state == CONN_FLUSH) {
        if (pending(c) == 0)
            linger(c);
        return;
    }
    c->refs++;
    if (c->x)
        http_exchange_sent(c->x);
    if (c->bev && c->state == CONN_HEAD)
        advance(c);
    unref(c);
}

static void on_event(_unused_ struct bufferevent *bev, short what, void *arg)
{
    struct http_conn *c = arg;
    if (what & BEV_EVENT_CONNECTED)
        return;
    if (!(what & BEV_EVENT_EOF)) {
        c->broken = true;
        http_conn_close(c);
        return;
    }
    c->peer_eof = true;
    /* A client that has ended its direction may still read the reply; one whose exchange asked to
     * be told (watches, logs) is taken to be gone, as nothing else would tell: see advance(). */
    if (c->state == CONN_LINGER)
        http_conn_close(c);
    else
        advance(c);
}

static void on_timer(void *arg)
{
    struct http_conn *c = arg;
    if (c->state == CONN_HEAD && (c->scanned > 0 || evbuffer_get_length(input(c)) > 0))
        refuse(c, 408, "the request did not arrive in time");
    else
        http_conn_close(c);
}

static void describe_address(struct http_conn *c, int fd)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    socklen_t len = sizeof(sa);
    (void)getpeername(fd, (struct sockaddr *)&sa, &len);
    memcpy(&v4, &sa, sizeof(v4));
    memcpy(&v6, &sa, sizeof(v6));
    c->peer.address = c->address;
    if (sa.ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4.sin_addr, c->address, sizeof(c->address));
        c->peer.port = ntohs(v4.sin_port);
    } else if (sa.ss_family == AF_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
        (void)inet_ntop(mapped ? AF_INET : AF_INET6, v6.sin6_addr.s6_addr + (mapped ? 12 : 0),
                        c->address, sizeof(c->address));
        c->peer.port = ntohs(v6.sin6_port);
    } else if (sa.ss_family == AF_UNIX) {
        struct ucred cred = {.uid = (uid_t)-1};
        len = sizeof(cred);
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
        c->peer.is_unix = true;
        c->peer.uid = cred.uid;
        c->peer.pid = cred.pid;
    }
    if (sa.ss_family == AF_INET || sa.ss_family == AF_INET6)
        socket_tune(fd);
}

static void set_write_timeout(struct http_conn *c, uint64_t ms)
{
    const struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
                               .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    (void)bufferevent_set_timeouts(c->bev, NULL, ms ? &tv : NULL);
}

void http_conn_set_patient(struct http_conn *c, bool patient)
{
    if (c->patient == patient)
        return;
    c->patient = patient;
    set_write_timeout(c, patient ? 0 : c->server->options.write_timeout_ms);
    socket_set_patient((int)bufferevent_getfd(c->bev), patient);
}

int http_conn_new(struct http_server *s, int fd, struct tls_server *tls)
{
    const int flags = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
    struct http_conn *c = mem_zalloc(sizeof(*c));
    (void)evutil_make_socket_nonblocking(fd);
    (void)evutil_make_socket_closeonexec(fd);
    describe_address(c, fd);
    c->bev = tls ? bufferevent_openssl_socket_new(loop_base(s->loop), fd, tls_server_ssl(tls),
                                                  BUFFEREVENT_SSL_ACCEPTING, flags)
                 : bufferevent_socket_new(loop_base(s->loop), fd, flags);
    if (!c->bev)
        abort();
    c->server = s;
    c->refs = 1;
    loop_timer_init(&c->timer, s->loop, "http connection", on_timer, c);
    loop_deferred_init(&c->work, s->loop, on_work, c);
    list_append(&s->conns, &c->entry);
    s->n_conns++;
    set_write_timeout(c, s->options.write_timeout_ms);
    bufferevent_setwatermark(c->bev, EV_READ, 0, HTTP_INPUT_MAX);
    bufferevent_setcb(c->bev, on_readable, on_written, on_event, c);
    (void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    loop_timer_set(&c->timer, s->options.head_timeout_ms);
    return 0;
}

void http_conn_exchange_ended(struct http_conn *c, bool keep)
{
    c->x = NULL;
    c->keep_alive = c->keep_alive && keep;
    bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
    http_conn_wake(c);
}

struct stream *http_conn_hand_over(struct http_conn *c)
{
    struct bufferevent *bev = TAKE_PTR(c->bev);
    struct http_server *s = c->server;
    struct loop *loop = s->loop;
    loop_timer_done(&c->timer);
    loop_deferred_done(&c->work);
    list_remove(&c->entry);
    s->n_conns--;
    if (s->draining && s->n_conns == 0 && s->drain_cb)
        loop_defer(&s->drained);
    c->x = NULL;
    unref(c);
    return stream_new_bufferevent(loop, bev);
}
