/*
 * coracle-tree: what may take long on a volume's tree of files, in a process of its own, so that a
 * million files or a server that hangs hold up nobody but this.
 *
 *   coracle-tree own DIR GID rw|ro Always|OnRootMismatch   gives a tree to a group
 *   coracle-tree usage DIR…                                prints bytes and inodes in use, a line
 * for each; 0 for one that is not there coracle-tree teardown DIR unmounts what is below, then
 * removes it
 *
 * Exit status 0, or 1 with one line on standard error.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "base/teardown.h"
#include "kubelet/tree/tree.h"

static int own(char **args, struct error *err)
{
    char *end;
    errno = 0;
    long gid = strtol(args[1], &end, 10);
    if (errno || *end || end == args[1] || gid < 0 || gid > INT32_MAX)
        return error_set(err, -EINVAL, "%.40s is no group", args[1]);
    return tree_own(args[0], (gid_t)gid, str_eq(args[2], "ro"), str_eq(args[3], "OnRootMismatch"),
                    err);
}

static int usage(char **args, struct error *err)
{
    int r = 0;
    for (; r == 0 && *args; args++) {
        struct fs_usage u = {.bytes = 0};
        r = fs_tree_usage(*args, NULL, &u, err);
        if (r == -ENOENT)
            r = 0;
        if (r == 0)
            printf("%" PRIu64 " %" PRIu64 "\n", u.bytes, u.inodes);
    }
    return r;
}

static int teardown(char **args, struct error *err)
{
    int r = teardown_mounts(args[0], err);
    return r < 0 ? r : fs_remove_tree(args[0], err);
}

static const struct {
    const char *name;
    int args; /* 0: one or more */
    int (*run)(char **args, struct error *err);
} verbs[] = {{"own", 4, own}, {"usage", 0, usage}, {"teardown", 1, teardown}};

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    int r = error_set(&err, -EINVAL, "no such job");
    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
        if (str_eq(argv[1], verbs[i].name) &&
            (verbs[i].args ? argc == 2 + verbs[i].args : argc > 2))
            r = verbs[i].run(argv + 2, &err);
    if (r < 0)
        (void)fprintf(stderr, "%s\n", error_text(&err));
    return r < 0;
}
