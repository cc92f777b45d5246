/* Control groups: the host's layout and what v1 and v2 have in common; see cgroup.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

#define CGROUP2_MAGIC 0x63677270
#define FILE_MAX      (4U << 20)

static const char *const names[CGROUP_N_CONTROLLERS] = {
    [CGROUP_CPU] = "cpu",         [CGROUP_CPUACCT] = "cpuacct", [CGROUP_CPUSET] = "cpuset",
    [CGROUP_MEMORY] = "memory",   [CGROUP_PIDS] = "pids",       [CGROUP_DEVICES] = "devices",
    [CGROUP_FREEZER] = "freezer", [CGROUP_BLKIO] = "blkio",     [CGROUP_HUGETLB] = "hugetlb",
    [CGROUP_SYSTEMD] = "systemd",
};

const char *cgroup_controller_name(enum cgroup_controller c)
{
    return names[c];
}

enum cgroup_mode cgroups_mode(const struct cgroups *cgs)
{
    return cgs->mode;
}

bool cgroups_has(const struct cgroups *cgs, enum cgroup_controller c, const char **reason)
{
    if (reason)
        *reason =
            cgs->has[c] ? ""
            : cgs->disabled[c] && c == CGROUP_MEMORY
                ? "disabled at boot (add \"cgroup_enable=memory cgroup_memory=1\" to the kernel's "
                  "command line; on a Raspberry Pi the line of /boot/firmware/cmdline.txt)"
            : cgs->disabled[c] ? "disabled at boot (cgroup_disable= on the kernel's command line)"
                               : "not in this kernel, or not mounted";
    return cgs->has[c];
}

/* ---- the layout ---- */

static bool has_word(const char *list, const char *separators, const char *word)
{
    size_t len = strlen(word);
    while (*list) {
        size_t n = strcspn(list, separators);
        if (n == len && strncmp(list, word, len) == 0)
            return true;
        list += n + strspn(list + n, separators);
    }
    return false;
}

static void take_v1_mount(struct cgroups *cgs, const char *at, const char *options)
{
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++) {
        const char *word = c == CGROUP_SYSTEMD ? "name=systemd" : names[c];
        if (!cgs->mount[c] && has_word(options, ",\n", word)) {
            cgs->mount[c] = str_dup(at);
            cgs->has[c] = true;
        }
    }
}

