/* The registry of types and resources: memory and lookups. The text form is schema_parse.c's. */
#include "kube/schema.h"

#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "kube/schema_internal.h"
#include "kube/schema_text.h"

#define ARENA_BLOCK 32768

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void *schema_alloc(struct schema_registry *reg, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct arena_block *b = reg->arena;
    if (!b || b->size - b->used < size) {
        size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        b = mem_zalloc(sizeof(*b) + room);
        b->size = room;
        b->next = reg->arena;
        reg->arena = b;
    }
    void *p = b->data + b->used;
    b->used += size;
    return p;
}

char *schema_text(struct schema_registry *reg, const char *s, size_t len)
{
    char *copy = schema_alloc(reg, len + 1);
    memcpy(copy, s, len);
    return copy;
}

struct schema *schema_type_add(struct schema_registry *reg, const char *name)
{
    struct schema *type = schema_alloc(reg, sizeof(*type));
    type->kind = SCHEMA_OBJECT;
    type->name = schema_text(reg, name, strlen(name));
    type->description = "";
    reg->types = mem_grow(reg->types, reg->n_types + 1, sizeof(struct schema *));
    reg->types[reg->n_types++] = type;
    map_set(&reg->types_by_name, type->name, type);
    return type;
}

void schema_type_set_fields(struct schema_registry *reg, struct schema *type,
                            const struct schema_field *fields, size_t count)
{
    if (count) {
        struct schema_field *copy = schema_alloc(reg, count * sizeof(*copy));
        memcpy(copy, fields, count * sizeof(*copy));
        type->fields = copy;
    }
    type->n_fields = count;
    type->by_name = schema_alloc(reg, sizeof(*type->by_name));
    for (size_t i = 0; i < count; i++)
        map_set(type->by_name, type->fields[i].name, (void *)(uintptr_t)&type->fields[i]);
}

void schema_resource_add(struct schema_registry *reg, struct schema_resource *res)
{
    reg->resources =
        mem_grow(reg->resources, reg->n_resources + 1, sizeof(struct schema_resource *));
    reg->resources[reg->n_resources++] = res;
}

struct schema_registry *schema_registry_new(void)
{
    struct schema_registry *reg = mem_zalloc(sizeof(*reg));
    reg->defaults = json_array();
    const char *text = schema_builtin_text();
    struct error err = ERROR_INIT;
    if (schema_registry_add(reg, "built-in", text, strlen(text), &err) < 0) {
        (void)fprintf(stderr, "built-in schema: %s\n", error_text(&err));
        abort();
    }
    return reg;
}

struct schema_registry *schema_registry_free(struct schema_registry *reg)
{
    if (!reg)
        return NULL;
    for (size_t i = 0; i < reg->n_types; i++)
        if (reg->types[i]->by_name)
            map_clear(reg->types[i]->by_name);
    map_clear(&reg->types_by_name);
    json_decref(reg->defaults);
    for (struct arena_block *b = reg->arena, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free((void *)reg->types);
    free((void *)reg->resources);
    free(reg);
    return NULL;
}

const struct schema_resource *schema_by_kind(const struct schema_registry *reg, const char *group,
                                             const char *version, const char *kind)
{
    for (size_t i = 0; i < reg->n_resources; i++) {
        const struct schema_resource *r = reg->resources[i];
        if (str_eq(r->kind, kind) && str_eq(r->group, group) && str_eq(r->version, version))
            return r;
    }
    return NULL;
}

const struct schema_resource *schema_by_plural(const struct schema_registry *reg, const char *group,
                                               const char *version, const char *plural)
{
    for (size_t i = 0; i < reg->n_resources; i++) {
        const struct schema_resource *r = reg->resources[i];
        if (r->plural && str_eq(r->plural, plural) && str_eq(r->group, group) &&
            str_eq(r->version, version))
            return r;
    }
    return NULL;
}

const struct schema_resource *schema_by_api_version(const struct schema_registry *reg,
                                                    const char *api_version, const char *kind)
{
    if (!api_version || !kind)
        return NULL;
    const char *slash = strchr(api_version, '/');
    _cleanup_free_ char *group = str_ndup(api_version, slash ? (size_t)(slash - api_version) : 0);
    if (slash && slash == api_version)
        return NULL;
    return schema_by_kind(reg, group, slash ? slash + 1 : api_version, kind);
}

static bool is_word_for(const struct schema_resource *r, const char *word, size_t len)
{
    const char *const names[] = {r->plural, r->singular, r->kind};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i] && strlen(names[i]) == len && strncasecmp(names[i], word, len) == 0)
            return true;
    for (size_t i = 0; r->short_names[i]; i++)
        if (strlen(r->short_names[i]) == len && strncasecmp(r->short_names[i], word, len) == 0)
            return true;
    return false;
}

/* What follows the first dot of the word: "GROUP" or "VERSION.GROUP". */
static bool is_suffix_for(const struct schema_resource *r, const char *suffix)
{
    if (!*suffix)
        return true;
    if (strcasecmp(suffix, r->group) == 0)
        return true;
    size_t len = strlen(r->version);
    return strncasecmp(suffix, r->version, len) == 0 && suffix[len] == '.' &&
           strcasecmp(suffix + len + 1, r->group) == 0;
}

const struct schema_resource *schema_by_word(const struct schema_registry *reg, const char *word)
{
    size_t len = strcspn(word, ".");
    const char *suffix = word[len] ? word + len + 1 : "";
    const struct schema_resource *found = NULL;
    for (size_t i = 0; i < reg->n_resources; i++) {
        const struct schema_resource *r = reg->resources[i];
        if (!r->plural || !r->storage || !is_word_for(r, word, len) || !is_suffix_for(r, suffix))
            continue;
        if (!*r->group)
            return r;
        if (!found)
            found = r;
    }
    return found;
}

const struct schema_resource *schema_resource_at(const struct schema_registry *reg, size_t i)
{
    return i < reg->n_resources ? reg->resources[i] : NULL;
}

const struct schema *schema_type_at(const struct schema_registry *reg, size_t i)
{
    return i < reg->n_types ? reg->types[i] : NULL;
}

const struct schema *schema_type_by_name(const struct schema_registry *reg, const char *name)
{
    return map_get(&reg->types_by_name, name);
}

const struct schema_field *schema_field_get(const struct schema *type, const char *name)
{
    return type->by_name ? map_get(type->by_name, name) : NULL;
}

const char *schema_api_version(const struct schema_resource *r, char *buf)
{
    (void)snprintf(buf, SCHEMA_API_VERSION_MAX, "%s%s%s", r->group, *r->group ? "/" : "",
                   r->version);
    return buf;
}

bool schema_is_served(const struct schema_resource *r)
{
    char own[SCHEMA_API_VERSION_MAX];
    return r->plural && (!r->storage || str_eq(schema_api_version(r, own), r->storage_version));
}

bool schema_has_subresource(const struct schema_resource *r, const char *name)
{
    for (size_t i = 0; r->subresources[i]; i++)
        if (str_eq(r->subresources[i], name))
            return true;
    return false;
}
