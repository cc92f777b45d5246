/*
 * Impersonate-User, -Group, -Uid and -Extra-… headers: the request goes on as somebody else, if its
 * user may "impersonate" each of what is named.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "apiserver/auth/access.h"
#include "apiserver/auth/authorize.h"
#include "apiserver/auth/authz.h"
#include "kube/status.h"

#define HEADER_USER  "Impersonate-User"
#define HEADER_GROUP "Impersonate-Group"
#define HEADER_UID   "Impersonate-Uid"
#define HEADER_EXTRA "Impersonate-Extra-"

/* NULL, or 403. */
static json_t *may(const struct request *r, const char *group, const char *resource,
                   const char *subresource, const char *ns, const char *name)
{
    struct access a = ACCESS_INIT;
    _cleanup_strbuf_ struct strbuf reason = STRBUF_INIT;
    a.user = &r->user;
    a.is_resource = true;
    a.verb = "impersonate";
    a.group = group;
    a.resource = resource;
    a.subresource = subresource;
    a.ns = ns;
    a.name = name;
    if (authz_allows(r->srv->authz, &a, &reason))
        return NULL;
    return access_forbidden(&a, strbuf_text(&reason));
}

static json_t *take_user(const struct request *r, const char *name, struct user *as)
{
    as->name = str_dup(name);
    _cleanup_free_ char *ns = NULL;
    const char *account = NULL;
    if (user_is_account(as, &ns, &account))
        return may(r, "", "serviceaccounts", "", ns, account);
    return may(r, "", "users", "", "", name);
}

static json_t *take_groups(const struct request *r, struct user *as)
{
    const char *group;
    json_t *status = NULL;
    for (size_t i = 0;
         !status && (group = http_headers_get_nth(http_exchange_headers(r->x), HEADER_GROUP, i));
         i++) {
        status = may(r, "", "groups", "", "", group);
        user_add_group(as, group, strlen(group));
    }
    return status;
}

/* The key in a header's name: lower case, percent-encoded. */
static char *extra_key(const char *text)
{
    struct strbuf key = STRBUF_INIT;
    if (http_percent_decode(text, strlen(text), false, &key) < 0) {
        strbuf_truncate(&key, 0);
        strbuf_adds(&key, text);
    }
    char *out = strbuf_take(&key);
    for (char *c = out; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return out;
}

static json_t *take_extra(const struct request *r, struct user *as)
{
    const struct http_headers *headers = http_exchange_headers(r->x);
    json_t *status = NULL;
    for (size_t i = 0; !status && i < headers->count; i++) {
        const char *name = headers->items[i].name, *value = headers->items[i].value;
        if (strncasecmp(name, HEADER_EXTRA, strlen(HEADER_EXTRA)) != 0)
            continue;
        _cleanup_free_ char *key = extra_key(name + strlen(HEADER_EXTRA));
        status = may(r, "authentication.k8s.io", "userextras", key, "", value);
        user_add_extra(as, key, value);
    }
    return status;
}

static bool has_any(const struct request *r)
{
    const struct http_headers *headers = http_exchange_headers(r->x);
    for (size_t i = 0; i < headers->count; i++)
        if (!strncasecmp(headers->items[i].name, "Impersonate-", strlen("Impersonate-")))
            return true;
    return false;
}

/* Groups that come with the name, when none are named. */
static void complete(struct user *as)
{
    _cleanup_free_ char *ns = NULL;
    const char *account = NULL;
    bool anonymous = str_eq(as->name, USER_ANONYMOUS);
    const char *everybody = anonymous ? GROUP_ANONYMOUS : GROUP_AUTHENTICATED;
    if (!as->n_groups && user_is_account(as, &ns, &account)) {
        _cleanup_free_ char *of_ns = str_printf(GROUP_ACCOUNTS ":%s", ns);
        user_add_group(as, GROUP_ACCOUNTS, strlen(GROUP_ACCOUNTS));
        user_add_group(as, of_ns, strlen(of_ns));
    }
    if (!user_in_group(as, everybody))
        user_add_group(as, everybody, strlen(everybody));
}

json_t *impersonate(struct request *r)
{
    const char *name = http_exchange_header(r->x, HEADER_USER);
    const char *uid = http_exchange_header(r->x, HEADER_UID);
    struct user as = {.name = NULL};
    if (!has_any(r))
        return NULL;
    if (!name || !*name)
        return status_bad_request("impersonation needs the header " HEADER_USER);
    json_t *status = take_user(r, name, &as);
    if (!status)
        status = take_groups(r, &as);
    if (!status)
        status = take_extra(r, &as);
    if (!status && uid && *uid) {
        as.uid = str_dup(uid);
        status = may(r, "authentication.k8s.io", "uids", "", "", uid);
    }
    if (status) {
        user_done(&as);
        return status;
    }
    complete(&as);
    user_done(&r->user);
    r->user = as;
    return NULL;
}
