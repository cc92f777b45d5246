/*
 * JSON → plain C structs, by table. Consumers (kubelet, proxy, controllers) decode the fields they
 * use at their edge and keep the structs, never the trees.
 *
 *   struct port { char *name; int64_t port; };
 *   static const struct decode_field port_fields[] = {
 *       DECODE_FIELD(struct port, name, "name", DECODE_STRING),
 *       DECODE_FIELD(struct port, port, "port", DECODE_INT),
 *       DECODE_END};
 *   static const struct decode_type port_type = {"ServicePort", sizeof(struct port), port_fields};
 *
 * Absent and null fields stay zero (NULL, 0, empty, not set). A field of another JSON type is
 * refused with its path ("spec.ports[0].port: expected an integer, got a string"). Unknown fields
 * are passed over.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"

struct decode_type;

enum decode_kind {
    DECODE_STRING,        /* char * */
    DECODE_INT,           /* int64_t */
    DECODE_OPT_INT,       /* struct opt_int */
    DECODE_BOOL,          /* bool */
    DECODE_OPT_BOOL,      /* struct opt_bool */
    DECODE_TIME,          /* int64_t, nanoseconds since the epoch; 0 when absent */
    DECODE_INT_OR_STRING, /* struct int_or_string */
    DECODE_BYTES,         /* struct bytes, from base64 */
    DECODE_STRINGS,       /* struct string_list */
    DECODE_MAP,           /* struct string_map: string → string, in the order of the document */
    DECODE_BYTES_MAP,     /* struct bytes_map: string → base64 (Secret.data) */
    DECODE_OBJECT,        /* the struct itself, embedded */
    DECODE_OPT_OBJECT,    /* pointer to the struct, NULL when absent */
    DECODE_ARRAY,         /* ARRAY_OF(struct) */
    DECODE_RAW,           /* json_t *, a reference of its own */
    DECODE_TEXT,          /* char *: the value as compact JSON, for what is only passed on */
};

struct opt_int {
    bool set;
    int64_t value;
};
struct opt_bool {
    bool set;
    bool value;
};
struct int_or_string {
    bool set;
    char *text; /* NULL when it is a number */
    int64_t value;
};
struct bytes {
    unsigned char *data;
    size_t len;
};
struct string_list {
    char **items;
    size_t count;
};
struct string_pair {
    char *key, *value;
};
struct string_map {
    struct string_pair *items;
    size_t count;
};
struct bytes_pair {
    char *key;
    struct bytes value;
};
struct bytes_map {
    struct bytes_pair *items;
    size_t count;
};
/* The shape of every array field: `ARRAY_OF(struct port) ports;`. */
#define ARRAY_OF(type) \
    struct {           \
        type *items;   \
        size_t count;  \
    }

struct decode_field {
    const char *name;
    enum decode_kind kind;
    size_t offset;
    const struct decode_type *type; /* of OBJECT, OPT_OBJECT and ARRAY */
};
struct decode_type {
    const char *name;
    size_t size;
    const struct decode_field *fields;
};

#define DECODE_FIELD(struct_type, member, json_name, kind_)                           \
    {                                                                                 \
        .name = (json_name), .kind = (kind_), .offset = offsetof(struct_type, member) \
    }
#define DECODE_SUB(struct_type, member, json_name, kind_, sub)                         \
    {                                                                                  \
        .name = (json_name), .kind = (kind_), .offset = offsetof(struct_type, member), \
        .type = (sub)                                                                  \
    }
#define DECODE_END   \
    {                \
        .name = NULL \
    }

/* Decodes @j into *@out (any content of *@out is overwritten, not freed). On failure *@out is
 * zeroed and nothing is leaked. 0, or -EINVAL with the field path in @err. */
int decode(const struct decode_type *type, const json_t *j, void *out, struct error *err);
/* Frees everything *@obj points to and zeroes it. The struct itself belongs to the caller. */
void decode_done(const struct decode_type *type, void *obj);

/* The value under @key, NULL when there is none. */
const char *string_map_get(const struct string_map *m, const char *key);
bool string_list_has(const struct string_list *l, const char *item);
void string_list_add(struct string_list *l, const char *text); /* a copy */
void string_list_done(struct string_list *l);                  /* empties it */

/* Base64 (RFC 4648 section 4). Decoding refuses anything else; the caller frees. */
int base64_decode(const char *text, size_t len, struct bytes *ret);
/* NULL for more than a gigabyte. */
char *base64_encode(const void *data, size_t len);
/* The same in the alphabet for URLs, without padding (RFC 4648 section 5). */
int base64url_decode(const char *text, size_t len, struct bytes *ret);
char *base64url_encode(const void *data, size_t len);
