/* Making a container: from the request to one that only waits to be started; see container.h. */
#include "cri/container.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "cri/events.h"
#include "cri/groups.h"
#include "cri/record.h"
#include "cri/resources.h"
#include "cri/spec.h"
#include "net/pbjson.h"

/* The steps: layer, specification → the shim's answer → the group → its limits. */
struct creation {
    struct container *c;
    container_fn cb;
    void *arg;
    struct arena arena; /* what follows points into it, and into the configuration */
    struct cgroup_limits limits;
    const struct cgroup_device *rules;
    size_t n_rules;
    bool in_shim;
};

static bool has_dotdot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")); p++)
        if ((p == path || p[-1] == '/') && (p[2] == '/' || !p[2]))
            return true;
    return false;
}

static int check(const struct sandbox *s, const Runtime__V1__ContainerConfig *config,
                 struct error *err)
{
    int r = container_check(config, err);
    if (r < 0)
        return r;
    if (has_dotdot(config->log_path) || config->log_path[0] == '/')
        return error_set_field(err, -EINVAL, "config.log_path",
                               "config.log_path: \"%s\" leaves the log directory",
                               config->log_path);
    LIST_FOR_EACH(e, &s->containers) {
        const struct container *c = LIST_ENTRY(e, struct container, entry);
        if (str_eq(c->config->metadata->name, config->metadata->name) &&
            c->config->metadata->attempt == config->metadata->attempt)
            return error_set(err, -EEXIST,
                             "container %s of this sandbox has the same name and attempt", c->id);
    }
    return 0;
}

/* The upper directory's owner and mode are what the container sees as those of "/". */
static int make_upper(const struct container *c, const char *top_layer, char **ret_upper,
                      char **ret_work, struct error *err)
{
    *ret_upper = fs_join(c->layer_dir, "upper");
    *ret_work = fs_join(c->layer_dir, "work");
    int r = fs_mkdirs(*ret_upper, 0755, err);
    if (r == 0)
        r = fs_mkdirs(*ret_work, 0700, err);
    struct stat st;
    if (r < 0 || !top_layer || stat(top_layer, &st) < 0)
        return r;
    const struct userns *u = &c->sandbox->userns;
    if (chown(*ret_upper, userns_outside(&u->uids, st.st_uid),
              userns_outside(&u->gids, st.st_gid)) < 0 ||
        chmod(*ret_upper, st.st_mode & 07777) < 0)
        return error_errno(err, -errno, "%s", *ret_upper);
    return 0;
}

static int make_log_directory(const struct container *c, struct error *err)
{
    if (!c->log_path)
        return 0;
    _cleanup_free_ char *dir = str_dup(c->log_path);
    char *slash = strrchr(dir, '/');
    *slash = '\0';
    return *dir ? fs_mkdirs(dir, 0755, err) : 0;
}

static int limit(const struct creation *cr, struct error *err)
{
    const struct container *c = cr->c;
    _cleanup_strbuf_ struct strbuf notes = STRBUF_INIT;
    int r = cgroup_set(c->rt->cgs, c->cgroup, &cr->limits, &notes, err);
    if (r == 0)
        r = cgroup_set_devices(c->rt->cgs, c->cgroup, cr->rules, cr->n_rules, err);
    if (r == 0 && notes.len)
        log_debug("limits that this host lacks", "container", c->id, "notes", strbuf_text(&notes),
                  NULL);
    return r;
}

static void set_paths(struct container *c)
{
    const struct sandbox *s = c->sandbox;
    _cleanup_free_ char *pod = sandbox_cgroup(s);
    c->cgroup = groups_container(c->rt->groups, pod, c->id);
    if (s->config->log_directory[0] && c->config->log_path[0])
        c->log_path = fs_join(s->config->log_directory, c->config->log_path);
}

static void take_image(struct container *c, const struct image_config *image)
{
    c->stop_signal = container_stop_signal(c->config, image->stop_signal);
    c->image_user = str_dup(image->user);
    c->image_cwd = str_dup(image->working_dir);
    size_t n = 0;
    while (image->env[n])
        n++;
    c->image_env = mem_zalloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++)
        c->image_env[i] = str_dup(image->env[i]);
}

static void on_reaped(struct container *c)
{
    container_discard(c);
}

static void creation_end(struct creation *cr, struct container *c, int code,
                         const struct error *err)
{
    cr->c->creation = NULL;
    cr->cb(c, code, err, cr->arg);
    arena_done(&cr->arena);
    free(cr);
}

