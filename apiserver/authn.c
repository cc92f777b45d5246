/* Client certificates and the token file; see authn.h. */
#include "apiserver/authn.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/map.h"

#define TOKEN_FILE_MAX (1 << 20)
#define CSV_FIELDS_MAX 8

struct authn {
    struct map tokens; /* digest of the token → struct user: a lookup's time tells nothing */
};

void user_done(struct user *user)
{
    free(user->name);
    free(user->uid);
    for (size_t i = 0; i < user->n_groups; i++)
        free(user->groups[i]);
    free(user->groups);
    *user = (struct user){.name = NULL};
}

static void user_free(void *p)
{
    user_done(p);
    free(p);
}

static void user_add_group(struct user *user, const char *group, size_t len)
{
    if (!len || user->n_groups >= USER_GROUPS_MAX)
        return;
    user->groups = mem_grow(user->groups, user->n_groups + 1, sizeof(*user->groups));
    user->groups[user->n_groups++] = str_ndup(group, len);
}

static void user_copy(const struct user *from, struct user *to)
{
    to->name = str_dup(from->name);
    to->uid = str_dup(from->uid);
    for (size_t i = 0; i < from->n_groups; i++)
        user_add_group(to, from->groups[i], strlen(from->groups[i]));
}

/* One field of a line of comma-separated values (RFC 4180), unquoted in place. Returns what
 * follows it, NULL after the last. */
static char *csv_field(char *s, char **ret)
{
    *ret = s;
    if (*s != '"') {
        char *end = s + strcspn(s, ",");
        bool more = *end == ',';
        *end = '\0';
        return more ? end + 1 : NULL;
    }
    char *out = s;
    for (s++; *s; s++) {
        if (*s == '"' && *++s != '"')
            break;
        *out++ = *s;
    }
    bool more = *s == ',';
    *out = '\0';
    return more ? s + 1 : NULL;
}

static int add_line(struct authn *authn, char *line, struct error *err)
{
    char *fields[CSV_FIELDS_MAX] = {NULL};
    size_t n = 0;
    for (char *s = line; s && n < CSV_FIELDS_MAX;) {
        s += strspn(s, " \t");
        s = csv_field(s, &fields[n++]);
    }
    if (n < 3 || !*fields[0] || !*fields[1])
        return error_set(err, -EINVAL, "expected token,user,uid[,\"groups\"]");
    char digest[SHA256_HEX_LEN + 1];
    sha256_hex(fields[0], strlen(fields[0]), digest);
    struct user *user = mem_zalloc(sizeof(*user));
    user->name = str_dup(fields[1]);
    user->uid = *fields[2] ? str_dup(fields[2]) : NULL;
    for (const char *g = n > 3 ? fields[3] : ""; *g;) {
        size_t len = strcspn(g, ",");
        user_add_group(user, g, len);
        g += len + (g[len] == ',');
    }
    map_set(&authn->tokens, digest, user);
    return 0;
}

struct authn *authn_new(const char *token_file, struct error *err)
{
    struct authn *authn = mem_zalloc(sizeof(*authn));
    authn->tokens = (struct map)MAP_INIT(user_free);
    if (!token_file || !*token_file)
        return authn;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(token_file, TOKEN_FILE_MAX, &text, err) < 0)
        return authn_free(authn);
    int number = 0;
    for (char *line = text.data; line && *line;) {
        char *next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        number++;
        if (*line && *line != '#' && add_line(authn, line, err) < 0) {
            (void)error_prefix(err, -EINVAL, "%s: line %d", token_file, number);
            return authn_free(authn);
        }
        line = next;
    }
    return authn;
}

struct authn *authn_free(struct authn *authn)
{
    if (authn) {
        map_clear(&authn->tokens);
        free(authn);
    }
    return NULL;
}

int authn_check(const struct authn *authn, const struct http_exchange *x, struct user *ret)
{
    *ret = (struct user){.name = NULL};
    const struct http_peer *peer = http_exchange_peer(x);
    if (peer->verified && *peer->common_name) {
        ret->name = str_dup(peer->common_name);
        for (size_t i = 0; peer->organizations[i]; i++)
            user_add_group(ret, peer->organizations[i], strlen(peer->organizations[i]));
        return 0;
    }
    const char *token = http_exchange_bearer_token(x);
    if (token) {
        char digest[SHA256_HEX_LEN + 1];
        sha256_hex(token, strlen(token), digest);
        const struct user *user = map_get(&authn->tokens, digest);
        if (!user)
            return -EACCES;
        user_copy(user, ret);
        return 0;
    }
    return peer->has_certificate && !peer->verified ? -EACCES : 0;
}
