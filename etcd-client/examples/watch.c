/*
 * Follows every change below a prefix, across restarts of etcd:
 *
 *   cc watch.c $(pkg-config --cflags --libs --static coracle-etcd) -o watch
 *   ./watch http://127.0.0.1:2379 /registry/pods/
 */
#include <coracle-etcd/etcd.h>
#include <stdio.h>
#include <stdlib.h>

struct program {
    struct etcd *etcd;
    const char *prefix;
};

static void on_events(void *arg, const struct etcd_event *events, size_t n, int64_t revision)
{
    (void)arg;
    (void)revision;
    for (size_t i = 0; i < n; i++) {
        const struct etcd_kv *kv = &events[i].kv;
        printf("%lld %s %.*s (%zu bytes)\n", (long long)kv->mod_revision,
               events[i].deleted ? "deleted" : "put", (int)kv->key.len, (const char *)kv->key.data,
               kv->value.len);
    }
    fflush(stdout);
}

static void on_end(void *arg, int code, const char *message)
{
    struct program *p = arg;
    fprintf(stderr, "the watch ended (%d): %s\n", code, message);
    etcd_stop(p->etcd, 1);
}

/* What is there at first; the watch begins right behind it. */
static void on_list(void *arg, int code, const char *message, const struct etcd_reply *reply)
{
    static const struct etcd_watch_events events = {.on_events = on_events, .on_end = on_end};
    struct program *p = arg;
    if (code != 0) {
        fprintf(stderr, "cannot list %s: %s\n", p->prefix, message);
        etcd_stop(p->etcd, 1);
        return;
    }
    for (size_t i = 0; i < reply->n; i++)
        printf("%lld is %.*s\n", (long long)reply->kvs[i].mod_revision, (int)reply->kvs[i].key.len,
               (const char *)reply->kvs[i].key.data);
    fflush(stdout);
    struct etcd_watch_request request = {
        .key = ETCD_STR(p->prefix), .prefix = true, .start_revision = reply->revision + 1};
    etcd_watch(p->etcd, &request, &events, p);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENDPOINT PREFIX\n", argv[0]);
        return 2;
    }
    char message[256];
    const char *endpoints[] = {argv[1]};
    struct etcd_options options = {.endpoints = endpoints, .n_endpoints = 1};
    struct program p = {.prefix = argv[2]};
    p.etcd = etcd_open(&options, message, sizeof(message));
    if (!p.etcd) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    struct etcd_range range = {.key = ETCD_STR(p.prefix), .prefix = true, .keys_only = true};
    etcd_range(p.etcd, &range, 0, on_list, &p);
    int status = etcd_run(p.etcd);
    etcd_free(p.etcd);
    return status;
}
