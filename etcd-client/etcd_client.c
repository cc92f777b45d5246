/*
 * Opening, endpoints, authentication, and the life of a unary call.
 *
 * One endpoint is in use by everybody at a time. When it fails a call, that call and everything
 * after it go to the next one; nothing goes back before that one fails in turn. A call keeps its
 * encoded request until it is over, so that it can be made again.
 *
 * With a user, calls wait until a token was had, and a token that is refused (it expired, or the
 * users changed) is renewed and the call made again: etcd refuses it before it does anything.
 */
#include <errno.h>

#include "base/fs.h"
#include "etcd-client/etcd_internal.h"

#define ENDPOINTS_MAX   64
#define PEM_MAX         (1u << 20)
#define CONNECT_MS      2000
#define DEADLINE_MS     10000
#define KEEPALIVE_MS    30000
#define REAUTH_MAX      2
#define BACKOFF_FIRST   50
#define BACKOFF_LONGEST 1000

struct etcd_call {
    struct list entry;
    struct etcd *e;
    const struct etcd_method *method;
    void *request;
    size_t len;
    bool repeatable;
    uint64_t give_up_at; /* now_ms() */
    size_t endpoint;
    unsigned tries, reauths;
    struct rpc_call *rpc; /* under way */
    bool waiting;         /* for authentication */
    struct loop_timer timer;
    int code; /* of the last failure, when the deadline passes */
    char *message;
    etcd_reply_fn *cb;
    void *arg;
};

static void call_start(struct etcd_call *c);

/* ---- errors ---- */
int etcd_code(enum rpc_status status, const char *message)
{
    switch (status) {
    case RPC_OUT_OF_RANGE:
        return strstr(message, "compacted") ? ETCD_E_COMPACTED : ETCD_E_FUTURE;
    case RPC_NOT_FOUND:
        return ETCD_E_NOT_FOUND;
    case RPC_FAILED_PRECONDITION:
        return strstr(message, "lease already exists") ? ETCD_E_EXISTS : -EINVAL;
    case RPC_PERMISSION_DENIED:
        return -EACCES;
    case RPC_UNAUTHENTICATED:
        return -EPERM;
    case RPC_INVALID_ARGUMENT:
        if (strstr(message, "authentication failed") || strstr(message, "user name is empty"))
            return -EPERM;
        return strstr(message, "too large") ? -EMSGSIZE : -EINVAL;
    case RPC_RESOURCE_EXHAUSTED:
        if (strstr(message, "space exceeded"))
            return -ENOSPC;
        return strstr(message, "too many requests") ? -EAGAIN : -EMSGSIZE;
    case RPC_UNAVAILABLE:
        if (rpc_never_sent(status, message))
            return -ECONNREFUSED;
        if (strstr(message, "timed out"))
            return -ETIMEDOUT;
        return str_starts(message, "etcdserver:") ? -EAGAIN : -ECONNRESET;
    case RPC_DEADLINE_EXCEEDED:
        return -ETIMEDOUT;
    default:
        return -EIO;
    }
}

/* ---- endpoints ---- */
void etcd_endpoint_failed(struct etcd *e, size_t index)
{
    e->endpoints[index].exact_progress = 0; /* another version may come back */
    if (e->current == index)
        e->current = (index + 1) % e->n_endpoints;
}

uint64_t etcd_backoff(const struct etcd *e, unsigned tries)
{
    unsigned round = tries / (unsigned)e->n_endpoints;
    if (tries % e->n_endpoints != 0)
        return 0;
    uint64_t ms = (uint64_t)BACKOFF_FIRST << (round > 6 ? 6 : round);
    return ms > BACKOFF_LONGEST ? BACKOFF_LONGEST : ms;
}

const char *etcd_endpoint(const struct etcd *etcd)
{
    return etcd->endpoints[etcd->current].url;
}

