/* The grammar of github.com/distribution/reference, as far as a name can be wrong. */
#include "kubelet/runtime/image_name.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define NAME_MAX_LEN 255
#define TAG_MAX      128
#define TEXT_MAX     1024

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Letters and digits in runs, separated by one '.', one or two '_', or any number of '-'. */
static bool component_ok(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len && lower_or_digit(s[i])) {
        while (i < len && lower_or_digit(s[i]))
            i++;
        if (i == len)
            return true;
        if (s[i] == '.') {
            i++;
        } else if (s[i] == '_') {
            i += i + 1 < len && s[i + 1] == '_' ? 2 : 1;
        } else {
            while (i < len && s[i] == '-')
                i++;
        }
    }
    return false;
}

static bool path_ok(const char *s, size_t len)
{
    for (;;) {
        const char *slash = memchr(s, '/', len);
        size_t n = slash ? (size_t)(slash - s) : len;
        if (!component_ok(s, n))
            return false;
        if (!slash)
            return true;
        s += n + 1;
        len -= n + 1;
    }
}

/* A host name or bracketed IPv6 address, perhaps with a port. */
static bool domain_ok(const char *s, size_t len)
{
    size_t i = 0;
    if (len && s[0] == '[') {
        for (i = 1; i < len && (isxdigit((unsigned char)s[i]) || s[i] == ':'); i++)
            ;
        if (i == len || s[i++] != ']')
            return false;
    } else {
        for (char before = '.'; i < len && s[i] != ':'; before = s[i++]) {
            bool edge = s[i] == '.' || s[i] == '-';
            if (!isalnum((unsigned char)s[i]) && !edge)
                return false;
            if ((s[i] == '.' && (before == '.' || before == '-')) || (s[i] == '-' && before == '.'))
                return false;
        }
        if (!i || s[i - 1] == '.' || s[i - 1] == '-')
            return false;
    }
    if (i == len)
        return true;
    size_t digits = len - i - 1;
    for (size_t k = i + 1; k < len; k++)
        if (s[k] < '0' || s[k] > '9')
            return false;
    return s[i] == ':' && digits > 0;
}

static bool tag_ok(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && (!i || (s[i] != '.' && s[i] != '-')))
            return false;
    return len > 0 && len <= TAG_MAX;
}

/* "sha256:" and 64 hexadecimal digits; other algorithms have at least 32. */
static bool digest_ok(const char *s)
{
    const char *colon = strchr(s, ':');
    size_t hex = colon ? strlen(colon + 1) : 0;
    if (!colon || colon == s || hex < 32 || (str_starts(s, "sha256:") && hex != 64))
        return false;
    for (const char *p = s; p < colon; p++)
        if (!isalnum((unsigned char)*p) && !strchr("+.-_", *p))
            return false;
    return strspn(colon + 1, "0123456789abcdefABCDEF") == hex;
}

/* The first component is a domain when it looks like one. */
static size_t domain_length(const char *s, size_t len)
{
    const char *slash = memchr(s, '/', len);
    size_t n = slash ? (size_t)(slash - s) : 0;
    bool upper = false;
    for (size_t i = 0; i < n; i++)
        upper |= isupper((unsigned char)s[i]) != 0;
    bool is = n && (memchr(s, '.', n) || memchr(s, ':', n) || upper ||
                    (n == 9 && !memcmp(s, "localhost", 9)));
    return is ? n : 0;
}

static int refuse(const char *text, const char *why, struct error *err)
{
    return error_set(err, -EINVAL,
                     "couldn't parse image name \"%.300s\": invalid reference format%s", text, why);
}

int image_name_parse(const char *text, struct image_name *ret, struct error *err)
{
    size_t len = strlen(text);
    const char *at = strchr(text, '@');
    if (!len || len > TEXT_MAX || (at && !digest_ok(at + 1)))
        return refuse(text, "", err);
    size_t name = at ? (size_t)(at - text) : len;
    const char *slash = memrchr(text, '/', name);
    size_t last = slash ? (size_t)(slash - text) + 1 : 0;
    const char *colon = memchr(text + last, ':', name - last);
    if (colon && !tag_ok(colon + 1, (size_t)(text + name - colon) - 1))
        return refuse(text, "", err);
    if (colon)
        name = (size_t)(colon - text);
    size_t domain = domain_length(text, name), path = domain ? domain + 1 : 0;
    if (domain && !domain_ok(text, domain))
        return refuse(text, "", err);
    for (size_t i = path; i < name; i++)
        if (isupper((unsigned char)text[i]))
            return refuse(text, ": repository name must be lowercase", err);
    if (name > NAME_MAX_LEN || !path_ok(text + path, name - path))
        return refuse(text, "", err);
    bool hub = !domain || (domain == 15 && !memcmp(text, "index.docker.io", 15));
    ret->domain = hub ? str_dup("docker.io") : str_ndup(text, domain);
    bool official = str_eq(ret->domain, "docker.io") && !memchr(text + path, '/', name - path);
    ret->repository = str_printf("%s/%s%.*s", ret->domain, official ? "library/" : "",
                                 (int)(name - path), text + path);
    return 0;
}

void image_name_done(struct image_name *n)
{
    free(n->domain);
    free(n->repository);
    memset(n, 0, sizeof(*n));
}
