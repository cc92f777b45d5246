/* JSON parsing limits and our own encoder; see json.h. */
#include "base/json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/fs.h"

json_t *json_parse(const char *data, size_t len, struct error *err)
{
    json_error_t jerr;
    json_t *j =
        json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &jerr);
    if (!j)
        (void)error_set(err, -EINVAL, "line %d, column %d: %s", jerr.line, jerr.column, jerr.text);
    return j;
}

json_t *json_parse_file(const char *path, size_t limit, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, limit, &text, err) < 0)
        return NULL;
    json_t *j = json_parse(strbuf_text(&text), text.len, err);
    if (!j)
        (void)error_prefix(err, -EINVAL, "%s", path);
    return j;
}

static void encode_string(const char *s, size_t len, struct strbuf *out)
{
    static const char short_escapes[] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                         ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    strbuf_addc(out, '"');
    size_t plain = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        char esc = '\0';
        if (c < sizeof(short_escapes))
            esc = short_escapes[c];
        if (c >= ' ' && !esc)
            continue;
        strbuf_add(out, s + plain, i - plain);
        plain = i + 1;
        if (esc)
            strbuf_addf(out, "\\%c", esc);
        else
            strbuf_addf(out, "\\u%04x", c);
    }
    strbuf_add(out, s + plain, len - plain);
    strbuf_addc(out, '"');
}

static void encode_real(double d, struct strbuf *out)
{
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(text, sizeof(text), "%.*g", precision, d);
        if (strtod(text, NULL) == d)
            break;
    }
    strbuf_adds(out, text);
    if (!strpbrk(text, ".eE"))
        strbuf_adds(out, ".0");
}

static void newline(struct strbuf *out, int indent, int depth)
{
    if (indent)
        strbuf_addf(out, "\n%*s", indent * depth, "");
}

/* Depth is bounded by what was parsed (2048), so recursion is. */
static void encode(const json_t *j, int indent, int depth,
                   struct strbuf *out) // NOLINT(misc-no-recursion)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *value;
        bool first = true;
        strbuf_addc(out, '{');
        json_object_foreach((json_t *)(uintptr_t)j, key, value) {
            if (!first)
                strbuf_addc(out, ',');
            first = false;
            newline(out, indent, depth + 1);
            encode_string(key, strlen(key), out);
            strbuf_adds(out, indent ? ": " : ":");
            encode(value, indent, depth + 1, out);
        }
        if (!first)
            newline(out, indent, depth);
        strbuf_addc(out, '}');
        return;
    }
    case JSON_ARRAY:
        strbuf_addc(out, '[');
        for (size_t i = 0; i < json_array_size(j); i++) {
            if (i)
                strbuf_addc(out, ',');
            newline(out, indent, depth + 1);
            encode(json_array_get(j, i), indent, depth + 1, out);
        }
        if (json_array_size(j))
            newline(out, indent, depth);
        strbuf_addc(out, ']');
        return;
    case JSON_STRING:
        encode_string(json_string_value(j), json_string_length(j), out);
        return;
    case JSON_INTEGER:
        strbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
        return;
    case JSON_REAL:
        encode_real(json_real_value(j), out);
        return;
    case JSON_TRUE:
        strbuf_adds(out, "true");
        return;
    case JSON_FALSE:
        strbuf_adds(out, "false");
        return;
    case JSON_NULL:
        break;
    }
    strbuf_adds(out, "null");
}

void json_encode(const json_t *j, struct strbuf *out)
{
    encode(j, 0, 0, out);
}

void json_encode_pretty(const json_t *j, int indent, struct strbuf *out)
{
    encode(j, indent, 0, out);
}

const json_t *json_path(const json_t *j, const char *path)
{
    while (j && *path) {
        size_t len = strcspn(path, ".");
        j = json_is_object(j) ? json_object_getn(j, path, len) : NULL;
        path += len + (path[len] == '.');
    }
    return j;
}

const char *json_path_string(const json_t *j, const char *path)
{
    return json_string_value(json_path(j, path));
}

int64_t json_path_int(const json_t *j, const char *path, int64_t fallback)
{
    const json_t *v = json_path(j, path);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_path_bool(const json_t *j, const char *path, bool fallback)
{
    const json_t *v = json_path(j, path);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

int json_path_set(json_t *j, const char *path, json_t *value)
{
    for (;;) {
        if (!json_is_object(j)) {
            json_decref(value);
            return -EINVAL;
        }
        size_t len = strcspn(path, ".");
        _cleanup_free_ char *key = str_ndup(path, len);
        if (path[len] == '\0')
            return json_object_set_new(j, key, value) < 0 ? -EINVAL : 0;
        json_t *next = json_object_get(j, key);
        if (!next) {
            next = json_object();
            (void)json_object_set_new(j, key, next);
        }
        j = next;
        path += len + 1;
    }
}

json_t *json_text(const char *s)
{
    if (!s)
        return json_null();
    json_t *j = json_string(s);
    if (j)
        return j;
    _cleanup_free_ char *copy = str_dup(s);
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(copy);
}
