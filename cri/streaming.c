/* The streaming server: tokens and dispatch; see streaming.h (sessions: stream_exec.c,
 * stream_forward.c). */
#include "cri/streaming.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "cri/stream_session.h"

#define TOKEN_LEN  32
#define TOKEN_MS   60000
#define TOKENS_MAX 4096

static void on_expire(void *arg);

static void ticket_free(void *p)
{
    struct ticket *t = p;
    for (char **a = t->argv; a && *a; a++)
        free(*a);
    free(t->argv);
    free(t->id);
    free(t);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct streaming *st = arg;
    const char *path = http_exchange_path(x);
    const char *slash = strrchr(path, '/');
    struct ticket *t = slash ? map_take(&st->tickets, slash + 1) : NULL;
    static const char *const kinds[] = {"/exec", "/attach", "/portforward"};
    if (!t || (size_t)(slash - path) != strlen(kinds[t->kind]) ||
        strncmp(path, kinds[t->kind], (size_t)(slash - path)) != 0) {
        http_exchange_replyf(x, 404, "no such stream: the token is unknown, used or expired\n");
    } else if (t->kind == TICKET_PORT_FORWARD) {
        stream_forward_start(st, x, t);
    } else {
        stream_exec_start(st, x, t);
    }
    if (t)
        ticket_free(t);
}

struct streaming *streaming_new(struct runtime *rt, struct error *err)
{
    struct streaming *st = mem_zalloc(sizeof(*st));
    st->rt = rt;
    st->tickets = (struct map)MAP_INIT(ticket_free);
    list_init(&st->sessions);
    list_init(&st->forwards);
    loop_timer_init(&st->expire, rt->loop, "stream tokens", on_expire, st);
    st->http = http_server_new(rt->loop, NULL, on_request, st);
    if (http_server_listen_tcp(st->http, "127.0.0.1", 0, NULL, &st->port, err) < 0)
        return streaming_free(st);
    return st;
}

struct streaming *streaming_free(struct streaming *st)
{
    if (st) {
        stream_exec_end_all(st);
        stream_forward_end_all(st);
        (void)http_server_free(st->http);
        map_clear(&st->tickets);
        loop_timer_done(&st->expire);
        free(st);
    }
    return NULL;
}

static void on_expire(void *arg)
{
    struct streaming *st = arg;
    uint64_t now = now_ms();
    MAP_FOR_EACH(e, &st->tickets) {
        const struct ticket *t = map_value(e);
        if (t->expires_ms > now) {
            loop_timer_set(&st->expire, t->expires_ms - now);
            return; /* the map is in order of insertion: the rest is younger */
        }
        _cleanup_free_ char *key = str_dup(map_key(e));
        (void)map_remove(&st->tickets, key);
    }
}

static char *issue(struct streaming *st, struct ticket *t, struct error *err)
{
    static const char *const kinds[] = {"exec", "attach", "portforward"};
    if (map_count(&st->tickets) >= TOKENS_MAX) {
        ticket_free(t);
        (void)error_set(err, -EBUSY, "too many streams were asked for and not opened");
        return NULL;
    }
    char token[TOKEN_LEN + 1];
    random_hex(token, TOKEN_LEN);
    t->expires_ms = now_ms() + TOKEN_MS;
    map_set(&st->tickets, token, t);
    if (!loop_timer_armed(&st->expire))
        loop_timer_set(&st->expire, TOKEN_MS);
    return str_printf("http://127.0.0.1:%u/%s/%s", st->port, kinds[t->kind], token);
}

static int check(const struct streaming_options *o, struct error *err)
{
    if (!o->want_stdin && !o->want_stdout && !o->want_stderr)
        return error_set(err, -EINVAL, "one of stdin, stdout and stderr must be asked for");
    if (o->tty && o->want_stderr)
        return error_set_field(err, -EINVAL, "stderr", "stderr and tty exclude each other");
    return 0;
}

static struct ticket *ticket_new(enum ticket_kind kind, const char *id,
                                 const struct streaming_options *o)
{
    struct ticket *t = mem_zalloc(sizeof(*t));
    t->kind = kind;
    t->id = str_dup(id);
    if (o)
        t->options = *o;
    return t;
}

static bool check_running(const struct container *c, struct error *err)
{
    if (c->state == CONTAINER_RUNNING)
        return true;
    (void)error_set(err, -EBADFD, "container %s is not running", c->id);
    return false;
}

char *streaming_exec(struct streaming *st, const struct container *c, const char *const *argv,
                     const struct streaming_options *o, struct error *err)
{
    if (check(o, err) < 0 || !check_running(c, err))
        return NULL;
    if (!argv[0] || !argv[0][0]) {
        (void)error_set_field(err, -EINVAL, "cmd", "cmd: empty");
        return NULL;
    }
    struct ticket *t = ticket_new(TICKET_EXEC, c->id, o);
    size_t n = 0;
    while (argv[n])
        n++;
    t->argv = mem_zalloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++)
        t->argv[i] = str_dup(argv[i]);
    return issue(st, t, err);
}

char *streaming_attach(struct streaming *st, const struct container *c,
                       const struct streaming_options *o, struct error *err)
{
    if (check(o, err) < 0 || !check_running(c, err))
        return NULL;
    if (o->tty != c->config->tty) {
        (void)error_set_field(err, -EINVAL, "tty", "tty: not as the container was made");
        return NULL;
    }
    return issue(st, ticket_new(TICKET_ATTACH, c->id, o), err);
}

char *streaming_port_forward(struct streaming *st, const struct sandbox *s,
                             const struct remote_ports *ports, struct error *err)
{
    if (s->state != SANDBOX_READY) {
        (void)error_set(err, -EBADFD, "sandbox %s is not ready", s->id);
        return NULL;
    }
    struct ticket *t = ticket_new(TICKET_PORT_FORWARD, s->id, NULL);
    t->ports = *ports;
    return issue(st, t, err);
}
