/* Archives of images; see export.h. */
#include "cri/unpack/export.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "cri/unpack/recipe.h"

#define BLOCK (64 * 1024)

struct writer {
    struct archive *tar;
    int out;
    int failure;           /* -errno of the descriptor */
    struct digest *digest; /* of the member that is being written */
    uint64_t left;         /* what it still lacks */
};

json_t *export_list_read(int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size > EXPORT_LIST_MAX) {
        (void)error_set(err, -EINVAL, "no list of members");
        return NULL;
    }
    _cleanup_free_ char *text = mem_zalloc((size_t)st.st_size + 1);
    if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
        (void)error_errno(err, -EIO, "cannot read the list of members");
        return NULL;
    }
    return json_parse(text, (size_t)st.st_size, err);
}

static la_ssize_t to_descriptor(_unused_ struct archive *a, void *arg, const void *data, size_t len)
{
    struct writer *w = arg;
    ssize_t n;
    do
        n = write(w->out, data, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        w->failure = -errno;
    return n;
}

static int failed(const struct writer *w, struct error *err)
{
    const char *text = archive_error_string(w->tar);
    if (w->failure)
        return error_errno(err, w->failure, "cannot write the archive");
    return error_set(err, -EIO, "cannot write the archive: %s", text ? text : "failed");
}

static int header(struct writer *w, const char *name, mode_t type, uint64_t size, struct error *err)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, type == AE_IFDIR ? 0755 : 0644);
    archive_entry_set_size(e, (la_int64_t)size);
    archive_entry_set_mtime(e, 0, 0);
    int r = archive_write_header(w->tar, e);
    archive_entry_free(e);
    w->left = size;
    return r == ARCHIVE_OK ? 0 : failed(w, err);
}

static int emit(const void *data, size_t len, void *arg, struct error *err)
{
    struct writer *w = arg;
    if (len > w->left)
        return error_set(err, -EBADMSG, "it is larger than it was");
    digest_add(w->digest, data, len);
    w->left -= len;
    return archive_write_data(w->tar, data, len) == (la_ssize_t)len ? 0 : failed(w, err);
}

static int write_blob(struct writer *w, const char *name, const char *hex, struct error *err)
{
    _cleanup_free_ char *path = str_printf("blobs/sha256/%s", hex);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    char buf[16384];
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, -errno, "%s", path);
    int r = header(w, name, AE_IFREG, (uint64_t)st.st_size, err);
    ssize_t n = 0;
    while (!r && (n = read(fd, buf, sizeof(buf))) > 0)
        r = emit(buf, (size_t)n, w, err);
    return r ? r : n < 0 ? error_errno(err, -errno, "%s", path) : 0;
}

static int write_layer(struct writer *w, const char *name, const json_t *member, struct error *err)
{
    int64_t number = json_path_int(member, "layer", 0);
    _cleanup_free_ char *recipe = str_printf("layers/%lld/recipe", (long long)number);
    _cleanup_free_ char *tree = str_printf("layers/%lld/fs", (long long)number);
    _cleanup_close_ int recipe_fd = open(recipe, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_close_ int tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (recipe_fd < 0 || tree_fd < 0)
        return error_errno(err, -errno, "%s", recipe_fd < 0 ? recipe : tree);
    int r = header(w, name, AE_IFREG, (uint64_t)json_path_int(member, "size", 0), err);
    return r ? r : recipe_follow(recipe_fd, tree_fd, emit, w, err);
}

/* Everything but our own texts must come out with the digest it had. */
static int check(struct writer *w, const char *digest, struct error *err)
{
    char hex[SHA256_HEX_LEN + 1];
    digest_hex(w->digest, hex);
    if (w->left || (digest && !str_eq(hex, digest)))
        return error_set(err, -EBADMSG, "it is not what it was%s", w->left ? ", but shorter" : "");
    return 0;
}

static int write_member(struct writer *w, const json_t *member, struct error *err)
{
    const char *name = json_path_string(member, "name"), *text = json_path_string(member, "text");
    const char *blob = json_path_string(member, "blob");
    const char *digest = blob ? blob : json_path_string(member, "digest");
    int r;
    if (!name || (blob && strchr(blob, '/')))
        return error_set(err, -EINVAL, "a member without a proper name");
    w->digest = digest_new();
    if (text) {
        r = header(w, name, AE_IFREG, strlen(text), err);
        if (!r)
            r = emit(text, strlen(text), w, err);
    } else if (blob) {
        r = write_blob(w, name, blob, err);
    } else {
        r = write_layer(w, name, member, err);
    }
    if (!r)
        r = check(w, !text && digest && str_starts(digest, "sha256:") ? digest + 7 : blob, err);
    w->digest = digest_free(w->digest);
    return r ? error_prefix(err, r, "%s", name) : 0;
}

int export_write(const json_t *list, int out, struct error *err)
{
    static const char *const dirs[] = {"blobs/", "blobs/sha256/"};
    struct writer w = {.tar = archive_write_new(), .out = out};
    int r = w.tar && !archive_write_set_format_pax_restricted(w.tar) &&
                    !archive_write_set_bytes_per_block(w.tar, BLOCK) &&
                    !archive_write_set_bytes_in_last_block(w.tar, 1) &&
                    !archive_write_open(w.tar, &w, NULL, to_descriptor, NULL)
                ? 0
                : error_set(err, -ENOMEM, "cannot make an archive");
    for (size_t i = 0; i < ARRAY_SIZE(dirs) && !r; i++)
        r = header(&w, dirs[i], AE_IFDIR, 0, err);
    for (size_t i = 0; i < json_array_size(list) && !r; i++)
        r = write_member(&w, json_array_get(list, i), err);
    if (!r && archive_write_close(w.tar) != ARCHIVE_OK)
        r = failed(&w, err);
    else if (r) /* no end mark: half an archive must not look like a whole one */
        (void)archive_write_fail(w.tar);
    (void)archive_write_free(w.tar);
    return r;
}
