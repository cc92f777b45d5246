/* What a person names on the command line; see target.h. */
#include "cli/target.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/http.h"

static int add(const struct schema_registry *registry, const char *word, const char *name,
               struct targets *t, struct error *err)
{
    const struct schema_resource *resource = schema_by_word(registry, word);
    if (!resource || !resource->plural)
        return error_set(err, -EINVAL, "there is no resource type \"%s\"", word);
    t->items = mem_grow(t->items, t->count + 1, sizeof(*t->items));
    t->items[t->count++] = (struct target){.resource = resource, .name = name};
    return 0;
}

int targets_parse(const struct schema_registry *registry, int n, char **words, struct targets *ret,
                  struct error *err)
{
    *ret = (struct targets){.items = NULL};
    int r = 0;
    if (n == 0)
        return error_set(err, -EINVAL, "name a resource type, for example pods");
    if (strchr(words[0], '/')) {
        for (int i = 0; i < n && r == 0; i++) {
            char *slash = strchr(words[i], '/');
            if (!slash) {
                r = error_set(err, -EINVAL, "\"%s\": write TYPE/NAME throughout", words[i]);
                break;
            }
            *slash = '\0';
            r = add(registry, words[i], slash + 1, ret, err);
        }
    } else {
        char *rest = NULL;
        for (char *kind = strtok_r(words[0], ",", &rest); kind && r == 0;
             kind = strtok_r(NULL, ",", &rest)) {
            if (n == 1)
                r = add(registry, kind, NULL, ret, err);
            for (int i = 1; i < n && r == 0; i++)
                r = add(registry, kind, words[i], ret, err);
        }
    }
    if (r < 0)
        targets_done(ret);
    return r;
}

void targets_done(struct targets *t)
{
    free(t->items);
    *t = (struct targets){.items = NULL};
}

char *target_path(const struct target *t, const char *ns)
{
    char api[SCHEMA_API_VERSION_MAX];
    return kube_path(schema_api_version(t->resource, api), t->resource->namespaced ? ns : NULL,
                     t->resource->plural, t->name, NULL);
}

/* "a=b,c=d" of a Service's selector or of matchLabels. The caller frees; NULL when it selects
 * nothing. */
static char *selector_text(const json_t *object)
{
    const json_t *labels = json_path(object, "spec.selector.matchLabels");
    if (!labels)
        labels = json_path(object, "spec.selector");
    struct strbuf b = STRBUF_INIT;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
        if (json_is_string(value))
            strbuf_addf(&b, "%s%s=%s", b.len ? "," : "", key, json_string_value(value));
    }
    if (b.len)
        return strbuf_take(&b);
    strbuf_done(&b);
    return NULL;
}

static int pick_pod(struct session *s, const char *selector, const char *word, char **ret_pod,
                    struct error *err)
{
    struct strbuf path = STRBUF_INIT;
    _cleanup_free_ char *collection = kube_path("v1", s->ns, "pods", NULL, NULL);
    strbuf_addf(&path, "%s?", collection);
    http_query_add(&path, "labelSelector", selector);
    _cleanup_json_ json_t *list = NULL;
    int r = session_call(s, "GET", strbuf_text(&path), NULL, NULL, NULL, &list, err);
    strbuf_done(&path);
    if (r < 0)
        return r;
    const json_t *items = json_object_get(list, "items");
    const char *any = NULL;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *pod = json_array_get(items, i);
        any = json_path_string(pod, "metadata.name");
        if (str_eq(json_path_string(pod, "status.phase"), "Running"))
            break;
    }
    if (!any)
        return error_set(err, -ENOENT, "%s has no pods", word);
    *ret_pod = str_dup(any);
    return 0;
}

int target_find_pod(struct session *s, const struct schema_registry *registry, char *word,
                    char **ret_pod, struct error *err)
{
    char *slash = strchr(word, '/');
    if (!slash) {
        *ret_pod = str_dup(word);
        return 0;
    }
    struct targets t;
    char *words[] = {word};
    _cleanup_free_ char *shown = str_dup(word);
    int r = targets_parse(registry, 1, words, &t, err);
    if (r < 0)
        return r;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): one word makes one target, or an error
    const struct target target = t.items[0];
    targets_done(&t);
    if (str_eq(target.resource->kind, "Pod")) {
        *ret_pod = str_dup(target.name);
        return 0;
    }
    _cleanup_free_ char *path = target_path(&target, s->ns);
    _cleanup_json_ json_t *object = NULL;
    if ((r = session_call(s, "GET", path, NULL, NULL, NULL, &object, err)) < 0)
        return r;
    _cleanup_free_ char *selector = selector_text(object);
    if (!selector)
        return error_set(err, -EINVAL, "%s selects no pods", shown);
    return pick_pod(s, selector, shown, ret_pod, err);
}
