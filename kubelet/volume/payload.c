/*
 * Volumes whose files come from the API: configMap, secret, downwardAPI, and projected, which is
 * several of these and tokens in one directory. All of them are a list of sources; their files are
 * gathered whenever one has changed, and written atomically.
 */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kubelet/volume/volume.h"

enum source_kind { SOURCE_OBJECT, SOURCE_DOWNWARD, SOURCE_TOKEN, SOURCE_UNSUPPORTED };

struct source {
    enum source_kind kind;
    enum object_kind object_kind;
    uint32_t index; /* in projected.sources */
    struct object_ref *object;
    struct token *token;
};
struct payload {
    struct source *sources;
    size_t count;
    int64_t mode, user; /* defaultMode; owner of tokens, -1: root */
};
/* What is gathered for one write. */
struct gathering {
    struct volume *v;
    struct payload_file *files;
    size_t n;
    char **texts; /* made for this write */
    size_t n_texts;
};

/* ---- where a source's specification is: found anew, because the pod's object may be a new one */
static const struct projection *projection_of(const struct volume *v, const struct source *s)
{
    return &v->spec->projected->sources.items[s->index];
}

static const struct object_volume_source *object_of(const struct volume *v, const struct source *s)
{
    bool map = s->object_kind == OBJECT_CONFIG_MAP;
    if (!v->spec->projected)
        return map ? v->spec->config_map : v->spec->secret;
    return map ? projection_of(v, s)->config_map : projection_of(v, s)->secret;
}

static const struct downward_source *downward_of(const struct volume *v, const struct source *s)
{
    return v->spec->projected ? projection_of(v, s)->downward : v->spec->downward;
}

/* ---- gathering ---- */
static int add_file(struct gathering *g, const char *path, const void *data, size_t len,
                    int64_t mode, int64_t user, struct error *err)
{
    if (!path_is_below(path) || str_starts(path, ".."))
        return error_set(err, -EINVAL, "\"%.100s\" is not usable as a path", path ? path : "");
    if (mode < 0 || mode > 0777)
        return error_set(err, -EINVAL, "file mode %lld is not between 0 and 0777", (long long)mode);
    struct payload_file file = {
        .path = path, .data = data, .len = len, .mode = (mode_t)mode, .uid = user};
    for (size_t i = 0; i < g->n; i++) {
        if (!str_eq(g->files[i].path, path))
            continue;
        g->files[i] = file; /* a later source wins */
        return 0;
    }
    g->files = mem_grow(g->files, g->n + 1, sizeof(*g->files));
    g->files[g->n++] = file;
    return 0;
}

/* As add_file() with text of this write, which is taken. */
static int add_text(struct gathering *g, const char *path, char *text, int64_t mode, int64_t user,
                    struct error *err)
{
    g->texts = mem_grow(g->texts, g->n_texts + 1, sizeof(*g->texts));
    g->texts[g->n_texts++] = text;
    return add_file(g, path, text, strlen(text), mode, user, err);
}

static int64_t mode_or(const struct opt_int *mode, int64_t fallback)
{
    return mode->set ? mode->value : fallback;
}

static int add_keys(struct gathering *g, const struct object_volume_source *o,
                    const struct bytes_map *data, bool secret, int64_t mode, struct error *err)
{
    int code = 0;
    for (size_t i = 0; !code && !o->items.count && data && i < data->count; i++)
        code = add_file(g, data->items[i].key, data->items[i].value.data, data->items[i].value.len,
                        mode, -1, err);
    for (size_t i = 0; !code && i < o->items.count; i++) {
        const struct key_to_path *item = &o->items.items[i];
        const struct bytes *b = bytes_map_get(data, item->key);
        if (!b && !o->optional)
            return error_set(err, -ENOENT, "references non-existent %s key: %.100s",
                             secret ? "secret" : "config", item->key ? item->key : "");
        if (b)
            code = add_file(g, item->path, b->data, b->len, mode_or(&item->mode, mode), -1, err);
    }
    return code;
}

