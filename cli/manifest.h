/*
 * Manifests: the objects of files, directories and standard input, each knowing where it stands, so
 * that every complaint can name file and document.
 */
#pragma once

#include "base/json.h"
#include "base/options.h"
#include "kube/schema.h"

struct manifest {
    json_t *object;
    char *where; /* "hello.yaml: document 2" */
    const struct schema_resource *resource;
};
struct manifests {
    struct manifest *items;
    size_t count;
};

/* Reads all of @files ("-" is standard input; of a directory every .yaml, .yml and .json in
 * order of name). Lists are taken apart. Refuses broken YAML, documents that are no
 * objects, and kinds that @registry does not know; nothing is returned then. -EINVAL, -ENOENT … */
int manifests_load(const struct schema_registry *registry, const struct option_list *files,
                   struct manifests *ret, struct error *err);
void manifests_done(struct manifests *m);

/* The namespace an object goes to: its own, else @fallback; NULL for cluster-scoped kinds. */
const char *manifest_namespace(const struct manifest *m, const char *fallback);
/* "deployment.apps/hello", "service/hello": as kubectl names objects. The caller frees. */
char *manifest_title(const struct manifest *m);
/* Path of the object, or of its collection without @named. The caller frees. */
char *manifest_path(const struct manifest *m, const char *fallback_ns, bool named);
