/* The client's side of remote command: see remote.h. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "net/remote_framing.h"
#include "net/stream_ops.h"

#define CHANNELS 5

struct remote_client {
    struct loop *loop;
    const struct remote_protocol *protocol;
    const struct remote_framing_ops *ops;
    char key[WEBSOCKET_KEY_LEN + 1];
    struct upgrade *upgrade;
    struct remote_framing *framing;
    struct remote_options options;
    const struct remote_client_handler *handler;
    void *arg;
    struct stream *channels[CHANNELS];
    struct stream *outputs[2]; /* stdout and stderr until they are over, whoever has them */
    size_t unanswered;
    bool ready, told, judged;
    struct strbuf status; /* what came on the error stream */
    int exit_code;        /* what it means, once judged */
    struct error error;
    struct loop_timer timer;
};

static void tell(struct remote_client *r, int exit_code, const struct error *err)
{
    if (!r->told) {
        r->told = true;
        loop_timer_stop(&r->timer);
        r->handler->on_exit(r, exit_code, err, r->arg);
    }
}

static void tellf(struct remote_client *r, int code, const char *text)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, code, "%s", text);
    tell(r, -1, &err);
}

/* The command's end is told after the output that somebody reads: the error stream overtakes output
 * that waits for a window. */
static void settle(struct remote_client *r)
{
    bool reading = (r->outputs[0] && r->outputs[0] != r->channels[REMOTE_STDOUT]) ||
                   (r->outputs[1] && r->outputs[1] != r->channels[REMOTE_STDERR]);
    if (r->judged && !reading)
        tell(r, r->exit_code, r->error.code ? &r->error : NULL);
}

static void on_output_over(struct stream *s, void *arg)
{
    struct remote_client *r = arg;
    r->outputs[s == r->outputs[0] ? 0 : 1] = NULL;
    settle(r);
}

/* ---- the error stream: a Status object ---- */

/* The exit code that a Failure names; -1 when it names none. */
static int exit_code_of(const json_t *status)
{
    const json_t *causes = json_path(status, "details.causes"), *cause;
    size_t i;
    const char *reason = json_path_string(status, "reason");
    if (!reason || strcmp(reason, "NonZeroExitCode") != 0)
        return -1;
    json_array_foreach(causes, i, cause) {
        const char *type = json_path_string(cause, "reason");
        const char *text = json_path_string(cause, "message");
        if (!type || strcmp(type, "ExitCode") != 0 || !text)
            continue;
        char *end;
        long code = strtol(text, &end, 10);
        return *text && !*end && code > 0 && code <= 255 ? (int)code : -1;
    }
    return -1;
}

static void judge(struct remote_client *r)
{
    _cleanup_json_ json_t *status = json_parse(strbuf_text(&r->status), r->status.len, NULL);
    const char *word = json_path_string(status, "status");
    int code = exit_code_of(status);
    r->judged = true;
    r->exit_code = -1;
    if (r->status.len == 0) {
        (void)error_set(&r->error, -ECONNRESET, "the server did not tell how the command ended");
    } else if (word && strcmp(word, "Success") == 0) {
        r->exit_code = 0;
    } else if (code > 0) {
        r->exit_code = code;
    } else {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        remote_message(r->status.data, r->status.len, &text);
        (void)error_set(&r->error, -EIO, "%s", strbuf_text(&text));
    }
    settle(r);
}

static size_t on_error_data(_unused_ struct stream *s, const void *data, size_t len, void *arg)
{
    struct remote_client *r = arg;
    if (r->status.len < REMOTE_MESSAGE_MAX)
        strbuf_add(&r->status, data,
                   len < REMOTE_MESSAGE_MAX - r->status.len ? len
                                                            : REMOTE_MESSAGE_MAX - r->status.len);
    return len;
}

static void on_error_eof(_unused_ struct stream *s, void *arg)
{
    judge(arg);
}

static void on_error_close(_unused_ struct stream *s, const struct error *err, void *arg)
{
    struct remote_client *r = arg;
    if (r->status.len > 0)
        judge(r);
    else
        tell(r, -1, err);
}

static const struct stream_handler error_handler = {
    .on_data = on_error_data, .on_eof = on_error_eof, .on_close = on_error_close};

/* ---- opening ---- */

static void on_stream(struct stream *stream, _unused_ const struct http_headers *headers, void *arg)
{
    const struct remote_client *r = arg;
    r->ops->refuse(stream); /* servers open none */
}

