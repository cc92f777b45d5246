/* Docker's config.json; see docker_config.h. The document is kept as the JSON tree it was read as:
 * what of it is used has been checked. */
#include "cri/image/docker_config.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/fs.h"
#include "base/json.h"

struct docker_config {
    json_t *document;
};

/* ---- checking ---- */

/* Base64 of "user:password". */
static bool encoded_valid(const char *text)
{
    size_t len = strlen(text);
    if (len % 4 || len > 65536)
        return false;
    _cleanup_free_ unsigned char *plain = mem_zalloc(len + 1);
    return EVP_DecodeBlock(plain, (const unsigned char *)text, (int)len) > 0 &&
           memchr(plain, ':', len) != NULL;
}

static int check_entry(const char *name, const json_t *entry, struct error *err)
{
    static const char *const keys[] = {"auth", "username", "password", "identitytoken",
                                       "registrytoken"};
    _cleanup_free_ char *field = str_printf("auths[%.200s]", name);
    if (!json_is_object(entry))
        return error_set_field(err, -EINVAL, field, "%s must be an object", field);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        const json_t *v = json_object_get(entry, keys[i]);
        if (v && !json_is_string(v))
            return error_set_field(err, -EINVAL, field, "%s.%s must be a string", field, keys[i]);
    }
    const char *encoded = json_path_string(entry, "auth");
    if (encoded && *encoded && !encoded_valid(encoded))
        return error_set_field(err, -EINVAL, field, "%s.auth must be \"user:password\" in base64",
                               field);
    return 0;
}

static int check(const json_t *document, struct error *err)
{
    json_t *auths = json_object_get(document, "auths");
    const char *name = NULL;
    json_t *entry;
    if (!json_is_object(document))
        return error_set(err, -EINVAL, "must be a JSON object");
    if (auths && !json_is_object(auths))
        return error_set_field(err, -EINVAL, "auths", "auths must be an object");
    if (!auths)
        return 0;
    json_object_foreach(auths, name, entry) {
        int r = check_entry(name, entry, err);
        if (r)
            return r;
    }
    return 0;
}

/* ---- reading ---- */

struct docker_config *docker_config_free(struct docker_config *c)
{
    if (c) {
        json_decref(c->document);
        free(c);
    }
    return NULL;
}

struct docker_config *docker_config_parse(const char *text, size_t len, struct error *err)
{
    struct docker_config *c = mem_zalloc(sizeof(*c));
    c->document = json_parse(text, len, err);
    if (!c->document || check(c->document, err))
        return docker_config_free(c);
    return c;
}

struct docker_config *docker_config_load(const char *path, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct error why = ERROR_INIT;
    int code = path ? fs_read(path, DOCKER_CONFIG_BYTES_MAX, &text, &why) : -ENOENT;
    if (code == -ENOENT)
        return docker_config_parse("{}", 2, err);
    if (code) {
        (void)error_set(err, code, "%s", error_text(&why));
        return NULL;
    }
    struct docker_config *c = docker_config_parse(strbuf_text(&text), text.len, err);
    if (!c)
        (void)error_prefix(err, -EINVAL, "%s", path);
    return c;
}

/* ---- finding ---- */

/* "*" stands for (a part of) one component of a name. */
static bool host_matches(const char *pattern, size_t len, const char *host)
{
    _cleanup_free_ char *p = str_ndup(pattern, len), *h = str_dup(host);
    for (char *c = p; *c; c++)
        *c = *c == '.' ? '/' : *c;
    for (char *c = h; *c; c++)
        *c = *c == '.' ? '/' : *c;
    return fnmatch(p, h, FNM_PATHNAME | FNM_NOESCAPE | FNM_CASEFOLD) == 0;
}

static bool is_hub(const char *host, size_t len)
{
    static const char *const names[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (len == strlen(names[i]) && !strncmp(host, names[i], len))
            return true;
    return false;
}

/* How much an entry's name says about the repository; 0: it is another's. */
static size_t match(const char *name, const char *host, const char *repository)
{
    const char *start = strstr(name, "://");
    start = start ? start + 3 : name;
    size_t host_len = strcspn(start, "/");
    const char *path = start + host_len;
    path += strspn(path, "/");
    if ((str_starts(path, "v1") || str_starts(path, "v2")) && (path[2] == '/' || !path[2]))
        path += 2; /* the API's version, as docker writes it */
    path += strspn(path, "/");
    size_t path_len = strlen(path);
    while (path_len && path[path_len - 1] == '/')
        path_len--;
    bool same =
        is_hub(host, strlen(host)) ? is_hub(start, host_len) : host_matches(start, host_len, host);
    if (!same || strncmp(repository, path, path_len) != 0 ||
        (path_len && repository[path_len] != '/' && repository[path_len]))
        return 0;
    return host_len + path_len + 1;
}

bool docker_config_find(const struct docker_config *c, const char *host, const char *repository,
                        struct registry_auth *ret)
{
    json_t *auths = json_object_get(c->document, "auths"), *entry;
    const char *name = NULL;
    size_t best = 0;
    if (!auths)
        return false;
    json_object_foreach(auths, name, entry) {
        struct registry_auth a = {.username = json_path_string(entry, "username"),
                                  .password = json_path_string(entry, "password"),
                                  .encoded = json_path_string(entry, "auth"),
                                  .identity_token = json_path_string(entry, "identitytoken"),
                                  .registry_token = json_path_string(entry, "registrytoken")};
        size_t says = match(name, host, repository);
        /* docker leaves empty entries for what its credential helpers keep. */
        if (says > best && registry_auth_given(&a)) {
            best = says;
            *ret = a;
        }
    }
    return best > 0;
}
