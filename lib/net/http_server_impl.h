/*
 * Inside the HTTP server: http_server.c listens, http_conn.c reads requests from connections,
 * http_exchange.c is what handlers call. A connection serves one exchange at a time; an exchange
 * outlives its connection (x->conn is NULL then) until its handler ends it.
 */
#pragma once

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "base/loop.h"
#include "base/list.h"
#include "net/http_parse.h"
#include "net/http_server.h"

#define HTTP_INPUT_MAX   (128 * 1024) /* read ahead from one connection */
#define HTTP_DISCARD_MAX (256 * 1024) /* of a body that nobody wants, to keep the connection */

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    http_handler_fn handler;
    void *arg;
    struct list listeners;
    struct list conns;
    size_t n_conns;
    bool draining;
    struct loop_timer drain_timer;
    void (*drain_cb)(void *arg);
    void *drain_arg;
    struct loop_deferred drained;
};

enum http_conn_state {
    CONN_HEAD,   /* reading a head, or idle between requests */
    CONN_BUSY,   /* an exchange is on; its body may still be coming */
    CONN_FLUSH,  /* closing: sending what is pending */
    CONN_LINGER, /* our direction is shut; reading until the client closes */
};

struct http_conn {
    struct http_server *server;
    struct list entry;
    struct bufferevent *bev; /* NULL once closed */
    unsigned refs;
    enum http_conn_state state;
    struct http_exchange *x;
    struct loop_timer timer;
    struct loop_deferred work;
    size_t scanned;       /* of a head that is not whole */
    size_t served;        /* exchanges begun */
    bool patient;         /* no timeouts while the current reply is pending */
    bool full;            /* reading is off: the input is at its mark */
    bool peer_eof;        /* the client has ended its direction */
    bool broken;          /* the carrier has failed: nothing can be sent */
    bool keep_alive;      /* after the current exchange */
    bool body_done;       /* the body of the current request was read to its end */
    bool continue_wanted; /* the client waits for 100 */
    enum http_framing framing;
    uint64_t left;
    struct http_chunked chunked;
    size_t discarded, lingered;
    struct http_peer peer;
    char address[64];
    char *common_name;
    char **organizations;
};

enum http_body_mode { BODY_UNASKED, BODY_WHOLE, BODY_STREAM, BODY_TOLD };

struct http_exchange {
    struct http_conn *conn; /* NULL: the client has vanished */
    struct loop *loop;
    struct loop_deferred work; /* callbacks that are due after the client vanished */
    struct http_head head;
    char *decoded_path;
    struct http_query query;
    struct http_peer peer; /* strings owned by the exchange */
    void *data;
    struct http_headers reply_headers;

    enum http_body_mode body_mode;
    size_t body_limit;
    struct strbuf body;
    http_body_fn body_cb;
    void (*stream_data)(struct http_exchange *x, const void *data, size_t len, void *arg);
    void (*stream_end)(struct http_exchange *x, int result, void *arg);
    void *body_arg;
    bool body_paused;

    bool begun, chunked, until_close, ended;
    int64_t promised; /* bytes of the reply's body still to come; -1: not known */
    size_t drain_low;
    bool drain_above;
    void (*on_drain)(struct http_exchange *x, void *arg);
    void *drain_arg;
    void (*on_close)(struct http_exchange *x, void *arg);
    void *close_arg;
    bool close_due;
};

/* ---- http_conn.c ---- */

/* Serves a connected socket; takes @fd in any case. */
int http_conn_new(struct http_server *s, int fd, struct tls_server *tls);
/* Closes at once; an exchange loses its connection. */
void http_conn_close(struct http_conn *c);
/* Closes a connection that is between requests, once its last reply is sent. */
void http_conn_retire(struct http_conn *c);
/* Looks again at what can be done: the exchange has ended or wants its body. Later, on the loop. */
void http_conn_wake(struct http_conn *c);
/* The exchange has ended; @keep: its reply was whole. */
void http_conn_exchange_ended(struct http_conn *c, bool keep);
/* Whether the client must take bytes in time. */
void http_conn_set_patient(struct http_conn *c, bool patient);
/* Gives the byte stream away. */
struct stream *http_conn_hand_over(struct http_conn *c);

/* ---- http_exchange.c ---- */
struct http_exchange *http_exchange_new(struct http_conn *c, struct http_head *head,
                                        struct error *err);
void http_exchange_free(struct http_exchange *x);
/* Tells the handler a piece or the end of the body; it may end the exchange. */
void http_exchange_body_piece(struct http_exchange *x, const char *data, size_t len);
void http_exchange_body_end(struct http_exchange *x, int result);
/* The connection has gone. */
void http_exchange_vanished(struct http_exchange *x);
/* Bytes were sent. */
void http_exchange_sent(struct http_exchange *x);
