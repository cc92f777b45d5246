/*
 * A CRI client that knows only the protocol: any method of any runtime by name with JSON in and
 * out, and short forms for the tests. The socket is --socket or $CRI_SOCKET.
 *
 *   cri-client call RuntimeService Version '{}'        any method, one JSON object out
 *   cri-client runp pod.json | stopp ID | rmp ID | inspectp ID | pods [FILTER]
 *   cri-client create POD container.json [pod.json] | start ID | stop ID [SECONDS] | rm ID
 *   cri-client inspect ID | ps [FILTER] | logs ID | exec ID COMMAND… (ExecSync)
 *   cri-client stream [-i] [-t] ID COMMAND… | attach [-i] [-t] ID | forward POD PORT
 *   cri-client images | pull NAME | rmi NAME | import FILE | stats | statsp | events [COUNT]
 *   cri-client version | status | reopen ID
 *
 * Streams go over SPDY/3.1, with --websocket over WebSocket. FILE may be "-", or the JSON itself.
 * Prints an id alone where a call makes one. Exit status: 0; the command's for exec and stream; 1
 * with "CODE: message" on standard error for a gRPC error; 2 for wrong use.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/options.h"
#include "net/cri.pb-c.h"
#include "net/grpc_client.h"
#include "net/images.pb-c.h"
#include "net/pbjson.h"
#include "net/remote.h"

#define INPUT_MAX (16U << 20)

struct client {
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_client *client;
    const char *socket;
    uint64_t deadline_ms;
    bool websocket;
    const char *size;
    /* the answer */
    json_t *answer;
    int status;
    int exit_code;
};

static void complain(enum rpc_status status, const char *message)
{
    (void)fprintf(stderr, "%s: %s\n", rpc_status_name(status), message);
}

static void on_reply(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct client *c = arg;
    c->status = (int)status;
    if (status == RPC_OK)
        c->answer = pbjson_from_message(response);
    else
        complain(status, message);
    loop_stop(c->loop, 0);
}

static const ProtobufCServiceDescriptor *service_of(const char *name)
{
    static const ProtobufCServiceDescriptor *const services[] = {
        &runtime__v1__runtime_service__descriptor, &runtime__v1__image_service__descriptor};
    for (size_t i = 0; i < ARRAY_SIZE(services); i++)
        if (str_eq(services[i]->short_name, name))
            return services[i];
    return NULL;
}

/* Makes a call; takes @request. The answer, which the caller drops, or NULL after a complaint. */
static json_t *call(struct client *c, const char *service, const char *method, json_t *request)
{
    const ProtobufCServiceDescriptor *s = service_of(service);
    const ProtobufCMethodDescriptor *m =
        s ? protobuf_c_service_descriptor_get_method_by_name(s, method) : NULL;
    struct error err = ERROR_INIT;
    if (!m) {
        (void)fprintf(stderr, "there is no method %s of %s\n", method, service);
        json_decref(request);
        return NULL;
    }
    ProtobufCMessage *message = pbjson_to_message(m->input, request, &err);
    json_decref(request);
    if (!message) {
        (void)fprintf(stderr, "%s: %s\n", method, error_text(&err));
        return NULL;
    }
    _cleanup_free_ char *path = str_printf("/%s/%s", s->name, method);
    const struct rpc_method rm = {path, m->output};
    c->answer = NULL;
    c->status = -1;
    (void)rpc_client_call(c->client, &rm, message, c->deadline_ms, on_reply, c);
    protobuf_c_message_free_unpacked(message, NULL);
    (void)loop_run(c->loop);
    return TAKE_PTR(c->answer);
}

static int print(json_t *j)
{
    if (!j)
        return 1;
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode_pretty(j, 1, &out);
    (void)printf("%s\n", strbuf_text(&out));
    json_decref(j);
    return 0;
}

static int print_field(json_t *j, const char *field)
{
    if (!j)
        return 1;
    const char *text = json_path_string(j, field);
    (void)printf("%s\n", text ? text : "");
    json_decref(j);
    return 0;
}

static int quiet(json_t *j)
{
    json_decref(j);
    return j ? 0 : 1;
}

