/* Reading manifests; see manifest.h. */
#include "cli/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kube/client.h"
#include "kube/yaml.h"

#define FILE_MAX    ((size_t)16 << 20)
#define OBJECTS_MAX 10000

static int add_object(const struct schema_registry *registry, json_t *object, const char *where,
                      struct manifests *m, struct error *err)
{
    const char *api = json_path_string(object, "apiVersion");
    const char *kind = json_path_string(object, "kind");
    if (!json_is_object(object))
        return error_set(err, -EINVAL, "%s: not an object", where);
    if (!api)
        return error_set_field(err, -EINVAL, "apiVersion", "%s: apiVersion: Required value", where);
    if (!kind)
        return error_set_field(err, -EINVAL, "kind", "%s: kind: Required value", where);
    const struct schema_resource *resource = schema_by_api_version(registry, api, kind);
    if (!resource || !resource->plural)
        return error_set_field(err, -EINVAL, "kind",
                               "%s: no matches for kind \"%s\" in version \"%s\"", where, kind,
                               api);
    if (!json_path_string(object, "metadata.name") &&
        !json_path_string(object, "metadata.generateName"))
        return error_set_field(err, -EINVAL, "metadata.name",
                               "%s: %s: metadata.name: Required value", where, kind);
    if (m->count >= OBJECTS_MAX)
        return error_set(err, -E2BIG, "%s: more than %d objects", where, OBJECTS_MAX);
    m->items = mem_grow(m->items, m->count + 1, sizeof(*m->items));
    m->items[m->count++] = (struct manifest){
        .object = json_incref(object), .where = str_dup(where), .resource = resource};
    return 0;
}

static int add_document(const struct schema_registry *registry, json_t *value, const char *where,
                        struct manifests *m, struct error *err)
{
    const char *kind = json_path_string(value, "kind");
    const json_t *items = json_object_get(value, "items");
    if (!kind || !str_ends(kind, "List") || !json_is_array(items))
        return add_object(registry, value, where, m, err);
    int r = 0;
    for (size_t i = 0; i < json_array_size(items) && r == 0; i++) {
        _cleanup_free_ char *item = str_printf("%s, item %zu", where, i + 1);
        r = add_object(registry, json_array_get(items, i), item, m, err);
    }
    return r;
}

static int load_text(const struct schema_registry *registry, const struct strbuf *text,
                     const char *name, struct manifests *m, struct error *err)
{
    struct yaml_documents docs = {.items = NULL};
    int r = yaml_parse(strbuf_text(text), text->len, &docs, err);
    if (r < 0)
        return error_prefix(err, r, "%s", name);
    for (size_t i = 0; i < docs.count && r == 0; i++) {
        _cleanup_free_ char *where = str_printf("%s: document %d", name, docs.items[i].number);
        r = add_document(registry, docs.items[i].value, where, m, err);
    }
    yaml_documents_done(&docs);
    return r;
}

static int load_file(const struct schema_registry *registry, const char *path, struct manifests *m,
                     struct error *err)
{
    bool standard_input = str_eq(path, "-");
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(standard_input ? "/dev/stdin" : path, FILE_MAX, &text, err);
    if (r < 0)
        return r;
    return load_text(registry, &text, standard_input ? "standard input" : path, m, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int load_directory(const struct schema_registry *registry, const char *path,
                          struct manifests *m, struct error *err)
{
    DIR *d = opendir(path);
    if (!d)
        return error_errno(err, -errno, "%s", path);
    char **names = NULL;
    size_t n = 0;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (!str_ends(e->d_name, ".yaml") && !str_ends(e->d_name, ".yml") &&
            !str_ends(e->d_name, ".json"))
            continue;
        names = mem_grow(names, n + 1, sizeof(*names));
        names[n++] = fs_join(path, e->d_name);
    }
    (void)closedir(d);
    if (n)
        qsort(names, n, sizeof(*names), by_name);
    int r = 0;
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = load_file(registry, names[i], m, err);
        free(names[i]);
    }
    free(names);
    return r;
}

int manifests_load(const struct schema_registry *registry, const struct option_list *files,
                   struct manifests *ret, struct error *err)
{
    *ret = (struct manifests){.items = NULL};
    int r = 0;
    for (size_t i = 0; i < files->count && r == 0; i++) {
        struct stat st;
        if (stat(files->items[i], &st) == 0 && S_ISDIR(st.st_mode))
            r = load_directory(registry, files->items[i], ret, err);
        else
            r = load_file(registry, files->items[i], ret, err);
    }
    if (r == 0 && ret->count == 0)
        r = error_set(err, -EINVAL, "no objects in what was given with -f");
    if (r < 0)
        manifests_done(ret);
    return r;
}

void manifests_done(struct manifests *m)
{
    for (size_t i = 0; i < m->count; i++) {
        json_decref(m->items[i].object);
        free(m->items[i].where);
    }
    free(m->items);
    *m = (struct manifests){.items = NULL};
}

const char *manifest_namespace(const struct manifest *m, const char *fallback)
{
    if (!m->resource->namespaced)
        return NULL;
    const char *ns = json_path_string(m->object, "metadata.namespace");
    return ns && *ns ? ns : fallback;
}

char *manifest_title(const struct manifest *m)
{
    const char *name = json_path_string(m->object, "metadata.name");
    const char *group = m->resource->group;
    return str_printf("%s%s%s/%s", m->resource->singular, *group ? "." : "", group,
                      name ? name : json_path_string(m->object, "metadata.generateName"));
}

char *manifest_path(const struct manifest *m, const char *fallback_ns, bool named)
{
    char api[SCHEMA_API_VERSION_MAX];
    return kube_path(schema_api_version(m->resource, api), manifest_namespace(m, fallback_ns),
                     m->resource->plural,
                     named ? json_path_string(m->object, "metadata.name") : NULL, NULL);
}
