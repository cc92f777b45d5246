/* User namespaces of pods; see userns.h. */
#include "cri/userns.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "cri/runtime.h"

#define PROBE_MS     5000
#define PROBE_OUTPUT 4096

static int parse_map(size_t n, Runtime__V1__IDMapping *const *list, const char *field,
                     const char *name, struct userns_map *ret, struct error *err)
{
    _cleanup_free_ char *path = str_printf("%s.%s", field, name);
    if (n != 1)
        return error_set_field(err, -EINVAL, path, "%s: %zu mappings, exactly one is supported",
                               path, n);
    const Runtime__V1__IDMapping *m = list[0];
    if (m->container_id != 0)
        return error_set_field(err, -EINVAL, path, "%s[0].container_id: %u, must be 0", path,
                               m->container_id);
    if (m->host_id < USERNS_HOST_MIN)
        return error_set_field(err, -EINVAL, path,
                               "%s[0].host_id: %u, must be at least %d (lower ids are the host's)",
                               path, m->host_id, USERNS_HOST_MIN);
    if (m->length < USERNS_LENGTH_MIN || m->length > UINT32_MAX - m->host_id)
        return error_set_field(err, -EINVAL, path,
                               "%s[0].length: %u, must be at least %d and end within 32 bits", path,
                               m->length, USERNS_LENGTH_MIN);
    *ret = (struct userns_map){m->host_id, m->length};
    return 0;
}

int userns_parse(const Runtime__V1__UserNamespace *options, const char *field, struct userns *ret,
                 struct error *err)
{
    *ret = (struct userns){.own = false};
    if (!options)
        return 0;
    if (options->mode == RUNTIME__V1__NAMESPACE_MODE__NODE) {
        if (options->n_uids || options->n_gids)
            return error_set_field(err, -EINVAL, field, "%s: mode NODE takes no mappings", field);
        return 0;
    }
    if (options->mode != RUNTIME__V1__NAMESPACE_MODE__POD)
        return error_set_field(err, -EINVAL, field, "%s.mode: must be POD or NODE", field);
    struct userns u = {.own = true};
    int r = parse_map(options->n_uids, options->uids, field, "uids", &u.uids, err);
    if (r == 0)
        r = parse_map(options->n_gids, options->gids, field, "gids", &u.gids, err);
    if (r == 0)
        *ret = u;
    return r;
}

static bool maps_equal(const struct userns_map *a, const struct userns_map *b)
{
    return a->host == b->host && a->length == b->length;
}

bool userns_equal(const struct userns *a, const struct userns *b)
{
    return a->own == b->own && maps_equal(&a->uids, &b->uids) && maps_equal(&a->gids, &b->gids);
}

int userns_check_mount(const Runtime__V1__Mount *m, const struct userns *pod, const char *field,
                       bool *ret, struct error *err)
{
    struct userns u = {.own = true};
    *ret = false;
    if (!m->n_uidmappings && !m->n_gidmappings)
        return 0;
    int r = parse_map(m->n_uidmappings, m->uidmappings, field, "uidMappings", &u.uids, err);
    if (r == 0)
        r = parse_map(m->n_gidmappings, m->gidmappings, field, "gidMappings", &u.gids, err);
    if (r < 0)
        return r;
    if (!userns_equal(&u, pod))
        return error_set_field(err, -EINVAL, field,
                               "%s.uidMappings: not those of the pod's user namespace", field);
    *ret = true;
    return 0;
}

uint32_t userns_outside(const struct userns_map *map, uint32_t id)
{
    if (!map->length)
        return id;
    return map->host + (id < map->length ? id : 0);
}

int64_t userns_inside(const struct userns_map *map, int64_t id)
{
    bool mapped = id >= map->host && id - map->host < map->length;
    return mapped ? id - map->host : id;
}

/* ---- what this host can ---- */

static void on_probed(const struct process_result *result, void *arg)
{
    struct runtime *rt = arg;
    struct error err = ERROR_INIT;
    if (process_result_error(result, "coracle-launch", &err) < 0) {
        _cleanup_free_ char *said = str_dup(strbuf_text(result->err));
        said[strcspn(said, "\n")] = '\0';
        rt->userns_problem = str_dup(*said ? said : error_text(&err));
        log_info("no user namespaces for pods", "reason", rt->userns_problem, NULL);
    }
    if (--rt->adopting == 0)
        rt->adopted(rt);
}

void userns_probe(struct runtime *rt)
{
    _cleanup_free_ char *program = fs_join(rt->libexec, "coracle-launch");
    _cleanup_free_ char *layer = fs_join(image_store_layers_dir(rt->images), "empty");
    const char *argv[] = {program, "probe", layer, rt->containers_dir, NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    struct error err = ERROR_INIT;
    spec.argv = argv;
    rt->adopting++;
    if (process_run(rt->loop, &spec, NULL, 0, PROBE_OUTPUT, PROBE_MS, on_probed, rt, NULL, &err) <
        0) {
        rt->adopting--;
        rt->userns_problem = str_dup(error_text(&err));
    }
}