/* "-", a file, or JSON itself. Exits when it cannot be read: this is a command. */
static json_t *input(const char *what)
{
    struct error err = ERROR_INIT;
    json_t *j;
    if (what[0] == '{' || what[0] == '[')
        j = json_parse(what, strlen(what), &err);
    else
        j = json_parse_file(str_eq(what, "-") ? "/dev/stdin" : what, INPUT_MAX, &err);
    if (!j) {
        (void)fprintf(stderr, "%s: %s\n", what, error_text(&err));
        exit(2);
    }
    return j;
}

static int call_raw(struct client *c, char **args)
{
    return print(call(c, args[0], args[1], args[2] ? input(args[2]) : json_object()));
}

static int version(struct client *c, _unused_ char **args)
{
    return print(call(c, "RuntimeService", "Version", json_object()));
}

static int status(struct client *c, _unused_ char **args)
{
    return print(call(c, "RuntimeService", "Status", json_pack("{sb}", "verbose", 1)));
}

/* ---- sandboxes ---- */
static int runp(struct client *c, char **args)
{
    json_t *q = json_pack("{so}", "config", input(args[0]));
    if (args[1])
        (void)json_object_set_new(q, "runtime_handler", json_string(args[1]));
    return print_field(call(c, "RuntimeService", "RunPodSandbox", q), "pod_sandbox_id");
}

static int stopp(struct client *c, char **args)
{
    return quiet(
        call(c, "RuntimeService", "StopPodSandbox", json_pack("{ss}", "pod_sandbox_id", args[0])));
}

static int rmp(struct client *c, char **args)
{
    return quiet(call(c, "RuntimeService", "RemovePodSandbox",
                      json_pack("{ss}", "pod_sandbox_id", args[0])));
}

static int inspectp(struct client *c, char **args)
{
    return print(call(c, "RuntimeService", "PodSandboxStatus",
                      json_pack("{sssb}", "pod_sandbox_id", args[0], "verbose", 1)));
}

static int pods(struct client *c, char **args)
{
    return print(call(c, "RuntimeService", "ListPodSandbox",
                      json_pack("{so}", "filter", args[0] ? input(args[0]) : json_object())));
}

/* ---- containers ---- */
static int create(struct client *c, char **args)
{
    json_t *q = json_pack("{ssso}", "pod_sandbox_id", args[0], "config", input(args[1]));
    if (args[2])
        (void)json_object_set_new(q, "sandbox_config", input(args[2]));
    return print_field(call(c, "RuntimeService", "CreateContainer", q), "container_id");
}

static json_t *by_id(struct client *c, const char *method, const char *id)
{
    return call(c, "RuntimeService", method, json_pack("{ss}", "container_id", id));
}

static int start(struct client *c, char **args)
{
    return quiet(by_id(c, "StartContainer", args[0]));
}

static int stop(struct client *c, char **args)
{
    return quiet(call(c, "RuntimeService", "StopContainer",
                      json_pack("{sssI}", "container_id", args[0], "timeout",
                                (json_int_t)(args[1] ? strtoll(args[1], NULL, 10) : 10))));
}

static int rm(struct client *c, char **args)
{
    return quiet(by_id(c, "RemoveContainer", args[0]));
}

static int reopen(struct client *c, char **args)
{
    return quiet(by_id(c, "ReopenContainerLog", args[0]));
}

static int inspect(struct client *c, char **args)
{
    return print(call(c, "RuntimeService", "ContainerStatus",
                      json_pack("{sssb}", "container_id", args[0], "verbose", 1)));
}

static int ps(struct client *c, char **args)
{
    return print(call(c, "RuntimeService", "ListContainers",
                      json_pack("{so}", "filter", args[0] ? input(args[0]) : json_object())));
}

static int logs(struct client *c, char **args)
{
    _cleanup_json_ json_t *j = by_id(c, "ContainerStatus", args[0]);
    const char *path = json_path_string(j, "status.log_path");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!path || fs_read(path, SIZE_MAX / 2, &text, NULL) < 0)
        return 1;
    if (text.len)
        (void)fwrite(text.data, 1, text.len, stdout);
    return 0;
}

static json_t *list_of(char **words)
{
    json_t *list = json_array();
    for (; *words; words++)
        (void)json_array_append_new(list, json_text(*words));
    return list;
}

