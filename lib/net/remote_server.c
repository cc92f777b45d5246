/* The server's side of remote command (exec, attach): see remote.h. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "net/remote_framing.h"

#define RESIZE_MAX 1024 /* one message of the resize channel */
#define CHANNELS   5

struct remote_server {
    const struct remote_framing_ops *ops;
    struct remote_framing *framing;
    struct remote_options options;
    const struct remote_server_handler *handler;
    void *arg;
    unsigned refs;
    bool dead;
    bool status_object; /* from v4: a Status on the error stream; before: text */
    bool ready, closed;
    unsigned wanted, got; /* bits of enum remote_channel */
    struct stream *channels[CHANNELS];
    struct strbuf resize;
    struct loop_timer timer;
};

int remote_options_from_query(const struct http_query *q, struct remote_options *ret,
                              struct error *err)
{
    /* The API server's names, and those that the kubelet's URLs use. */
    *ret = (struct remote_options){
        .want_stdin = http_query_bool(q, "stdin") || http_query_bool(q, "input"),
        .want_stdout = http_query_bool(q, "stdout") || http_query_bool(q, "output"),
        .want_stderr = http_query_bool(q, "stderr") || http_query_bool(q, "error"),
        .tty = http_query_bool(q, "tty"),
    };
    if (ret->tty)
        ret->want_stderr = false;
    if (!ret->want_stdin && !ret->want_stdout && !ret->want_stderr)
        return error_set(err, -EINVAL, "one of stdin, stdout and stderr must be asked for");
    return 0;
}

static void unref(struct remote_server *r)
{
    if (--r->refs == 0) {
        strbuf_done(&r->resize);
        free(r);
    }
}

/* Everything but the framing goes; the caller has ended that. */
static void let_go(struct remote_server *r)
{
    r->dead = true;
    loop_timer_done(&r->timer);
    unref(r);
}

/* ---- the resize channel: JSON objects, one after the other ---- */

static size_t on_resize(_unused_ struct stream *s, const void *data, size_t len, void *arg)
{
    struct remote_server *r = arg;
    r->refs++;
    strbuf_add(&r->resize, data, len);
    while (!r->dead && r->resize.len > 0) {
        json_error_t error;
        _cleanup_json_ json_t *j =
            json_loadb(r->resize.data, r->resize.len, JSON_DISABLE_EOF_CHECK, &error);
        if (!j)
            break;
        int64_t columns = json_path_int(j, "Width", 0), rows = json_path_int(j, "Height", 0);
        strbuf_consume(&r->resize, (size_t)error.position);
        if (columns > 0 && columns <= UINT16_MAX && rows > 0 && rows <= UINT16_MAX &&
            r->handler->on_resize)
            r->handler->on_resize(r, (uint16_t)columns, (uint16_t)rows, r->arg);
    }
    if (r->resize.len > RESIZE_MAX) /* no message is that long */
        strbuf_truncate(&r->resize, 0);
    unref(r);
    return len;
}

static const struct stream_handler resize_handler = {.on_data = on_resize};

/* ---- channels ---- */

static int channel_of(const struct http_headers *headers)
{
    static const char *const names[CHANNELS] = {[REMOTE_STDIN] = "stdin",
                                                [REMOTE_STDOUT] = "stdout",
                                                [REMOTE_STDERR] = "stderr",
                                                [REMOTE_ERROR] = "error",
                                                [REMOTE_RESIZE] = "resize"};
    const char *type = http_headers_get(headers, "streamType");
    for (int i = 0; type && i < CHANNELS; i++)
        if (strcmp(names[i], type) == 0)
            return i;
    return -1;
}

static void on_stream(struct stream *stream, const struct http_headers *headers, void *arg)
{
    struct remote_server *r = arg;
    int channel = channel_of(headers);
    unsigned bit = channel >= 0 ? 1U << (unsigned)channel : 0;
    if (r->ready || (r->wanted & bit) == 0 || (r->got & bit)) {
        r->ops->refuse(stream);
        return;
    }
    r->got |= bit;
    r->channels[channel] = stream;
    r->ops->accept(stream);
    if (r->got != r->wanted)
        return;
    r->ready = true;
    loop_timer_stop(&r->timer);
    if (r->channels[REMOTE_RESIZE])
        stream_set_handler(r->channels[REMOTE_RESIZE], &resize_handler, r);
    r->handler->on_ready(r, r->arg);
}

