/* Taking down what a component left in the host; see teardown.h. */
#include "base/teardown.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>

#include "base/fs.h"
#include "base/strbuf.h"

#define MOUNTINFO_MAX ((size_t)64 << 20)
#define PASSES_MAX    64 /* mounts may appear meanwhile */
#define WAIT_MS       5000
#define STEP_MS       10

static bool octal(char c)
{
    return c >= '0' && c <= '7';
}

/* mountinfo writes space, tab, newline and backslash as three octal digits (proc(5)). */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (s[0] == '\\' && octal(s[1]) && octal(s[2]) && octal(s[3])) {
            *out++ = (char)(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

static bool below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The mount points at or below @dir in the order of mountinfo, one a string, each ended by a NUL:
 * later ones stand on earlier ones. */
static int mounts_below(const char *dir, struct strbuf *ret, size_t *n, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read("/proc/self/mountinfo", MOUNTINFO_MAX, &text, err);
    *n = 0;
    if (r < 0)
        return r;
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *word = NULL, *path = NULL;
        char *field = strtok_r(line, " ", &word);
        for (int i = 0; field && i < 4; i++) /* the mount point is the fifth field */
            path = field = strtok_r(NULL, " ", &word);
        if (!path)
            continue;
        unescape(path);
        if (!below(path, dir))
            continue;
        strbuf_add(ret, path, strlen(path) + 1);
        ++*n;
    }
    return 0;
}

/* Unmounts what was found, last first. Returns how many were, or -errno when none could be. */
static int unmount_all(const struct strbuf *paths, size_t n, struct error *err)
{
    int done = 0, code = 0;
    size_t end = paths->len;
    while (n-- > 0) {
        size_t at = end - 1;
        while (at > 0 && paths->data[at - 1])
            at--;
        end = at;
        if (umount2(paths->data + at, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            done++;
        else if (errno != EINVAL && errno != ENOENT) /* gone with another one */
            code = error_errno(err, -errno, "cannot unmount %s", paths->data + at);
    }
    return done ? done : code;
}

int teardown_mounts(const char *dir, struct error *err)
{
    for (size_t pass = 0; pass < PASSES_MAX; pass++) {
        _cleanup_strbuf_ struct strbuf paths = STRBUF_INIT;
        size_t n;
        int r = mounts_below(dir, &paths, &n, err);
        if (r < 0 || n == 0)
            return r;
        r = unmount_all(&paths, n, err);
        if (r < 0)
            return r;
    }
    return error_set(err, -ELOOP, "mounts keep appearing below %s", dir);
}

int teardown_cgroup(const struct cgroups *cgs, const char *path, struct error *err)
{
    if (!path || str_eq(path, "/") || str_eq(path, ""))
        return error_set(err, -EINVAL, "refusing to take down a root cgroup");
    for (int waited = 0;; waited += STEP_MS) {
        pid_t *pids = NULL;
        size_t n = 0;
        int r = cgroup_kill(cgs, path, err);
        if (r == 0)
            r = cgroup_pids(cgs, path, true, &pids, &n, err);
        free(pids);
        if (r < 0)
            return r;
        if (n == 0)
            break;
        if (waited >= WAIT_MS)
            return error_set(err, -EBUSY, "%zu processes in cgroup %s do not die", n, path);
        (void)poll(NULL, 0, STEP_MS);
    }
    return cgroup_remove(cgs, path, err);
}
