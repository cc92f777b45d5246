/*
 * The one description of every kind: what the text files in lib/kube/schema/ compile into, and
 * later a CustomResourceDefinition at run time. Validation, pruning, defaulting, patches, OpenAPI
 * and tables all read these structs.
 *
 * A schema node says what one JSON value may be. Object types that have a name (Pod, ObjectMeta)
 * are shared by reference and may refer to themselves; all other nodes belong to their one user.
 * Everything belongs to the registry and lives as long as it.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "base/map.h"

enum schema_kind {
    SCHEMA_OBJECT,        /* fixed fields */
    SCHEMA_MAP,           /* string → items */
    SCHEMA_ARRAY,         /* list of items */
    SCHEMA_STRING,        /* */
    SCHEMA_BOOL,          /* */
    SCHEMA_INT32,         /* */
    SCHEMA_INT64,         /* */
    SCHEMA_DOUBLE,        /* integer or real */
    SCHEMA_QUANTITY,      /* resource.Quantity: string or number in, canonical string out */
    SCHEMA_INT_OR_STRING, /* intstr.IntOrString */
    SCHEMA_TIME,          /* RFC 3339, seconds */
    SCHEMA_MICRO_TIME,    /* RFC 3339, microseconds */
    SCHEMA_DURATION,      /* Go duration ("1h30m") */
    SCHEMA_BYTES,         /* base64 in a string */
    SCHEMA_ANY,           /* any JSON value, kept as it is */
};

enum schema_list_type { SCHEMA_LIST_ATOMIC, SCHEMA_LIST_SET, SCHEMA_LIST_MAP };

/* What a string must look like. */
enum schema_format {
    FORMAT_NONE,
    FORMAT_DNS_LABEL,        /* RFC 1123 label: "web-1" */
    FORMAT_DNS_SUBDOMAIN,    /* RFC 1123 subdomain: "a.b-c" */
    FORMAT_DNS1035_LABEL,    /* service names: starts with a letter */
    FORMAT_QUALIFIED_NAME,   /* label keys: "example.com/name" */
    FORMAT_LABEL_VALUE,      /* label values, may be empty */
    FORMAT_PORT_NAME,        /* IANA service name of at most 15 characters */
    FORMAT_CONFIG_KEY,       /* key of a ConfigMap or Secret */
    FORMAT_ENV_NAME,         /* name of an environment variable */
    FORMAT_IP,               /* IPv4 or IPv6 address */
    FORMAT_CIDR,             /* prefix */
    FORMAT_ABSOLUTE_PATH,    /* starts with "/" */
    FORMAT_LOCAL_PATH,       /* relative and without ".." */
    FORMAT_PATH_SEGMENT,     /* names that only have to fit into a path: "system:node" */
    FORMAT_PERCENT_OR_COUNT, /* "25%" (int-or-string) or a number that is not negative */
};

struct schema_field;

struct schema {
    enum schema_kind kind;
    const char *name;        /* OpenAPI definition ("io.k8s.api.core.v1.Pod"); NULL when unnamed */
    const char *description; /* of a named type; "" when none */
    const struct schema_field *fields; /* SCHEMA_OBJECT */
    size_t n_fields;
    const struct schema *items; /* SCHEMA_MAP, SCHEMA_ARRAY */
    enum schema_list_type list_type;
    const char *const *list_keys; /* SCHEMA_LIST_MAP: NULL-terminated, else NULL */
    bool atomic;                  /* map or object that apply replaces as one */
    bool preserve_unknown;        /* SCHEMA_OBJECT: unknown fields are kept */
    bool nullable;                /* JSON null is a value (custom resources) */
    enum schema_format format;
    const char *const *values; /* enum: NULL-terminated, NULL when any */
    bool has_min, has_max;
    int64_t min, max;               /* numbers */
    int64_t min_length, max_length; /* bytes of a string, entries of a list or map; 0: no bound */
    struct map *by_name;            /* SCHEMA_OBJECT: field name → struct schema_field */
};