void container_creation_drop(struct container *c)
{
    struct error err = ERROR_INIT;
    if (c->creation)
        creation_end(c->creation, NULL, error_set(&err, -ECANCELED, "the runtime is stopping"),
                     &err);
}

static void on_forgotten(_unused_ const struct shim_reply *reply, _unused_ void *arg)
{
}

static void failed(struct creation *cr, int code, const struct error *err)
{
    struct container *c = cr->c;
    if (cr->in_shim && c->sandbox->shim)
        (void)shim_remove(c->sandbox->shim, c->id, on_forgotten, NULL);
    creation_end(cr, NULL, code, err);
    container_reap(c, on_reaped);
}

void container_creation_cancel(struct container *c)
{
    struct error err = ERROR_INIT;
    if (!c->creation || !c->group_op)
        return; /* its making goes on by itself, and finds that it is unwanted */
    group_op_forget(c->group_op);
    c->group_op = NULL;
    failed(c->creation, error_set(&err, -EBADFD, "sandbox %s was stopped", c->sandbox->id), &err);
}

static void on_group(int code, const struct error *why, void *arg)
{
    struct creation *cr = arg;
    struct container *c = cr->c;
    struct error err = code < 0 ? *why : (struct error)ERROR_INIT;
    c->group_op = NULL;
    if (code == 0 && (c->removing || c->sandbox->state != SANDBOX_READY))
        code = error_set(&err, -EBADFD, "sandbox %s was stopped meanwhile", c->sandbox->id);
    if (code == 0)
        code = limit(cr, &err);
    if (code == 0) {
        c->state = CONTAINER_CREATED;
        code = container_save(c, &err);
    }
    if (code < 0) {
        c->state = CONTAINER_CREATING;
        failed(cr, code, &err);
        return;
    }
    events_emit(c->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT,
                c->sandbox, c);
    creation_end(cr, c, 0, NULL);
}

static void on_created(const struct shim_reply *reply, void *arg)
{
    struct creation *cr = arg;
    struct container *c = cr->c;
    struct error err = ERROR_INIT;
    if (reply->code < 0) {
        failed(cr, error_set(&err, reply->code, "%s", reply->message), &err);
        return;
    }
    cr->in_shim = true;
    int r = groups_make(c->rt->groups, c->cgroup, reply->pid, on_group, cr, &c->group_op, &err);
    if (r != GROUP_LATER)
        on_group(r, &err, cr);
}

/* The container whose PID namespace is to be shared, by its id; NULL: none. */
static int find_pid_target(const struct container *c, const char **ret, struct error *err)
{
    const char *field = "linux.security_context.namespace_options.target_id";
    const Runtime__V1__LinuxContainerSecurityContext *sc =
        c->config->linux ? c->config->linux->security_context : NULL;
    const Runtime__V1__NamespaceOption *ns = sc ? sc->namespace_options : NULL;
    *ret = NULL;
    if (!ns || ns->pid != RUNTIME__V1__NAMESPACE_MODE__TARGET)
        return 0;
    const struct container *target = runtime_container(c->rt, ns->target_id);
    if (!ns->target_id[0] || !target)
        return error_set_field(err, -ENOENT, field, "%s: container \"%s\" is not here", field,
                               ns->target_id);
    if (target->sandbox != c->sandbox)
        return error_set_field(err, -EINVAL, field, "%s: container %s is of another sandbox", field,
                               target->id);
    if (target->state != CONTAINER_RUNNING)
        return error_set_field(err, -EBADFD, field, "%s: container %s is not running", field,
                               target->id);
    *ret = target->id;
    return 0;
}

static int give_to_shim(struct creation *cr, const struct launch_spec *spec, struct error *err)
{
    struct container *c = cr->c;
    const char *pid_target;
    int r = find_pid_target(c, &pid_target, err);
    if (r < 0)
        return r;
    struct shim_container sc = {.id = c->id,
                                .log_path = c->log_path,
                                .pid_target = pid_target,
                                .log_max_bytes = (uint64_t)c->rt->opts->log_max_bytes,
                                .log_max_files = (unsigned)c->rt->opts->log_max_files,
                                .hold = groups_hold(c->rt->groups),
                                .stdin_open = c->config->stdin,
                                .stdin_once = c->config->stdin_once};
    return shim_create(c->sandbox->shim, &sc, spec, c->rt->cgs, on_created, cr, err);
}

/* Resolves the images that are to be mounted: their ids go into the container, the layers of each
 * mount's into *ret (parallel to the mounts; NULL when none is of an image). */