/* One line of mountinfo (proc(5)): … 5: mount point … " - " type source options. */
static void take_mount_line(struct cgroups *cgs, char *line, const char *below)
{
    char *tail = strstr(line, " - ");
    if (!tail)
        return;
    *tail = '\0';
    tail += 3;
    char *save = NULL, *at = NULL;
    char *field = strtok_r(line, " ", &save);
    for (int i = 0; field && i < 4; i++)
        field = at = strtok_r(NULL, " ", &save);
    const char *type = strtok_r(tail, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    const char *options = strtok_r(NULL, " ", &save);
    if (!at || !type || !options || strncmp(at, below, strlen(below)) != 0)
        return;
    if (str_eq(type, "cgroup"))
        take_v1_mount(cgs, at, options);
    else if (str_eq(type, "cgroup2") && !cgs->unified)
        cgs->unified = str_dup(at);
}

static int find_mounts(struct cgroups *cgs, const char *below, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read("/proc/self/mountinfo", FILE_MAX * 4, &text, err);
    if (r < 0)
        return r;
    char *save = NULL;
    for (char *line = text.len ? strtok_r(text.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        take_mount_line(cgs, line, below);
    return 0;
}

/* "#subsys_name hierarchy num_cgroups enabled": who is switched off. */
static void find_disabled(struct cgroups *cgs)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read("/proc/cgroups", 65536, &text, NULL) < 0)
        return; /* kernels without v1 have no such file */
    char *save = NULL;
    for (char *line = text.len ? strtok_r(text.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        size_t len = strcspn(line, "\t ");
        if (!str_ends(line, "\t0"))
            continue;
        for (int c = 0; c < CGROUP_N_CONTROLLERS; c++)
            if (strlen(names[c]) == len && strncmp(names[c], line, len) == 0)
                cgs->disabled[c] = true;
    }
}

static int open_v2(struct cgroups *cgs, const char *mountpoint, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    cgs->mode = CGROUP_V2;
    cgs->ops = &cgroup_v2_ops;
    cgs->unified = str_dup(mountpoint);
    _cleanup_free_ char *file = fs_join(mountpoint, "cgroup.controllers");
    int r = fs_read(file, 4096, &text, err);
    if (r < 0)
        return r;
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++)
        cgs->has[c] = has_word(strbuf_text(&text), " \n", c == CGROUP_BLKIO ? "io" : names[c]);
    cgs->has[CGROUP_CPUACCT] = cgs->has[CGROUP_DEVICES] = cgs->has[CGROUP_FREEZER] = true;
    return 0;
}

int cgroups_open(const char *mountpoint, struct cgroups **ret, struct error *err)
{
    const char *at = mountpoint ? mountpoint : "/sys/fs/cgroup";
    struct cgroups *cgs = mem_zalloc(sizeof(*cgs));
    struct statfs fs;
    int r = 0;
    if (statfs(at, &fs) < 0)
        r = error_errno(err, -errno, "cgroups: %s", at);
    else if (fs.f_type == CGROUP2_MAGIC)
        r = open_v2(cgs, at, err);
    else
        r = find_mounts(cgs, at, err);
    if (r == 0 && !cgs->ops) {
        cgs->mode = cgs->unified ? CGROUP_HYBRID : CGROUP_V1;
        cgs->ops = &cgroup_v1_ops;
        bool any = false;
        for (int c = 0; c < CGROUP_N_CONTROLLERS; c++)
            any |= cgs->has[c];
        if (!any)
            r = error_set(err, -ENOENT, "cgroups: no hierarchy is mounted below %s", at);
    }
    if (r < 0) {
        (void)cgroups_free(cgs);
        return r;
    }
    find_disabled(cgs);
    *ret = cgs;
    return 0;
}

struct cgroups *cgroups_free(struct cgroups *cgs)
{
    if (!cgs)
        return NULL;
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++)
        free(cgs->mount[c]);
    free(cgs->unified);
    free(cgs);
    return NULL;
}

int cgroup_of(const struct cgroups *cgs, pid_t pid, char **ret_path, struct error *err)
{
    char file[40] = "/proc/self/cgroup";
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (pid)
        (void)snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
    int r = fs_read(file, 65536, &text, err);
    if (r < 0)
        return r;
    char *save = NULL;
    for (char *line = text.len ? strtok_r(text.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        if (cgs->mode == CGROUP_V2 ? !*controllers : has_word(controllers, ",", "memory")) {
            *ret_path = str_dup(path);
            return 0;
        }
    }
    return error_set(err, -ENOENT, "%s names no group", file);
}

/* ---- directories ---- */

char *cgroup_dir(const struct cgroups *cgs, enum cgroup_controller c, const char *path)
{
    const char *mount = cgs->mode == CGROUP_V2 ? cgs->unified : cgs->mount[c];
    while (*path == '/')
        path++;
    return !mount ? NULL : *path ? fs_join(mount, path) : str_dup(mount);
}

/* Whether an earlier controller has the same hierarchy (cpu,cpuacct). */
static bool repeated(const struct cgroups *cgs, int c)
{
    if (cgs->mode == CGROUP_V2)
        return c > 0;
    for (int before = 0; before < c; before++)
        if (str_eq(cgs->mount[before], cgs->mount[c]))
            return true;
    return !cgs->mount[c];
}

size_t cgroup_dirs(const struct cgroups *cgs, const char *path, char ***ret)
{
    char **dirs = mem_zalloc((CGROUP_N_CONTROLLERS + 1) * sizeof(*dirs));
    size_t n = 0;
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++)
        if (!repeated(cgs, c))
            dirs[n++] = cgroup_dir(cgs, (enum cgroup_controller)c, path);
    *ret = dirs;
    return n;
}

char **cgroup_dirs_free(char **dirs)
{
    for (size_t i = 0; dirs && dirs[i]; i++)
        free(dirs[i]);
    free(dirs);
    return NULL;
}

int cgroup_file_read(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                     const char *file, struct strbuf *out, struct error *err)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, c, path);
    if (!dir)
        return error_set(err, -ENOENT, "no %s controller", names[c]);
    _cleanup_free_ char *full = fs_join(dir, file);
    return fs_read(full, FILE_MAX, out, err);
}

