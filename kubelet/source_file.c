/* Static pods: a directory of manifests, one pod each. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/yaml.h"
#include "kubelet/sources.h"

#define MANIFEST_MAX (1u << 20)
#define SETTLE_MS    50   /* a file is often written in several steps */
#define ABSENT_MS    5000 /* how often a directory that is not there is looked for */

struct file_source {
    struct kubelet *k;
    char *dir;
    int fd;
    struct loop_io io;
    struct loop_timer timer;
    struct map files;      /* file name → uid of its pod */
    struct map complaints; /* file name → what was wrong with it, so that it is said once */
};

static const char watched[] = "the directory of static pods";

/* Quantities may be plain numbers in a manifest; the tables want text. */
static void quantities_to_text(json_t *map)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(map, next, key, value) {
        struct strbuf text = STRBUF_INIT;
        if (!json_is_number(value))
            continue;
        json_encode(value, &text);
        (void)json_object_set_new(map, key, json_string(strbuf_text(&text)));
        strbuf_done(&text);
    }
}

static void normalise(json_t *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t n = 0; n < ARRAY_SIZE(lists); n++) {
        json_t *list = json_object_get(spec, lists[n]);
        for (size_t i = 0; i < json_array_size(list); i++) {
            json_t *r = json_object_get(json_array_get(list, i), "resources");
            quantities_to_text(json_object_get(r, "limits"));
            quantities_to_text(json_object_get(r, "requests"));
        }
    }
}

int static_pod_decode(const struct kubelet *k, const char *file, json_t *object, struct pod **ret,
                      struct error *err)
{
    char hash[SHA256_HEX_LEN + 1], seen[TIME_TEXT_MAX];
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    const char *name = meta_name(object), *kind = meta_kind(object);
    if (!str_eq(kind, "Pod") || !str_eq(meta_api_version(object), "v1"))
        return error_set_field(err, -EINVAL, "kind", "kind: expected Pod of v1, got %.60s of %.60s",
                               kind, meta_api_version(object));
    if (!*name)
        return error_set_field(err, -EINVAL, "metadata.name", "metadata.name: is missing");
    json_encode(object, &text);
    strbuf_addf(&text, "\n%s\n%s", k->node_name, file);
    sha256_hex(text.data, text.len, hash);
    hash[32] = 0;
    _cleanup_free_ char *full = str_printf("%s-%s", name, k->node_name);
    if (!json_is_object(json_object_get(object, "spec")))
        return error_set_field(err, -EINVAL, "spec", "spec: is missing");
    meta_set(object, "name", full);
    if (!*meta_namespace(object))
        meta_set(object, "namespace", "default");
    meta_set(object, "uid", hash);
    meta_set_annotation(object, POD_ANNOTATION_HASH, hash);
    meta_set_annotation(object, POD_ANNOTATION_SOURCE, "file");
    meta_set_annotation(object, POD_ANNOTATION_SEEN, time_format(time_now(), seen));
    (void)json_path_set(object, "spec.nodeName", json_text(k->node_name));
    normalise(json_object_get(object, "spec"));
    int code = pod_decode(object, POD_FROM_FILE, ret, err);
    if (!code && (*ret)->invalid) {
        code = error_set(err, -EINVAL, "%s", (*ret)->invalid);
        *ret = pod_unref(*ret);
    }
    return code;
}

static bool is_manifest(const char *name)
{
    return name[0] != '.' &&
           (str_ends(name, ".yaml") || str_ends(name, ".yml") || str_ends(name, ".json"));
}

static void complain(struct file_source *s, const char *name, const char *path, const char *text)
{
    if (str_eq(map_get(&s->complaints, name), text))
        return;
    map_set(&s->complaints, name, str_dup(text));
    log_error("manifest is not usable", "file", path, "error", text, NULL);
}

static void read_manifest(struct file_source *s, const char *name)
{
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *path = fs_join(s->dir, name);
    struct pod *pod = NULL;
    int code = fs_read(path, MANIFEST_MAX, &text, &err);
    _cleanup_json_ json_t *object =
        code < 0 ? NULL : yaml_parse_one(strbuf_text(&text), text.len, &err);
    if (code == -ENOENT)
        return;
    if (!object || static_pod_decode(s->k, name, object, &pod, &err) < 0) {
        complain(s, name, path, error_text(&err));
        return;
    }
    (void)map_remove(&s->complaints, name);
    _cleanup_free_ char *before = map_take(&s->files, name);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): error_set returns what it was given, < 0
    map_set(&s->files, name, str_dup(pod->meta.uid));
    if (before && !str_eq(before, pod->meta.uid))
        pod_manager_remove(s->k->pods, before);
    if (!before || !str_eq(before, pod->meta.uid))
        pod_manager_upsert(s->k->pods, pod);
    pod_unref(pod);
}

static void scan(struct file_source *s)
{
    DIR *d = opendir(s->dir);
    struct map seen = MAP_INIT(NULL);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (!is_manifest(e->d_name))
            continue;
        map_set(&seen, e->d_name, s);
        read_manifest(s, e->d_name);
    }
    if (d)
        (void)closedir(d);
    MAP_FOR_EACH(f, &s->files) {
        if (map_has(&seen, map_key(f)))
            continue;
        pod_manager_remove(s->k->pods, map_value(f));
        (void)map_remove(&s->files, map_key(f));
    }
    map_clear(&seen);
    pod_manager_synced(s->k->pods, POD_FROM_FILE);
}

static void watch(struct file_source *s)
{
    int wd = inotify_add_watch(s->fd, s->dir,
                               IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
    if (wd < 0)
        loop_timer_set(&s->timer, ABSENT_MS);
}

static void on_timer(void *arg)
{
    struct file_source *s = arg;
    watch(s);
    scan(s);
}

static void on_inotify(int fd, short events, void *arg)
{
    struct file_source *s = arg;
    char buf[4096];
    (void)events;
    while (read(fd, buf, sizeof(buf)) > 0)
        ;
    loop_timer_set(&s->timer, SETTLE_MS);
}

struct file_source *file_source_new(struct kubelet *k, const char *dir)
{
    struct file_source *s = mem_zalloc(sizeof(*s));
    s->k = k;
    s->dir = str_dup(dir);
    s->files = (struct map)MAP_INIT(free);
    s->complaints = (struct map)MAP_INIT(free);
    s->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    loop_timer_init(&s->timer, k->loop, watched, on_timer, s);
    if (s->fd < 0 || loop_io_init(&s->io, k->loop, watched, s->fd, EV_READ, on_inotify, s) < 0)
        log_error("changes of static pods cannot be followed", "error", strerror(errno), NULL);
    loop_timer_set(&s->timer, 0);
    return s;
}

struct file_source *file_source_free(struct file_source *s)
{
    if (!s)
        return NULL;
    loop_io_done(&s->io);
    loop_timer_done(&s->timer);
    if (s->fd >= 0)
        (void)close(s->fd);
    map_clear(&s->files);
    map_clear(&s->complaints);
    free(s->dir);
    free(s);
    return NULL;
}