static int find_volumes(struct container *c, struct arena *a, const char *const *const **ret,
                        struct error *err)
{
    const Runtime__V1__ContainerConfig *config = c->config;
    size_t n = 0;
    const char *const **volumes = NULL;
    for (size_t i = 0; i < config->n_mounts; i++) {
        const Runtime__V1__ImageSpec *spec = config->mounts[i]->image;
        if (!spec)
            continue;
        char **layers;
        _cleanup_(image_unrefp) struct image *image = image_store_find(c->rt->images, spec->image);
        if (!image)
            return error_set_field(err, -ENOENT, "mounts",
                                   SPEC_IMAGE_VOLUME_FAILED
                                   "mounts[%zu].image: image \"%s\" is not here",
                                   i, spec->image);
        int r = image_layer_paths(c->rt->images, image, &layers, err);
        if (r < 0)
            return error_prefix(err, r, SPEC_IMAGE_VOLUME_FAILED "mounts[%zu].image", i);
        if (!volumes) {
            volumes = arena_array(a, config->n_mounts, sizeof(*volumes));
            c->volume_images = mem_zalloc((config->n_mounts + 1) * sizeof(char *));
        }
        volumes[i] = arena_strings(a, layers);
        (void)image_strings_free(layers);
        c->volume_images[n++] = str_dup(image->id);
    }
    *ret = volumes;
    return 0;
}

/* All that puts something into the host; on failure the caller discards the container. */
static int make(struct creation *cr, struct image *image, struct error *err)
{
    struct container *c = cr->c;
    struct runtime *rt = c->rt;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    _cleanup_(image_config_done) struct image_config config = {.user = NULL};
    _cleanup_free_ char *upper = NULL;
    _cleanup_free_ char *work = NULL;
    char **layers = NULL;
    int r = image_config_load(rt->images, image, &config, err);
    if (r < 0)
        return error_prefix(err, r, "image %s", c->config->image->image);
    take_image(c, &config);
    const char *const *const *volumes = NULL;
    if ((r = find_volumes(c, &a, &volumes, err)) < 0 || (r = container_save(c, err)) < 0 ||
        (r = container_use_images(c, err)) < 0)
        return r;
    struct spec_pod pod;
    sandbox_spec_pod(c->sandbox, &a, &pod);
    if ((r = image_layer_paths(rt->images, image, &layers, err)) < 0)
        return r;
    struct launch_spec spec = {.privileged = false};
    if ((r = make_upper(c, layers[0], &upper, &work, err)) == 0 &&
        (r = make_log_directory(c, err)) == 0) {
        struct spec_root root = {(const char *const *)layers, upper, work, volumes};
        r = spec_build(&a, c->config, &config, &pod, &root, c->cgroup, &spec, err);
    }
    if (r == 0)
        r = resources_to_limits(&cr->arena, c->config->linux ? c->config->linux->resources : NULL,
                                &cr->limits, err);
    if (r == 0) {
        cr->rules = resources_devices(&cr->arena, &spec, &cr->n_rules);
        r = give_to_shim(cr, &spec, err);
    }
    (void)image_strings_free(layers);
    return r;
}

void container_create(struct sandbox *s, const Runtime__V1__ContainerConfig *config,
                      container_fn cb, void *arg)
{
    struct error err = ERROR_INIT;
    int r = check(s, config, &err);
    if (r == 0 && (s->state != SANDBOX_READY || !s->shim || s->removing))
        r = error_set(&err, -EBADFD, "sandbox %s is not ready", s->id);
    if (r < 0) {
        cb(NULL, r, &err, arg);
        return;
    }
    struct image *image = image_store_find(s->rt->images, config->image->image);
    if (!image) {
        r = error_set_field(&err, -ENOENT, "config.image.image", "image \"%s\" is not here",
                            config->image->image);
        cb(NULL, r, &err, arg);
        return;
    }
    char id[CONTAINER_ID_LEN + 1];
    random_hex(id, CONTAINER_ID_LEN);
    struct creation *cr = mem_zalloc(sizeof(*cr));
    *cr = (struct creation){.cb = cb, .arg = arg};
    cr->c = container_new(s, id, (Runtime__V1__ContainerConfig *)pbjson_copy(&config->base));
    cr->c->creation = cr;
    cr->c->created_ns = time_now_nano();
    cr->c->image_id = str_dup(image->id);
    set_paths(cr->c);
    r = make(cr, image, &err);
    (void)image_unref(image);
    if (r < 0)
        failed(cr, r, &err);
}
