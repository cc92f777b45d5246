/* kubeconfig files; see kubeconfig.h. Format: client.config.k8s.io v1 (`kind: Config`). */
#include "kube/kubeconfig.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/decode.h"
#include "kube/yaml.h"

#define FILE_MAX (1 << 20)

/* The entry called @name of a list of {name: …, <key>: {…}}; its <key> object. */
static const json_t *named(const json_t *list, const char *name, const char *key)
{
    for (size_t i = 0; name && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (str_eq(json_path_string(item, "name"), name))
            return json_object_get(item, key);
    }
    return NULL;
}

/* <key>-data (base64) or the file that <key> names, relative to the kubeconfig, which goes to
 * @ret_file (may be NULL). */
static int load_pem(const json_t *from, const char *key, const char *path, char **ret,
                    char **ret_file, struct error *err)
{
    _cleanup_free_ char *data_key = str_printf("%s-data", key);
    const char *data = json_string_value(json_object_get(from, data_key));
    const char *file = json_string_value(json_object_get(from, key));
    if (data && *data) {
        struct bytes bytes;
        if (base64_decode(data, strlen(data), &bytes) < 0)
            return error_set(err, -EINVAL, "%s: %s is not base64", path, data_key);
        *ret = (char *)bytes.data;
        return 0;
    }
    if (!file || !*file)
        return 0;
    _cleanup_free_ char *full = NULL;
    const char *slash = strrchr(path, '/');
    if (file[0] == '/' || !slash)
        full = str_dup(file);
    else
        full = str_printf("%.*s/%s", (int)(slash - path), path, file);
    struct strbuf text = STRBUF_INIT;
    int r = fs_read(full, FILE_MAX, &text, err);
    if (r < 0) {
        strbuf_done(&text);
        return error_prefix(err, r, "%s: %s", path, key);
    }
    *ret = strbuf_take(&text);
    if (ret_file)
        *ret_file = TAKE_PTR(full);
    return 0;
}

static int load_user(const json_t *user, const char *path, struct kubeconfig *c, struct error *err)
{
    static const char *const unsupported[] = {"exec", "auth-provider", "username"};
    for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
        if (json_object_get(user, unsupported[i]))
            return error_set(err, -EINVAL, "%s: user %s: %s is not supported", path, c->user,
                             unsupported[i]);
    int r = load_pem(user, "client-certificate", path, &c->cert_pem, &c->cert_file, err);
    if (r == 0)
        r = load_pem(user, "client-key", path, &c->key_pem, NULL, err);
    if (r < 0)
        return r;
    if (!c->cert_pem != !c->key_pem)
        return error_set(err, -EINVAL,
                         "%s: user %s has only one of client-certificate and client-key", path,
                         c->user);
    const char *token_file = json_path_string(user, "tokenFile");
    c->token = str_dup(json_path_string(user, "token"));
    if (!c->token && token_file) {
        struct strbuf text = STRBUF_INIT;
        if ((r = fs_read(token_file, FILE_MAX, &text, err)) < 0) {
            strbuf_done(&text);
            return error_prefix(err, r, "%s: tokenFile", path);
        }
        strbuf_truncate(&text, strcspn(strbuf_text(&text), "\r\n"));
        c->token = strbuf_take(&text);
    }
    return 0;
}