int cgroup_file_write(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                      const char *file, const char *text, struct error *err)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, c, path);
    if (!dir)
        return error_set(err, -ENOENT, "no %s controller", names[c]);
    _cleanup_free_ char *full = fs_join(dir, file);
    return fs_write_text(full, text, err);
}

bool cgroup_exists(const struct cgroups *cgs, enum cgroup_controller c, const char *path)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, c, path);
    return dir && fs_exists(dir);
}

bool cgroup_key(const char *text, const char *key, uint64_t *ret)
{
    size_t len = strlen(key);
    while (*text) {
        if (strncmp(text, key, len) == 0 && text[len] == ' ') {
            *ret = strtoull(text + len + 1, NULL, 10);
            return true;
        }
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return false;
}

void cgroup_note(struct strbuf *notes, const char *fmt, ...)
{
    if (!notes)
        return;
    va_list args;
    va_start(args, fmt);
    if (notes->len)
        strbuf_addc(notes, '\n');
    strbuf_addv(notes, fmt, args);
    va_end(args);
}

/* ---- making and removing ---- */

/* Makes @path in the hierarchy of @c, its parents first where they are missing. */
static int make_path(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                     struct error *err)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, c, path);
    _cleanup_free_ char *parent = str_dup(path);
    char *slash = strrchr(parent, '/');
    if (!slash || !slash[1])
        return 0; /* the root */
    *slash = '\0';
    if (mkdir(dir, 0755) < 0) {
        if (errno == EEXIST)
            return 0;
        if (errno != ENOENT)
            return error_errno(err, -errno, "make cgroup %s", dir);
        int r = make_path(cgs, c, parent, err);
        if (r < 0)
            return r;
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            return error_errno(err, -errno, "make cgroup %s", dir);
    }
    _cleanup_free_ char *above = cgroup_dir(cgs, c, parent);
    return cgs->ops->inherit(cgs, c, above, dir, err);
}

static int check_path(const char *path, struct error *err)
{
    if (path[0] != '/' || strstr(path, "/../") || strstr(path, "/./") || strstr(path, "//") ||
        str_ends(path, "/..") || str_ends(path, "/."))
        return error_set(err, -EINVAL, "cgroup path \"%.200s\"", path);
    return 0;
}

int cgroup_create(const struct cgroups *cgs, const char *path, struct error *err)
{
    int r = check_path(path, err);
    for (int c = 0; r == 0 && c < CGROUP_N_CONTROLLERS; c++)
        if (!repeated(cgs, c))
            r = make_path(cgs, (enum cgroup_controller)c, path, err);
    return r;
}

/* The group's directory in the tree that has no controllers; NULL where there is none. */
static char *unified_dir(const struct cgroups *cgs, const char *path)
{
    return cgs->mode == CGROUP_HYBRID ? fs_join(cgs->unified, path + strspn(path, "/")) : NULL;
}

int cgroup_create_unified(const struct cgroups *cgs, const char *path, char **ret_dir,
                          struct error *err)
{
    int r = check_path(path, err);
    _cleanup_free_ char *dir = r == 0 ? unified_dir(cgs, path) : NULL;
    if (dir)
        r = fs_mkdirs(dir, 0755, err);
    if (r == 0)
        *ret_dir = TAKE_PTR(dir);
    return r;
}

static int walk_below(const char *dir, int (*each)(const char *dir, void *arg, struct error *err),
                      void *arg, bool children_first, struct error *err)
{
    int r = children_first ? 0 : each(dir, arg, err);
    DIR *d = r == 0 ? opendir(dir) : NULL;
    if (!d)
        return r < 0 ? r : errno == ENOENT ? 0 : error_errno(err, -errno, "%s", dir);
    struct dirent *e;
    while (r == 0 && (e = readdir(d))) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        _cleanup_free_ char *below = fs_join(dir, e->d_name);
        r = walk_below(below, each, arg, children_first, err);
    }
    (void)closedir(d);
    return r == 0 && children_first ? each(dir, arg, err) : r;
}