static void write_bytes(const json_t *j, const char *field, FILE *to)
{
    /* Bytes are base64 in JSON: back through a message of the same type. */
    ProtobufCMessage *m = pbjson_to_message(&runtime__v1__exec_sync_response__descriptor, j, NULL);
    const Runtime__V1__ExecSyncResponse *r = (const Runtime__V1__ExecSyncResponse *)m;
    const ProtobufCBinaryData *b = str_eq(field, "stdout") ? &r->stdout : &r->stderr;
    if (b->len)
        (void)fwrite(b->data, 1, b->len, to);
    protobuf_c_message_free_unpacked(m, NULL);
}

/* $EXEC_TIMEOUT: seconds. */
static int exec_command(struct client *c, char **args)
{
    const char *timeout = getenv("EXEC_TIMEOUT");
    _cleanup_json_ json_t *j =
        call(c, "RuntimeService", "ExecSync",
             json_pack("{sssosI}", "container_id", args[0], "cmd", list_of(args + 1), "timeout",
                       (json_int_t)(timeout ? strtoll(timeout, NULL, 10) : 0)));
    if (!j)
        return 1;
    write_bytes(j, "stdout", stdout);
    write_bytes(j, "stderr", stderr);
    return (int)json_path_int(j, "exit_code", 0);
}

static int stats(struct client *c, _unused_ char **args)
{
    return print(call(c, "RuntimeService", "ListContainerStats", json_object()));
}

static int statsp(struct client *c, _unused_ char **args)
{
    return print(call(c, "RuntimeService", "ListPodSandboxStats", json_object()));
}

/* ---- images ---- */
static int images(struct client *c, _unused_ char **args)
{
    return print(call(c, "ImageService", "ListImages", json_object()));
}

static int pull(struct client *c, char **args)
{
    return print_field(
        call(c, "ImageService", "PullImage", json_pack("{s{ss}}", "image", "image", args[0])),
        "image_ref");
}

static int rmi(struct client *c, char **args)
{
    return quiet(
        call(c, "ImageService", "RemoveImage", json_pack("{s{ss}}", "image", "image", args[0])));
}

/* ---- streams of messages ---- */
struct listening {
    struct client *c;
    long left; /* messages to wait for; 0: for ever */
};

static void on_event(void *arg, const ProtobufCMessage *message)
{
    struct listening *l = arg;
    _cleanup_json_ json_t *j = pbjson_from_message(message);
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode(j, &out);
    (void)printf("%s\n", strbuf_text(&out));
    (void)fflush(stdout);
    if (l->left && --l->left == 0)
        loop_stop(l->c->loop, 0);
}

static void on_end(void *arg, enum rpc_status code, const char *message)
{
    struct listening *l = arg;
    if (code != RPC_OK)
        complain(code, message);
    l->c->exit_code = code != RPC_OK;
    loop_stop(l->c->loop, 0);
}

static int events(struct client *c, char **args)
{
    struct listening l = {c, args[0] ? strtol(args[0], NULL, 10) : 0};
    static const struct rpc_method method = {"/runtime.v1.RuntimeService/GetContainerEvents",
                                             &runtime__v1__container_event_response__descriptor};
    static const struct rpc_stream_events ev = {.on_message = on_event, .on_end = on_end};
    Runtime__V1__GetEventsRequest q = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;
    (void)rpc_client_stream(c->client, &method, &q.base, true, 0, &ev, &l);
    (void)loop_run(c->loop);
    return c->exit_code;
}

struct importing {
    struct client *c;
    struct rpc_stream *stream;
    int fd;
};

static void send_more(void *arg)
{
    struct importing *i = arg;
    static uint8_t buf[256 * 1024];
    for (;;) {
        ssize_t n = read(i->fd, buf, sizeof(buf));
        if (n <= 0) {
            rpc_stream_close_send(i->stream);
            return;
        }
        Coracle__Images__V1__ImportRequest q = CORACLE__IMAGES__V1__IMPORT_REQUEST__INIT;
        q.chunk.data = buf;
        q.chunk.len = (size_t)n;
        if (rpc_stream_send(i->stream, &q.base) == RPC_E_FULL) {
            (void)lseek(i->fd, -n, SEEK_CUR);
            return;
        }
    }
}

static void on_imported(void *arg, const ProtobufCMessage *message)
{
    struct importing *i = arg;
    (void)print(pbjson_from_message(message));
    i->c->exit_code = 0;
}