static int add_object(struct gathering *g, const struct source *s, int64_t mode, struct error *err)
{
    const struct object_volume_source *o = object_of(g->v, s);
    const char *kind = object_kind_name(s->object_kind);
    const char *name = o->secret_name ? o->secret_name : o->name;
    if (!s->object)
        return error_set(err, -EINVAL, "a %s has no name", kind);
    switch (object_state(s->object)) {
    case OBJECT_PENDING:
        return VOLUME_E_PENDING;
    case OBJECT_NO_API:
        return error_set(err, -ENOTCONN, "%s \"%s\": there is no API server to read it from", kind,
                         name);
    case OBJECT_ABSENT:
        if (!o->optional)
            return error_set(err, -ENOENT, "%s \"%s\" not found", kind, name);
        break;
    case OBJECT_PRESENT:
        break;
    }
    return add_keys(g, o, object_data(s->object), s->object_kind == OBJECT_SECRET, mode, err);
}

static int add_downward(struct gathering *g, const struct source *s, int64_t mode,
                        struct error *err)
{
    const struct volume_set *set = g->v->set;
    const struct downward_source *d = downward_of(g->v, s);
    const struct downward_context ctx = {.limit = set->k->allocatable};
    int code = 0;
    for (size_t i = 0; !code && i < d->items.count; i++) {
        const struct downward_file *f = &d->items.items[i];
        char *text = NULL;
        if (f->field_ref)
            text = downward_metadata(set->pod, f->field_ref->field_path, err);
        else if (f->resource_ref)
            text = downward_resource(set->pod, &ctx, NULL, f->resource_ref, err);
        else
            (void)error_set(err, -EINVAL, "downwardAPI.items[%zu] has no source", i);
        code = text ? add_text(g, f->path, text, mode_or(&f->mode, mode), -1, err) : -EINVAL;
    }
    return code;
}

static int add_token(struct gathering *g, const struct source *s, const struct payload *p,
                     struct error *err)
{
    const char *why = NULL, *text = token_text(s->token, &why);
    const struct opt_int *group = &g->v->set->pod->spec.security.fs_group;
    if (!text && !why)
        return VOLUME_E_PENDING;
    if (!text)
        return error_set(err, -EIO, "%s", why);
    /* Whose user is known gets a file of their own; others must be able to read it. */
    bool own = p->user >= 0 || group->set;
    return add_text(g, projection_of(g->v, s)->token->path, str_dup(text), own ? 0600 : p->mode,
                    p->user, err);
}

static int add_source(struct gathering *g, const struct source *s, const struct payload *p,
                      struct error *err)
{
    switch (s->kind) {
    case SOURCE_OBJECT:
        return add_object(g, s, p->mode, err);
    case SOURCE_DOWNWARD:
        return add_downward(g, s, p->mode, err);
    case SOURCE_TOKEN:
        return add_token(g, s, p, err);
    case SOURCE_UNSUPPORTED:
        break;
    }
    const struct projection *what = projection_of(g->v, s);
    return error_set(err, -ENOTSUP, "projected.sources[%u]: %s", s->index,
                     what->trust_bundle  ? "clusterTrustBundle is not supported by this kubelet"
                     : what->certificate ? "podCertificate is not supported by this kubelet"
                                         : "has no source");
}

/* ---- the operations ---- */
static int write_files(struct volume *v, const struct gathering *g, struct error *err)
{
    const struct opt_int *gid = &v->set->pod->spec.security.fs_group;
    int code = fs_mkdirs(v->path, 0755, err);
    /* Secrets and tokens must not reach a disk. */
    if (!code && (v->spec->secret || v->spec->projected))
        code = volume_mount_tmpfs(v->path, "0755", 0, err);
    return code ? code : atomic_write(v->path, g->files, g->n, gid->set ? gid->value : -1, err);
}