int cgroup_walk(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                int (*each)(const char *dir, void *arg, struct error *err), void *arg,
                struct error *err)
{
    _cleanup_free_ char *dir = cgroup_dir(cgs, c, path);
    return dir && fs_exists(dir) ? walk_below(dir, each, arg, false, err) : 0;
}

static int remove_one(const char *dir, _unused_ void *arg, struct error *err)
{
    if (rmdir(dir) == 0 || errno == ENOENT)
        return 0;
    return error_errno(err, -errno, "remove cgroup %s", dir);
}

int cgroup_remove(const struct cgroups *cgs, const char *path, struct error *err)
{
    int r = check_path(path, err);
    if (r < 0 || str_eq(path, "/"))
        return r < 0 ? r : error_set(err, -EINVAL, "the root cgroup is not ours to remove");
    for (int c = 0; c <= CGROUP_N_CONTROLLERS; c++) {
        _cleanup_free_ char *dir = c == CGROUP_N_CONTROLLERS ? unified_dir(cgs, path)
                                   : repeated(cgs, c)
                                       ? NULL
                                       : cgroup_dir(cgs, (enum cgroup_controller)c, path);
        if (!dir || rmdir(dir) == 0 || errno == ENOENT)
            continue;
        int one = walk_below(dir, remove_one, NULL, true, err);
        r = one < 0 ? one : r; /* the other hierarchies all the same */
    }
    return r;
}

/* ---- processes ---- */

int cgroup_add_pid(const struct cgroups *cgs, const char *path, pid_t pid, struct error *err)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%d", (int)pid);
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++) {
        int r = repeated(cgs, c) ? 0
                                 : cgroup_file_write(cgs, (enum cgroup_controller)c, path,
                                                     "cgroup.procs", text, err);
        if (r < 0)
            return r;
    }
    return 0;
}

struct pids {
    pid_t *pids;
    size_t n;
};

static int read_pids(const char *dir, void *arg, struct error *err)
{
    struct pids *p = arg;
    _cleanup_free_ char *file = fs_join(dir, "cgroup.procs");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(file, FILE_MAX, &text, err);
    if (r < 0)
        return r == -ENOENT || r == -ENODEV ? 0 : r; /* removed meanwhile */
    char *end;
    for (const char *at = strbuf_text(&text); *at; at = end + (*end == '\n')) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        p->pids = mem_grow(p->pids, p->n + 1, sizeof(pid_t));
        p->pids[p->n++] = (pid_t)pid;
    }
    return 0;
}

enum cgroup_controller cgroup_any_controller(const struct cgroups *cgs)
{
    static const enum cgroup_controller order[] = {CGROUP_FREEZER, CGROUP_PIDS, CGROUP_MEMORY};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        if (cgs->mode == CGROUP_V2 || cgs->mount[order[i]])
            return order[i];
    for (int c = 0; c < CGROUP_N_CONTROLLERS; c++)
        if (cgs->mount[c])
            return (enum cgroup_controller)c;
    return CGROUP_CPU;
}

int cgroup_pids(const struct cgroups *cgs, const char *path, bool recursive, pid_t **ret, size_t *n,
                struct error *err)
{
    struct pids p = {.pids = NULL};
    int r;
    if (recursive) {
        r = cgroup_walk(cgs, cgroup_any_controller(cgs), path, read_pids, &p, err);
    } else {
        _cleanup_free_ char *dir = cgroup_dir(cgs, cgroup_any_controller(cgs), path);
        r = read_pids(dir, &p, err);
    }
    if (r < 0) {
        free(p.pids);
        return r;
    }
    *ret = p.pids;
    *n = p.n;
    return 0;
}

/* ---- what the back ends do ---- */

int cgroup_set_devices(const struct cgroups *cgs, const char *path,
                       const struct cgroup_device *rules, size_t n, struct error *err)
{
    if (n == 0 || rules[0].type != 'a')
        return error_set(err, -EINVAL, "the first device rule is no default");
    return cgs->ops->set_devices(cgs, path, rules, n, err);
}

int cgroup_kill(const struct cgroups *cgs, const char *path, struct error *err)
{
    return cgs->ops->kill(cgs, path, err);
}

int cgroup_freeze(const struct cgroups *cgs, const char *path, bool frozen, struct error *err)
{
    return cgs->ops->freeze(cgs, path, frozen, err);
}