static void on_import_end(void *arg, enum rpc_status code, const char *message)
{
    struct importing *i = arg;
    if (code != RPC_OK) {
        complain(code, message);
        i->c->exit_code = 1;
    }
    loop_stop(i->c->loop, 0);
}

static int import(struct client *c, char **args)
{
    struct importing i = {.c = c, .fd = open(args[0], O_RDONLY | O_CLOEXEC)};
    if (i.fd < 0) {
        (void)fprintf(stderr, "%s: %s\n", args[0], strerror(errno));
        return 2;
    }
    static const struct rpc_method method = {"/coracle.images.v1.Images/Import",
                                             &coracle__images__v1__import_response__descriptor};
    static const struct rpc_stream_events ev = {
        .on_message = on_imported, .on_end = on_import_end, .on_writable = send_more};
    c->exit_code = 1;
    i.stream = rpc_client_stream(c->client, &method, NULL, false, 0, &ev, &i);
    send_more(&i);
    (void)loop_run(c->loop);
    (void)close(i.fd);
    return c->exit_code;
}

/* ---- streaming ---- */
struct streaming {
    struct client *c;
    struct remote_client *remote;
    struct splice *in;
    struct stream *out, *err;
    unsigned outputs; /* that have not ended */
    bool ended;
    int port;
    struct portforward_client *forward;
    bool data_over, end_told;
    struct loop_io io;
};

static void finish_if_over(struct streaming *s)
{
    if (s->ended && !s->outputs)
        loop_stop(s->c->loop, 0);
}

/* Standard input, to its end, into a pipe or socket; on a thread. */
static void copy_input(int to)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, buf, sizeof(buf))) > 0)
        if (write(to, buf, (size_t)n) != n)
            break;
}

/* A regular file cannot be waited for: a thread copies it into a pipe. */
static void *pump(void *arg)
{
    const int *to = arg;
    copy_input(*to);
    (void)close(*to);
    return NULL;
}

static int input_fd(void)
{
    static int pair[2];
    struct stat st;
    pthread_t thread;
    if (fstat(STDIN_FILENO, &st) < 0 || !S_ISREG(st.st_mode) || pipe2(pair, O_CLOEXEC) < 0)
        return dup(STDIN_FILENO);
    if (pthread_create(&thread, NULL, pump, &pair[1]) != 0)
        abort();
    (void)pthread_detach(thread);
    return pair[0];
}

static size_t on_output(struct stream *st, const void *data, size_t len, void *arg)
{
    const struct streaming *s = arg;
    int fd = st == s->err ? STDERR_FILENO : STDOUT_FILENO;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, (const char *)data + done, len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return len;
}

static void on_output_eof(_unused_ struct stream *st, void *arg)
{
    struct streaming *s = arg;
    s->outputs--;
    finish_if_over(s);
}

static void on_output_close(_unused_ struct stream *st, const struct error *err, void *arg)
{
    struct streaming *s = arg;
    (void)fprintf(stderr, "stream: %s\n", error_text(err));
    s->outputs = 0;
    s->c->exit_code = 1;
    s->ended = true;
    finish_if_over(s);
}

static struct stream *take_output(struct streaming *s, enum remote_channel channel)
{
    static const struct stream_handler handler = {
        .on_data = on_output, .on_eof = on_output_eof, .on_close = on_output_close};
    struct stream *st = remote_client_take(s->remote, channel);
    if (!st)
        return NULL;
    s->outputs++;
    stream_set_handler(st, &handler, s);
    return st;
}

static void on_in_end(_unused_ const struct error *err, void *arg)
{
    ((struct streaming *)arg)->in = NULL;
}

static void on_stream_ready(_unused_ struct remote_client *r, void *arg)
{
    struct streaming *s = arg;
    struct stream *in = remote_client_take(s->remote, REMOTE_STDIN);
    if (in)
        s->in = stream_splice(s->c->loop, in, stream_new_fd(s->c->loop, input_fd()), on_in_end, s);
    s->out = take_output(s, REMOTE_STDOUT);
    s->err = take_output(s, REMOTE_STDERR);
    char *by = NULL;
    unsigned long columns = s->c->size ? strtoul(s->c->size, &by, 10) : 0;
    if (by && *by == 'x')
        remote_client_resize(s->remote, (uint16_t)columns, (uint16_t)strtoul(by + 1, NULL, 10));
}

