/* Fetching a layer's blob into a file; see pull.c. */
#include "cri/image/pull_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/log.h"

#define TRIES_MAX    5
#define RETRY_MS     500
#define FREE_PERCENT 2

static bool begin(struct pull_fetch *f);

void pull_fetch_done(struct pull_fetch *f)
{
    if (!f->used)
        return;
    f->get = registry_cancel(f->get);
    loop_timer_done(&f->retry);
    f->digest = digest_free(f->digest);
    if (f->fd >= 0)
        (void)close(f->fd);
    f->used = false;
}

static void fail(struct pull_fetch *f, int code, const char *what)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, code, "layer %s: %s", f->layer->digest, what);
    ingest_fail(f->pull->ingest, &err);
}

static void on_retry(void *arg)
{
    (void)begin(arg);
}

/* The place in the layer where the answer begins; false when it is not what was asked for. */
static bool answer_start(const struct pull_fetch *f, const struct http_response *response,
                         uint64_t *ret)
{
    *ret = 0;
    if (response->status != 206)
        return true; /* the whole: what is there is passed over */
    const char *range = http_headers_get(response->headers, "Content-Range");
    char *end;
    if (!range || !str_starts(range, "bytes "))
        return false;
    *ret = strtoull(range + strlen("bytes "), &end, 10);
    return *end == '-' && *ret <= f->got;
}

static void on_head(_unused_ struct registry_get *get, const struct http_response *response,
                    void *arg)
{
    struct pull_fetch *f = arg;
    if (!answer_start(f, response, &f->at))
        fail(f, -EPROTO, "the registry answers with another range than asked for");
}

static int write_all(int fd, const char *data, size_t len, uint64_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}

static void on_data(_unused_ struct registry_get *get, const void *data, size_t len, void *arg)
{
    struct pull_fetch *f = arg;
    const char *p = data;
    if (f->at < f->got) {
        uint64_t known = f->got - f->at;
        size_t pass = known < len ? (size_t)known : len;
        f->at += pass;
        p += pass;
        len -= pass;
    }
    if (!len)
        return;
    if (len > f->layer->size - f->got) {
        fail(f, -EBADMSG, "the registry sends more than its size");
        return;
    }
    int r = write_all(f->fd, p, len, f->got);
    if (r) {
        fail(f, r, strerror(-r));
        return;
    }
    digest_add(f->digest, p, len);
    f->got += len;
    f->at += len;
    f->tries = 0;
    ingest_layer_grew(f->pull->ingest, f->index);
}

/* All bytes are there: the layer counts when they are the right ones. */
static void check(struct pull_fetch *f)
{
    char hex[SHA256_HEX_LEN + 1];
    digest_hex(f->digest, hex);
    if (!str_eq(hex, digest_digits(f->layer->digest))) {
        struct error err = ERROR_INIT;
        (void)error_set(&err, -EBADMSG,
                        "layer %s: the registry sent something with the digest "
                        "sha256:%s",
                        f->layer->digest, hex);
        ingest_fail(f->pull->ingest, &err);
        return;
    }
    ingest_layer_complete(f->pull->ingest, f->index);
}

static void on_end(_unused_ struct registry_get *get, const struct error *err, void *arg)
{
    struct pull_fetch *f = arg;
    f->get = NULL;
    if (f->got == f->layer->size) {
        check(f);
        return;
    }
    struct error why = ERROR_INIT;
    if (err)
        why = *err;
    else
        (void)error_set(&why, -EAGAIN, "the registry sent %llu of %llu bytes",
                        (unsigned long long)f->got, (unsigned long long)f->layer->size);
    if (why.code == -EAGAIN && f->tries < TRIES_MAX) {
        log_debug("a layer is fetched on", "layer", f->layer->digest, "after", error_text(&why),
                  NULL);
        loop_timer_set(&f->retry, (uint64_t)RETRY_MS << f->tries++);
        return;
    }
    (void)error_prefix(&why, why.code, "layer %s", f->layer->digest);
    ingest_fail(f->pull->ingest, &why);
}

/* False when the pull is gone. */
static bool begin(struct pull_fetch *f)
{
    static const struct registry_ops ops = {.head = on_head, .data = on_data, .end = on_end};
    struct error err = ERROR_INIT;
    _cleanup_free_ char *what = str_printf("blobs/%s", f->layer->digest);
    f->get = registry_start(f->pull->registry, what, NULL, f->got, &ops, f, &err);
    if (f->get)
        return true;
    ingest_fail(f->pull->ingest, &err);
    return false;
}

/* Refuses at once what would fill the disk. */
static bool fits(const struct pull_fetch *f)
{
    struct statvfs v;
    if (fstatvfs(f->fd, &v) < 0 || !v.f_blocks)
        return true;
    uint64_t reserve = (uint64_t)v.f_blocks * FREE_PERCENT / 100;
    return v.f_bavail > reserve && f->layer->size / v.f_frsize < v.f_bavail - reserve;
}

void pull_fetch_start(struct ingest *ingest, size_t i, void *arg)
{
    struct pull *p = arg;
    struct pull_fetch *f = &p->fetches[i];
    _cleanup_free_ char *path = fs_join(ingest_layer_dir(ingest, i), "blob");
    *f = (struct pull_fetch){.pull = p,
                             .index = i,
                             .layer = &p->manifest.layers[i],
                             .digest = digest_new(),
                             .used = true};
    loop_timer_init(&f->retry, p->puller->loop, "layer retry", on_retry, f);
    f->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        fail(f, -errno, strerror(errno));
        return;
    }
    if (!fits(f)) {
        fail(f, -ENOSPC, "the disk has no room for it");
        return;
    }
    if (!f->layer->size) { /* an empty blob is no request worth making */
        ingest_layer_file(ingest, i, f->fd, 0);
        check(f);
        return;
    }
    if (begin(f))
        ingest_layer_file(ingest, i, f->fd, f->layer->size);
}
