/*
 * Credentials of registries, from Secrets of type kubernetes.io/dockerconfigjson and
 * kubernetes.io/dockercfg, and which of them fit an image: upstream's rules and order.
 */
#pragma once

#include "kube/decode.h"

#define KEYRING_MAX 1000 /* entries of all Secrets of a pod */

struct credential {
    char *user, *password;
};
struct credential_list {
    struct credential *items;
    size_t count;
};
void credential_list_done(struct credential_list *l);

struct keyring_entry {
    char *key; /* host and path, with globs in the host: "*.example.com/team" */
    struct credential credential;
};
struct keyring {
    struct keyring_entry *entries;
    size_t count;
};

/* Adds what a Secret's data holds. -EINVAL when it is malformed or has no docker configuration;
 * nothing was added then. */
int keyring_add(struct keyring *k, const struct bytes_map *data, struct error *err);
/* The credentials to be tried for a repository ("docker.io/library/nginx"), the most specific
 * first; none: try without. */
void keyring_lookup(const struct keyring *k, const char *repository, struct credential_list *ret);
void keyring_done(struct keyring *k);