static void on_stream_exit(_unused_ struct remote_client *r, int exit_code, const struct error *err,
                           void *arg)
{
    struct streaming *s = arg;
    s->ended = true;
    s->c->exit_code = err ? 1 : exit_code;
    if (err)
        (void)fprintf(stderr, "stream: %s\n", error_text(err));
    finish_if_over(s);
}

static int run_stream(struct client *c, const char *method, json_t *q,
                      const struct remote_options *o)
{
    _cleanup_json_ json_t *j = call(c, "RuntimeService", method, q);
    const char *url = json_path_string(j, "url");
    if (!url)
        return 1;
    static const struct remote_client_handler handler = {.on_ready = on_stream_ready,
                                                         .on_exit = on_stream_exit};
    const struct upgrade_request request = {.url = url};
    struct streaming s = {.c = c};
    struct error err = ERROR_INIT;
    if (remote_client_start(c->loop, &request, o, &handler, &s, &s.remote, &err) < 0) {
        (void)fprintf(stderr, "stream: %s\n", error_text(&err));
        return 1;
    }
    (void)loop_run(c->loop);
    (void)splice_free(s.in);
    (void)stream_free(s.out);
    (void)stream_free(s.err);
    (void)remote_client_free(s.remote);
    return c->exit_code;
}

static char **stream_options(const struct client *c, char **args, struct remote_options *o)
{
    *o = (struct remote_options){
        .want_stdout = true, .want_stderr = true, .websocket = c->websocket};
    for (; *args && (str_eq(*args, "-i") || str_eq(*args, "-t")); args++) {
        if (str_eq(*args, "-i"))
            o->want_stdin = true;
        else
            o->tty = true;
    }
    o->want_stderr = !o->tty;
    return args;
}

static json_t *stream_request(const char *id, const struct remote_options *o)
{
    return json_pack("{sssbsbsbsb}", "container_id", id, "stdin", (int)o->want_stdin, "stdout",
                     (int)o->want_stdout, "stderr", (int)o->want_stderr, "tty", (int)o->tty);
}

static int stream(struct client *c, char **args)
{
    struct remote_options o;
    args = stream_options(c, args, &o);
    if (!args[0] || !args[1])
        return 2;
    json_t *q = stream_request(args[0], &o);
    (void)json_object_set_new(q, "cmd", list_of(args + 1));
    return run_stream(c, "Exec", q, &o);
}

static int attach(struct client *c, char **args)
{
    struct remote_options o;
    args = stream_options(c, args, &o);
    return args[0] ? run_stream(c, "Attach", stream_request(args[0], &o), &o) : 2;
}

static void on_forward_data(int fd, _unused_ short events_, void *arg)
{
    struct streaming *s = arg;
    char buf[65536];
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n > 0) {
        (void)fwrite(buf, 1, (size_t)n, stdout);
        return;
    }
    loop_io_done(&s->io); /* the other side has ended; we may go on */
    s->data_over = true;
    if (s->end_told)
        loop_stop(s->c->loop, 0);
}

/* The connection's end of standard input is the end of our direction only. */
static void *pump_forward(void *arg)
{
    const int *to = arg;
    copy_input(*to);
    (void)shutdown(*to, SHUT_WR);
    return NULL;
}

/* Sends what standard input has, and prints what comes back, until both sides have ended. */
static void on_forward_ready(struct portforward_client *p, void *arg)
{
    static int pair[2];
    struct streaming *s = arg;
    pthread_t thread;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    (void)portforward_client_open(p, (uint16_t)s->port, stream_new_fd(s->c->loop, pair[0]), NULL);
    (void)loop_io_init(&s->io, s->c->loop, "forwarded", pair[1], EV_READ, on_forward_data, s);
    if (pthread_create(&thread, NULL, pump_forward, &pair[1]) != 0)
        abort();
    (void)pthread_detach(thread);
}

/* Some servers close the connection before they say why. */
static void on_forward_end(_unused_ struct portforward_client *p, _unused_ unsigned id,
                           const char *message, void *arg)
{
    struct streaming *s = arg;
    s->end_told = true;
    if (message) {
        (void)fprintf(stderr, "forward: %s\n", message);
        s->c->exit_code = 1;
    }
    if (message || s->data_over)
        loop_stop(s->c->loop, 0);
}

