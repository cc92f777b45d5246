/* Accept and Content-Type; see negotiate.h (RFC 9110 section 12.5.1). */
#include "apiserver/negotiate.h"

#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "kube/protobuf.h"

#define CLAUSES_MAX 32

/* One element of Accept: a media type and the parameters that matter here. */
struct clause {
    const char *type;
    size_t type_len;
    const char *as, *group, *version;
    size_t as_len, group_len, version_len;
};

static bool is_text(const char *s, size_t len, const char *word)
{
    return len == strlen(word) && !strncasecmp(s, word, len);
}

static void trim(const char **s, size_t *len)
{
    while (*len && strchr(" \t", **s)) {
        (*s)++;
        (*len)--;
    }
    while (*len && strchr(" \t", (*s)[*len - 1]))
        (*len)--;
}

static void clause_parameter(struct clause *c, const char *s, size_t len)
{
    const char *eq = memchr(s, '=', len);
    if (!eq)
        return;
    const char *key = s, *value = eq + 1;
    size_t key_len = (size_t)(eq - s), value_len = len - key_len - 1;
    trim(&key, &key_len);
    trim(&value, &value_len);
    if (is_text(key, key_len, "as")) {
        c->as = value;
        c->as_len = value_len;
    } else if (is_text(key, key_len, "g")) {
        c->group = value;
        c->group_len = value_len;
    } else if (is_text(key, key_len, "v")) {
        c->version = value;
        c->version_len = value_len;
    }
}

/* Takes the next clause off *@text; false at the end. */
static bool next_clause(const char **text, struct clause *c)
{
    *text += strspn(*text, ", \t");
    if (!**text)
        return false;
    size_t len = strcspn(*text, ",");
    const char *s = *text;
    *text += len;
    *c = (struct clause){.type = s};
    size_t part = 0;
    while (part < len && s[part] != ';')
        part++;
    c->type_len = part;
    trim(&c->type, &c->type_len);
    while (part < len) {
        size_t start = ++part;
        while (part < len && s[part] != ';')
            part++;
        clause_parameter(c, s + start, part - start);
    }
    return true;
}

static bool is_json(const struct clause *c)
{
    return is_text(c->type, c->type_len, "application/json") ||
           is_text(c->type, c->type_len, "application/*") || is_text(c->type, c->type_len, "*/*");
}

static const char *version_of(const struct clause *c, const char *const *known)
{
    for (size_t i = 0; known[i]; i++)
        if (is_text(c->version, c->version_len, known[i]))
            return known[i];
    return NULL;
}

struct negotiated negotiate_accept(const char *accept)
{
    static const char *const versions[] = {"v1", "v1beta1", NULL};
    struct negotiated out = {.shape = SHAPE_OBJECT};
    struct clause c;
    for (size_t i = 0; accept && i < CLAUSES_MAX && next_clause(&accept, &c); i++) {
        if (!is_json(&c))
            continue;
        if (!c.as)
            return out;
        const char *version = version_of(&c, versions);
        if (!version || !is_text(c.group, c.group_len, "meta.k8s.io"))
            continue;
        if (is_text(c.as, c.as_len, "Table"))
            return (struct negotiated){.shape = SHAPE_TABLE, .version = version};
        if (is_text(c.as, c.as_len, "PartialObjectMetadata") ||
            is_text(c.as, c.as_len, "PartialObjectMetadataList"))
            return (struct negotiated){.shape = SHAPE_METADATA, .version = version};
    }
    return out;
}

const char *negotiate_discovery(const char *accept)
{
    static const char *const versions[] = {"v2", "v2beta1", NULL};
    struct clause c;
    for (size_t i = 0; accept && i < CLAUSES_MAX && next_clause(&accept, &c); i++) {
        if (!is_json(&c))
            continue;
        if (!c.as)
            return NULL;
        const char *version = version_of(&c, versions);
        if (version && is_text(c.group, c.group_len, "apidiscovery.k8s.io") &&
            is_text(c.as, c.as_len, "APIGroupDiscoveryList"))
            return version;
    }
    return NULL;
}

bool negotiate_wants(const char *accept, const char *media_type)
{
    struct clause c;
    for (size_t i = 0; accept && i < CLAUSES_MAX && next_clause(&accept, &c); i++) {
        if (is_text(c.type, c.type_len, media_type))
            return true;
        if (is_json(&c))
            return false;
    }
    return false;
}

enum body_kind negotiate_body(const char *content_type)
{
    if (!content_type || !*content_type)
        return BODY_JSON;
    size_t len = strcspn(content_type, ";");
    trim(&content_type, &len);
    if (is_text(content_type, len, "application/json"))
        return BODY_JSON;
    if (is_text(content_type, len, "application/yaml"))
        return BODY_YAML;
    if (is_text(content_type, len, PROTOBUF_MEDIA_TYPE))
        return BODY_PROTOBUF;
    return BODY_UNSUPPORTED;
}