static void tell_closed(struct remote_server *r, const struct error *err)
{
    if (!r->closed) {
        r->closed = true;
        r->handler->on_close(r, err, r->arg);
    }
}

static void on_close(const struct error *err, void *arg)
{
    struct error gone = ERROR_INIT;
    (void)error_set(&gone, -ECONNRESET, "the client has closed the connection");
    tell_closed(arg, err ? err : &gone);
}

static void on_timer(void *arg)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -ETIMEDOUT, "the client did not open its streams in time");
    tell_closed(arg, &err);
}

static const struct remote_framing_handler framing_handler = {.on_stream = on_stream,
                                                              .on_close = on_close};

int remote_server_start(struct loop *loop, struct http_exchange *x,
                        const struct remote_options *options,
                        const struct remote_server_handler *handler, void *arg,
                        struct remote_server **ret, struct error *err)
{
    struct remote_setup setup = {.command = *options};
    struct stream *transport;
    int result = remote_negotiate(x, remote_command_protocols, &setup.protocol, err);
    if (result == 0)
        result = remote_upgrade(loop, x, setup.protocol, &transport, err);
    if (result < 0)
        return result;
    struct remote_server *r = mem_zalloc(sizeof(*r));
    r->refs = 1;
    r->ops = setup.protocol->framing;
    r->options = *options;
    r->handler = handler;
    r->arg = arg;
    r->status_object = setup.protocol->status_object;
    r->wanted = 1U << REMOTE_ERROR;
    if (options->want_stdin)
        r->wanted |= 1U << REMOTE_STDIN;
    if (options->want_stdout)
        r->wanted |= 1U << REMOTE_STDOUT;
    if (options->want_stderr && !options->tty)
        r->wanted |= 1U << REMOTE_STDERR;
    if (options->tty && setup.protocol->resize)
        r->wanted |= 1U << REMOTE_RESIZE;
    r->framing = r->ops->start(loop, transport, true, &setup, &framing_handler, r);
    loop_timer_init(&r->timer, loop, "remote command streams", on_timer, r);
    loop_timer_set(&r->timer, REMOTE_TIMEOUT_MS);
    *ret = r;
    return 0;
}

struct stream *remote_server_take(struct remote_server *r, enum remote_channel channel)
{
    return channel == REMOTE_ERROR || channel == REMOTE_RESIZE ? NULL
                                                               : TAKE_PTR(r->channels[channel]);
}

/* ---- the end ---- */

/* Says the last words on the error stream. */
static void end(struct remote_server *r, const char *text, size_t len)
{
    struct stream *error = r->channels[REMOTE_ERROR];
    if (error)
        stream_write(error, text, len);
    for (int i = 0; i < CHANNELS; i++)
        if (r->channels[i])
            stream_finish(TAKE_PTR(r->channels[i]));
    r->ops->finish(r->framing, NULL);
    let_go(r);
}

static json_t *failure(const char *reason, const char *message)
{
    return json_pack("{s:{},s:s,s:o,s:s}", "metadata", "status", "Failure", "message",
                     json_text(message), "reason", reason);
}

void remote_server_exit(struct remote_server *r, int exit_code)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *message =
        str_printf("command terminated with non-zero exit code: exit status %d", exit_code);
    _cleanup_json_ json_t *status = NULL;
    if (r->status_object && exit_code == 0) {
        status = json_pack("{s:{},s:s}", "metadata", "status", "Success");
    } else if (r->status_object) {
        char number[16];
        (void)snprintf(number, sizeof(number), "%d", exit_code);
        status = failure("NonZeroExitCode", message);
        (void)json_object_set_new(
            status, "details",
            json_pack("{s:[{s:s,s:s}]}", "causes", "reason", "ExitCode", "message", number));
    } else if (exit_code != 0) {
        strbuf_adds(&text, message);
    }
    if (status)
        json_encode(status, &text);
    end(r, strbuf_text(&text), text.len);
}

void remote_server_fail(struct remote_server *r, const char *message)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *status = NULL;
    if (r->status_object) {
        status = failure("InternalError", message);
        (void)json_object_set_new(status, "code", json_integer(500));
        json_encode(status, &text);
    } else {
        strbuf_adds(&text, message);
    }
    end(r, strbuf_text(&text), text.len);
}

struct remote_server *remote_server_free(struct remote_server *r)
{
    if (r) {
        for (int i = 0; i < CHANNELS; i++)
            r->channels[i] = stream_free(r->channels[i]);
        r->ops->abort(r->framing);
        let_go(r);
    }
    return NULL;
}
