/* Image names; see reference.h. */
#include "cri/image/reference.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

static bool lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool all_hex(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!hex_digit(s[i]))
            return false;
    return true;
}

bool digest_valid(const char *text)
{
    return text && strlen(text) == DIGEST_TEXT_LEN && str_starts(text, "sha256:") &&
           all_hex(text + 7, 64);
}

const char *digest_digits(const char *digest)
{
    return digest + 7;
}

/* [a-z0-9]+ ((\.|_|__|-+) [a-z0-9]+)* */
static bool component_valid(const char *s, size_t len)
{
    size_t i = 0;
    for (;;) {
        size_t start = i;
        while (i < len && lower_alnum(s[i]))
            i++;
        if (i == start)
            return false;
        if (i == len)
            return true;
        if (s[i] == '.') {
            i++;
        } else if (s[i] == '_') {
            i += i + 1 < len && s[i + 1] == '_' ? 2 : 1;
        } else if (s[i] == '-') {
            while (i < len && s[i] == '-')
                i++;
        } else {
            return false;
        }
    }
}

static bool path_valid(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");
        if (!component_valid(path, len))
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

static bool alnum(char c)
{
    return lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool port_valid(const char *s)
{
    size_t len = strspn(s, "0123456789");
    long port = len >= 1 && len <= 5 && !s[len] ? strtol(s, NULL, 10) : 0;
    return port >= 1 && port <= 65535;
}

/* A host name or address with an optional port. */
static bool host_valid(const char *host)
{
    if (host[0] == '[') {
        size_t len = strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (!len || host[1 + len] != ']')
            return false;
        const char *rest = host + len + 2;
        return !*rest || (*rest == ':' && port_valid(rest + 1));
    }
    size_t i = 0, label = 0;
    for (; host[i] && host[i] != ':'; i++) {
        if (host[i] == '.') {
            if (!label || host[i - 1] == '-')
                return false;
            label = 0;
        } else if (alnum(host[i]) || (host[i] == '-' && label)) {
            label++;
        } else {
            return false;
        }
    }
    if (!label || host[i - 1] == '-')
        return false;
    return !host[i] || port_valid(host + i + 1);
}

static bool tag_valid(const char *tag)
{
    size_t len = strlen(tag);
    if (len < 1 || len > REFERENCE_TAG_MAX || !(alnum(tag[0]) || tag[0] == '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!alnum(tag[i]) && !strchr("_.-", tag[i]))
            return false;
    return true;
}

void image_reference_done(struct image_reference *ref)
{
    free(ref->host);
    free(ref->path);
    free(ref->tag);
    free(ref->digest);
    memset(ref, 0, sizeof(*ref));
}

/* Whether the first component of a name is a registry's host. */
static bool is_host(const char *s, size_t len)
{
    return memchr(s, '.', len) || memchr(s, ':', len) || s[0] == '[' ||
           (len == 9 && !memcmp(s, "localhost", 9));
}

static void split_host(const char *name, struct image_reference *ref)
{
    const char *slash = strchr(name, '/');
    if (slash && is_host(name, (size_t)(slash - name))) {
        ref->host = str_ndup(name, (size_t)(slash - name));
        ref->path = str_dup(slash + 1);
    } else {
        ref->host = str_dup("docker.io");
        ref->path = str_dup(name);
    }
    if (str_eq(ref->host, "index.docker.io")) {
        free(ref->host);
        ref->host = str_dup("docker.io");
    }
    if (str_eq(ref->host, "docker.io") && !strchr(ref->path, '/')) {
        char *path = str_printf("library/%s", ref->path);
        free(ref->path);
        ref->path = path;
    }
}

static int parse(char *text, struct image_reference *ref, struct error *err)
{
    char *at = strchr(text, '@');
    if (at) {
        *at = '\0';
        if (!digest_valid(at + 1))
            return error_set(err, -EINVAL, "the digest must be sha256: and 64 hexadecimal digits");
        ref->digest = str_dup(at + 1);
    }
    char *slash = strrchr(text, '/');
    char *colon = strchr(slash ? slash : text, ':');
    if (colon) {
        *colon = '\0';
        if (!tag_valid(colon + 1))
            return error_set(err, -EINVAL, "\"%s\" is no valid tag", colon + 1);
        ref->tag = str_dup(colon + 1);
    }
    if (strlen(text) == 64 && all_hex(text, 64))
        return error_set(err, -EINVAL, "64 hexadecimal digits are an ID, not a name");
    split_host(text, ref);
    if (!host_valid(ref->host))
        return error_set(err, -EINVAL, "\"%s\" is no valid registry host", ref->host);
    if (!path_valid(ref->path))
        return error_set(err, -EINVAL,
                         "the repository must be lower-case letters, digits and "
                         "single separators (. _ -) between slashes");
    if (strlen(ref->host) + strlen(ref->path) + 1 > REFERENCE_NAME_MAX)
        return error_set(err, -EINVAL, "longer than %d characters", REFERENCE_NAME_MAX);
    if (!ref->tag && !ref->digest)
        ref->tag = str_dup("latest");
    return 0;
}

int image_reference_parse(const char *text, struct image_reference *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    if (!text || !*text)
        return error_set(err, -EINVAL, "the image name is empty");
    if (strlen(text) > 1024)
        return error_set(err, -EINVAL, "the image name is too long");
    _cleanup_free_ char *copy = str_dup(text);
    int r = parse(copy, ret, err);
    if (r) {
        image_reference_done(ret);
        return error_prefix(err, r, "invalid image name \"%.300s\"", text);
    }
    return 0;
}

char *image_reference_name(const struct image_reference *ref)
{
    return str_printf("%s/%s", ref->host, ref->path);
}

char *image_reference_tagged(const struct image_reference *ref)
{
    return str_printf("%s/%s:%s", ref->host, ref->path, ref->tag ? ref->tag : "latest");
}

char *image_reference_with_digest(const struct image_reference *ref, const char *digest)
{
    return str_printf("%s/%s@%s", ref->host, ref->path, digest);
}

char *image_reference_text(const struct image_reference *ref)
{
    return ref->digest ? image_reference_with_digest(ref, ref->digest)
                       : image_reference_tagged(ref);
}
