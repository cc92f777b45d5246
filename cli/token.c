/* `coracle token`: creates, lists and deletes the tokens that new nodes join with. Words and
 * columns are kubeadm's. */
#include "cli/token.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "cli/command.h"
#include "cli/session.h"
#include "kube/decode.h"
#include "net/x509.h"

#define ALPHABET   "abcdefghijklmnopqrstuvwxyz0123456789"
#define VALUE_MAX  1024
#define PATH       "/api/v1/namespaces/" TOKEN_NS "/secrets"
#define LIST_QUERY "?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken"

static bool is_word(const char *text, size_t len)
{
    return strspn(text, ALPHABET) >= len;
}

bool token_id_is(const char *text)
{
    return strlen(text) == TOKEN_ID_LEN && is_word(text, TOKEN_ID_LEN);
}

bool token_is(const char *text)
{
    return strlen(text) == TOKEN_LEN && is_word(text, TOKEN_ID_LEN) && text[TOKEN_ID_LEN] == '.' &&
           is_word(text + TOKEN_ID_LEN + 1, TOKEN_SECRET_LEN);
}

void token_new(char out[TOKEN_LEN + 1])
{
    for (size_t i = 0; i < TOKEN_LEN; i++) {
        uint8_t byte;
        do /* every letter as likely as any other */
            random_bytes(&byte, 1);
        while (byte >= 256 / strlen(ALPHABET) * strlen(ALPHABET));
        out[i] = i == TOKEN_ID_LEN ? '.' : ALPHABET[byte % strlen(ALPHABET)];
    }
    out[TOKEN_LEN] = '\0';
}

/* ---- create ---- */

struct creation {
    const char *token, *ttl, *description;
    bool print_join;
};

static int secret_of(const struct creation *c, json_t **ret, struct error *err)
{
    char id[TOKEN_ID_LEN + 1], expires[TIME_TEXT_MAX];
    int64_t ms = 0;
    (void)snprintf(id, sizeof(id), "%s", c->token);
    if (duration_parse(c->ttl, &ms) < 0 || ms < 0)
        return error_set_field(err, -EINVAL, "ttl", "--ttl: \"%s\" is no duration like 24h",
                               c->ttl);
    _cleanup_free_ char *name = str_printf("bootstrap-token-%s", id);
    *ret = json_pack("{s:s,s:s,s:{s:s,s:s},s:s,s:{s:s,s:s,s:s,s:s,s:s}}", "apiVersion", "v1",
                     "kind", "Secret", "metadata", "name", name, "namespace", TOKEN_NS, "type",
                     TOKEN_TYPE, "stringData", "token-id", id, "token-secret",
                     c->token + TOKEN_ID_LEN + 1, "usage-bootstrap-authentication", "true",
                     "usage-bootstrap-signing", "true", "auth-extra-groups", TOKEN_GROUP);
    json_t *data = json_object_get(*ret, "stringData");
    if (ms)
        (void)json_object_set_new(data, "expiration",
                                  json_string(time_format(time_now() + ms / 1000, expires)));
    if (c->description)
        (void)json_object_set_new(data, "description", json_string(c->description));
    return 0;
}

/* The line that a new node is given. */
static int print_join(const struct session *s, const char *token, struct error *err)
{
    const char *server = s->config.server, *ca = s->config.ca_pem;
    const char *host = strstr(server, "://");
    X509 *cert = NULL;
    char pin[X509_PIN_MAX];
    if (!ca)
        return error_set(err, -EINVAL, "the kubeconfig has no certificate authority to pin");
    int r = x509_cert_parse(ca, strlen(ca), &cert, err);
    if (r < 0)
        return r;
    x509_pin(cert, pin);
    X509_free(cert);
    host = host ? host + strlen("://") : server;
    (void)printf("coracle join %.*s --token %s --discovery-token-ca-cert-hash %s\n",
                 (int)strcspn(host, "/"), host, token, pin);
    return 0;
}

static int create(struct session *s, struct creation *c, struct error *err)
{
    char made[TOKEN_LEN + 1];
    _cleanup_json_ json_t *secret = NULL;
    if (c->token && !token_is(c->token))
        return error_set(err, -EINVAL, "\"%s\" is no token: six letters or digits, a dot, sixteen",
                         c->token);
    if (!c->token) {
        token_new(made);
        c->token = made;
    }
    int r = secret_of(c, &secret, err);
    if (r == 0)
        r = session_call(s, "POST", PATH, NULL, NULL, secret, NULL, err);
    if (r == -EEXIST)
        return error_set(err, r, "a token with this ID is there already");
    if (r == 0 && c->print_join)
        r = print_join(s, c->token, err);
    else if (r == 0)
        (void)puts(c->token);
    c->token = NULL;
    return r;
}

/* ---- list ---- */

/* A value of a Secret; "" when there is none. The caller frees. */
static char *value_of(const json_t *secret, const char *key)
{
    struct bytes value;
    const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), key));
    if (!text || base64_decode(text, strlen(text), &value) < 0)
        return str_dup("");
    char *out = str_ndup((const char *)value.data, value.len < VALUE_MAX ? value.len : VALUE_MAX);
    free(value.data);
    return out;
}

