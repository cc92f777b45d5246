/* SPDY as the framing of the streaming sub-protocols, and their negotiation: see remote_framing.h.
 */
#include "net/remote_framing.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "net/spdy.h"

/* ---- SPDY ---- */

struct remote_framing {
    struct spdy_session *session;
    const struct remote_framing_handler *handler;
    void *arg;
};

static void on_stream(_unused_ struct spdy_session *s, struct stream *stream, void *arg)
{
    const struct remote_framing *f = arg;
    f->handler->on_stream(stream, spdy_headers(stream), f->arg);
}

static void on_close(_unused_ struct spdy_session *s, const struct error *err, void *arg)
{
    const struct remote_framing *f = arg;
    f->handler->on_close(err, f->arg);
}

static const struct spdy_handler spdy_handler = {.on_stream = on_stream, .on_close = on_close};

static struct remote_framing *start_spdy(struct loop *loop, struct stream *transport, bool server,
                                         const struct remote_framing_handler *handler, void *arg)
{
    struct remote_framing *f = mem_zalloc(sizeof(*f));
    f->handler = handler;
    f->arg = arg;
    f->session = spdy_session_new(loop, transport, server, &spdy_handler, f);
    return f;
}

static struct stream *open_spdy(struct remote_framing *f, const struct http_headers *headers,
                                void (*on_reply)(struct stream *stream, int result,
                                                 const struct http_headers *headers, void *arg),
                                void *arg)
{
    return spdy_open(f->session, headers, on_reply, arg);
}

static void accept_spdy(struct stream *stream)
{
    spdy_accept(stream, NULL);
}

static void finish_spdy(struct remote_framing *f)
{
    (void)spdy_session_free(f->session);
    free(f);
}

static void abort_spdy(struct remote_framing *f)
{
    (void)spdy_session_abort(f->session);
    free(f);
}

const struct remote_framing_ops remote_framing_spdy = {
    .protocol = "SPDY/3.1",
    .start = start_spdy,
    .open = open_spdy,
    .accept = accept_spdy,
    .refuse = spdy_refuse,
    .id = spdy_stream_id,
    .finish = finish_spdy,
    .abort = abort_spdy,
};

/* ---- negotiation ---- */

static const struct remote_framing_ops *const framings[] = {&remote_framing_spdy};

/* The client's first that is ours; it may list them in one field or in several. */
static const char *choose(const struct http_headers *h, const char *const *ours)
{
    const char *value, *last = NULL;
    for (size_t i = 0; ours[i]; i++)
        last = ours[i];
    if (http_headers_count(h, REMOTE_VERSION) == 0)
        return last; /* from before there were versions */
    for (size_t n = 0; (value = http_headers_get_nth(h, REMOTE_VERSION, n)); n++) {
        for (const char *p = value; *p;) {
            p += strspn(p, ", \t");
            size_t len = strcspn(p, ", \t");
            for (size_t i = 0; ours[i]; i++)
                if (strlen(ours[i]) == len && strncmp(ours[i], p, len) == 0)
                    return ours[i];
            p += len;
        }
    }
    return NULL;
}

int remote_upgrade(struct http_exchange *x, const char *const *ours,
                   const struct remote_framing_ops **ret_ops, const char **ret_protocol,
                   struct stream **ret, struct error *err)
{
    const struct remote_framing_ops *ops = NULL;
    for (size_t i = 0; !ops && i < ARRAY_SIZE(framings); i++)
        if (http_exchange_wants_upgrade(x, framings[i]->protocol))
            ops = framings[i];
    if (!ops) {
        http_exchange_replyf(x, 400, "this needs an upgraded connection: SPDY/3.1\n");
        return error_set(err, -EINVAL, "the request asks for no upgrade that is known here");
    }
    const char *protocol = choose(http_exchange_headers(x), ours);
    if (!protocol) {
        for (size_t i = 0; ours[i]; i++)
            http_exchange_add_header(x, "X-Accepted-Stream-Protocol-Versions", ours[i]);
        http_exchange_replyf(x, 403, "none of the client's protocol versions is known here\n");
        return error_set(err, -EINVAL, "no protocol version in common with the client");
    }
    http_exchange_add_header(x, REMOTE_VERSION, protocol);
    int r = http_exchange_upgrade(x, ops->protocol, ret);
    if (r == -EPIPE) {
        http_exchange_abort(x);
        return error_set(err, r, "the client has gone");
    }
    if (r < 0) {
        http_exchange_replyf(x, 400, "an upgrade request cannot have a body\n");
        return error_set(err, r, "the upgrade request has a body");
    }
    *ret_ops = ops;
    *ret_protocol = protocol;
    return 0;
}

void remote_message(const char *text, size_t len, struct strbuf *out)
{
    _cleanup_json_ json_t *j = len > 0 && text[0] == '{' ? json_parse(text, len, NULL) : NULL;
    const char *message = json_path_string(j, "message");
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (message)
        strbuf_adds(out, message);
    else
        strbuf_add(out, text, len);
}

static int code_of(int status)
{
    switch (status) {
    case 401:
    case 403:
        return -EACCES;
    case 404:
        return -ENOENT;
    default:
        return -EIO;
    }
}

int remote_check_response(struct stream *stream, const struct upgrade_response *response,
                          const struct error *failure, const char *protocol, struct error *err)
{
    if (!response) {
        *err = *failure;
        return failure->code;
    }
    if (!stream) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        remote_message(response->body, response->body_len, &text);
        return error_set(err, code_of(response->status), "%s",
                         text.len ? text.data : http_status_text(response->status));
    }
    const char *chosen = http_headers_get(response->headers, REMOTE_VERSION);
    if (!http_headers_has_token(response->headers, "Upgrade", remote_framing_spdy.protocol) ||
        !chosen || strcmp(chosen, protocol) != 0)
        return error_set(err, -EPROTONOSUPPORT, "the server does not speak %s over %s", protocol,
                         remote_framing_spdy.protocol);
    return 0;
}