static int endpoint_parse(struct endpoint *ep, const char *url, bool tls, struct error *err)
{
    const char *rest = url;
    ep->url = str_dup(url);
    ep->tls = tls;
    if (str_starts(url, "unix://")) {
        if (url[strlen("unix://")] != '/')
            return error_set(err, -EINVAL, "endpoint \"%s\": the path must be absolute", url);
        ep->target = str_dup(url);
        ep->tls = false;
        ep->loopback = true;
        return 0;
    }
    if (str_starts(url, "http://")) {
        rest += strlen("http://");
        ep->tls = false;
    } else if (str_starts(url, "https://")) {
        rest += strlen("https://");
        ep->tls = true;
        if (!tls)
            return error_set(err, -EINVAL, "endpoint \"%s\" needs a CA file", url);
    }
    size_t len = strlen(rest);
    while (len > 0 && rest[len - 1] == '/')
        len--;
    const char *colon = memrchr(rest, ':', len);
    if (!colon || colon == rest || colon == rest + len - 1 || memchr(rest, '/', len))
        return error_set(err, -EINVAL, "endpoint \"%s\" is not of the form http://host:port", url);
    ep->target = str_ndup(rest, len);
    ep->loopback =
        str_starts(rest, "127.") || str_starts(rest, "localhost:") || str_starts(rest, "[::1]:");
    return 0;
}

static int read_pem(const char *path, struct strbuf *out, struct error *err)
{
    return path ? fs_read(path, PEM_MAX, out, err) : 0;
}

static int open_endpoints(struct etcd *e, const struct etcd_options *o, struct error *err)
{
    _cleanup_strbuf_ struct strbuf ca = STRBUF_INIT, cert = STRBUF_INIT, key = STRBUF_INIT;
    int r;
    if (o->n_endpoints == 0 || o->n_endpoints > ENDPOINTS_MAX)
        return error_set(err, -EINVAL, "%zu endpoints: 1 to %d can be given", o->n_endpoints,
                         ENDPOINTS_MAX);
    if ((r = read_pem(o->ca_file, &ca, err)) < 0 || (r = read_pem(o->cert_file, &cert, err)) < 0 ||
        (r = read_pem(o->key_file, &key, err)) < 0)
        return r;
    e->endpoints = mem_zalloc(o->n_endpoints * sizeof(*e->endpoints));
    for (size_t i = 0; i < o->n_endpoints; i++) {
        struct endpoint *ep = &e->endpoints[e->n_endpoints++];
        r = endpoint_parse(ep, o->endpoints[i], o->ca_file != NULL, err);
        if (r < 0)
            return r;
        struct rpc_client_options options = {
            .target = ep->target,
            .ca_pem = ep->tls ? ca.data : NULL,
            .cert_pem = ep->tls ? cert.data : NULL,
            .key_pem = ep->tls ? key.data : NULL,
            .server_name = ep->tls ? o->server_name : NULL,
            .keepalive_ms = o->keepalive_ms ? o->keepalive_ms
                            : ep->loopback  ? 0
                                            : KEEPALIVE_MS,
            .reconnect_max_ms = CONNECT_MS,
        };
        ep->client = rpc_client_new(e->rpc, &options, err);
        if (!ep->client)
            return error_prefix(err, -EINVAL, "endpoint %s", ep->url);
        /* A member cut off from the others refuses instead of answering with what it has. */
        rpc_client_set_metadata(ep->client, "hasleader", "true");
    }
    return 0;
}

static struct etcd *open_with(struct loop *loop, struct rpc *rpc, bool own,
                              const struct etcd_options *o, struct error *err)
{
    struct etcd *e = mem_zalloc(sizeof(*e));
    e->loop = loop;
    e->rpc = rpc;
    e->own_loop = own;
    e->deadline_ms = o->deadline_ms ? o->deadline_ms : DEADLINE_MS;
    e->user = str_dup(o->user);
    e->password = str_dup(o->password ? o->password : "");
    list_init(&e->calls);
    list_init(&e->watches);
    list_init(&e->keepers);
    return open_endpoints(e, o, err) < 0 ? etcd_free(e) : e;
}

struct etcd *etcd_new(struct loop *loop, struct rpc *rpc, const struct etcd_options *options,
                      char *message, size_t size)
{
    struct error err = ERROR_INIT;
    struct etcd *e = open_with(loop, rpc, false, options, &err);
    if (!e && size > 0)
        (void)snprintf(message, size, "%s", error_text(&err));
    return e;
}

struct etcd *etcd_open(const struct etcd_options *options, char *message, size_t size)
{
    struct error err = ERROR_INIT;
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new(loop, &err);
    struct etcd *e = NULL;
    if (rpc)
        e = open_with(loop, rpc, true, options, &err);
    else
        (void)loop_free(loop);
    if (!e && size > 0)
        (void)snprintf(message, size, "%s", error_text(&err));
    return e;
}

