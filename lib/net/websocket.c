/*
 * WebSocket connections: see websocket.h. The transport's bytes are lent to wslay while on_data()
 * runs; what it has not asked for, because the reader lags, stays with the transport. Owners may
 * free the connection inside their callbacks: a reference is held while wslay runs.
 *
 * Replies to control frames are the one thing that a peer can make us queue without reading: beyond
 * REPLIES_MAX of them nothing more is read until it has taken them.
 */
#include "net/websocket.h"

#include <errno.h>
#include <string.h>

#include <wslay/wslay.h>

#include "base/digest.h"
#include "base/strbuf.h"

#define REPLIES_MAX (64 * 1024)
#define PONG_MS     15000

struct websocket {
    struct stream *transport;
    wslay_event_context_ptr wslay;
    const struct websocket_handler *handler;
    void *arg;
    unsigned refs;
    bool server, freed, over;
    const uint8_t *input; /* lent by the transport during on_data() */
    size_t input_len;
    struct strbuf out;
    bool control, last; /* the frame that is being received */
    bool paused;        /* by the reader */
    bool choked;        /* the peer does not take our replies */
    size_t replies;
    struct loop_timer pong;
};

static void unref(struct websocket *ws)
{
    if (--ws->refs == 0) {
        wslay_event_context_free(ws->wslay);
        strbuf_done(&ws->out);
        free(ws);
    }
}

static bool deaf(const struct websocket *ws)
{
    return ws->freed || ws->over || ws->paused || ws->choked;
}

/* ---- wslay's callbacks ---- */

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, _unused_ int flags,
                       void *arg)
{
    struct websocket *ws = arg;
    if (ws->input_len == 0 || deaf(ws)) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = len < ws->input_len ? len : ws->input_len;
    memcpy(buf, ws->input, n);
    ws->input += n;
    ws->input_len -= n;
    return (ssize_t)n;
}

static ssize_t on_send(_unused_ wslay_event_context_ptr ctx, const uint8_t *data, size_t len,
                       _unused_ int flags, void *arg)
{
    struct websocket *ws = arg;
    strbuf_add(&ws->out, data, len);
    return (ssize_t)len;
}

static int on_mask(_unused_ wslay_event_context_ptr ctx, uint8_t *buf, size_t len,
                   _unused_ void *arg)
{
    random_bytes(buf, len);
    return 0;
}

static void on_frame(_unused_ wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
    struct websocket *ws = arg;
    ws->control = wslay_is_ctrl_frame(frame->opcode);
    ws->last = frame->fin;
    if (!ws->control && frame->opcode != WSLAY_CONTINUATION_FRAME && !ws->freed)
        ws->handler->on_begin(ws, frame->opcode == WSLAY_TEXT_FRAME, ws->arg);
}

static void on_chunk(_unused_ wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
    struct websocket *ws = arg;
    if (!ws->control && chunk->data_length > 0 && !ws->freed)
        ws->handler->on_data(ws, chunk->data, chunk->data_length, ws->arg);
}

static void on_frame_end(_unused_ wslay_event_context_ptr ctx, void *arg)
{
    struct websocket *ws = arg;
    if (!ws->control && ws->last && !ws->freed && ws->handler->on_end)
        ws->handler->on_end(ws, ws->arg);
}

static void on_message(_unused_ wslay_event_context_ptr ctx,
                       const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    struct websocket *ws = arg;
    if (message->opcode == WSLAY_PING) /* wslay has queued the Pong */
        ws->replies += message->msg_length + 6;
    if (ws->replies > REPLIES_MAX)
        ws->choked = true;
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_recv,
    .send_callback = on_send,
    .genmask_callback = on_mask,
    .on_frame_recv_start_callback = on_frame,
    .on_frame_recv_chunk_callback = on_chunk,
    .on_frame_recv_end_callback = on_frame_end,
    .on_msg_recv_callback = on_message,
};

/* ---- sending ---- */

static void flush(struct websocket *ws)
{
    if (wslay_event_send(ws->wslay) == WSLAY_ERR_NOMEM)
        abort();
    if (!ws->freed)
        stream_write(ws->transport, ws->out.data, ws->out.len);
    strbuf_done(&ws->out);
}

static void queue(struct websocket *ws, uint8_t opcode, const void *data, size_t len)
{
    const struct wslay_event_msg message = {.opcode = opcode, .msg = data, .msg_length = len};
    if (wslay_event_queue_msg(ws->wslay, &message) == WSLAY_ERR_NOMEM)
        abort();
    flush(ws);
}

void websocket_send(struct websocket *ws, bool text, const void *head, size_t head_len,
                    const void *data, size_t len)
{
    _cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
    if (ws->over)
        return;
    strbuf_add(&message, head, head_len);
    strbuf_add(&message, data, len);
    queue(ws, text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, message.data, message.len);
}

size_t websocket_pending(const struct websocket *ws)
{
    return stream_pending(ws->transport);
}

static void on_pong_timer(void *arg)
{
    struct websocket *ws = arg;
    if (!stream_congested(ws->transport))
        queue(ws, WSLAY_PONG, NULL, 0);
    loop_timer_set(&ws->pong, PONG_MS);
}

