/* Asking a list of servers until one answers; see upstream.h. */
#include "dns/upstream.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "dns/exchange.h"
#include "dns/records.h"

#define ROUNDS_MAX 3

struct server {
    struct ip_addr ip;
    uint64_t down_until; /* 0: it answers */
};
struct upstream {
    struct loop *loop;
    struct server servers[UPSTREAM_SERVERS_MAX];
    size_t n;
};
struct upstream_query {
    struct upstream *u;
    struct ip_addr order[UPSTREAM_SERVERS_MAX]; /* the servers as they were when it began */
    size_t n, next;
    unsigned rounds;
    struct exchange *exchange;
    uint64_t deadline;
    struct loop_timer start;
    uint8_t *fallback; /* what a server said that could not help */
    size_t fallback_len;
    upstream_fn done;
    void *arg;
    size_t len;
    uint8_t query[];
};

/* ---- servers ---- */

static struct server *find(struct upstream *u, const struct ip_addr *ip)
{
    for (size_t i = 0; i < u->n; i++)
        if (ip_addr_equal(&u->servers[i].ip, ip))
            return &u->servers[i];
    return NULL;
}

void upstream_set(struct upstream *u, const struct ip_addr *servers, size_t n)
{
    struct upstream old = *u;
    u->n = 0;
    for (size_t i = 0; i < n && u->n < UPSTREAM_SERVERS_MAX; i++) {
        const struct server *known = find(&old, &servers[i]);
        u->servers[u->n++] =
            (struct server){.ip = servers[i], .down_until = known ? known->down_until : 0};
    }
}

size_t upstream_count(const struct upstream *u)
{
    return u->n;
}

static void note(struct upstream *u, const struct ip_addr *ip, int result)
{
    char text[IP_TEXT_MAX];
    struct server *s = find(u, ip);
    if (!s)
        return;
    if (result == 0 && s->down_until)
        log_info("DNS server answers again", "server", ip_addr_format(ip, text), NULL);
    else if (result < 0 && !s->down_until)
        log_warn("DNS server does not answer, asking others first", "server",
                 ip_addr_format(ip, text), "error", strerror(-result), NULL);
    s->down_until = result < 0 ? now_ms() + UPSTREAM_DOWN_MS : 0;
}

/* ---- queries ---- */

static void ask_next(struct upstream_query *q);

static void finish(struct upstream_query *q, int result, const uint8_t *data, size_t len)
{
    if (result < 0 && q->fallback)
        q->done(q->arg, 0, q->fallback, q->fallback_len);
    else
        q->done(q->arg, result, data, len);
}

static bool helps(const uint8_t *data)
{
    unsigned rcode = data[3] & 15;
    return rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN;
}

static void on_result(void *arg, int result, const uint8_t *data, size_t len)
{
    struct upstream_query *q = arg;
    note(q->u, &q->order[q->next], result);
    if (result == 0 && helps(data)) {
        finish(q, 0, data, len);
        return;
    }
    if (result == 0 && !q->fallback) {
        q->fallback = mem_dup(data, len);
        q->fallback_len = len;
    }
    q->exchange = exchange_free(q->exchange);
    q->next++;
    ask_next(q);
}

static void ask_next(struct upstream_query *q)
{
    uint64_t now = now_ms(), left = q->deadline > now ? q->deadline - now : 0;
    /* Once more from the start when all were silent; what one said is not asked for again, nor is
     * one that refuses at once asked all the time. */
    if (q->next == q->n && !q->fallback && ++q->rounds < ROUNDS_MAX)
        q->next = 0;
    if (!left || q->next >= q->n) {
        finish(q, -ETIMEDOUT, NULL, 0);
        return;
    }
    q->exchange = exchange_new(q->u->loop, &q->order[q->next], q->query, q->len,
                               left < UPSTREAM_TRY_MS ? left : UPSTREAM_TRY_MS, on_result, q);
}

static void on_start(void *arg)
{
    ask_next(arg);
}

struct upstream_query *upstream_ask(struct upstream *u, const uint8_t *query, size_t len,
                                    upstream_fn done, void *arg)
{
    uint64_t now = now_ms();
    struct upstream_query *q = mem_zalloc(sizeof(*q) + len);
    *q = (struct upstream_query){
        .u = u, .deadline = now + UPSTREAM_DEADLINE_MS, .done = done, .arg = arg, .len = len};
    memcpy(q->query, query, len);
    for (int down = 0; down < 2; down++)
        for (size_t i = 0; i < u->n; i++)
            if ((u->servers[i].down_until > now) == (down == 1))
                q->order[q->n++] = u->servers[i].ip;
    loop_timer_init(&q->start, u->loop, "question to DNS servers", on_start, q);
    loop_timer_set(&q->start, 0);
    return q;
}

bool upstream_is_query(const struct upstream_query *q, const uint8_t *data, size_t len)
{
    return q->exchange && exchange_is_query(q->exchange, data, len);
}

struct upstream_query *upstream_query_free(struct upstream_query *q)
{
    if (q) {
        loop_timer_done(&q->start);
        (void)exchange_free(q->exchange);
        free(q->fallback);
        free(q);
    }
    return NULL;
}

/* ---- life ---- */

struct upstream *upstream_new(struct loop *loop)
{
    struct upstream *u = mem_zalloc(sizeof(*u));
    u->loop = loop;
    return u;
}

struct upstream *upstream_free(struct upstream *u)
{
    free(u);
    return NULL;
}
