/*
 * Opens N watches on one collection, makes one change, and says how long it took until every
 * watcher had it: watch-fan URL CA CERT KEY PATH OBJECT N → "watchers=1000 first_ms=3.1
 * last_ms=29.8".
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "net/http_client.h"

struct fan {
    struct loop *loop;
    struct http_client *http;
    struct tls_client_config tls;
    const char *url, *path, *object;
    size_t n, open, got;
    struct timespec start, first, last;
    struct loop_timer settle, deadline;
    struct watcher *watchers;
};

struct watcher {
    struct fan *fan;
    struct http_call *call;
    bool open, got;
};

static double ms_since(const struct timespec *a, const struct timespec *b)
{
    return (double)(b->tv_sec - a->tv_sec) * 1e3 + (double)(b->tv_nsec - a->tv_nsec) / 1e6;
}

static void on_changed(const struct http_response *response, const struct error *err, void *arg)
{
    (void)arg;
    if (!response || response->status != 200) {
        (void)fprintf(stderr, "change failed: %s\n", response ? response->body : error_text(err));
        exit(1);
    }
}

static void on_settled(void *arg)
{
    struct fan *fan = arg;
    _cleanup_free_ char *url = str_printf("%s%s/%s", fan->url, fan->path, fan->object);
    _cleanup_free_ char *body =
        str_printf("{\"data\":{\"at\":\"%ld\"}}", (long)time(NULL) + (long)getpid());
    _cleanup_http_headers_ struct http_headers headers = HTTP_HEADERS_INIT;
    http_headers_add(&headers, "Content-Type", "application/merge-patch+json");
    const struct http_request request = {.method = "PATCH",
                                         .url = url,
                                         .headers = &headers,
                                         .body = body,
                                         .body_len = strlen(body),
                                         .tls = &fan->tls};
    struct error err = ERROR_INIT;
    (void)clock_gettime(CLOCK_MONOTONIC, &fan->start);
    if (http_client_call(fan->http, &request, 1 << 20, on_changed, fan, NULL, &err) < 0)
        exit(1);
}

static void on_headers(struct http_call *call, const struct http_response *response, void *arg)
{
    (void)arg;
    (void)call;
    if (response->status != 200) {
        (void)fprintf(stderr, "watch answered %d\n", response->status);
        exit(1);
    }
}

static void on_data(struct http_call *call, const void *data, size_t len, void *arg)
{
    struct watcher *w = arg;
    struct fan *fan = w->fan;
    (void)call;
    (void)data;
    (void)len;
    if (!w->open) { /* the state before the change */
        w->open = true;
        if (++fan->open == fan->n)
            loop_timer_set(&fan->settle, 500);
    }
    if (w->got || !fan->start.tv_sec)
        return;
    w->got = true;
    (void)clock_gettime(CLOCK_MONOTONIC, fan->got ? &fan->last : &fan->first);
    if (++fan->got == fan->n)
        loop_stop(fan->loop, 0);
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    (void)call;
    (void)arg;
    (void)fprintf(stderr, "a watch ended: %s\n", err ? error_text(err) : "in order");
    exit(1);
}

static void on_deadline(void *arg)
{
    struct fan *fan = arg;
    (void)fprintf(stderr, "%zu of %zu watchers opened, %zu got the change\n", fan->open, fan->n,
                  fan->got);
    exit(1);
}

int main(int argc, char **argv)
{
    static const struct http_stream_handler handler = {
        .on_headers = on_headers, .on_data = on_data, .on_end = on_end};
    if (argc != 8)
        return 2;
    struct fan fan = {.loop = loop_new(), .url = argv[1], .path = argv[5], .object = argv[6]};
    fan.http = http_client_new(fan.loop);
    fan.tls =
        (struct tls_client_config){.ca_file = argv[2], .cert_file = argv[3], .key_file = argv[4]};
    fan.n = (size_t)strtoul(argv[7], NULL, 10);
    fan.watchers = mem_zalloc(fan.n * sizeof(*fan.watchers));
    loop_timer_init(&fan.settle, fan.loop, "settle", on_settled, &fan);
    loop_timer_init(&fan.deadline, fan.loop, "deadline", on_deadline, &fan);
    loop_timer_set(&fan.deadline, 60000);
    _cleanup_free_ char *url =
        str_printf("%s%s?watch=1&resourceVersion=0&sendInitialEvents=true&allowWatchBookmarks=true&"
                   "resourceVersionMatch=NotOlderThan",
                   fan.url, fan.path);
    for (size_t i = 0; i < fan.n; i++) {
        struct error err = ERROR_INIT;
        const struct http_request request = {
            .url = url, .tls = &fan.tls, .connect_timeout_ms = 60000};
        fan.watchers[i].fan = &fan;
        if (http_client_stream(fan.http, &request, &handler, &fan.watchers[i],
                               &fan.watchers[i].call, &err) < 0) {
            (void)fprintf(stderr, "%s\n", error_text(&err));
            return 1;
        }
    }
    int code = loop_run(fan.loop);
    (void)printf("watchers=%zu first_ms=%.1f last_ms=%.1f\n", fan.n,
                 ms_since(&fan.start, &fan.first), ms_since(&fan.start, &fan.last));
    fan.http = http_client_free(fan.http);
    loop_timer_done(&fan.settle);
    loop_timer_done(&fan.deadline);
    free(fan.watchers);
    fan.loop = loop_free(fan.loop);
    return code;
}
