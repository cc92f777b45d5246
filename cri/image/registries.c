/* registries.yaml; see registries.h. The document is kept as the JSON tree it was read as: it has
 * been checked completely, so lookups need not. */
#include "cri/image/registries.h"

#include <errno.h>
#include <regex.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/json.h"
#include "kube/yaml.h"

#define GROUPS_MAX       10
#define PATTERN_MAX      256
#define PATTERN_SIZE_MAX 4096

struct registries {
    json_t *document; /* an object, perhaps empty */
};

/* ---- checking ---- */

static int wrong(struct error *err, const char *field, const char *what)
{
    return error_set_field(err, -EINVAL, field, "%s %s", field, what);
}

/* Every member of @j is one of @names (NULL-terminated). NULL and null are empty objects. */
static int check_members(json_t *j, const char *field, const char *const *names, struct error *err)
{
    const char *name = NULL;
    json_t *value;
    if (!j || json_is_null(j))
        return 0;
    if (!json_is_object(j))
        return wrong(err, field, "must be a map");
    json_object_foreach(j, name, value) {
        size_t i = 0;
        while (names[i] && !str_eq(names[i], name))
            i++;
        _cleanup_free_ char *path = str_printf("%.150s.%.80s", field, name);
        if (!names[i])
            return wrong(err, path, "is not known");
    }
    return 0;
}

static int check_strings(json_t *j, const char *field, const char *const *names, struct error *err)
{
    int r = check_members(j, field, names, err);
    for (size_t i = 0; names[i] && !r; i++) {
        const json_t *v = json_object_get(j, names[i]);
        _cleanup_free_ char *path = str_printf("%.150s.%.80s", field, names[i]);
        bool flag = str_eq(names[i], "insecure_skip_verify");
        if (v && !json_is_null(v) && !(flag ? json_is_boolean(v) : json_is_string(v)))
            r = wrong(err, path, flag ? "must be true or false" : "must be a string");
    }
    return r;
}

static int check_endpoints(const json_t *list, const char *field, struct error *err)
{
    if (list && !json_is_null(list) &&
        (!json_is_array(list) || json_array_size(list) >= ENDPOINTS_MAX))
        return wrong(err, field, "must be a list of at most 15 URLs");
    for (size_t i = 0; i < json_array_size(list); i++) {
        _cleanup_http_url_ struct http_url url = {.scheme = NULL};
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || http_url_parse(&url, text, NULL) || url.query)
            return wrong(err, field, "must hold http:// and https:// URLs");
    }
    return 0;
}

/* Whether compiling @p takes little time and memory: the C library copies what stands before a "+"
 * once and before "{n}" n times, and one repetition in another multiplies that. Matching takes long
 * only with references back, which k3s does not have either. */
static bool is_modest(const char *p)
{
    size_t size = strlen(p);
    for (; *p && size <= PATTERN_SIZE_MAX; p++) {
        if (*p == '\\' && p[1]) {
            if (*++p >= '1' && *p <= '9')
                return false;
        } else if (*p == '+') {
            size *= 2;
        } else if (*p == '{') {
            char *end;
            unsigned long times = strtoul(p + 1, &end, 10);
            unsigned long most = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;
            times = (times > most ? times : most) + 1;
            size *= times && times < PATTERN_SIZE_MAX ? times : PATTERN_SIZE_MAX + 1;
        }
    }
    return size <= PATTERN_SIZE_MAX;
}

static int check_rewrite(json_t *rules, const char *field, struct error *err)
{
    const char *pattern = NULL;
    json_t *to;
    if (rules && !json_is_null(rules) && !json_is_object(rules))
        return wrong(err, field, "must be a map");
    if (!json_is_object(rules))
        return 0;
    json_object_foreach(rules, pattern, to) {
        regex_t re;
        if (!json_is_string(to))
            return wrong(err, field, "must map patterns to strings");
        if (strlen(pattern) > PATTERN_MAX || !is_modest(pattern))
            return wrong(err, field,
                         "holds a pattern that is too long, repeats too much or refers back");
        if (regcomp(&re, pattern, REG_EXTENDED))
            return wrong(err, field, "holds no valid regular expression");
        regfree(&re);
    }
    return 0;
}

