/* Users; see user.h. */
#include "apiserver/auth/user.h"

#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"

void user_done(struct user *user)
{
    free(user->name);
    free(user->uid);
    for (size_t i = 0; i < user->n_groups; i++)
        free(user->groups[i]);
    free(user->groups);
    json_decref(user->extra);
    *user = (struct user){.name = NULL};
}

void user_copy(const struct user *from, struct user *to)
{
    *to = (struct user){.name = str_dup(from->name),
                        .uid = str_dup(from->uid),
                        .extra = json_deep_copy(from->extra)};
    for (size_t i = 0; i < from->n_groups; i++)
        user_add_group(to, from->groups[i], strlen(from->groups[i]));
}

void user_add_group(struct user *user, const char *group, size_t len)
{
    if (!len || user->n_groups >= USER_GROUPS_MAX)
        return;
    user->groups = mem_grow(user->groups, user->n_groups + 1, sizeof(*user->groups));
    user->groups[user->n_groups++] = str_ndup(group, len);
}

bool user_in_group(const struct user *user, const char *group)
{
    for (size_t i = 0; i < user->n_groups; i++)
        if (str_eq(user->groups[i], group))
            return true;
    return false;
}

void user_add_extra(struct user *user, const char *key, const char *value)
{
    if (!user->extra)
        user->extra = json_object();
    json_t *values = json_object_get(user->extra, key);
    if (!values) {
        values = json_array();
        (void)json_object_set_new(user->extra, key, values);
    }
    (void)json_array_append_new(values, json_text(value));
}

void user_of_account(struct user *ret, const char *ns, const char *name, const char *uid)
{
    *ret = (struct user){.name = str_printf(ACCOUNT_PREFIX "%s:%s", ns, name), .uid = str_dup(uid)};
    _cleanup_free_ char *of_ns = str_printf(GROUP_ACCOUNTS ":%s", ns);
    user_add_group(ret, GROUP_ACCOUNTS, strlen(GROUP_ACCOUNTS));
    user_add_group(ret, of_ns, strlen(of_ns));
}

bool user_is_account(const struct user *user, char **ret_ns, const char **ret_name)
{
    if (!user->name || !str_starts(user->name, ACCOUNT_PREFIX))
        return false;
    const char *ns = user->name + strlen(ACCOUNT_PREFIX);
    const char *colon = strchr(ns, ':');
    if (!colon || colon == ns || !colon[1] || strchr(colon + 1, ':'))
        return false;
    *ret_ns = str_ndup(ns, (size_t)(colon - ns));
    *ret_name = colon + 1;
    return true;
}

json_t *user_info(const struct user *user)
{
    json_t *info = json_object();
    if (user->name)
        (void)json_object_set_new(info, "username", json_text(user->name));
    if (user->uid)
        (void)json_object_set_new(info, "uid", json_text(user->uid));
    if (user->n_groups) {
        json_t *groups = json_array();
        for (size_t i = 0; i < user->n_groups; i++)
            (void)json_array_append_new(groups, json_text(user->groups[i]));
        (void)json_object_set_new(info, "groups", groups);
    }
    if (json_object_size(user->extra))
        (void)json_object_set_new(info, "extra", json_deep_copy(user->extra));
    return info;
}