int etcd_run(struct etcd *etcd)
{
    return loop_run(etcd->loop);
}

void etcd_stop(struct etcd *etcd, int code)
{
    loop_stop(etcd->loop, code);
}

struct etcd *etcd_free(struct etcd *etcd)
{
    if (!etcd)
        return NULL;
    struct list *entry;
    while ((entry = list_pop(&etcd->calls)))
        etcd_cancel(LIST_ENTRY(entry, struct etcd_call, entry));
    while ((entry = list_pop(&etcd->watches)))
        etcd_watch_cancel(etcd_watch_of(entry));
    while ((entry = list_pop(&etcd->keepers)))
        etcd_lease_keep_cancel(etcd_keeper_of(entry));
    for (size_t i = 0; i < etcd->n_endpoints; i++) {
        (void)rpc_client_free(etcd->endpoints[i].client);
        free(etcd->endpoints[i].url);
        free(etcd->endpoints[i].target);
    }
    free(etcd->endpoints);
    free(etcd->user);
    free(etcd->password);
    free(etcd->token);
    if (etcd->own_loop) {
        (void)rpc_free(etcd->rpc);
        (void)loop_free(etcd->loop);
    }
    free(etcd);
    return NULL;
}

/* ---- calls ---- */
static void call_release(struct etcd_call *c)
{
    list_remove(&c->entry);
    loop_timer_done(&c->timer);
    free(c->request);
    free(c->message);
    free(c);
}

static void call_fail(struct etcd_call *c, int code, const char *message)
{
    list_remove(&c->entry);
    c->cb(c->arg, code, message, NULL);
    call_release(c);
}

static void call_succeed(struct etcd_call *c, const ProtobufCMessage *response)
{
    struct etcd_reply reply = {0};
    int r = c->method->parse(response, &reply);
    list_remove(&c->entry);
    if (r != 0)
        c->cb(c->arg, r, r > 0 ? "not found" : "etcd's answer does not fit the request", NULL);
    else
        c->cb(c->arg, 0, "", &reply);
    etcd_reply_done(&reply);
    call_release(c);
}

static uint64_t time_left(const struct etcd_call *c)
{
    uint64_t now = now_ms();
    return c->give_up_at > now ? c->give_up_at - now : 0;
}

static void on_retry(void *arg)
{
    struct etcd_call *c = arg;
    if (time_left(c) == 0)
        call_fail(c, c->code, c->message);
    else if (!c->waiting)
        call_start(c);
}

/* Another attempt, at another endpoint or later; ends with the last failure at the deadline. */
static void call_retry(struct etcd_call *c, int code, const char *message)
{
    c->waiting = false;
    c->code = code;
    free(c->message);
    c->message = str_dup(message);
    etcd_endpoint_failed(c->e, c->endpoint);
    uint64_t delay = etcd_backoff(c->e, ++c->tries), left = time_left(c);
    if (left == 0)
        call_fail(c, code, c->message);
    else if (delay == 0)
        call_start(c);
    else
        loop_timer_set(&c->timer, delay < left ? delay : left);
}

static void on_answer(void *arg, enum rpc_status status, const char *message,
                      const ProtobufCMessage *response)
{
    struct etcd_call *c = arg;
    c->rpc = NULL;
    if (status == RPC_OK) {
        call_succeed(c, response);
        return;
    }
    if (c->reauths < REAUTH_MAX && etcd_token_refused(c->e, status, message)) {
        c->reauths++;
        call_start(c);
        return;
    }
    int code = etcd_code(status, message);
    bool lost = status == RPC_UNAVAILABLE || (status == RPC_DEADLINE_EXCEEDED && time_left(c) > 0);
    bool unseen = rpc_never_sent(status, message) || strstr(message, "etcdserver: no leader");
    if (unseen || (lost && c->repeatable))
        call_retry(c, code == -ECONNRESET ? -ECONNREFUSED : code, message);
    else
        call_fail(c, code, message);
}

static void call_start(struct etcd_call *c)
{
    c->waiting = !etcd_ready(c->e);
    if (c->waiting) { /* for a token, until the deadline */
        c->code = -ETIMEDOUT;
        free(c->message);
        c->message = str_dup("etcd's authentication does not answer");
        loop_timer_set(&c->timer, time_left(c) + 1);
        return;
    }
    loop_timer_stop(&c->timer);
    c->endpoint = c->e->current;
    uint64_t ms = time_left(c);
    /* A member that hangs must not use up the time of a read that others could answer. */
    if (c->repeatable && c->e->n_endpoints > 1 && ms > 2000)
        ms /= 2;
    c->rpc = rpc_client_call_encoded(c->e->endpoints[c->endpoint].client, &c->method->rpc,
                                     c->request, c->len, ms ? ms : 1, on_answer, c);
}

