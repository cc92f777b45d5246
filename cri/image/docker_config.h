/*
 * Docker's config.json as a source of credentials, for registries about which neither the request
 * nor registries.yaml says anything:
 *
 *   {"auths": {"https://index.docker.io/v1/": {"auth": "<base64 of user:password>"},
 *              "registry.example:5000":       {"username": "u", "password": "p"},
 *              "*.example/team":              {"auth": "…", "identitytoken": "…"}}}
 *
 * Everything else in the file is docker's own and passed over, credential helpers too: they are
 * programs of the user who logged in.
 */
#pragma once

#include "cri/image/registry.h"

#define DOCKER_CONFIG_BYTES_MAX (1U << 20)

struct docker_config;

/* Reads the file; one that is not there (or a NULL @path) holds no credentials. NULL with @err
 * naming the file and the field. */
struct docker_config *docker_config_load(const char *path, struct error *err);
struct docker_config *docker_config_parse(const char *text, size_t len, struct error *err);
struct docker_config *docker_config_free(struct docker_config *c); /* returns NULL */
DEFINE_CLEANUP(struct docker_config *, docker_config_free);

/* The credentials for @repository at @host ("docker.io", "registry.example:5000"): those of the
 * entry that says most. An entry's name is a host, perhaps with a scheme, with "*" for a part of
 * the name, perhaps with the beginning of the repository's path. False when there are none; strings
 * of *ret are borrowed from @c. */
bool docker_config_find(const struct docker_config *c, const char *host, const char *repository,
                        struct registry_auth *ret);
