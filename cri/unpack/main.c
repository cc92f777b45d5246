/*
 * coracle-unpack: the image store's worker. It reads what registries and archives send, confined to
 * the one directory it works on, and answers with one JSON object on standard output:
 * {"error":TEXT,"code":ERRNO} or what the job gives. It is started by coracle-cri only.
 *
 *   coracle-unpack apply SIZE DIR [LOWER]   in layers/: unpacks descriptor 3 (SIZE bytes, growing
 *                                           while descriptor 4 is open) to DIR/layer/fs over LOWER
 *   coracle-unpack members                  takes the archive on descriptor 3 apart in its
 * directory coracle-unpack remove NAME…             removes trees of its directory coracle-unpack
 * sync                     syncs the file system of its directory
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/json.h"
#include "cri/unpack/confine.h"
#include "cri/unpack/layer.h"
#include "cri/unpack/members.h"

#define BLOB_FD     3
#define PROGRESS_FD 4

/* The root of an overlay is that of its upper directory alone: it takes over what the parent's has.
 * @lower is "12/fs:11/fs…", the topmost first. */
static int inherit_root(const char *lower, const char *upper, struct error *err)
{
    _cleanup_free_ char *parent = str_ndup(lower, strcspn(lower, ":"));
    _cleanup_close_ int from = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int to = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (from < 0 || to < 0 || fstat(from, &st) < 0)
        return error_errno(err, -errno, "%s", from < 0 ? parent : upper);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
        return error_errno(err, -errno, "%s", upper);
    char names[4096], value[4096];
    ssize_t len = flistxattr(from, names, sizeof(names));
    for (const char *n = names; len > 0 && n < names + len; n += strlen(n) + 1) {
        if (str_starts(n, "trusted.") || str_starts(n, "security.selinux"))
            continue;
        ssize_t size = fgetxattr(from, n, value, sizeof(value));
        if (size >= 0)
            (void)fsetxattr(to, n, value, (size_t)size, 0);
    }
    return futimens(to, times) < 0 ? error_errno(err, -errno, "%s", upper) : 0;
}

static int apply(int argc, char **argv, json_t *answer, struct error *err)
{
    if (argc < 4)
        return error_set(err, -EINVAL, "usage: apply SIZE DIR [LOWER]");
    char *end;
    uint64_t size = strtoull(argv[2], &end, 10);
    if (*end)
        return error_set(err, -EINVAL, "SIZE must be a number");
    const char *lower = argc > 4 ? argv[4] : "";
    _cleanup_free_ char *upper = str_printf("%s/layer/fs", argv[3]);
    _cleanup_free_ char *root = str_printf("%s/root", argv[3]);
    _cleanup_free_ char *options =
        *lower ? str_printf("lowerdir=%s,upperdir=%s,workdir=%s/work,redirect_dir=off,"
                            "metacopy=off,index=off,xino=off",
                            lower, upper, argv[3])
               : NULL;
    struct layer_target target = {.root_fd = -1, .upper_fd = -1, .has_parents = *lower != '\0'};
    _cleanup_close_ int later = open(argv[3], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (later < 0)
        return error_errno(err, -errno, "cannot make notes in %s", argv[3]);
    target.later_fd = later;
    int r = *lower ? inherit_root(lower, upper, err) : 0;
    if (r ||
        (r = confine_root(upper, root, options, upper, options ? &target.upper_fd : NULL, err)))
        return r;
    _cleanup_close_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return error_errno(err, -errno, "/");
    target.root_fd = root_fd;
    _cleanup_close_ int upper_fd = target.upper_fd;
    if (!options)
        target.upper_fd = root_fd;
    if ((r = confine_privileges(err)))
        return r;
    struct blob_source blob;
    blob_source_init(&blob, BLOB_FD, PROGRESS_FD, size);
    _cleanup_(layer_stream_freep) struct layer_stream *stream = layer_stream_new(&blob.source, err);
    if (!stream)
        return err->code;
    struct layer_result result = {.bytes = 0};
    if ((r = layer_apply(&target, stream, &result, err)))
        return r;
    (void)json_object_set_new(answer, "diffID", json_text(result.diff_id));
    (void)json_object_set_new(answer, "bytes", json_integer((json_int_t)result.bytes));
    (void)json_object_set_new(answer, "inodes", json_integer((json_int_t)result.inodes));
    (void)json_object_set_new(answer, "ignored", json_integer((json_int_t)result.ignored));
    return 0;
}

struct pipe_source {
    struct stream_source source;
    int fd;
};

static ssize_t pipe_read(struct stream_source *source, void *buf, size_t size, struct error *err)
{
    struct pipe_source *p = CONTAINER_OF(source, struct pipe_source, source);
    ssize_t n;
    do
        n = read(p->fd, buf, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? error_errno(err, -errno, "cannot read the archive") : n;
}

/* The current directory becomes the root. */
static int confine_here(struct error *err)
{
    _cleanup_free_ char *here = getcwd(NULL, 0); /* "." would stay below the new mount */
    if (!here)
        return error_errno(err, -errno, "no current directory");
    int r = confine_root(here, here, NULL, NULL, NULL, err);
    return r ? r : confine_privileges(err);
}

static int members(json_t *answer, struct error *err)
{
    int r = confine_here(err);
    if (r)
        return r;
    _cleanup_close_ int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, -errno, "/");
    struct pipe_source p = {.source = {.read = pipe_read}, .fd = BLOB_FD};
    json_t *list = NULL;
    r = members_extract(&p.source, dir, &list, err);
    if (!r)
        (void)json_object_set_new(answer, "members", list);
    return r;
}

static int remove_trees(int argc, char **argv, struct error *err)
{
    int r = confine_here(err);
    for (int i = 2; i < argc && !r; i++) {
        if (strchr(argv[i], '/') || str_eq(argv[i], "..") || str_eq(argv[i], "."))
            return error_set(err, -EINVAL, "%s is no plain name", argv[i]);
        r = fs_remove_tree(argv[i], err);
    }
    return r;
}

static int sync_store(struct error *err)
{
    _cleanup_close_ int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || syncfs(fd) < 0 ? error_errno(err, -errno, "cannot sync the image store") : 0;
}

static int run(int argc, char **argv, json_t *answer, struct error *err)
{
    if (confine_begin())
        return error_set(err, -ESRCH, "the parent is gone");
    /* Names in pax headers are UTF-8; without a locale of that kind libarchive refuses them. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return error_set(err, -ENOTSUP, "the C.UTF-8 locale is not there");
    const char *job = argc > 1 ? argv[1] : "";
    if (str_eq(job, "apply"))
        return apply(argc, argv, answer, err);
    if (str_eq(job, "members"))
        return members(answer, err);
    if (str_eq(job, "remove"))
        return remove_trees(argc, argv, err);
    if (str_eq(job, "sync"))
        return sync_store(err);
    return error_set(err, -EINVAL, "usage: coracle-unpack apply|members|remove|sync …");
}

int main(int argc, char **argv)
{
    _cleanup_json_ json_t *answer = json_object();
    struct error err = ERROR_INIT;
    int r = run(argc, argv, answer, &err);
    if (r) {
        (void)json_object_set_new(answer, "error", json_text(error_text(&err)));
        (void)json_object_set_new(answer, "code", json_integer(-r));
    }
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode(answer, &out);
    strbuf_addc(&out, '\n');
    for (size_t at = 0; at < out.len;) {
        ssize_t n = write(STDOUT_FILENO, out.data + at, out.len - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    /* No exit handlers: what sanitizers do there needs calls that the filter refuses. */
    _exit(r ? 1 : 0);
}