static int check_mirror(const char *host, json_t *mirror, struct error *err)
{
    static const char *const names[] = {"endpoint", "rewrite", NULL};
    _cleanup_free_ char *field = str_printf("mirrors.%.100s", host);
    _cleanup_free_ char *endpoint = str_printf("%s.endpoint", field);
    _cleanup_free_ char *rewrite = str_printf("%s.rewrite", field);
    int r = check_members(mirror, field, names, err);
    if (!r)
        r = check_endpoints(json_object_get(mirror, "endpoint"), endpoint, err);
    return r ? r : check_rewrite(json_object_get(mirror, "rewrite"), rewrite, err);
}

static int check_config(const char *host, json_t *config, struct error *err)
{
    static const char *const names[] = {"auth", "tls", NULL};
    static const char *const auth[] = {"username", "password", "auth", "identity_token", NULL};
    static const char *const tls[] = {"ca_file", "cert_file", "key_file", "insecure_skip_verify",
                                      NULL};
    _cleanup_free_ char *field = str_printf("configs.%.100s", host);
    _cleanup_free_ char *auth_field = str_printf("%s.auth", field);
    _cleanup_free_ char *tls_field = str_printf("%s.tls", field);
    int r = check_members(config, field, names, err);
    if (!r)
        r = check_strings(json_object_get(config, "auth"), auth_field, auth, err);
    return r ? r : check_strings(json_object_get(config, "tls"), tls_field, tls, err);
}

static int check_each(json_t *j, const char *field,
                      int (*check)(const char *host, json_t *value, struct error *err),
                      struct error *err)
{
    const char *host = NULL;
    json_t *value;
    if (!j || json_is_null(j))
        return 0;
    if (!json_is_object(j))
        return wrong(err, field, "must be a map");
    json_object_foreach(j, host, value) {
        int r = check(host, value, err);
        if (r)
            return r;
    }
    return 0;
}

/* ---- reading ---- */

struct registries *registries_free(struct registries *r)
{
    if (r) {
        json_decref(r->document);
        free(r);
    }
    return NULL;
}

struct registries *registries_parse(const char *text, size_t len, struct error *err)
{
    static const char *const names[] = {"mirrors", "configs", NULL};
    struct registries *r = mem_zalloc(sizeof(*r));
    struct yaml_documents docs = {.items = NULL};
    if (yaml_parse(text, len, &docs, err))
        return registries_free(r);
    r->document = docs.count ? json_incref(docs.items[0].value) : json_object();
    size_t count = docs.count;
    yaml_documents_done(&docs);
    int code = count > 1 ? error_set(err, -EINVAL, "more than one document") : 0;
    if (!code)
        code = check_members(r->document, "registries", names, err);
    if (!code)
        code = check_each(json_object_get(r->document, "mirrors"), "mirrors", check_mirror, err);
    if (!code)
        code = check_each(json_object_get(r->document, "configs"), "configs", check_config, err);
    return code ? registries_free(r) : r;
}

struct registries *registries_load(const char *path, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct error why = ERROR_INIT;
    int code = path ? fs_read(path, REGISTRIES_BYTES_MAX, &text, &why) : -ENOENT;
    if (code && code != -ENOENT) {
        (void)error_set(err, code, "%s", error_text(&why));
        return NULL;
    }
    struct registries *r = registries_parse(strbuf_text(&text), code ? 0 : text.len, err);
    if (!r)
        (void)error_prefix(err, -EINVAL, "%s", path);
    return r;
}

/* ---- endpoints ---- */