static int load(const json_t *j, const char *path, const char *context, struct kubeconfig *c,
                struct error *err)
{
    if (!context)
        context = json_path_string(j, "current-context");
    if (!context || !*context)
        return error_set(err, -EINVAL, "%s: current-context is not set", path);
    const json_t *ctx = named(json_object_get(j, "contexts"), context, "context");
    if (!ctx)
        return error_set(err, -EINVAL, "%s: there is no context \"%s\"", path, context);
    const char *ns = json_path_string(ctx, "namespace");
    c->context = str_dup(context);
    c->cluster = str_dup(json_path_string(ctx, "cluster"));
    c->user = str_dup(json_path_string(ctx, "user"));
    c->namespace = str_dup(ns && *ns ? ns : "default");
    const json_t *cluster = named(json_object_get(j, "clusters"), c->cluster, "cluster");
    if (!cluster)
        return error_set(err, -EINVAL, "%s: there is no cluster \"%s\"", path,
                         c->cluster ? c->cluster : "");
    c->server = str_dup(json_path_string(cluster, "server"));
    if (!c->server || (!str_starts(c->server, "https://") && !str_starts(c->server, "http://")))
        return error_set(err, -EINVAL, "%s: cluster \"%s\" has no http(s) server", path,
                         c->cluster);
    size_t len = strlen(c->server);
    while (len && c->server[len - 1] == '/')
        c->server[--len] = '\0';
    c->insecure = json_is_true(json_object_get(cluster, "insecure-skip-tls-verify"));
    c->tls_server_name = str_dup(json_path_string(cluster, "tls-server-name"));
    int r = load_pem(cluster, "certificate-authority", path, &c->ca_pem, NULL, err);
    if (r < 0)
        return r;
    const json_t *user = named(json_object_get(j, "users"), c->user, "user");
    return load_user(user, path, c, err);
}

int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret,
                    struct error *err)
{
    *ret = (struct kubeconfig){.server = NULL};
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, FILE_MAX, &text, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *j = yaml_parse_one(strbuf_text(&text), text.len, err);
    if (!j)
        return error_prefix(err, -EINVAL, "%s", path);
    r = load(j, path, context, ret, err);
    if (r < 0)
        kubeconfig_done(ret);
    return r;
}

char *kubeconfig_find(const char *flag)
{
    if (flag && *flag)
        return str_dup(flag);
    const char *env = getenv("KUBECONFIG");
    while (env && *env) {
        size_t len = strcspn(env, ":");
        _cleanup_free_ char *path = str_ndup(env, len);
        if (len && access(path, R_OK) == 0)
            return TAKE_PTR(path);
        env += len + (env[len] == ':');
    }
    const char *home = getenv("HOME");
    _cleanup_free_ char *own = str_printf("%s/.kube/config", home ? home : "/root");
    if (access(own, R_OK) == 0)
        return TAKE_PTR(own);
    if (access("/etc/coracle/kubeconfig", R_OK) == 0)
        return str_dup("/etc/coracle/kubeconfig");
    return NULL;
}

static void set_pem(json_t *to, const char *key, const char *pem)
{
    if (!pem)
        return;
    _cleanup_free_ char *text = base64_encode(pem, strlen(pem));
    (void)json_object_set_new(to, key, json_string(text));
}

int kubeconfig_write(const char *path, const struct kubeconfig *c, struct error *err)
{
    const char *cluster_name = c->cluster ? c->cluster : "coracle";
    const char *user_name = c->user ? c->user : "admin";
    const char *context = c->context ? c->context : "coracle";
    json_t *cluster = json_pack("{ss}", "server", c->server);
    json_t *user = json_object();
    set_pem(cluster, "certificate-authority-data", c->ca_pem);
    set_pem(user, "client-certificate-data", c->cert_pem);
    set_pem(user, "client-key-data", c->key_pem);
    if (c->token)
        (void)json_object_set_new(user, "token", json_string(c->token));
    _cleanup_json_ json_t *j =
        json_pack("{ss ss s[{ss so}] s[{ss so}] s[{ss s{ss ss}}] ss}", "apiVersion", "v1", "kind",
                  "Config", "clusters", "name", cluster_name, "cluster", cluster, "users", "name",
                  user_name, "user", user, "contexts", "name", context, "context", "cluster",
                  cluster_name, "user", user_name, "current-context", context);
    if (!j)
        return error_set(err, -EINVAL, "%s: a name is not UTF-8", path);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    yaml_write(j, &text);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_DURABLE, err);
}

void kubeconfig_done(struct kubeconfig *c)
{
    free(c->server);
    free(c->ca_pem);
    free(c->cert_pem);
    if (c->key_pem)
        explicit_bzero(c->key_pem, strlen(c->key_pem));
    free(c->key_pem);
    free(c->cert_file);
    free(c->token);
    free(c->tls_server_name);
    free(c->namespace);
    free(c->context);
    free(c->cluster);
    free(c->user);
    *c = (struct kubeconfig){.server = NULL};
}
