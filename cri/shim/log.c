/*
 * The CRI log format: "<RFC 3339 nanoseconds> <stream> <P|F> <content>\n". A line longer than
 * LOG_LINE_MAX is split into partial (P) records and ends with a full (F) one; what a stream leaves
 * without a newline at its end is a partial record, so that no byte is added to or lost from the
 * output.
 *
 * Records are appended whole. When the disk is full, the piece of a record that went in is cut off
 * again, and the container runs on: its output is lost and counted, never blocked.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/times.h"
#include "cri/shim/shim.h"

#define HEAD_MAX   (TIME_TEXT_MAX + 16)
#define RECORD_MAX (HEAD_MAX + LOG_LINE_MAX + 1)

/* Assembles one record from the kept beginning of the line and the rest. */
static void put_record(const struct log_stream *s, const char *head, size_t head_len, char tag,
                       const char *data, size_t len,
                       void (*emit)(void *arg, const char *record, size_t len), void *arg)
{
    static char record[RECORD_MAX];
    size_t at = head_len;
    memcpy(record, head, head_len);
    record[head_len - 2] = tag;
    if (s->len)
        memcpy(record + at, s->partial, s->len);
    at += s->len;
    memcpy(record + at, data, len);
    at += len;
    record[at++] = '\n';
    emit(arg, record, at);
}

static size_t make_head(char *head, const char *stream, int64_t now_ns)
{
    char time[TIME_TEXT_MAX];
    int n = snprintf(head, HEAD_MAX, "%s %s F ", time_format_nano(now_ns, time), stream);
    return (size_t)n;
}

static void drop_partial(struct log_stream *s)
{
    free(s->partial);
    *s = (struct log_stream){.partial = NULL};
}

void log_frame(struct log_stream *s, const char *stream, int64_t now_ns, const char *data,
               size_t len, void (*emit)(void *arg, const char *record, size_t len), void *arg)
{
    char head[HEAD_MAX];
    size_t head_len = make_head(head, stream, now_ns);
    while (len) {
        size_t room = LOG_LINE_MAX - s->len;
        const char *newline = memchr(data, '\n', len < room + 1 ? len : room + 1);
        if (newline) {
            size_t n = (size_t)(newline - data);
            put_record(s, head, head_len, 'F', data, n, emit, arg);
            drop_partial(s);
            data += n + 1;
            len -= n + 1;
        } else if (len > room) {
            put_record(s, head, head_len, 'P', data, room, emit, arg);
            drop_partial(s);
            data += room;
            len -= room;
        } else {
            if (!s->partial)
                s->partial = mem_grow(NULL, LOG_LINE_MAX, 1);
            memcpy(s->partial + s->len, data, len);
            s->len += len;
            return;
        }
    }
}

void log_finish(struct log_stream *s, const char *stream, int64_t now_ns,
                void (*emit)(void *arg, const char *record, size_t len), void *arg)
{
    if (s->len) {
        char head[HEAD_MAX];
        size_t head_len = make_head(head, stream, now_ns);
        put_record(s, head, head_len, 'P', "", 0, emit, arg);
    }
    drop_partial(s);
}

int log_open(struct log_file *f)
{
    int fd =
        open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return -EINVAL;
    }
    closep(&f->fd);
    f->fd = fd;
    f->size = (uint64_t)st.st_size;
    return 0;
}

void log_close(struct log_file *f)
{
    closep(&f->fd);
    f->fd = -1;
    free(f->path);
    f->path = NULL;
}

/* Removes the oldest rotated files beyond max_files; their names end in a sortable time. */
static void prune(const struct log_file *f)
{
    _cleanup_free_ char *dir = str_dup(f->path);
    char *base = strrchr(dir, '/');
    if (!base)
        return;
    *base++ = '\0';
    size_t len = strlen(base);
    for (;;) {
        DIR *d = opendir(dir);
        if (!d)
            return;
        unsigned n = 0;
        char oldest[256] = "";
        for (struct dirent *e; (e = readdir(d));)
            if (strncmp(e->d_name, base, len) == 0 && e->d_name[len] == '.') {
                n++;
                if (!oldest[0] || strcmp(e->d_name, oldest) < 0)
                    (void)snprintf(oldest, sizeof(oldest), "%s", e->d_name);
            }
        bool removed = n > f->max_files && unlinkat(dirfd(d), oldest, 0) == 0;
        (void)closedir(d);
        if (!removed)
            return;
    }
}

#define NAMES_TRIED 64

/* The kubelet's form of a rotated file: <path>.20060102-150405. Several in one second take the
 * seconds that follow, so that none is lost and their names sort as they were written. */
static int move_away(struct log_file *f)
{
    int64_t second = time_now_nano() / 1000000000;
    if (second <= f->rotated_s)
        second = f->rotated_s + 1;
    for (int i = 0; i < NAMES_TRIED; i++, second++) {
        char time[TIME_TEXT_MAX];
        (void)time_format_nano(second * 1000000000, time);
        _cleanup_free_ char *to = str_printf("%s.%.4s%.2s%.2s-%.2s%.2s%.2s", f->path, time,
                                             time + 5, time + 8, time + 11, time + 14, time + 17);
        if (renameat2(AT_FDCWD, f->path, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
            f->rotated_s = second;
            return 0;
        }
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

static void rotate(struct log_file *f)
{
    int r = move_away(f);
    /* ENOENT: somebody has moved it, or a new one could not be opened the last time. */
    if ((r < 0 && r != -ENOENT) || log_open(f) < 0)
        return; /* goes on in the file that is open */
    prune(f);
}

void log_write(struct log_file *f, const char *records, size_t len)
{
    if (f->fd < 0)
        return;
    if (f->max_bytes && f->size && f->size + len > f->max_bytes)
        rotate(f);
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(f->fd, records + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    size_t whole = done;
    if (done < len) {
        while (whole && records[whole - 1] != '\n')
            whole--;
        struct stat st;
        if (whole < done && fstat(f->fd, &st) == 0 &&
            ftruncate(f->fd, st.st_size - (off_t)(done - whole)) < 0)
            whole = done; /* cannot be cut: readers meet one broken record */
        f->lost += len - whole;
    }
    f->size += whole;
}
