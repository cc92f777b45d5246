/*
 * NFS: mount(8) with the helper of nfs-common, run as a process with a deadline, because a server
 * may never answer.
 */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "kubelet/volume/volume.h"

#define DEADLINE_MS 120000

struct nfs_mount {
    struct volume *v;
    struct process_run *run;
    char *error; /* of the last try, until it has been told */
};

static void on_end(const struct process_result *result, void *arg)
{
    struct nfs_mount *m = arg;
    struct error err = ERROR_INIT;
    m->run = NULL;
    if (process_result_error(result, "mount", &err) < 0)
        m->error = str_dup(error_text(&err));
    volume_changed(m->v);
}

static int start(struct nfs_mount *m, const struct nfs_source *nfs, const char *options,
                 struct error *err)
{
    struct volume *v = m->v;
    bool v6 = strchr(nfs->server, ':') && nfs->server[0] != '[';
    _cleanup_free_ char *source = str_printf(v6 ? "[%s]:%s" : "%s:%s", nfs->server, nfs->path);
    _cleanup_free_ char *all = str_printf("%s%s%s", v->read_only ? "ro" : "rw",
                                          options && *options ? "," : "", options ? options : "");
    const char *const argv[] = {"mount", "-t", "nfs", "-o", all, source, v->path, NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    int code = fs_mkdirs(v->path, 0750, err);
    spec.argv = argv;
    if (!code)
        code = process_run(v->set->k->loop, &spec, NULL, 0, 4096, DEADLINE_MS, on_end, m, &m->run,
                           err);
    return code < 0 ? code : VOLUME_E_PENDING;
}

int nfs_mount(struct volume *v, struct nfs_mount **state, const struct nfs_source *nfs,
              const char *options, struct error *err)
{
    struct nfs_mount *m = *state;
    if (!nfs->server || !*nfs->server || nfs->server[0] == '-' || !nfs->path || nfs->path[0] != '/')
        return error_set(err, -EINVAL, "nfs: server and an absolute path are needed");
    if (!m) {
        *state = m = mem_zalloc(sizeof(*m));
        m->v = v;
    }
    if (m->run)
        return VOLUME_E_PENDING;
    if (m->error) {
        int code = error_set(err, -EIO, "%s", m->error);
        free(m->error);
        m->error = NULL;
        return code;
    }
    return is_mount_point(v->path) ? 0 : start(m, nfs, options, err);
}

struct nfs_mount *nfs_mount_free(struct nfs_mount *m)
{
    if (m) {
        process_run_cancel(m->run);
        free(m->error);
    }
    free(m);
    return NULL;
}

static int setup_nfs(struct volume *v, struct error *err)
{
    struct nfs_mount *m = v->state;
    v->read_only = v->spec->nfs->read_only;
    int code = nfs_mount(v, &m, v->spec->nfs, NULL, err);
    v->state = m;
    return code;
}

static void close_nfs(struct volume *v)
{
    v->state = nfs_mount_free(v->state);
}
const struct volume_ops volume_nfs = {
    .plugin = "kubernetes.io~nfs", .setup = setup_nfs, .close = close_nfs};
