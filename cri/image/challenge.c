/* WWW-Authenticate; see challenge.h. */
#include "cri/image/challenge.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/strbuf.h"

void challenge_done(struct challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    free(c->error);
    memset(c, 0, sizeof(*c));
}

static bool token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip(const char *p, const char *chars)
{
    return p + strspn(p, chars);
}

/* A token, or NULL when there is none at *p. */
static char *take_token(const char **p)
{
    size_t len = 0;
    while (token_char((*p)[len]))
        len++;
    if (!len || len > 64)
        return NULL;
    char *token = str_ndup(*p, len);
    *p += len;
    return token;
}

/* A quoted string or a token-like run (registries leave quotes out around anything). */
static char *take_value(const char **p)
{
    struct strbuf out = STRBUF_INIT;
    const char *s = *p;
    if (*s != '"') {
        size_t len = strcspn(s, ", \t");
        strbuf_add(&out, s, len);
        s += len;
    } else {
        for (s++; *s && *s != '"' && out.len <= CHALLENGE_PARAM_MAX; s++) {
            if (*s == '\\' && s[1])
                s++;
            strbuf_addc(&out, *s);
        }
        if (*s != '"') {
            strbuf_done(&out);
            return NULL;
        }
        s++;
    }
    if (out.len > CHALLENGE_PARAM_MAX) {
        strbuf_done(&out);
        return NULL;
    }
    *p = s;
    return strbuf_take(&out);
}

static void set_param(struct challenge *c, const char *name, char *value)
{
    char **to = !strcasecmp(name, "realm")     ? &c->realm
                : !strcasecmp(name, "service") ? &c->service
                : !strcasecmp(name, "scope")   ? &c->scope
                : !strcasecmp(name, "error")   ? &c->error
                                               : NULL;
    if (to && !*to)
        *to = value;
    else
        free(value);
}

static enum challenge_scheme scheme_of(const char *name)
{
    return !strcasecmp(name, "bearer")  ? CHALLENGE_BEARER
           : !strcasecmp(name, "basic") ? CHALLENGE_BASIC
                                        : CHALLENGE_NONE;
}

/* The parameters after a scheme's name, up to the next scheme: a token that no '=' follows. */
static int take_params(const char **p, struct challenge *c)
{
    for (;;) {
        const char *s = skip(*p, ", \t");
        const char *before = s;
        _cleanup_free_ char *name = take_token(&s);
        if (!name) {
            *p = before;
            return *before ? -EINVAL : 0;
        }
        const char *after = skip(s, " \t");
        if (*after != '=') {
            *p = before; /* the next scheme */
            return 0;
        }
        after = skip(after + 1, " \t");
        char *value = take_value(&after);
        if (!value)
            return -EINVAL;
        set_param(c, name, value);
        *p = after;
    }
}

int challenge_parse(const char *field, struct challenge *ret)
{
    memset(ret, 0, sizeof(*ret));
    const char *p = field;
    for (int i = 0; i < 16; i++) {
        p = skip(p, ", \t");
        if (!*p)
            return 0;
        _cleanup_free_ char *name = take_token(&p);
        struct challenge c = {.scheme = name ? scheme_of(name) : CHALLENGE_NONE};
        int r = name ? take_params(&p, &c) : -EINVAL;
        if (!r && c.scheme > ret->scheme) {
            challenge_done(ret);
            *ret = c;
        } else {
            challenge_done(&c);
        }
        if (r) {
            challenge_done(ret);
            return r;
        }
    }
    return 0;
}