static void on_forward_close(_unused_ struct portforward_client *p, const struct error *err,
                             void *arg)
{
    struct streaming *s = arg;
    if (err)
        (void)fprintf(stderr, "forward: %s\n", error_text(err));
    loop_stop(s->c->loop, 0);
}

static int forward(struct client *c, char **args)
{
    struct streaming s = {.c = c, .port = (int)strtol(args[1], NULL, 10)};
    _cleanup_json_ json_t *j =
        call(c, "RuntimeService", "PortForward",
             json_pack("{sss[i]}", "pod_sandbox_id", args[0], "port", s.port));
    const char *url = json_path_string(j, "url");
    if (!url)
        return 1;
    static const struct portforward_client_handler handler = {
        .on_ready = on_forward_ready, .on_end = on_forward_end, .on_close = on_forward_close};
    const struct upgrade_request request = {.url = url};
    struct error err = ERROR_INIT;
    if (portforward_client_start(c->loop, &request, c->websocket, &handler, &s, &s.forward, &err) <
        0) {
        (void)fprintf(stderr, "forward: %s\n", error_text(&err));
        return 1;
    }
    (void)loop_run(c->loop);
    loop_io_done(&s.io);
    (void)portforward_client_free(s.forward);
    return c->exit_code;
}

static const struct {
    const char *name;
    int min_args;
    int (*run)(struct client *c, char **args);
} commands[] = {
    {"call", 2, call_raw},     {"version", 0, version},
    {"status", 0, status},     {"runp", 1, runp},
    {"stopp", 1, stopp},       {"rmp", 1, rmp},
    {"inspectp", 1, inspectp}, {"pods", 0, pods},
    {"create", 2, create},     {"start", 1, start},
    {"stop", 1, stop},         {"rm", 1, rm},
    {"inspect", 1, inspect},   {"ps", 0, ps},
    {"logs", 1, logs},         {"reopen", 1, reopen},
    {"exec", 2, exec_command}, {"stream", 2, stream},
    {"attach", 1, attach},     {"forward", 2, forward},
    {"images", 0, images},     {"pull", 1, pull},
    {"rmi", 1, rmi},           {"import", 1, import},
    {"stats", 0, stats},       {"statsp", 0, statsp},
    {"events", 0, events},
};

static int run_command(struct client *c, int n, char **words)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (str_eq(commands[i].name, words[0]) && n - 1 >= commands[i].min_args)
            return commands[i].run(c, words + 1);
    (void)fprintf(stderr, "cri-client: no such command, or arguments are missing: %s\n", words[0]);
    return 2;
}

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN);
    struct client c = {.socket = getenv("CRI_SOCKET")};
    int timeout = 60;
    const struct option_def defs[] = {
        {"socket", 's', OPTION_STRING, &c.socket, "PATH", "the runtime's socket ($CRI_SOCKET)"},
        {"websocket", 'w', OPTION_BOOL, &c.websocket, NULL, "stream over WebSocket"},
        {"size", 0, OPTION_STRING, &c.size, "COLUMNSxROWS", "of the terminal"},
        {"timeout", 0, OPTION_INT, &timeout, "SECONDS", "of each call"},
        {NULL}};
    struct error err = ERROR_INIT;
    char **words = mem_zalloc(((size_t)argc + 4) * sizeof(*words));
    int n = options_parse(defs, argc, argv, true, words, &err);
    if (n <= 0 || !c.socket) {
        (void)fprintf(stderr, "cri-client: %s\n",
                      n < 0 ? error_text(&err) : "usage: cri-client --socket PATH COMMAND …");
        free(words);
        return 2;
    }
    words[n] = words[n + 1] = words[n + 2] = NULL;
    c.deadline_ms = (uint64_t)timeout * 1000;
    _cleanup_free_ char *target = str_printf("unix://%s", c.socket);
    const struct rpc_client_options o = {.target = target};
    c.loop = loop_new();
    c.rpc = rpc_new(c.loop, &err);
    c.client = c.rpc ? rpc_client_new(c.rpc, &o, &err) : NULL;
    int code = 2;
    if (c.client)
        code = run_command(&c, n, words);
    else
        (void)fprintf(stderr, "cri-client: %s\n", error_text(&err));
    (void)fflush(stdout);
    (void)rpc_client_free(c.client);
    (void)rpc_free(c.rpc);
    (void)loop_free(c.loop);
    free(words);
    return code;
}