static char *lifetime(const char *expires)
{
    int64_t ns = 0, left;
    if (!*expires)
        return str_dup("<forever>");
    if (time_parse(expires, &ns) < 0)
        return str_dup("<invalid>");
    left = ns / 1000000000 - time_now();
    if (left <= 0)
        return str_dup("<expired>");
    return left < 3600 ? str_printf("%lldm", (long long)(left / 60))
                       : str_printf("%lldh", (long long)(left / 3600));
}

static void print_token(const json_t *secret)
{
    _cleanup_free_ char *id = value_of(secret, "token-id"), *key = value_of(secret, "token-secret"),
                        *expires = value_of(secret, "expiration"),
                        *description = value_of(secret, "description"),
                        *groups = value_of(secret, "auth-extra-groups"),
                        *authentication = value_of(secret, "usage-bootstrap-authentication"),
                        *signing = value_of(secret, "usage-bootstrap-signing");
    _cleanup_free_ char *left = lifetime(expires);
    bool signs = str_eq(signing, "true"), lets_in = str_eq(authentication, "true");
    _cleanup_free_ char *token = str_printf("%s.%s", id, key);
    _cleanup_free_ char *usages = str_printf("%s%s%s", lets_in ? "authentication" : "",
                                             lets_in && signs ? "," : "", signs ? "signing" : "");
    (void)printf("%-25s %-10s %-22s %-24s %-20s %s\n", token, left, *expires ? expires : "<never>",
                 *usages ? usages : "<none>", *description ? description : "<none>",
                 *groups ? groups : "<none>");
}

static int list(struct session *s, struct error *err)
{
    _cleanup_json_ json_t *secrets = NULL;
    int r = session_call(s, "GET", PATH LIST_QUERY, NULL, NULL, NULL, &secrets, err);
    const json_t *items = json_object_get(secrets, "items");
    if (r < 0)
        return r;
    if (json_array_size(items))
        (void)printf("%-25s %-10s %-22s %-24s %-20s %s\n", "TOKEN", "TTL", "EXPIRES", "USAGES",
                     "DESCRIPTION", "EXTRA GROUPS");
    for (size_t i = 0; i < json_array_size(items); i++)
        print_token(json_array_get(items, i));
    return 0;
}

/* ---- delete ---- */

static int delete_one(struct session *s, const char *word, struct error *err)
{
    char id[TOKEN_ID_LEN + 1];
    if (!token_id_is(word) && !token_is(word))
        return error_set(err, -EINVAL, "\"%s\" is neither a token nor the ID of one", word);
    (void)snprintf(id, sizeof(id), "%s", word);
    _cleanup_free_ char *path = str_printf(PATH "/bootstrap-token-%s", id);
    int r = session_call(s, "DELETE", path, NULL, NULL, NULL, NULL, err);
    if (r == -ENOENT)
        return error_set(err, r, "there is no token %s", id);
    if (r == 0)
        (void)printf("bootstrap token \"%s\" deleted\n", id);
    return r;
}

/* ---- the command ---- */

static int run(struct session *s, struct creation *c, char **words, int n, struct error *err)
{
    const char *verb = words[0];
    int r = 0;
    if (str_eq(verb, "create")) {
        c->token = n > 1 ? words[1] : NULL;
        return create(s, c, err);
    }
    if (str_eq(verb, "list"))
        return list(s, err);
    for (int i = 1; i < n && r == 0; i++)
        r = delete_one(s, words[i], err);
    return r;
}

/* Whether the verb is there and takes so many words. */
static bool is_usage(char **words, int n)
{
    if (n < 1)
        return false;
    return (str_eq(words[0], "create") && n <= 2) || (str_eq(words[0], "list") && n == 1) ||
           (str_eq(words[0], "delete") && n >= 2);
}

int command_token(int argc, char **argv)
{
    struct cluster_flags flags = CLUSTER_FLAGS_INIT;
    struct creation c = {.ttl = "24h"};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        CLUSTER_OPTIONS(&flags),
        {"ttl", 0, OPTION_STRING, &c.ttl, "DURATION", "how long it can be used (24h; 0: for ever)"},
        {"description", 0, OPTION_STRING, &c.description, "TEXT", "what it is for"},
        {"print-join-command", 0, OPTION_BOOL, &c.print_join, NULL, "print the line to join with"},
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)argc * sizeof(*words));
    int n = options_parse(options, argc, argv, false, words, &err);
    if (err.code || !is_usage(words, n)) {
        (void)fprintf(stderr,
                      "coracle token: %s\n\nusage: coracle token create [TOKEN] [flags]\n"
                      "       coracle token list\n       coracle token delete ID|TOKEN…\n",
                      err.code ? err.text : "create, list or delete");
        options_help(options, stderr);
        return 2;
    }
    struct session s = {.loop = NULL};
    int r = session_open_flags(&s, &flags, &err);
    if (r == 0)
        r = run(&s, &c, words, n, &err);
    session_close(&s);
    if (r < 0)
        (void)fprintf(stderr, "coracle token: %s\n", error_text(&err));
    return r < 0;
}
