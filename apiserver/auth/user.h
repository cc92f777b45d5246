/* Who sends a request, once that is known. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define USER_GROUPS_MAX     256
#define USER_ANONYMOUS      "system:anonymous"
#define GROUP_ANONYMOUS     "system:unauthenticated"
#define GROUP_AUTHENTICATED "system:authenticated"
#define GROUP_MASTERS       "system:masters"
#define ACCOUNT_PREFIX      "system:serviceaccount:"
#define GROUP_ACCOUNTS      "system:serviceaccounts"

struct user {
    char *name; /* NULL: nobody yet; owned, like all here */
    char *uid;  /* NULL when none */
    char **groups;
    size_t n_groups;
    json_t *extra; /* key → array of strings; NULL when none */
};
void user_done(struct user *user); /* harmless on a zeroed one */
void user_copy(const struct user *from, struct user *to);

/* Groups beyond USER_GROUPS_MAX and empty ones are left out. */
void user_add_group(struct user *user, const char *group, size_t len);
bool user_in_group(const struct user *user, const char *group);
void user_add_extra(struct user *user, const char *key, const char *value);

/* The ServiceAccount @ns/@name, with its groups. */
void user_of_account(struct user *ret, const char *ns, const char *name, const char *uid);
/* Whether it is a ServiceAccount: *ret_ns (the caller frees) and *ret_name, which points into the
 * user's name. */
bool user_is_account(const struct user *user, char **ret_ns, const char **ret_name);

/* As authentication.k8s.io/v1 UserInfo. New reference. */
json_t *user_info(const struct user *user);