/* The first rule that matches changes the name; "$1" is what the first group matched. */
static char *rewritten(json_t *rules, const char *repository)
{
    const char *pattern = NULL;
    json_t *to;
    if (!json_is_object(rules))
        return str_dup(repository);
    json_object_foreach(rules, pattern, to) {
        regex_t re;
        regmatch_t m[GROUPS_MAX];
        if (regcomp(&re, pattern, REG_EXTENDED))
            continue;
        int none = regexec(&re, repository, GROUPS_MAX, m, 0);
        regfree(&re);
        if (none)
            continue;
        struct strbuf out = STRBUF_INIT;
        strbuf_add(&out, repository, (size_t)m[0].rm_so);
        for (const char *p = json_string_value(to); *p; p++) {
            if (*p != '$' || p[1] < '0' || p[1] > '9') {
                strbuf_addc(&out, *p);
                continue;
            }
            const regmatch_t *g = &m[*++p - '0'];
            if (g->rm_so >= 0)
                strbuf_add(&out, repository + g->rm_so, (size_t)(g->rm_eo - g->rm_so));
        }
        strbuf_adds(&out, repository + m[0].rm_eo);
        return strbuf_take(&out);
    }
    return str_dup(repository);
}

static const char *text_of(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

/* What configs says about @host. */
static void apply_config(const struct registries *r, const char *host, bool with_auth,
                         struct registry_endpoint *e)
{
    const json_t *config = json_object_get(json_object_get(r->document, "configs"), host);
    const json_t *auth = json_object_get(config, "auth"), *tls = json_object_get(config, "tls");
    if (with_auth && auth)
        e->auth = (struct registry_auth){.username = text_of(auth, "username"),
                                         .password = text_of(auth, "password"),
                                         .encoded = text_of(auth, "auth"),
                                         .identity_token = text_of(auth, "identity_token")};
    if (!tls)
        return;
    e->has_tls = true;
    e->tls.ca_file = text_of(tls, "ca_file");
    e->tls.cert_file = text_of(tls, "cert_file");
    e->tls.key_file = text_of(tls, "key_file");
    e->tls.insecure = json_is_true(json_object_get(tls, "insecure_skip_verify"));
}

static void add_mirror(const struct registries *r, const char *url, json_t *rules,
                       const char *repository, struct registry_endpoint *e)
{
    size_t scheme = str_starts(url, "https://") ? 8 : 7;
    size_t host = strcspn(url + scheme, "/");
    const char *path = url + scheme + host;
    _cleanup_free_ char *name = str_ndup(url + scheme, host);
    e->base = str_ndup(url, scheme + host);
    e->prefix = str_dup(path[strspn(path, "/")] ? path : "/v2");
    while (str_ends(e->prefix, "/"))
        e->prefix[strlen(e->prefix) - 1] = '\0';
    e->host = TAKE_PTR(name);
    e->repository = rewritten(rules, repository);
    apply_config(r, e->host, true, e);
}

struct registry_endpoint *registries_endpoints(const struct registries *r, const char *host,
                                               const char *repository,
                                               const struct registry_auth *auth,
                                               const struct option_list *insecure,
                                               size_t *ret_count)
{
    const json_t *mirrors = json_object_get(r->document, "mirrors");
    const json_t *mirror = json_object_get(mirrors, host);
    if (!mirror)
        mirror = json_object_get(mirrors, "*");
    const json_t *list = json_object_get(mirror, "endpoint");
    struct registry_endpoint *out = mem_zalloc((json_array_size(list) + 1) * sizeof(*out));
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        add_mirror(r, json_string_value(json_array_get(list, i)),
                   json_object_get(mirror, "rewrite"), repository, &out[n++]);
    struct registry_endpoint *own = &out[n++];
    own->base = registry_base(host, insecure);
    own->prefix = str_dup("/v2");
    own->host = str_dup(host);
    own->repository = str_dup(repository);
    if (registry_auth_is_for(auth, host))
        own->auth = *auth;
    apply_config(r, host, !registry_auth_given(&own->auth), own);
    *ret_count = n;
    return out;
}

struct registry_endpoint *registry_endpoints_free(struct registry_endpoint *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].base);
        free(list[i].prefix);
        free(list[i].host);
        free(list[i].repository);
    }
    free(list);
    return NULL;
}
