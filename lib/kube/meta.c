/* Metadata helpers; see meta.h. */
#include "kube/meta.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/strbuf.h"

static const char *text_or_empty(const json_t *j)
{
    const char *s = json_string_value(j);
    return s ? s : "";
}

static const json_t *metadata(const json_t *obj)
{
    return json_object_get(obj, "metadata");
}

const char *meta_api_version(const json_t *obj)
{
    return text_or_empty(json_object_get(obj, "apiVersion"));
}

const char *meta_kind(const json_t *obj)
{
    return text_or_empty(json_object_get(obj, "kind"));
}

const char *meta_name(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "name"));
}

const char *meta_namespace(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "namespace"));
}

const char *meta_uid(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "uid"));
}

const char *meta_resource_version(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "resourceVersion"));
}

const char *meta_generate_name(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "generateName"));
}

const char *meta_creation_timestamp(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "creationTimestamp"));
}

const char *meta_deletion_timestamp(const json_t *obj)
{
    return text_or_empty(json_object_get(metadata(obj), "deletionTimestamp"));
}

int64_t meta_generation(const json_t *obj)
{
    return json_integer_value(json_object_get(metadata(obj), "generation"));
}

const json_t *meta_labels(const json_t *obj)
{
    const json_t *labels = json_object_get(metadata(obj), "labels");
    return json_is_object(labels) ? labels : NULL;
}

const json_t *meta_annotations(const json_t *obj)
{
    const json_t *annotations = json_object_get(metadata(obj), "annotations");
    return json_is_object(annotations) ? annotations : NULL;
}

const char *meta_label(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(meta_labels(obj), key));
}

const char *meta_annotation(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(meta_annotations(obj), key));
}

json_t *meta_of(json_t *obj)
{
    json_t *meta = json_object_get(obj, "metadata");
    if (!json_is_object(meta)) {
        meta = json_object();
        (void)json_object_set_new(obj, "metadata", meta);
    }
    return meta;
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value)
        (void)json_object_set_new(object, key, json_text(value));
    else
        (void)json_object_del(object, key);
}

void meta_set(json_t *obj, const char *field, const char *value)
{
    set_text(meta_of(obj), field, value && *value ? value : NULL);
}

void meta_set_int(json_t *obj, const char *field, int64_t value)
{
    (void)json_object_set_new(meta_of(obj), field, json_integer(value));
}

static void set_pair(json_t *obj, const char *map, const char *key, const char *value)
{
    json_t *meta = meta_of(obj);
    json_t *pairs = json_object_get(meta, map);
    if (!json_is_object(pairs)) {
        if (!value)
            return;
        pairs = json_object();
        (void)json_object_set_new(meta, map, pairs);
    }
    set_text(pairs, key, value);
}

void meta_set_annotation(json_t *obj, const char *key, const char *value)
{
    set_pair(obj, "annotations", key, value);
}

void meta_set_label(json_t *obj, const char *key, const char *value)
{
    set_pair(obj, "labels", key, value);
}

const json_t *meta_controller(const json_t *obj)
{
    const json_t *refs = json_object_get(metadata(obj), "ownerReferences");
    for (size_t i = 0; i < json_array_size(refs); i++) {
        const json_t *ref = json_array_get(refs, i);
        if (json_is_true(json_object_get(ref, "controller")))
            return ref;
    }
    return NULL;
}

bool meta_owned_by(const json_t *obj, const char *uid)
{
    const json_t *refs = json_object_get(metadata(obj), "ownerReferences");
    for (size_t i = 0; i < json_array_size(refs); i++)
        if (str_eq(json_path_string(json_array_get(refs, i), "uid"), uid))
            return true;
    return false;
}

json_t *meta_controller_ref(const json_t *owner)
{
    json_t *ref = json_object();
    (void)json_object_set_new(ref, "apiVersion", json_text(meta_api_version(owner)));
    (void)json_object_set_new(ref, "kind", json_text(meta_kind(owner)));
    (void)json_object_set_new(ref, "name", json_text(meta_name(owner)));
    (void)json_object_set_new(ref, "uid", json_text(meta_uid(owner)));
    (void)json_object_set_new(ref, "controller", json_true());
    (void)json_object_set_new(ref, "blockOwnerDeletion", json_true());
    return ref;
}

static size_t find_finalizer(const json_t *list, const char *finalizer)
{
    size_t i = 0;
    while (i < json_array_size(list) &&
           !str_eq(json_string_value(json_array_get(list, i)), finalizer))
        i++;
    return i;
}

bool meta_has_finalizer(const json_t *obj, const char *finalizer)
{
    const json_t *list = json_object_get(metadata(obj), "finalizers");
    return find_finalizer(list, finalizer) < json_array_size(list);
}

int meta_remove_finalizer(json_t *obj, const char *finalizer)
{
    json_t *list = json_object_get(json_object_get(obj, "metadata"), "finalizers");
    size_t i = find_finalizer(list, finalizer);
    if (i == json_array_size(list))
        return -ENOENT;
    (void)json_array_remove(list, i);
    if (json_array_size(list) == 0)
        (void)json_object_del(json_object_get(obj, "metadata"), "finalizers");
    return 0;
}

int meta_split_api_version(const char *api_version, char *group, char *version)
{
    const char *slash = strchr(api_version, '/');
    size_t group_len = slash ? (size_t)(slash - api_version) : 0;
    const char *v = slash ? slash + 1 : api_version;
    if ((slash && group_len == 0) || group_len >= META_PART_MAX || !*v ||
        strlen(v) >= META_PART_MAX || strchr(v, '/'))
        return -EINVAL;
    memcpy(group, api_version, group_len);
    group[group_len] = '\0';
    memcpy(version, v, strlen(v) + 1);
    return 0;
}

char *meta_generated_name(const char *base)
{
    /* No vowels and no digits that look like them, so that no words come out. */
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    unsigned char random[5];
    char suffix[sizeof(random) + 1] = "";
    for (size_t i = 0; i < sizeof(random); i++) {
        /* Values past the last multiple of the alphabet's size would favour its start. */
        do
            random_bytes(&random[i], 1);
        while (random[i] >= 256 - 256 % (sizeof(letters) - 1));
        suffix[i] = letters[random[i] % (sizeof(letters) - 1)];
    }
    return str_printf("%.58s%s", base, suffix);
}