/* ---- the end ---- */

static void end(struct websocket *ws, const struct error *err)
{
    if (ws->over || ws->freed)
        return;
    ws->over = true;
    loop_timer_stop(&ws->pong);
    ws->handler->on_close(ws, err, ws->arg);
}

/* wslay reads no further: the peer has closed, or broken the protocol. */
static void judge(struct websocket *ws)
{
    struct error err = ERROR_INIT;
    if (!wslay_event_get_close_received(ws->wslay)) {
        (void)error_set(&err, -EBADMSG, "WebSocket: the peer broke the protocol (code %u)",
                        wslay_event_get_status_code_sent(ws->wslay));
        end(ws, &err);
        return;
    }
    unsigned code = wslay_event_get_status_code_received(ws->wslay);
    if (code == WSLAY_CODE_NORMAL_CLOSURE || code == WSLAY_CODE_NO_STATUS_RCVD) {
        end(ws, NULL);
        return;
    }
    (void)error_set(&err, -ECONNRESET, "WebSocket: the peer has closed with code %u", code);
    end(ws, &err);
}

/* ---- receiving ---- */

static size_t on_data(_unused_ struct stream *transport, const void *data, size_t len, void *arg)
{
    struct websocket *ws = arg;
    ws->refs++;
    ws->input = data;
    ws->input_len = len;
    if (wslay_event_recv(ws->wslay) == WSLAY_ERR_NOMEM)
        abort();
    size_t used = len - ws->input_len;
    ws->input = NULL;
    ws->input_len = 0;
    if (!ws->freed) {
        flush(ws);
        if (!wslay_event_get_read_enabled(ws->wslay)) {
            used = len;
            judge(ws);
        } else if (ws->choked && !stream_congested(ws->transport)) {
            ws->choked = false; /* they went out at once */
            ws->replies = 0;
            stream_resume(ws->transport);
        } else if (ws->choked) {
            stream_pause(ws->transport);
        }
    }
    unref(ws);
    return used;
}

static void on_drain(_unused_ struct stream *transport, void *arg)
{
    struct websocket *ws = arg;
    ws->replies = 0;
    if (ws->choked) {
        ws->choked = false;
        if (!ws->paused)
            stream_resume(ws->transport);
    }
    if (ws->handler->on_drain)
        ws->handler->on_drain(ws, ws->arg);
}

static void on_eof(_unused_ struct stream *transport, void *arg)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -ECONNRESET, "WebSocket: the connection ended without a Close");
    end(arg, &err);
}

static void on_close(_unused_ struct stream *transport, const struct error *err, void *arg)
{
    end(arg, err);
}

static const struct stream_handler transport_handler = {
    .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

void websocket_pause(struct websocket *ws)
{
    if (ws->paused || ws->over)
        return;
    ws->paused = true;
    stream_pause(ws->transport);
    loop_timer_set(&ws->pong, PONG_MS);
}

void websocket_resume(struct websocket *ws)
{
    if (!ws->paused)
        return;
    ws->paused = false;
    loop_timer_stop(&ws->pong);
    if (!ws->choked)
        stream_resume(ws->transport);
}

/* ---- connections ---- */

struct websocket *websocket_new(struct loop *loop, struct stream *transport, bool server,
                                const struct websocket_handler *handler, void *arg)
{
    struct websocket *ws = mem_zalloc(sizeof(*ws));
    ws->transport = transport;
    ws->server = server;
    ws->handler = handler;
    ws->arg = arg;
    ws->refs = 1;
    if ((server ? wslay_event_context_server_init(&ws->wslay, &callbacks, ws)
                : wslay_event_context_client_init(&ws->wslay, &callbacks, ws)) != 0)
        abort();
    wslay_event_config_set_no_buffering(ws->wslay, 1);
    wslay_event_config_set_max_recv_msg_length(ws->wslay, WEBSOCKET_FRAME_MAX);
    loop_timer_init(&ws->pong, loop, "websocket pong", on_pong_timer, ws);
    stream_set_handler(transport, &transport_handler, ws);
    return ws;
}

void websocket_end(struct websocket *ws, unsigned code)
{
    if (ws->over)
        return;
    (void)wslay_event_queue_close(ws->wslay, (uint16_t)code, NULL, 0); /* or one is queued */
    flush(ws);
}

static void let_go(struct websocket *ws)
{
    ws->freed = true;
    ws->transport = NULL;
    loop_timer_done(&ws->pong);
    unref(ws);
}

struct websocket *websocket_finish(struct websocket *ws, unsigned code)
{
    websocket_end(ws, code);
    stream_linger(ws->transport);
    let_go(ws);
    return NULL;
}

struct websocket *websocket_free(struct websocket *ws)
{
    if (!ws)
        return NULL;
    if (ws->server && ws->over && wslay_event_get_close_sent(ws->wslay))
        stream_finish(ws->transport); /* what the client has been told last */
    else
        (void)stream_free(ws->transport);
    let_go(ws);
    return NULL;
}
