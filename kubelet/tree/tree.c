/* Walks by fts(3), physical and on one file system; see tree.h. */
#include "kubelet/tree/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strbuf.h"

#define READ_WRITE  0660
#define READ_ONLY   0440
#define DIR_EXECUTE 0110

static FTS *open_tree(const char *dir, struct error *err)
{
    char *paths[] = {(char *)(uintptr_t)dir, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_XDEV, NULL);
    if (!tree)
        (void)error_errno(err, -errno, "cannot walk %s", dir);
    return tree;
}

static mode_t wanted_bits(const struct stat *st, bool read_only)
{
    mode_t bits = read_only ? READ_ONLY : READ_WRITE;
    return S_ISDIR(st->st_mode) ? bits | DIR_EXECUTE | S_ISGID : bits;
}

/* Links keep their mode (they have none); their group changes, not that of what they point at. */
static int own_one(const FTSENT *e, gid_t gid, bool read_only, struct error *err)
{
    const struct stat *st = e->fts_statp;
    mode_t bits = wanted_bits(st, read_only);
    if (fchownat(AT_FDCWD, e->fts_accpath, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0
                               : error_errno(err, -errno, "cannot give %s to group %u", e->fts_path,
                                             (unsigned)gid);
    if (S_ISLNK(st->st_mode))
        return 0;
    /* Through a descriptor that follows no link: the name may have been exchanged meanwhile. */
    _cleanup_close_ int fd = open(e->fts_accpath, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char name[40];
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    struct stat now;
    if (fd < 0 || fstat(fd, &now) < 0)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "cannot open %s", e->fts_path);
    if (S_ISLNK(now.st_mode) || (now.st_mode & bits) == bits)
        return 0;
    if (chmod(name, (now.st_mode & 07777) | bits) < 0)
        return error_errno(err, -errno, "cannot set the mode of %s", e->fts_path);
    return 0;
}

static bool matches(const char *dir, gid_t gid, bool read_only)
{
    struct stat st;
    if (stat(dir, &st) < 0)
        return false;
    mode_t bits = wanted_bits(&st, read_only);
    return st.st_gid == gid && (st.st_mode & bits) == bits;
}

int tree_own(const char *dir, gid_t gid, bool read_only, bool only_on_mismatch, struct error *err)
{
    if (only_on_mismatch && matches(dir, gid, read_only))
        return 0;
    FTS *tree = open_tree(dir, err);
    int code = tree ? 0 : -EIO;
    for (const FTSENT *e; tree && !code && (e = fts_read(tree));) {
        switch (e->fts_info) {
        case FTS_D: /* a directory on the way down; on the way up it is changed */
            break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            if (e->fts_errno != ENOENT)
                code = error_errno(err, -e->fts_errno, "cannot walk %s", e->fts_path);
            break;
        default:
            code = own_one(e, gid, read_only, err);
        }
    }
    if (tree)
        (void)fts_close(tree);
    return code;
}
