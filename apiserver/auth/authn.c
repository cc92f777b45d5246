/* Client certificates and tokens; see authn.h. */
#include "apiserver/auth/authn.h"

#include <errno.h>
#include <string.h>

#include "apiserver/auth/account_authn.h"
#include "apiserver/auth/bootstrap_token.h"
#include "apiserver/server.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/map.h"

#define TOKEN_FILE_MAX (1 << 20)
#define CSV_FIELDS_MAX 8

struct authn {
    struct apiserver *srv;
    struct authn_options options;
    struct map tokens; /* digest of the token → struct user: a lookup's time tells nothing */
    struct account_authn *accounts;
};

/* One question under way. */
struct authn_call {
    struct authn *authn;
    struct account_check *account;
    struct bootstrap_check *bootstrap;
    authn_fn *done;
    void *arg;
};

static void user_free(void *p)
{
    user_done(p);
    free(p);
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

static int read_token_file(struct authn *authn, const char *file, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(file, TOKEN_FILE_MAX, &text, err);
    int number = 0;
    for (char *line = text.data; r == 0 && line && *line;) {
        char *next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        number++;
        if (*line && *line != '#' && (r = add_line(authn, line, err)) < 0)
            (void)error_prefix(err, r, "%s: line %d", file, number);
        line = next;
    }
    return r;
}

struct authn *authn_new(struct apiserver *srv, const struct authn_options *options,
                        struct error *err)
{
    struct authn *authn = mem_zalloc(sizeof(*authn));
    authn->srv = srv;
    authn->options = *options;
    authn->tokens = (struct map)MAP_INIT(user_free);
    authn->accounts = account_authn_new(srv);
    const char *file = options->token_file;
    return file && *file && read_token_file(authn, file, err) < 0 ? authn_free(authn) : authn;
}

struct authn *authn_free(struct authn *authn)
{
    if (authn) {
        map_clear(&authn->tokens);
        (void)account_authn_free(authn->accounts);
        free(authn);
    }
    return NULL;
}

struct authn_call *authn_cancel(struct authn_call *call)
{
    if (call) {
        (void)account_authn_cancel(call->account);
        (void)bootstrap_token_cancel(call->bootstrap);
    }
    free(call);
    return NULL;
}

/* Everybody who could be told apart is in one group. */
static void add_authenticated(struct user *user)
{
    if (!user_in_group(user, GROUP_AUTHENTICATED))
        user_add_group(user, GROUP_AUTHENTICATED, strlen(GROUP_AUTHENTICATED));
}

static void finish(authn_fn *done, void *arg, int code, struct user *user, const json_t *audiences,
                   const struct error *err)
{
    if (code == 0 && !str_eq(user->name, USER_ANONYMOUS))
        add_authenticated(user);
    done(arg, code, user, audiences, err);
}

static void on_account(void *arg, int code, struct user *user, const json_t *audiences,
                       const struct error *err)
{
    struct authn_call *call = arg;
    struct error unknown = ERROR_INIT;
    call->account = NULL;
    if (code == ACCOUNTS_NOT_OURS) {
        code = error_set(&unknown, -EACCES, "the token is not known");
        err = &unknown;
    }
    finish(call->done, call->arg, code, user, audiences, err);
    free(call);
}

static void on_bootstrap(void *arg, int code, struct user *user, const struct error *err)
{
    struct authn_call *call = arg;
    call->bootstrap = NULL;
    finish(call->done, call->arg, code, user, accounts_audiences(call->authn->srv->accounts), err);
    free(call);
}

/* Tokens that name no audience are for this server. */
static bool is_for_us(const struct authn *authn, const json_t *audiences)
{
    const json_t *own = accounts_audiences(authn->srv->accounts);
    json_t *a, *b;
    size_t i, k;
    json_array_foreach(audiences, i, a) {
        json_array_foreach(own, k, b) {
            if (str_eq(json_string_value(a), json_string_value(b)))
                return true;
        }
    }
    return !json_array_size(audiences);
}

struct authn_call *authn_token(struct authn *authn, const char *token, const json_t *audiences,
                               authn_fn *done, void *arg)
{
    char digest[SHA256_HEX_LEN + 1];
    struct user user = {.name = NULL};
    sha256_hex(token, strlen(token), digest);
    const struct user *known = map_get(&authn->tokens, digest);
    if (known && is_for_us(authn, audiences)) {
        user_copy(known, &user);
        finish(done, arg, 0, &user, audiences, NULL);
        return NULL;
    }
    struct authn_call *call = mem_zalloc(sizeof(*call));
    *call = (struct authn_call){.authn = authn, .done = done, .arg = arg};
    if (authn->options.bootstrap_tokens && bootstrap_token_is(token) &&
        is_for_us(authn, audiences)) {
        struct bootstrap_check *bootstrap =
            bootstrap_token_start(authn->srv, token, on_bootstrap, call);
        if (bootstrap) /* else @call is gone already */
            call->bootstrap = bootstrap;
        return bootstrap ? call : NULL;
    }
    struct account_check *check =
        account_authn_start(authn->accounts, token, audiences, on_account, call);
    if (check) /* likewise */
        call->account = check;
    return check ? call : NULL;
}

struct authn_call *authn_start(struct authn *authn, const struct http_exchange *x, authn_fn *done,
                               void *arg)
{
    struct user user = {.name = NULL};
    struct error err = ERROR_INIT;
    const struct http_peer *peer = http_exchange_peer(x);
    const char *token = http_exchange_bearer_token(x);
    int code = 0;
    if (peer->verified && *peer->common_name) {
        user.name = str_dup(peer->common_name);
        for (size_t i = 0; peer->organizations[i]; i++)
            user_add_group(&user, peer->organizations[i], strlen(peer->organizations[i]));
    } else if (token) {
        return authn_token(authn, token, accounts_audiences(authn->srv->accounts), done, arg);
    } else if (peer->has_certificate && !peer->verified) {
        code = error_set(&err, -EACCES, "the client certificate does not verify: %s",
                         peer->verify_error ? peer->verify_error : "unknown");
    } else if (authn->options.anonymous) {
        user.name = str_dup(USER_ANONYMOUS);
        user_add_group(&user, GROUP_ANONYMOUS, strlen(GROUP_ANONYMOUS));
    } else {
        code = error_set(&err, -EACCES, "no credentials");
    }
    finish(done, arg, code, &user, NULL, &err);
    return NULL;
}
