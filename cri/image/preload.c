/* The directory of archives; see preload.h. One archive is loaded at a time, in the order of names.
 */
#include "cri/image/preload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "cri/image/import.h"
#include "cri/image/store_private.h"

#define SETTLE_MS 200

struct preload {
    struct ingest_table *table;
    char *dir;
    int inotify;
    struct loop_io changed;
    struct loop_timer settle;
    struct map seen; /* path → struct store_pin: as it was when it was dealt with, well or not */
    struct import *import;
    char *path;           /* of what is being imported */
    struct store_pin was; /* its size and time when that began; no images */
};

static void look(void *arg);

/* ---- one archive ---- */

static void state_of(const struct stat *st, struct store_pin *ret)
{
    *ret =
        (struct store_pin){.size = (uint64_t)st->st_size,
                           .mtime = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec};
}

static bool same_state(const struct store_pin *a, const struct store_pin *b)
{
    return a && a->size == b->size && a->mtime == b->mtime;
}

/* Until it changes, nothing more is done about it: archives that fight over a name, or one whose
 * images somebody removed, are not loaded over and over. */
static void remember(struct preload *p, const char *path, const struct store_pin *state)
{
    map_set(&p->seen, path, mem_dup(state, sizeof(*state)));
}

static void complain(const char *path, const struct error *err)
{
    log_warn("the images of an archive were not loaded", "file", path, "error", error_text(err),
             NULL);
}

static void on_loaded(struct image *const *images, size_t count, const struct error *failure,
                      void *arg)
{
    struct preload *p = arg;
    _cleanup_free_ char *path = TAKE_PTR(p->path);
    struct error err = ERROR_INIT;
    p->import = NULL;
    remember(p, path, &p->was);
    if (failure) {
        complain(path, failure);
    } else {
        _cleanup_free_ char **ids = mem_zalloc((count + 1) * sizeof(char *));
        struct store_pin pin = p->was;
        pin.images = ids;
        for (size_t i = 0; i < count; i++)
            ids[i] = images[i]->id;
        if (store_pin_put(p->table->store, path, &pin, &err))
            complain(path, &err);
        else
            log_info("the images of an archive were loaded", "file", path, NULL);
    }
    loop_timer_set(&p->settle, 0);
}

/* Whether the archive's import is under way. */
static bool load(struct preload *p, const char *path)
{
    static const struct import_ops ops = {.done = on_loaded};
    struct error err = ERROR_INIT;
    struct stat st = {.st_size = 0};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        (void)error_errno(&err, -errno, "cannot be opened");
    else if (!S_ISREG(st.st_mode))
        (void)error_set(&err, -EINVAL, "no regular file");
    state_of(&st, &p->was);
    if (!err.code)
        p->import = import_file(p->table, fd, &ops, p, &err);
    if (p->import) {
        p->path = str_dup(path);
        return true;
    }
    remember(p, path, &p->was);
    complain(path, &err);
    return false;
}

/* ---- the directory ---- */

static bool all_there(const struct image_store *store, const struct store_pin *pin)
{
    for (char **id = pin->images; *id; id++) {
        const struct image *image = map_get(&store->images, *id);
        if (!image || image->removed)
            return false;
    }
    return true;
}

static bool needs_loading(struct preload *p, const char *path)
{
    struct stat st = {.st_size = 0};
    struct store_pin now;
    const struct store_pin *pin = map_get(&p->table->store->pins, path);
    if (stat(path, &st) < 0 && errno == ENOENT)
        return false; /* it has just gone, or is a link to nothing yet */
    state_of(&st, &now);
    if (same_state(map_get(&p->seen, path), &now))
        return false;
    if (!same_state(pin, &now) || !all_there(p->table->store, pin))
        return true;
    remember(p, path, &now);
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Paths of what is there, in order; NULL-terminated, to be freed. Names that begin with a dot are
 * of no interest: copies under way, what editors leave. */
static char **list_files(const char *dir)
{
    char **list = mem_zalloc(sizeof(char *));
    size_t n = 0;
    DIR *d = opendir(dir);
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        list = mem_grow(list, n + 2, sizeof(char *));
        list[n++] = fs_join(dir, e->d_name);
        list[n] = NULL;
    }
    if (d)
        (void)closedir(d);
    else
        log_warn("the directory of image archives cannot be listed", "directory", dir, "error",
                 strerror(errno), NULL);
    qsort(list, n, sizeof(char *), by_name);
    return list;
}

/* Files that are gone pin nothing. */
static void forget_missing(struct preload *p)
{
    MAP_FOR_EACH(e, &p->table->store->pins) {
        _cleanup_free_ char *path = str_dup(map_key(e));
        if (!fs_exists(path))
            store_pin_drop(p->table->store, path);
    }
    MAP_FOR_EACH(e, &p->seen) {
        _cleanup_free_ char *path = str_dup(map_key(e));
        if (!fs_exists(path))
            (void)map_remove(&p->seen, path);
    }
}

/* Looks at everything again after each archive: much may have changed meanwhile. */
static void look(void *arg)
{
    struct preload *p = arg;
    if (p->import)
        return; /* its end looks again */
    forget_missing(p);
    char **files = list_files(p->dir);
    for (char **f = files; *f; f++)
        if (needs_loading(p, *f) && load(p, *f))
            break;
    (void)image_strings_free(files);
}

static void on_change(int fd, _unused_ short events, void *arg)
{
    struct preload *p = arg;
    char buf[4096];
    while (read(fd, buf, sizeof(buf)) > 0)
        ;
    loop_timer_set(&p->settle, SETTLE_MS);
}

void preload_start(struct preload *p)
{
    struct error err = ERROR_INIT;
    if (fs_mkdirs(p->dir, 0755, &err)) {
        log_warn("no directory of image archives", "error", error_text(&err), NULL);
        return;
    }
    p->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->inotify < 0 ||
        inotify_add_watch(p->inotify, p->dir,
                          IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0 ||
        loop_io_init(&p->changed, p->table->store->loop, "image archives", p->inotify, EV_READ,
                     on_change, p))
        log_warn("changes of image archives cannot be followed", "directory", p->dir, "error",
                 strerror(errno), NULL);
    loop_timer_set(&p->settle, 0);
}

struct preload *preload_new(struct ingest_table *table, const char *dir)
{
    struct preload *p = mem_zalloc(sizeof(*p));
    p->table = table;
    p->dir = str_dup(dir);
    p->inotify = -1;
    p->seen.free_value = free;
    loop_timer_init(&p->settle, table->store->loop, "image archives", look, p);
    return p;
}

struct preload *preload_free(struct preload *p)
{
    if (p) {
        (void)import_cancel(p->import);
        loop_timer_done(&p->settle);
        loop_io_done(&p->changed);
        closep(&p->inotify);
        map_clear(&p->seen);
        free(p->path);
        free(p->dir);
        free(p);
    }
    return NULL;
}
