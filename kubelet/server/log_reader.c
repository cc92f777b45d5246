/* Reading logs in the CRI format; see log_reader.h. */
#include "kubelet/server/log_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/times.h"

struct record {
    const char *time;
    size_t time_len;
    bool is_stdout, whole;
    const char *text;
    size_t len;
};

/* A field up to the next space, and the space. */
static const char *field(const char **p, const char *end, size_t *len)
{
    const char *start = *p, *space = memchr(start, ' ', (size_t)(end - start));
    if (!space || space == start)
        return NULL;
    *len = (size_t)(space - start);
    *p = space + 1;
    return start;
}

static bool parse(const char *line, size_t len, struct record *r)
{
    const char *p = line, *end = line + len;
    size_t n;
    r->time = field(&p, end, &r->time_len);
    const char *stream = r->time ? field(&p, end, &n) : NULL;
    if (!stream || n != 6)
        return false;
    r->is_stdout = !memcmp(stream, "stdout", 6);
    if (!r->is_stdout && memcmp(stream, "stderr", 6) != 0)
        return false;
    /* The tag; a line without text may end right after it. */
    if (p == end || (*p != 'F' && *p != 'P'))
        return false;
    r->whole = *p == 'F';
    const char *space = memchr(p, ' ', (size_t)(end - p));
    r->text = space ? space + 1 : end;
    r->len = (size_t)(end - r->text);
    return true;
}

static bool too_old(const struct log_reader *r, const struct record *rec)
{
    int64_t at;
    char text[TIME_TEXT_MAX + 8];
    if (!r->options.since || rec->time_len >= sizeof(text))
        return false;
    memcpy(text, rec->time, rec->time_len);
    text[rec->time_len] = 0;
    return !time_parse(text, &at) && at < r->options.since;
}

static void emit(struct log_reader *r, const char *data, size_t len, struct strbuf *out)
{
    if (r->options.limit >= 0 && (uint64_t)(r->options.limit - r->written) <= len) {
        len = (size_t)(r->options.limit - r->written);
        r->full = true;
    }
    strbuf_add(out, data, len);
    r->written += (int64_t)len;
}

static void put(struct log_reader *r, const struct record *rec, struct strbuf *out)
{
    if ((rec->is_stdout ? r->options.no_stdout : r->options.no_stderr) || too_old(r, rec))
        return;
    if (r->options.timestamps && !r->in_line) {
        emit(r, rec->time, rec->time_len, out);
        if (!r->full)
            emit(r, " ", 1, out);
    }
    if (!r->full)
        emit(r, rec->text, rec->len, out);
    if (!r->full && rec->whole)
        emit(r, "\n", 1, out);
    r->in_line = !rec->whole;
}

size_t log_reader_feed(struct log_reader *r, const char *data, size_t len, bool last,
                       struct strbuf *out)
{
    size_t used = 0;
    while (used < len && !r->full) {
        const char *line = data + used, *nl = memchr(line, '\n', len - used);
        size_t n = nl ? (size_t)(nl - line) : len - used;
        struct record rec;
        if (!nl && !last && n < LOG_LINE_MAX)
            break;
        if (parse(line, n, &rec))
            put(r, &rec, out);
        used += n + (nl != NULL);
    }
    return used;
}

/* ---- tail ---- */

/* Whether the record that ends before offset @end (exclusive of its newline) is a part: looks at
 * its beginning, @start. */
static bool is_part(int fd, off_t start)
{
    char head[TIME_TEXT_MAX + 16];
    ssize_t n = pread(fd, head, sizeof(head), start);
    struct record rec;
    if (n <= 0)
        return false;
    const char *nl = memchr(head, '\n', (size_t)n);
    return parse(head, nl ? (size_t)(nl - head) : (size_t)n, &rec) && !rec.whole;
}

/* The start of the record that ends at @end (the offset after its newline). */
static off_t record_start(int fd, off_t end)
{
    char buf[4096];
    off_t at = end - 1;
    while (at > 0) {
        size_t want = at > (off_t)sizeof(buf) ? sizeof(buf) : (size_t)at;
        ssize_t n = pread(fd, buf, want, at - (off_t)want);
        if (n <= 0)
            return 0;
        const char *nl = memrchr(buf, '\n', (size_t)n);
        if (nl)
            return at - (off_t)want + (nl - buf) + 1;
        at -= (off_t)want;
    }
    return 0;
}

int64_t log_tail_offset(int fd, int64_t lines)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    off_t at = st.st_size;
    int64_t seen = 0;
    if (lines <= 0)
        return at;
    /* A record that ends a line and is not the first we meet: everything after it is the tail. */
    while (at > 0) {
        off_t start = record_start(fd, at);
        if (!is_part(fd, start) && seen++ == lines)
            return at;
        at = start;
    }
    return 0;
}