static void on_close(const struct error *err, void *arg)
{
    struct remote_client *r = arg;
    if (r->judged)
        settle(r);
    else if (err)
        tell(arg, -1, err);
    else
        tellf(arg, -ECONNRESET, "the server has closed the connection");
}

static const struct remote_framing_handler framing_handler = {.on_stream = on_stream,
                                                              .on_close = on_close};

static void on_reply(_unused_ struct stream *stream, int result,
                     _unused_ const struct http_headers *headers, void *arg)
{
    struct remote_client *r = arg;
    if (result < 0) {
        tellf(r, result, "the server has refused a stream");
    } else if (--r->unanswered == 0 && !r->told) {
        r->ready = true;
        loop_timer_stop(&r->timer);
        r->handler->on_ready(r, r->arg);
    }
}

static void open_channel(struct remote_client *r, enum remote_channel channel, const char *type)
{
    _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
    http_headers_add(&h, "streamType", type);
    r->channels[channel] = r->ops->open(r->framing, &h, on_reply, r);
    r->unanswered++;
}

static void open_output(struct remote_client *r, enum remote_channel channel, const char *type,
                        struct stream **output)
{
    open_channel(r, channel, type);
    *output = r->channels[channel];
    stream_observe(*output, on_output_over, r);
}

static void on_upgraded(struct stream *stream, const struct upgrade_response *response,
                        const struct error *failure, void *arg)
{
    struct remote_client *r = arg;
    struct error err = ERROR_INIT;
    r->upgrade = NULL;
    stream = remote_upgraded(r->loop, stream, response, failure, r->protocol, r->key, &err);
    if (!stream) {
        tell(r, -1, &err);
        return;
    }
    const struct remote_setup setup = {.protocol = r->protocol, .command = r->options};
    r->framing = r->ops->start(r->loop, stream, false, &setup, &framing_handler, r);
    /* The error stream first: upstream's servers count on nothing else, but its clients do so. */
    open_channel(r, REMOTE_ERROR, "error");
    stream_set_handler(r->channels[REMOTE_ERROR], &error_handler, r);
    if (r->options.want_stdin)
        open_channel(r, REMOTE_STDIN, "stdin");
    if (r->options.want_stdout)
        open_output(r, REMOTE_STDOUT, "stdout", &r->outputs[0]);
    if (r->options.want_stderr && !r->options.tty)
        open_output(r, REMOTE_STDERR, "stderr", &r->outputs[1]);
    if (r->options.tty)
        open_channel(r, REMOTE_RESIZE, "resize");
}

static void on_timer(void *arg)
{
    tellf(arg, -ETIMEDOUT, "the server did not open the streams in time");
}

int remote_client_start(struct loop *loop, const struct upgrade_request *request,
                        const struct remote_options *options,
                        const struct remote_client_handler *handler, void *arg,
                        struct remote_client **ret, struct error *err)
{
    struct remote_client *r = mem_zalloc(sizeof(*r));
    r->loop = loop;
    r->protocol = remote_command_client(options->websocket);
    r->ops = r->protocol->framing;
    r->options = *options;
    r->handler = handler;
    r->arg = arg;
    int result =
        remote_request(loop, request, r->protocol, r->key, on_upgraded, r, &r->upgrade, err);
    if (result < 0) {
        free(r);
        return result;
    }
    loop_timer_init(&r->timer, loop, "remote command", on_timer, r);
    loop_timer_set(&r->timer, 2 * (uint64_t)REMOTE_TIMEOUT_MS);
    *ret = r;
    return 0;
}

struct stream *remote_client_take(struct remote_client *r, enum remote_channel channel)
{
    return channel == REMOTE_ERROR || channel == REMOTE_RESIZE ? NULL
                                                               : TAKE_PTR(r->channels[channel]);
}

void remote_client_resize(struct remote_client *r, uint16_t columns, uint16_t rows)
{
    char text[64];
    if (!r->ready || !r->channels[REMOTE_RESIZE])
        return;
    (void)snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}\n", columns, rows);
    stream_write(r->channels[REMOTE_RESIZE], text, strlen(text));
}

struct remote_client *remote_client_free(struct remote_client *r)
{
    if (!r)
        return NULL;
    (void)upgrade_cancel(r->upgrade);
    loop_timer_done(&r->timer);
    for (int i = 0; i < 2; i++)
        if (r->outputs[i])
            stream_observe(r->outputs[i], NULL, NULL);
    for (int i = 0; i < CHANNELS; i++)
        (void)stream_free(r->channels[i]);
    if (r->framing)
        r->ops->abort(r->framing);
    strbuf_done(&r->status);
    free(r);
    return NULL;
}
