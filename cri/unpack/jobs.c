/* The jobs of coracle-unpack; see jobs.h. */
#include "cri/unpack/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/json.h"
#include "cri/unpack/export.h"
#include "cri/unpack/layer.h"
#include "cri/unpack/members.h"

#define BLOB_FD     3
#define PROGRESS_FD 4

#define EXPORT_LIST_FD 3
#define EXPORT_OUT_FD  4

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

/* What the confined process does. */
static int unpack(const struct layer_target *target, int recipe_fd, uint64_t size, json_t *answer,
                  struct error *err)
{
    struct blob_source blob;
    blob_source_init(&blob, BLOB_FD, PROGRESS_FD, size);
    _cleanup_(recipe_freep) struct recipe *recipe = recipe_new(recipe_fd);
    _cleanup_(layer_stream_freep) struct layer_stream *stream =
        layer_stream_new(&blob.source, recipe, err);
    struct layer_result result = {.bytes = 0};
    uint64_t tar_size = 0;
    struct stat st;
    int r = stream ? layer_apply(target, stream, &result, err) : err->code;
    if (r || (r = recipe_finish(recipe, &tar_size, err)))
        return r;
    if (fstat(recipe_fd, &st) == 0)
        result.bytes += (uint64_t)st.st_blocks * 512;
    (void)json_object_set_new(answer, "diffID", json_text(result.diff_id));
    (void)json_object_set_new(answer, "bytes", json_integer((json_int_t)result.bytes));
    (void)json_object_set_new(answer, "inodes", json_integer((json_int_t)result.inodes));
    (void)json_object_set_new(answer, "ignored", json_integer((json_int_t)result.ignored));
    (void)json_object_set_new(answer, "tar", json_integer((json_int_t)tar_size));
    return 0;
}

static int apply(const struct confine_filter *filter, int argc, char **argv, json_t *answer,
                 struct error *err)
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
    _cleanup_free_ char *recipe_path = str_printf("%s/layer/recipe", argv[3]);
    _cleanup_close_ int recipe_fd =
        open(recipe_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (recipe_fd < 0)
        return error_errno(err, -errno, "%s", recipe_path);
    int r = *lower ? inherit_root(lower, upper, err) : 0;
    if (r ||
        (r = confine_root(upper, root, options, upper, options ? &target.upper_fd : NULL, err)))
        return r;
    _cleanup_close_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return error_errno(err, -errno, "/");
    target.root_fd = root_fd;
    _cleanup_close_ int upper_fd = target.upper_fd;
    target.upper_fd = options ? upper_fd : root_fd;
    if ((r = confine_privileges(filter, err)))
        return r;
    return unpack(&target, recipe_fd, size, answer, err);
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

/* For jobs that have nothing to mount: everything but the current directory is out of reach. */
static int confine(const struct confine_filter *filter, struct error *err)
{
    int r = confine_here(err);
    return r ? r : confine_privileges(filter, err);
}

static int members(const struct confine_filter *filter, json_t *answer, struct error *err)
{
    int r = confine(filter, err);
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

/* Goes on past a tree that resists; the first failure is told. */
static int remove_trees(const struct confine_filter *filter, int argc, char **argv,
                        struct error *err)
{
    int r = confine(filter, err);
    if (r)
        return r;
    for (int i = 2; i < argc; i++) {
        bool plain = !strchr(argv[i], '/') && !str_eq(argv[i], "..") && !str_eq(argv[i], ".");
        int code = plain ? fs_remove_tree(argv[i], r ? NULL : err)
                         : error_set(r ? NULL : err, -EINVAL, "%s is no plain name", argv[i]);
        r = r ? r : code;
    }
    return r;
}

static int export(const struct confine_filter *filter, struct error *err)
{
    _cleanup_json_ json_t *list = export_list_read(EXPORT_LIST_FD, err);
    int r = list ? confine(filter, err) : -EINVAL;
    return r ? r : export_write(list, EXPORT_OUT_FD, err);
}

static int sync_store(struct error *err)
{
    _cleanup_close_ int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || syncfs(fd) < 0 ? error_errno(err, -errno, "cannot sync the image store") : 0;
}

static int run(const struct confine_filter *filter, int argc, char **argv, json_t *answer,
               struct error *err)
{
    const char *job = argc > 1 ? argv[1] : "";
    if (str_eq(job, "apply"))
        return apply(filter, argc, argv, answer, err);
    if (str_eq(job, "members"))
        return members(filter, answer, err);
    if (str_eq(job, "remove"))
        return remove_trees(filter, argc, argv, err);
    if (str_eq(job, "export"))
        return export(filter, err);
    if (str_eq(job, "sync"))
        return sync_store(err);
    return error_set(err, -EINVAL,
                     "usage: coracle-unpack serve|apply|members|remove|export|sync …");
}

void job_answer(int fd, json_t *answer, const struct error *err)
{
    if (err->code) {
        (void)json_object_set_new(answer, "error", json_text(error_text(err)));
        (void)json_object_set_new(answer, "code", json_integer(-err->code));
    }
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode(answer, &out);
    strbuf_addc(&out, '\n');
    for (size_t at = 0; at < out.len;) {
        ssize_t n = write(fd, out.data + at, out.len - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
}

int job_run(const struct confine_filter *filter, int argc, char **argv)
{
    _cleanup_json_ json_t *answer = json_object();
    struct error err = ERROR_INIT;
    int r = run(filter, argc, argv, answer, &err);
    job_answer(STDOUT_FILENO, answer, &err);
    return r ? 1 : 0;
}