struct schema_field {
    const char *name;
    const char *description; /* "" when none */
    const struct schema *type;
    bool required;  /* always there in what the server sends; documents say so */
    bool checked;   /* required of clients: validation refuses an object without it */
    bool immutable; /* once set, an update may not change it */
    bool deprecated;
    bool zero_is_unset;         /* the default also takes the place of 0 */
    const json_t *def;          /* default, NULL when none */
    const char *patch_strategy; /* "merge", "replace", "retainKeys", "merge,retainKeys"; NULL */
    const char *patch_merge_key;
};

/* A column of a Table. */
struct schema_column {
    const char *name;
    const char *type;        /* "string", "integer", "date", … */
    const char *format;      /* "name" or "" */
    const char *description; /* */
    int priority;            /* above 0: only in wide output */
    const char *path;        /* dotted path in the object; NULL: computed by table.c */
};

/* A kind as it is served under /api/v1/… or /apis/GROUP/VERSION/…. */
struct schema_resource {
    const char *group;    /* "" is the core group */
    const char *version;  /* */
    const char *kind;     /* "Pod" */
    const char *plural;   /* "pods"; NULL for kinds that only travel (Status, Scale, Eviction…) */
    const char *singular; /* */
    const char *list_kind;          /* "PodList" */
    const char *const *short_names; /* NULL-terminated, maybe empty, never NULL; likewise below */
    const char *const *categories;
    const char *const *subresources; /* "status", "log", … */
    bool namespaced;
    const char *storage;         /* below /registry/: "pods", "minions", "services/specs" */
    const char *storage_version; /* group/version ("v1", "apps/v1") objects are stored in */
    const struct schema *type;
    const struct schema_column *columns;
    size_t n_columns;
};

struct schema_registry;

/* A registry with every built-in kind. Aborts when the embedded text is broken: the build tests
 * it. */
struct schema_registry *schema_registry_new(void);
struct schema_registry *schema_registry_free(struct schema_registry *reg); /* returns NULL */
DEFINE_CLEANUP(struct schema_registry *, schema_registry_free);

/* Compiles more text of the same form (grammar: lib/kube/schema/README.md) into @reg. @source
 * names it in errors. 0, or -EINVAL with line and reason. */
int schema_registry_add(struct schema_registry *reg, const char *source, const char *text,
                        size_t len, struct error *err);

/* Lookups return NULL when there is none. @group "" is the core group. */
const struct schema_resource *schema_by_kind(const struct schema_registry *reg, const char *group,
                                             const char *version, const char *kind);
const struct schema_resource *schema_by_plural(const struct schema_registry *reg, const char *group,
                                               const char *version, const char *plural);
/* By what a manifest says: apiVersion ("v1", "apps/v1") and kind. */
const struct schema_resource *schema_by_api_version(const struct schema_registry *reg,
                                                    const char *api_version, const char *kind);
/* What a person types: plural, singular, short name or kind, any case, optionally followed by
 * ".GROUP" or ".VERSION.GROUP". The core group wins, then order of definition. */
const struct schema_resource *schema_by_word(const struct schema_registry *reg, const char *word);

/* Every resource in order of definition: i = 0, 1, … until NULL. */
const struct schema_resource *schema_resource_at(const struct schema_registry *reg, size_t i);
/* Every named type in order of definition. */
const struct schema *schema_type_at(const struct schema_registry *reg, size_t i);
const struct schema *schema_type_by_name(const struct schema_registry *reg, const char *name);

/* The field of an object type, NULL when it has none of that name. */
const struct schema_field *schema_field_get(const struct schema *type, const char *name);
/* "v1" or "apps/v1". @buf holds SCHEMA_API_VERSION_MAX bytes; returned. */
#define SCHEMA_API_VERSION_MAX 320
const char *schema_api_version(const struct schema_resource *r, char *buf);
/* Whether servers can serve it: it has a path, and objects need no conversion from the version they
 * are stored in (events.k8s.io is stored as the core group's Event). */
bool schema_is_served(const struct schema_resource *r);
bool schema_has_subresource(const struct schema_resource *r, const char *name);
