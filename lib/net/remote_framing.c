/*
 * The sub-protocols of remote command and port forward, and how both sides agree on one: see
 * remote_framing.h. SPDY's clients list theirs in X-Stream-Protocol-Version, WebSocket's in
 * Sec-WebSocket-Protocol; the server answers with the one it chose.
 */
#include "net/remote_framing.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

#define SPDY             "SPDY/3.1"
#define WEBSOCKET        "websocket"
#define WEBSOCKET_CHOICE "Sec-WebSocket-Protocol"
#define V4               "v4.channel.k8s.io"
#define V3               "v3.channel.k8s.io"

#define OVER_SPDY      .framing = &remote_framing_spdy
#define OVER_WEBSOCKET .framing = &remote_framing_websocket, .websocket = true
#define BY_TEXT        .resize = true, .spdy = V3
#define BY_STATUS      .resize = true, .status_object = true, .spdy = V4

const struct remote_protocol remote_command_protocols[] = {
    {.name = V4, OVER_SPDY, BY_STATUS},
    {.name = V3, OVER_SPDY, BY_TEXT},
    {.name = "v2.channel.k8s.io", OVER_SPDY},
    {.name = "channel.k8s.io", OVER_SPDY},
    {.name = "v5.channel.k8s.io", OVER_WEBSOCKET, BY_STATUS, .half_close = true},
    {.name = V4, OVER_WEBSOCKET, BY_STATUS},
    {.name = "v4.base64.channel.k8s.io", OVER_WEBSOCKET, BY_STATUS, .base64 = true},
    {.name = "base64.channel.k8s.io", OVER_WEBSOCKET, BY_TEXT, .base64 = true},
    {.name = "channel.k8s.io", OVER_WEBSOCKET, BY_TEXT},
    {.name = NULL},
};

#define PORTFORWARD "portforward.k8s.io"
const struct remote_protocol remote_portforward_protocols[] = {
    {.name = PORTFORWARD, OVER_SPDY},
    {.name = SPDY "+" PORTFORWARD,
     OVER_SPDY,
     .websocket = true,
     .tunnel = true,
     .spdy = PORTFORWARD},
    {.name = "v4.base64.channel.k8s.io", OVER_WEBSOCKET, .base64 = true, .spdy = PORTFORWARD},
    {.name = V4, OVER_WEBSOCKET, .spdy = PORTFORWARD},
    {.name = NULL},
};

static const struct remote_protocol *first(const struct remote_protocol *p, bool websocket)
{
    while (p->websocket != websocket)
        p++;
    return p;
}

const struct remote_protocol *remote_command_client(bool websocket)
{
    return first(remote_command_protocols, websocket);
}

const struct remote_protocol *remote_portforward_client(bool websocket)
{
    return first(remote_portforward_protocols, websocket);
}

/* ---- the server ---- */

static const struct remote_protocol *find(const struct remote_protocol *ours, bool websocket,
                                          const char *name, size_t len)
{
    for (const struct remote_protocol *p = ours; p->name; p++)
        if (p->websocket == websocket && strlen(p->name) == len && strncmp(p->name, name, len) == 0)
            return p;
    return NULL;
}

/* The client's first that is ours; it may list them in one field or in several. */
static const struct remote_protocol *choose(const struct http_headers *h, const char *field,
                                            const struct remote_protocol *ours, bool websocket)
{
    const struct remote_protocol *found = NULL;
    const char *value;
    if (http_headers_count(h, field) == 0) {
        for (const struct remote_protocol *p = ours; p->name; p++)
            if (p->websocket == websocket)
                found = p; /* from before there were versions */
        return found;
    }
    for (size_t n = 0; !found && (value = http_headers_get_nth(h, field, n)); n++) {
        for (const char *p = value; !found && *p;) {
            p += strspn(p, ", \t");
            size_t len = strcspn(p, ", \t");
            found = find(ours, websocket, p, len);
            p += len;
        }
    }
    return found;
}