struct etcd_call *etcd_call_new(struct etcd *e, const struct etcd_method *method,
                                const ProtobufCMessage *request, bool repeatable,
                                uint64_t deadline_ms, etcd_reply_fn *cb, void *arg)
{
    struct etcd_call *c = mem_zalloc(sizeof(*c));
    c->e = e;
    c->method = method;
    c->repeatable = repeatable;
    c->cb = cb;
    c->arg = arg;
    c->give_up_at = now_ms() + (deadline_ms ? deadline_ms : e->deadline_ms);
    c->len = protobuf_c_message_get_packed_size(request);
    c->request = mem_zalloc(c->len + 1);
    (void)protobuf_c_message_pack(request, c->request);
    loop_timer_init(&c->timer, e->loop, "etcd call", on_retry, c);
    list_append(&e->calls, &c->entry);
    call_start(c);
    return c;
}

void etcd_cancel(struct etcd_call *call)
{
    if (!call)
        return;
    rpc_call_cancel(call->rpc);
    call_release(call);
}

/* ---- authentication ---- */
static const struct rpc_method authenticate = {"/etcdserverpb.Auth/Authenticate",
                                               &etcdserverpb__authenticate_response__descriptor};

/* Starts, or fails, what waits; calls that callbacks make meanwhile wait for the next time. */
static void wake_waiting(struct etcd *e, int code, const char *message)
{
    struct list waiting, *first;
    list_init(&waiting);
    LIST_FOR_EACH(entry, &e->calls)
        if (LIST_ENTRY(entry, struct etcd_call, entry)->waiting) {
            list_remove(entry);
            list_append(&waiting, entry);
        }
    while ((first = list_pop(&waiting))) {
        struct etcd_call *c = LIST_ENTRY(first, struct etcd_call, entry);
        list_append(&e->calls, &c->entry);
        c->endpoint = e->auth_endpoint;
        if (code == 0)
            call_start(c);
        else if (code == -EPERM || code == -EACCES || code == -EINVAL)
            call_fail(c, code, message);
        else
            call_retry(c, code == -ECONNRESET ? -ECONNREFUSED : code, message);
    }
    LIST_FOR_EACH(entry, &e->watches)
        etcd_watch_wake(etcd_watch_of(entry));
    LIST_FOR_EACH(entry, &e->keepers)
        etcd_keeper_wake(etcd_keeper_of(entry));
}

static void on_token(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct etcd *e = arg;
    e->authenticating = NULL;
    e->auth_code = 0;
    if (status == RPC_OK) {
        const Etcdserverpb__AuthenticateResponse *r = (const void *)response;
        e->token = str_dup(r->token);
    } else if (status == RPC_FAILED_PRECONDITION) {
        e->token = str_dup(""); /* authentication is not enabled there: nothing to send */
    } else {
        e->auth_code = etcd_code(status, message);
        etcd_endpoint_failed(e, e->auth_endpoint);
    }
    for (size_t i = 0; e->token && i < e->n_endpoints; i++)
        rpc_client_set_metadata(e->endpoints[i].client, "token", e->token[0] ? e->token : NULL);
    wake_waiting(e, e->auth_code, message);
}

bool etcd_ready(struct etcd *e)
{
    if (!e->user || e->token)
        return true;
    if (!e->authenticating) {
        Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
        request.name = e->user;
        request.password = e->password;
        e->auth_endpoint = e->current;
        e->authenticating = rpc_client_call(e->endpoints[e->current].client, &authenticate,
                                            &request.base, e->deadline_ms / 2, on_token, e);
    }
    return false;
}

bool etcd_token_refused(struct etcd *e, enum rpc_status status, const char *message)
{
    if (!e->user ||
        !(status == RPC_UNAUTHENTICATED ||
          (status == RPC_INVALID_ARGUMENT && (strstr(message, "revision of auth store is old") ||
                                              strstr(message, "user name is empty")))))
        return false;
    free(TAKE_PTR(e->token));
    return true;
}