static int setup_payload(struct volume *v, struct error *err)
{
    const struct payload *p = v->state;
    struct gathering g = {.v = v};
    int code = 0;
    for (size_t i = 0; i < p->count && code >= 0; i++) {
        int r = add_source(&g, &p->sources[i], p, err);
        if (r)
            code = r;
    }
    if (!code)
        code = write_files(v, &g, err);
    for (size_t i = 0; i < g.n_texts; i++)
        free(g.texts[i]);
    free(g.texts);
    free(g.files);
    return code;
}

static void on_changed(void *arg)
{
    volume_changed(arg);
}

/* The user that all containers run as; -1 when they differ or it is not said. */
static int64_t common_user(const struct pod *pod)
{
    int64_t user = -1;
    for (size_t i = 0; i < pod_container_count(pod); i++) {
        const struct opt_int *own = &pod_container_at(pod, i)->security.run_as_user;
        const struct opt_int *uid = own->set ? own : &pod->spec.security.run_as_user;
        if (!uid->set || (i > 0 && uid->value != user))
            return -1;
        user = uid->value;
    }
    return user;
}

static struct source *add(struct payload *p, enum source_kind kind, size_t index)
{
    p->sources = mem_grow(p->sources, p->count + 1, sizeof(*p->sources));
    struct source *s = &p->sources[p->count++];
    *s = (struct source){.kind = kind, .index = (uint32_t)index};
    return s;
}

static void open_object(struct volume *v, struct payload *p, enum object_kind kind, size_t index)
{
    struct source *s = add(p, SOURCE_OBJECT, index);
    s->object_kind = kind;
    const struct object_volume_source *o = object_of(v, s);
    const char *name = o->secret_name ? o->secret_name : o->name;
    if (name && *name)
        s->object =
            object_acquire(v->set->k->objects, kind, v->set->pod->meta.ns, name, on_changed, v);
}

static void open_projection(struct volume *v, struct payload *p, size_t index)
{
    const struct projection *what = &v->spec->projected->sources.items[index];
    if (what->config_map)
        open_object(v, p, OBJECT_CONFIG_MAP, index);
    else if (what->secret)
        open_object(v, p, OBJECT_SECRET, index);
    else if (what->downward)
        add(p, SOURCE_DOWNWARD, index);
    else if (what->token)
        add(p, SOURCE_TOKEN, index)->token =
            token_new(v->set->k, v->set->pod, what->token, on_changed, v);
    else
        add(p, SOURCE_UNSUPPORTED, index);
}

static void open_payload(struct volume *v)
{
    struct payload *p = mem_zalloc(sizeof(*p));
    const struct volume_spec *s = v->spec;
    v->state = p;
    v->read_only = true;
    p->user = -1;
    if (s->projected) {
        p->user = common_user(v->set->pod);
        p->mode = s->projected->default_mode.value;
        for (size_t i = 0; i < s->projected->sources.count; i++)
            open_projection(v, p, i);
    } else if (s->downward) {
        p->mode = s->downward->default_mode.value;
        add(p, SOURCE_DOWNWARD, 0);
    } else {
        p->mode = (s->config_map ? s->config_map : s->secret)->default_mode.value;
        open_object(v, p, s->config_map ? OBJECT_CONFIG_MAP : OBJECT_SECRET, 0);
    }
}

static void close_payload(struct volume *v)
{
    struct payload *p = v->state;
    for (size_t i = 0; i < p->count; i++) {
        object_release(p->sources[i].object);
        token_free(p->sources[i].token);
    }
    free(p->sources);
    free(p);
    v->state = NULL;
}

#define PAYLOAD(name)                                                                  \
    {                                                                                  \
        .plugin = "kubernetes.io~" name, .open = open_payload, .setup = setup_payload, \
        .close = close_payload                                                         \
    }
const struct volume_ops volume_config_map = PAYLOAD("configmap");
const struct volume_ops volume_secret = PAYLOAD("secret");
const struct volume_ops volume_downward = PAYLOAD("downward-api");
const struct volume_ops volume_projected = PAYLOAD("projected");
