/* Recipes of tars; see recipe.h. */
#include "cri/unpack/recipe.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "cri/unpack/layer.h"

#define CHUNK      (64 * 1024)
#define WINDOW_LOG 19 /* memory: headers are alike at short distances */

/* ---- writing ---- */

struct recipe {
    int fd;
    ZSTD_CCtx *zstd;
    struct strbuf pending; /* from @head on: bytes of the tar that no record holds yet */
    size_t head;
    uint64_t base;                 /* position in the tar of the byte at @head */
    char path[LAYER_PATH_MAX + 1]; /* the file record that is still growing; "": none */
    uint64_t file_offset, file_length;
    bool lost; /* told what cannot be: of no use any more */
    struct error failure;
    char out[CHUNK];
};

struct recipe *recipe_new(int fd)
{
    struct recipe *w = mem_zalloc(sizeof(*w));
    w->fd = fd;
    w->zstd = ZSTD_createCCtx();
    if (!w->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, WINDOW_LOG)))
        (void)error_set(&w->failure, -ENOMEM, "cannot compress");
    return w;
}

struct recipe *recipe_free(struct recipe *w)
{
    if (w) {
        (void)ZSTD_freeCCtx(w->zstd);
        strbuf_done(&w->pending);
        free(w);
    }
    return NULL;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static void compress(struct recipe *w, const void *data, size_t len, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {data, len, 0};
    size_t left = 1;
    while (!w->failure.code && (in.pos < in.size || (how == ZSTD_e_end && left))) {
        ZSTD_outBuffer out = {w->out, sizeof(w->out), 0};
        left = ZSTD_compressStream2(w->zstd, &out, &in, how);
        int r = ZSTD_isError(left) ? -EIO : write_all(w->fd, w->out, out.pos);
        if (r)
            (void)error_errno(&w->failure, r, "cannot write down how the layer is made");
    }
}

static size_t pending(const struct recipe *w)
{
    return w->pending.len - w->head;
}

static void consume(struct recipe *w, size_t len)
{
    w->head += len;
    w->base += len;
}

static void put_file(struct recipe *w)
{
    uint64_t numbers[2] = {htole64(w->file_offset), htole64(w->file_length)};
    uint16_t len = htole16((uint16_t)strlen(w->path));
    if (!w->path[0])
        return;
    compress(w, "F", 1, ZSTD_e_continue);
    compress(w, numbers, sizeof(numbers), ZSTD_e_continue);
    compress(w, &len, sizeof(len), ZSTD_e_continue);
    compress(w, w->path, strlen(w->path), ZSTD_e_continue);
    w->path[0] = '\0';
}

/* The first @len bytes of what is pending are in no file. */
static void put_literal(struct recipe *w, size_t len)
{
    uint32_t number = htole32((uint32_t)len);
    if (!len)
        return;
    put_file(w);
    compress(w, "L", 1, ZSTD_e_continue);
    compress(w, &number, sizeof(number), ZSTD_e_continue);
    compress(w, w->pending.data + w->head, len, ZSTD_e_continue);
    consume(w, len);
}

void recipe_bytes(struct recipe *w, const void *data, size_t len, uint64_t passed)
{
    if (passed > w->base) {
        uint64_t n = passed - w->base;
        put_literal(w, n < pending(w) ? (size_t)n : pending(w));
    }
    strbuf_consume(&w->pending, w->head);
    w->head = 0;
    strbuf_add(&w->pending, data, len);
}

void recipe_file(struct recipe *w, uint64_t at, const void *data, size_t len, const char *path,
                 uint64_t offset)
{
    if (!path || at < w->base || at + len > w->base + pending(w) || strlen(path) > LAYER_PATH_MAX ||
        memcmp(w->pending.data + w->head + (at - w->base), data, len) != 0) {
        w->lost = true;
        return;
    }
    put_literal(w, (size_t)(at - w->base));
    if (!str_eq(w->path, path) || offset != w->file_offset + w->file_length) {
        put_file(w);
        (void)snprintf(w->path, sizeof(w->path), "%s", path);
        w->file_offset = offset;
        w->file_length = 0;
    }
    w->file_length += len;
    consume(w, len);
}

int recipe_finish(struct recipe *w, uint64_t *ret_size, struct error *err)
{
    put_literal(w, pending(w));
    put_file(w);
    compress(w, "E", 1, ZSTD_e_end);
    if (w->failure.code) {
        if (err)
            *err = w->failure;
        return w->failure.code;
    }
    *ret_size = w->lost ? 0 : w->base;
    return 0;
}

/* ---- following ---- */

struct follower {
    int fd, tree;
    ZSTD_DCtx *zstd;
    ZSTD_inBuffer in;
    int (*emit)(const void *data, size_t len, void *arg, struct error *err);
    void *arg;
    char compressed[CHUNK], chunk[CHUNK];
};

static int damaged(struct error *err)
{
    return error_set(err, -EBADMSG, "the notes on how the layer is made are damaged");
}

/* Exactly @len uncompressed bytes. */
static int take(struct follower *f, void *to, size_t len, struct error *err)
{
    ZSTD_outBuffer out = {to, len, 0};
    while (out.pos < out.size) {
        size_t before = out.pos;
        if (ZSTD_isError(ZSTD_decompressStream(f->zstd, &out, &f->in)))
            return damaged(err);
        if (out.pos > before || f->in.pos < f->in.size)
            continue;
        ssize_t n = read(f->fd, f->compressed, sizeof(f->compressed));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? error_errno(err, -errno, "cannot read how the layer is made") : damaged(err);
        f->in = (ZSTD_inBuffer){f->compressed, (size_t)n, 0};
    }
    return 0;
}

static int follow_literal(struct follower *f, struct error *err)
{
    uint32_t left;
    int r = take(f, &left, sizeof(left), err);
    for (left = r ? 0 : le32toh(left); left && !r;) {
        uint32_t n = left < CHUNK ? left : CHUNK;
        r = take(f, f->chunk, n, err);
        if (!r)
            r = f->emit(f->chunk, n, f->arg, err);
        left -= n;
    }
    return r;
}

static int follow_file(struct follower *f, struct error *err)
{
    uint64_t numbers[2];
    uint16_t len;
    char path[LAYER_PATH_MAX + 1];
    int r = take(f, numbers, sizeof(numbers), err);
    if (r || (r = take(f, &len, sizeof(len), err)))
        return r;
    len = le16toh(len);
    if (!len || len > LAYER_PATH_MAX)
        return damaged(err);
    if ((r = take(f, path, len, err)))
        return r;
    path[len] = '\0';
    _cleanup_close_ int fd = fs_open_in_root(f->tree, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0,
                                             RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, -EBADMSG, "\"%.400s\" is no longer in it", path);
    uint64_t at = le64toh(numbers[0]), left = le64toh(numbers[1]);
    while (left && !r) {
        ssize_t n = pread(fd, f->chunk, left < CHUNK ? (size_t)left : CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, -errno, "\"%.400s\"", path);
        if (n == 0)
            return error_set(err, -EBADMSG, "\"%.400s\" is shorter than it was", path);
        r = f->emit(f->chunk, (size_t)n, f->arg, err);
        at += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return r;
}

int recipe_follow(int fd, int tree,
                  int (*emit)(const void *data, size_t len, void *arg, struct error *err),
                  void *arg, struct error *err)
{
    struct follower *f = mem_zalloc(sizeof(*f));
    *f = (struct follower){
        .fd = fd, .tree = tree, .zstd = ZSTD_createDCtx(), .emit = emit, .arg = arg};
    int r =
        f->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(f->zstd, ZSTD_d_windowLogMax, WINDOW_LOG))
            ? 0
            : error_set(err, -ENOMEM, "cannot decompress");
    char kind = '\0';
    while (!r && !(r = take(f, &kind, 1, err)) && kind != 'E') {
        if (kind == 'L')
            r = follow_literal(f, err);
        else if (kind == 'F')
            r = follow_file(f, err);
        else
            r = damaged(err);
    }
    (void)ZSTD_freeDCtx(f->zstd);
    free(f);
    return r;
}
