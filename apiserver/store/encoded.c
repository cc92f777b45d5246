/*
 * Encoded objects; see encoded.h.
 *
 * A stored object has no resourceVersion (the store's mod_revision is it), so serving one means
 * putting the number into its text. A small scanner walks the value once: it finds the "metadata"
 * of the outermost object, checks that strings end and brackets pair up to the last byte, and
 * replaces a resourceVersion that is there already (upstream has written it in old releases).
 */
#include "apiserver/store/encoded.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "kube/meta.h"
#include "kube/schema.h"
#include "kube/selector.h"

struct scanner {
    const char *at, *end;
};

#define SCAN_DEPTH_MAX 2048

static void scan_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool scan_char(struct scanner *s, char c)
{
    scan_space(s);
    if (s->at >= s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* A string with its quotes. @ret_text is what stands between them, escapes as they are. */
static bool scan_string(struct scanner *s, const char **ret_text, size_t *ret_len)
{
    if (!scan_char(s, '"'))
        return false;
    const char *start = s->at;
    while (s->at < s->end && *s->at != '"')
        s->at += *s->at == '\\' ? 2 : 1;
    if (s->at >= s->end)
        return false;
    *ret_text = start;
    *ret_len = (size_t)(s->at - start);
    s->at++;
    return true;
}

/* Any value. Brackets of both kinds are only counted: which is which the parser that wrote it
 * knew. */
static bool scan_value(struct scanner *s)
{
    size_t depth = 0;
    do {
        scan_space(s);
        if (s->at >= s->end)
            return false;
        const char *text;
        size_t len;
        switch (*s->at) {
        case '"':
            if (!scan_string(s, &text, &len))
                return false;
            break;
        case '{':
        case '[':
            if (++depth > SCAN_DEPTH_MAX)
                return false;
            s->at++;
            break;
        case '}':
        case ']':
            if (!depth)
                return false;
            depth--;
            s->at++;
            break;
        case ',':
        case ':':
            if (!depth)
                return false;
            s->at++;
            break;
        default: {
            size_t n = 0;
            while (s->at + n < s->end && !strchr(" \t\r\n,:[]{}\"", s->at[n]) && s->at[n])
                n++;
            if (!n)
                return false;
            s->at += n;
        }
        }
    } while (depth);
    return true;
}

/* Where the resourceVersion goes: before @insert, in place of [@insert, @resume) when there is one
 * already. */
struct splice_point {
    const char *insert, *resume;
    bool empty;   /* metadata is {} */
    bool replace; /* [insert, resume) is the old value */
};

static bool scan_metadata(struct scanner *s, struct splice_point *p)
{
    if (!scan_char(s, '{'))
        return false;
    *p = (struct splice_point){.insert = s->at, .resume = s->at};
    if (scan_char(s, '}')) {
        p->empty = true;
        return true;
    }
    do {
        const char *key;
        size_t len;
        if (!scan_string(s, &key, &len) || !scan_char(s, ':'))
            return false;
        scan_space(s);
        const char *value = s->at;
        if (!scan_value(s))
            return false;
        if (len == strlen("resourceVersion") && !memcmp(key, "resourceVersion", len))
            *p = (struct splice_point){.insert = value, .resume = s->at, .replace = true};
    } while (scan_char(s, ','));
    return scan_char(s, '}');
}

int encoded_splice(const char *text, size_t len, int64_t revision, struct strbuf *out)
{
    struct scanner s = {.at = text, .end = text + len};
    struct splice_point p = {.insert = NULL};
    if (!scan_char(&s, '{'))
        return -EBADMSG;
    do {
        const char *key;
        size_t key_len;
        if (!scan_string(&s, &key, &key_len) || !scan_char(&s, ':'))
            return -EBADMSG;
        bool metadata = key_len == strlen("metadata") && !memcmp(key, "metadata", key_len);
        if (metadata && p.insert)
            return -EBADMSG;
        if (metadata ? !scan_metadata(&s, &p) : !scan_value(&s))
            return -EBADMSG;
    } while (scan_char(&s, ','));
    if (!scan_char(&s, '}') || !p.insert)
        return -EBADMSG;
    const char *object_end = s.at;
    scan_space(&s);
    if (s.at != s.end)
        return -EBADMSG;
    strbuf_add(out, text, (size_t)(p.insert - text));
    if (p.replace)
        strbuf_addf(out, "\"%" PRId64 "\"", revision);
    else
        strbuf_addf(out, "\"resourceVersion\":\"%" PRId64 "\"%s", revision, p.empty ? "" : ",");
    strbuf_add(out, p.resume, (size_t)(object_end - p.resume));
    return 0;
}

struct encoded *encoded_new(const char *key, const void *value, size_t len, int64_t revision,
                            struct error *err)
{
    struct store_kv kv = {.key = key, .value = value, .len = len, .mod_revision = revision};
    if (store_value_check(&kv, err) < 0)
        return NULL;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!value || encoded_splice(value, len, revision, &text) < 0) {
        (void)error_set(err, -EBADMSG,
                        "the value stored under %s is not the JSON text of an object", key);
        return NULL;
    }
    struct encoded *e = mem_zalloc(sizeof(*e) + text.len + 1);
    e->refs = 1;
    e->revision = revision;
    e->key = str_dup(key);
    e->len = text.len;
    memcpy(e->data, text.data, text.len);
    return e;
}

struct encoded *encoded_ref(struct encoded *e)
{
    e->refs++;
    return e;
}

struct encoded *encoded_unref(struct encoded *e)
{
    if (e && --e->refs == 0) {
        json_decref(e->index);
        free(e->key);
        free(e);
    }
    return NULL;
}

json_t *encoded_tree(const struct encoded *e, struct error *err)
{
    json_t *tree = json_parse(e->data, e->len, err);
    if (!tree)
        (void)error_prefix(err, -EBADMSG, "%s", e->key);
    return tree;
}

static void index_field(json_t *index, const json_t *tree, const char *path)
{
    const json_t *value = json_path(tree, path);
    if (value)
        (void)json_path_set(index, path, json_incref((json_t *)(uintptr_t)value));
}

const json_t *encoded_index(struct encoded *e, const struct schema_resource *res)
{
    if (e->index)
        return e->index;
    e->index = json_object();
    _cleanup_json_ json_t *tree = encoded_tree(e, NULL);
    if (!tree)
        return e->index;
    index_field(e->index, tree, "metadata.name");
    index_field(e->index, tree, "metadata.namespace");
    index_field(e->index, tree, "metadata.labels");
    if (str_eq(res->kind, "Pod")) {
        /* No selector's, but by these a change of the spec is told from one of the status. */
        index_field(e->index, tree, "metadata.uid");
        index_field(e->index, tree, "metadata.generation");
    }
    const char *const *fields = field_selector_fields(res->group, res->kind);
    for (size_t i = 0; fields[i]; i++)
        index_field(e->index, tree, fields[i]);
    return e->index;
}

void encoded_list_add(struct encoded_list *list, struct encoded *e)
{
    if ((list->count & (list->count - 1)) == 0) /* a power of two, or 0: full */
        list->items =
            mem_grow(list->items, list->count ? list->count * 2 : 1, sizeof(struct encoded *));
    list->items[list->count++] = e;
}

void encoded_list_done(struct encoded_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        (void)encoded_unref(list->items[i]);
    free(list->items);
    *list = (struct encoded_list){.items = NULL};
}
