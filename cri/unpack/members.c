/* Image archives; see members.h. Names in the archive never become names of files. */
#include "cri/unpack/members.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/strbuf.h"

#define CHUNK        (64 * 1024)
#define FREE_PERCENT 2

struct reader {
    struct stream_source *source;
    struct archive *archive;
    struct error failure;
    char in[CHUNK];
};

static la_ssize_t read_source(_unused_ struct archive *a, void *arg, const void **buf)
{
    struct reader *r = arg;
    ssize_t n = r->source->read(r->source, r->in, sizeof(r->in), &r->failure);
    *buf = r->in;
    return n < 0 ? ARCHIVE_FATAL : n;
}

static int archive_failed(struct reader *r, struct error *err)
{
    if (r->failure.code) {
        if (err)
            *err = r->failure;
        return r->failure.code;
    }
    const char *text = archive_error_string(r->archive);
    return error_set(err, -EINVAL, "not a readable image archive: %s", text ? text : "damaged");
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

static int check_space(int dirfd, struct error *err)
{
    struct statvfs v;
    if (fstatvfs(dirfd, &v) == 0 && v.f_blocks &&
        (uint64_t)v.f_bavail * 100 < (uint64_t)v.f_blocks * FREE_PERCENT)
        return error_set(err, -ENOSPC, "less than %d %% of the disk is free", FREE_PERCENT);
    return 0;
}

static int extract_file(struct reader *r, int dirfd, const char *file, json_t *member,
                        struct error *err)
{
    _cleanup_close_ int fd =
        openat(dirfd, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, -errno, "cannot make a file");
    _cleanup_(digest_freep) struct digest *digest = digest_new();
    _cleanup_free_ char *buf = mem_zalloc(CHUNK);
    uint64_t size = 0;
    la_ssize_t n;
    while ((n = archive_read_data(r->archive, buf, CHUNK)) > 0) {
        int code = write_all(fd, buf, (size_t)n);
        if (code)
            return error_errno(err, code, "cannot write");
        if (size % (64 << 20) == 0 && (code = check_space(dirfd, err)))
            return code;
        digest_add(digest, buf, (size_t)n);
        size += (uint64_t)n;
    }
    if (n < 0)
        return archive_failed(r, err);
    char hex[SHA256_HEX_LEN + 1], text[80];
    digest_hex(digest, hex);
    (void)snprintf(text, sizeof(text), "sha256:%s", hex);
    (void)json_object_set_new(member, "file", json_text(file));
    (void)json_object_set_new(member, "size", json_integer((json_int_t)size));
    (void)json_object_set_new(member, "digest", json_text(text));
    return 0;
}

static const char *plain_name(const char *name)
{
    while (str_starts(name, "./") || *name == '/')
        name += *name == '/' ? 1 : 2;
    return name;
}

static int extract_all(struct reader *r, int dirfd, json_t *list, struct error *err)
{
    struct archive_entry *entry;
    size_t text = 0;
    for (;;) {
        int code = archive_read_next_header(r->archive, &entry);
        if (code == ARCHIVE_EOF)
            return 0;
        if (code == ARCHIVE_RETRY)
            continue;
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
            return archive_failed(r, err);
        const char *name = archive_entry_pathname(entry);
        const char *link = archive_entry_hardlink(entry);
        if (!link)
            link = archive_entry_symlink(entry);
        mode_t type = archive_entry_filetype(entry);
        if (!name || (type != AE_IFREG && !link))
            continue;
        text += strlen(name) + (link ? strlen(link) : 0) + 200;
        if (strlen(name) > MEMBER_NAME_MAX || (link && strlen(link) > MEMBER_NAME_MAX) ||
            json_array_size(list) >= MEMBERS_MAX || text > MEMBERS_TEXT_MAX)
            return error_set(err, -EFBIG, "the archive has too many or too long names");
        json_t *member = json_object();
        (void)json_object_set_new(member, "name", json_text(plain_name(name)));
        char file[24];
        (void)snprintf(file, sizeof(file), "%zu", json_array_size(list));
        (void)json_array_append_new(list, member);
        if (link)
            (void)json_object_set_new(member, "link", json_text(link));
        else if ((code = extract_file(r, dirfd, file, member, err)))
            return code;
    }
}

int members_extract(struct stream_source *source, int dirfd, json_t **ret, struct error *err)
{
    struct reader *r = mem_zalloc(sizeof(*r));
    _cleanup_json_ json_t *list = json_array();
    r->source = source;
    r->archive = archive_read_new();
    int code = 0;
    if (!r->archive || archive_read_support_filter_gzip(r->archive) ||
        archive_read_support_filter_zstd(r->archive) || archive_read_support_format_tar(r->archive))
        code = error_set(err, -ENOTSUP, "this libarchive reads no gzip, zstd or tar");
    else if (archive_read_open(r->archive, r, NULL, read_source, NULL))
        code = archive_failed(r, err);
    else if (archive_filter_count(r->archive) > FILTERS_MAX)
        code = error_set(err, -EINVAL, "the archive is compressed more than once");
    if (!code)
        code = extract_all(r, dirfd, list, err);
    if (r->archive)
        (void)archive_read_free(r->archive);
    free(r);
    if (!code)
        *ret = TAKE_PTR(list);
    return code;
}
