/* Writing YAML: block style, sorted keys, lists at the indentation of their key, as `kubectl get
 * -o yaml` prints. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "kube/yaml.h"

static void newline(struct strbuf *out, int indent)
{
    strbuf_addf(out, "\n%*s", indent, "");
}

/* The code point of a character that must be escaped although JSON takes it as it is (delete, C1
 * controls, Unicode's line breaks, byte order marks, U+FFFE and U+FFFF), and its length; else 0. */
static unsigned special_at(const char *s, size_t *ret_len)
{
    const unsigned char *c = (const unsigned char *)s;
    *ret_len = 1;
    if (c[0] == 0x7f)
        return 0x7f;
    if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) {
        *ret_len = 2;
        return c[1];
    }
    *ret_len = 3;
    if (c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9))
        return 0x2000 | (c[2] & 0x3f);
    if (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf)
        return 0xfeff;
    if (c[0] == 0xef && c[1] == 0xbf && (c[2] == 0xbe || c[2] == 0xbf))
        return 0xffc0u | (c[2] & 0x3f);
    return 0;
}

static bool has_control(const char *s)
{
    size_t len;
    for (; *s; s++)
        if (((unsigned char)*s < ' ' && *s != '\n') || special_at(s, &len))
            return true;
    return false;
}

/* May stand without quotes: nothing that YAML gives a meaning to. */
static bool is_plain(const char *s)
{
    size_t len = strlen(s);
    if (!len || s[0] == ' ' || s[len - 1] == ' ' || s[len - 1] == ':' ||
        strchr("-?:,[]{}#&*!|>'\"%@`", s[0])) {
        bool dash = len > 1 && (s[0] == '-' || s[0] == '?' || s[0] == ':') && s[1] != ' ' &&
                    s[len - 1] != ' ' && s[len - 1] != ':';
        if (!dash || str_starts(s, "---"))
            return false;
    }
    if (strstr(s, ": ") || strstr(s, " #") || str_starts(s, "..."))
        return false;
    return yaml_plain_is_string(s);
}

/* A block of lines after "|": the first line must not start with a blank, and there must be one. */
static bool is_block(const char *s)
{
    return strchr(s, '\n') && *s != ' ' && *s != '\n' && !has_control(s);
}

static void write_block(const char *s, int indent, struct strbuf *out)
{
    size_t len = strlen(s);
    strbuf_addc(out, '|');
    if (s[len - 1] != '\n')
        strbuf_addc(out, '-');
    else if (len > 1 && s[len - 2] == '\n')
        strbuf_addc(out, '+');
    while (*s) {
        size_t n = strcspn(s, "\n");
        if (n)
            newline(out, indent);
        else
            strbuf_addc(out, '\n');
        strbuf_add(out, s, n);
        s += n + (s[n] == '\n');
    }
}

/* JSON's escapes are YAML's. */
static void write_quoted(const char *s, struct strbuf *out)
{
    _cleanup_json_ json_t *j = json_text(s);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(j, &text);
    for (const char *c = text.data; *c;) {
        size_t len;
        unsigned special = special_at(c, &len);
        if (special) {
            strbuf_addf(out, "\\u%04x", special);
            c += len;
        } else {
            strbuf_addc(out, *c++);
        }
    }
}

static void write_string(const char *s, int indent, struct strbuf *out)
{
    /* Without indentation, lines could be taken for the marks between documents. */
    if (indent && is_block(s)) {
        write_block(s, indent, out);
    } else if (has_control(s) || strchr(s, '\n') || !*s || !yaml_plain_is_string(s)) {
        write_quoted(s, out);
    } else if (is_plain(s)) {
        strbuf_adds(out, s);
    } else {
        strbuf_addc(out, '\'');
        for (; *s; s++)
            strbuf_adds(out, *s == '\'' ? "''" : (char[]){*s, '\0'});
        strbuf_addc(out, '\'');
    }
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void write_value(const json_t *v, int indent, bool in_list, struct strbuf *out);

static void write_map(const json_t *v, int indent, bool in_list, // NOLINT(misc-no-recursion)
                      struct strbuf *out)
{
    size_t count = 0;
    const char **keys = mem_grow(NULL, json_object_size(v) + 1, sizeof(char *));
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)v, key, member) {
        keys[count++] = key;
    }
    qsort((void *)keys, count, sizeof(char *), by_text);
    for (size_t i = 0; i < count; i++) {
        if (i || !in_list)
            newline(out, indent);
        if (strchr(keys[i], '\n'))
            write_quoted(keys[i], out);
        else
            write_string(keys[i], indent + 2, out);
        strbuf_addc(out, ':');
        member = json_object_get(v, keys[i]);
        bool nested = (json_is_object(member) && json_object_size(member)) ||
                      (json_is_array(member) && json_array_size(member));
        if (!nested)
            strbuf_addc(out, ' ');
        write_value(member, json_is_array(member) ? indent : indent + 2, false, out);
    }
    free((void *)keys);
}

/* @indent is that of what follows on new lines; @in_list: the cursor stands behind a dash. */
static void write_value(const json_t *v, int indent, bool in_list, // NOLINT(misc-no-recursion)
                        struct strbuf *out)
{
    if (json_is_object(v) && json_object_size(v)) {
        write_map(v, indent, in_list, out);
    } else if (json_is_array(v) && json_array_size(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i || !in_list)
                newline(out, indent);
            strbuf_adds(out, "- ");
            write_value(json_array_get(v, i), indent + 2, true, out);
        }
    } else if (json_is_string(v)) {
        write_string(json_string_value(v), indent, out);
    } else {
        json_encode(v, out);
    }
}

void yaml_write(const json_t *value, struct strbuf *out)
{
    size_t start = out->len;
    write_value(value, 0, false, out);
    /* Collections begin with a line break, which the first line of a document has no use for. */
    if (out->len > start && out->data[start] == '\n') {
        memmove(out->data + start, out->data + start + 1, out->len - start);
        out->len--;
    }
    strbuf_addc(out, '\n');
}