int remote_negotiate(struct http_exchange *x, const struct remote_protocol *ours,
                     const struct remote_protocol **ret, struct error *err)
{
    bool spdy = http_exchange_wants_upgrade(x, SPDY);
    if (!spdy && !http_exchange_wants_upgrade(x, WEBSOCKET)) {
        http_exchange_replyf(x, 400,
                             "this needs an upgraded connection: " SPDY " or " WEBSOCKET "\n");
        return error_set(err, -EINVAL, "the request asks for no upgrade that is known here");
    }
    if (!spdy && websocket_check_request(x, err) < 0)
        return -EINVAL;
    const char *field = spdy ? REMOTE_VERSION : WEBSOCKET_CHOICE;
    *ret = choose(http_exchange_headers(x), field, ours, !spdy);
    if (*ret)
        return 0;
    for (const struct remote_protocol *p = ours; spdy && p->name; p++)
        if (!p->websocket)
            http_exchange_add_header(x, "X-Accepted-Stream-Protocol-Versions", p->name);
    http_exchange_replyf(x, 403, "%s: none of the client's protocols is known here\n", field);
    return error_set(err, -EINVAL, "no protocol version in common with the client");
}

int remote_upgrade(struct loop *loop, struct http_exchange *x,
                   const struct remote_protocol *protocol, struct stream **ret, struct error *err)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1];
    struct stream *stream;
    if (!protocol->websocket) {
        http_exchange_add_header(x, REMOTE_VERSION, protocol->name);
    } else {
        websocket_accept(http_exchange_header(x, "Sec-WebSocket-Key"), accept);
        http_exchange_add_header(x, "Sec-WebSocket-Accept", accept);
        if (http_exchange_header(x, WEBSOCKET_CHOICE))
            http_exchange_add_header(x, WEBSOCKET_CHOICE, protocol->name);
    }
    int r = http_exchange_upgrade(x, protocol->websocket ? WEBSOCKET : SPDY, &stream);
    if (r == -EPIPE) {
        http_exchange_abort(x);
        return error_set(err, r, "the client has gone");
    }
    if (r < 0) {
        http_exchange_replyf(x, 400, "an upgrade request cannot have a body\n");
        return error_set(err, r, "the upgrade request has a body");
    }
    *ret = protocol->tunnel ? websocket_tunnel(loop, stream, true) : stream;
    return 0;
}

/* ---- the client ---- */

int remote_request(struct loop *loop, const struct upgrade_request *request,
                   const struct remote_protocol *protocol, char key[WEBSOCKET_KEY_LEN + 1],
                   upgrade_fn cb, void *arg, struct upgrade **ret, struct error *err)
{
    _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
    struct upgrade_request q = *request;
    if (request->headers)
        http_headers_copy(&h, request->headers);
    if (protocol->websocket) {
        websocket_add_request(&h, key);
        q.method = "GET";
    }
    http_headers_set(&h, protocol->websocket ? WEBSOCKET_CHOICE : REMOTE_VERSION, protocol->name);
    q.headers = &h;
    q.protocol = protocol->websocket ? WEBSOCKET : SPDY;
    return upgrade_start(loop, &q, cb, arg, ret, err);
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

static int check_response(const struct stream *stream, const struct upgrade_response *response,
                          const struct error *failure, const struct remote_protocol *protocol,
                          const char *key, struct error *err)
{
    if (!response) {
        *err = *failure;
        return failure->code;
    }
    const struct http_headers *h = response->headers;
    if (!stream) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        remote_message(response->body, response->body_len, &text);
        return error_set(err, code_of(response->status), "%s",
                         text.len ? text.data : http_status_text(response->status));
    }
    if (protocol->websocket && websocket_check_response(h, key, err) < 0)
        return -EPROTO;
    const char *chosen =
        http_headers_get(h, protocol->websocket ? WEBSOCKET_CHOICE : REMOTE_VERSION);
    if ((!protocol->websocket && !http_headers_has_token(h, "Upgrade", SPDY)) || !chosen ||
        strcmp(chosen, protocol->name) != 0)
        return error_set(err, -EPROTONOSUPPORT, "the server does not speak %s over %s",
                         protocol->name, protocol->websocket ? "WebSocket" : SPDY);
    return 0;
}

struct stream *remote_upgraded(struct loop *loop, struct stream *stream,
                               const struct upgrade_response *response, const struct error *failure,
                               const struct remote_protocol *protocol, const char *key,
                               struct error *err)
{
    if (check_response(stream, response, failure, protocol, key, err) < 0)
        return stream_free(stream);
    return protocol->tunnel ? websocket_tunnel(loop, stream, false) : stream;
}
