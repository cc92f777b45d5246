/* Registry credentials; see keyring.h. */
#include "kubelet/runtime/keyring.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"

#define DEFAULT_REGISTRY "index.docker.io" /* as docker's configuration names Docker Hub */

void credential_list_done(struct credential_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].user);
        free(l->items[i].password);
    }
    free(l->items);
    memset(l, 0, sizeof(*l));
}

void keyring_done(struct keyring *k)
{
    for (size_t i = 0; i < k->count; i++) {
        free(k->entries[i].key);
        free(k->entries[i].credential.user);
        free(k->entries[i].credential.password);
    }
    free(k->entries);
    memset(k, 0, sizeof(*k));
}

/* ---- reading ---- */

/* "https://host/v1/path" → "host/path". NULL for what is no address of a registry. */
static char *key_of(const char *location)
{
    const char *p = str_starts(location, "https://")  ? location + 8
                    : str_starts(location, "http://") ? location + 7
                                                      : location;
    size_t host = strcspn(p, "/");
    const char *path = p + host;
    if (!host || strchr(p, ' '))
        return NULL;
    if (str_starts(path, "/v1/") || str_starts(path, "/v2/"))
        path += 3;
    if (str_eq(path, "/"))
        path = "";
    return str_printf("%.*s%s", (int)host, p, path);
}

/* auth is base64 of "user:password" and wins over the fields of their own. */
static int read_credential(const json_t *entry, struct credential *ret, struct error *err)
{
    const char *auth = json_path_string(entry, "auth");
    const char *user = json_path_string(entry, "username");
    const char *password = json_path_string(entry, "password");
    if (!auth || !*auth) {
        ret->user = str_dup(user ? user : "");
        ret->password = str_dup(password ? password : "");
        return 0;
    }
    struct bytes text = {.data = NULL};
    if (base64_decode(auth, strlen(auth), &text) < 0 || memchr(text.data, 0, text.len)) {
        free(text.data);
        return error_set(err, -EINVAL, "auth is not base64");
    }
    _cleanup_free_ char *plain = str_ndup((const char *)text.data, text.len);
    free(text.data);
    char *colon = strchr(plain, ':');
    if (!colon)
        return error_set(err, -EINVAL, "auth does not hold user:password");
    *colon = 0;
    ret->user = str_dup(plain);
    ret->password = str_dup(colon + 1);
    return 0;
}

static int add_entries(struct keyring *k, const json_t *auths, struct error *err)
{
    const char *location;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)auths, location, entry) {
        struct credential c = {.user = NULL};
        _cleanup_free_ char *key = key_of(location);
        if (!key || !json_is_object(entry))
            continue;
        if (k->count >= KEYRING_MAX)
            return error_set(err, -E2BIG, "more than %d registries", KEYRING_MAX);
        int code = read_credential(entry, &c, err);
        if (code < 0)
            return error_prefix(err, code, "%.100s", location);
        k->entries = mem_grow(k->entries, k->count + 1, sizeof(*k->entries));
        k->entries[k->count++] = (struct keyring_entry){.key = TAKE_PTR(key), .credential = c};
    }
    return 0;
}

static const struct bytes *find(const struct bytes_map *m, const char *key)
{
    for (size_t i = 0; i < m->count; i++)
        if (str_eq(m->items[i].key, key))
            return &m->items[i].value;
    return NULL;
}

/* The most specific first: reverse order of the keys, as upstream sorts them; entries of the same
 * key stay in the order in which they came. */
static void insert_sorted(struct keyring *k, size_t from)
{
    for (size_t i = from; i < k->count; i++) {
        struct keyring_entry e = k->entries[i];
        size_t at = i;
        while (at > 0 && strcmp(k->entries[at - 1].key, e.key) < 0) {
            k->entries[at] = k->entries[at - 1];
            at--;
        }
        k->entries[at] = e;
    }
}

int keyring_add(struct keyring *k, const struct bytes_map *data, struct error *err)
{
    const struct bytes *b = find(data, ".dockerconfigjson");
    bool old = !b;
    if (old)
        b = find(data, ".dockercfg");
    if (!b)
        return error_set(err, -EINVAL, "it has neither .dockerconfigjson nor .dockercfg");
    _cleanup_json_ json_t *j = json_parse(b->data ? (const char *)b->data : "", b->len, err);
    if (!j)
        return -EINVAL;
    struct keyring new = {.entries = NULL};
    int code = add_entries(&new, old ? j : json_object_get(j, "auths"), err);
    if (code < 0 || k->count + new.count > KEYRING_MAX) {
        keyring_done(&new);
        return code < 0 ? code : error_set(err, -E2BIG, "more than %d registries", KEYRING_MAX);
    }
    size_t from = k->count;
    k->entries = mem_grow(k->entries, k->count + new.count + 1, sizeof(*k->entries));
    if (new.count)
        memcpy(k->entries + k->count, new.entries, new.count * sizeof(*new.entries));
    k->count += new.count;
    free(new.entries);
    insert_sorted(k, from);
    return 0;
}

/* ---- matching ---- */

/* Host names part by part, each of the key's a glob; ports equal; the path a prefix. */
static bool matches(const char *key, const char *repository)
{
    size_t kh = strcspn(key, "/"), rh = strcspn(repository, "/");
    if (strncmp(repository + rh, key + kh, strlen(key + kh)) != 0)
        return false;
    _cleanup_free_ char *a = str_ndup(key, kh), *b = str_ndup(repository, rh);
    char *pa = strrchr(a, ':'), *pb = strrchr(b, ':');
    if (!str_eq(pa, pb))
        return false;
    if (pa)
        *pa = *pb = 0;
    for (char *x = a, *y = b;;) {
        size_t nx = strcspn(x, "."), ny = strcspn(y, ".");
        char ex = x[nx], ey = y[ny];
        x[nx] = y[ny] = 0;
        if (fnmatch(x, y, 0) != 0 || ex != ey)
            return false;
        if (!ex)
            return true;
        x += nx + 1;
        y += ny + 1;
    }
}

static void take(struct credential_list *l, const struct keyring_entry *e)
{
    l->items = mem_grow(l->items, l->count + 1, sizeof(*l->items));
    l->items[l->count++] = (struct credential){.user = str_dup(e->credential.user),
                                               .password = str_dup(e->credential.password)};
}

void keyring_lookup(const struct keyring *k, const char *repository, struct credential_list *ret)
{
    for (size_t i = 0; i < k->count; i++)
        if (matches(k->entries[i].key, repository))
            take(ret, &k->entries[i]);
    for (size_t i = 0; !ret->count && str_starts(repository, "docker.io/") && i < k->count; i++)
        if (str_eq(k->entries[i].key, DEFAULT_REGISTRY))
            take(ret, &k->entries[i]);
}
