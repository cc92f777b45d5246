/*
 * The end of a pod's directory. Files that we wrote ourselves (ConfigMaps, Secrets and the like)
 * are few, and go at once; whatever containers may have filled, or a server has, is left to
 * coracle-tree.
 */
#include <dirent.h>
#include <errno.h>

#include "base/fs.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "base/teardown.h"
#include "kubelet/volume/volume.h"

#define DEADLINE_MS 120000

struct volume_teardown {
    struct process_run *run;
    void (*cb)(void *arg, int code, const char *error);
    void *arg;
};

static bool may_take_long(const char *pod_dir)
{
    static const char *const ours[] = {".",
                                       "..",
                                       "kubernetes.io~configmap",
                                       "kubernetes.io~secret",
                                       "kubernetes.io~downward-api",
                                       "kubernetes.io~projected"};
    _cleanup_free_ char *volumes = fs_join(pod_dir, "volumes");
    bool found = false;
    DIR *d = opendir(volumes);
    for (const struct dirent *e; d && !found && (e = readdir(d));) {
        found = true;
        for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
            found &= !str_eq(e->d_name, ours[i]);
    }
    if (d)
        (void)closedir(d);
    return found;
}

static void on_end(const struct process_result *result, void *arg)
{
    struct volume_teardown *t = arg;
    struct error err = ERROR_INIT;
    int code = process_result_error(result, "coracle-tree", &err);
    void (*cb)(void *arg, int code, const char *error) = t->cb;
    void *cb_arg = t->arg;
    free(t);
    cb(cb_arg, code, code < 0 ? error_text(&err) : "");
}

int volumes_teardown(struct kubelet *k, const char *pod_dir,
                     void (*cb)(void *arg, int code, const char *error), void *arg,
                     struct volume_teardown **ret, struct error *err)
{
    if (!fs_exists(pod_dir))
        return 0;
    if (!may_take_long(pod_dir)) {
        int code = teardown_mounts(pod_dir, err);
        return code < 0 ? code : fs_remove_tree(pod_dir, err);
    }
    const char *const argv[] = {k->tree_program, "teardown", pod_dir, NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    struct volume_teardown *t = mem_zalloc(sizeof(*t));
    t->cb = cb;
    t->arg = arg;
    spec.argv = argv;
    int code = process_run(k->loop, &spec, NULL, 0, 4096, DEADLINE_MS, on_end, t, &t->run, err);
    if (code < 0) {
        free(t);
        return code;
    }
    *ret = t;
    return VOLUME_E_PENDING;
}

struct volume_teardown *volume_teardown_cancel(struct volume_teardown *t)
{
    if (t)
        process_run_cancel(t->run);
    free(t);
    return NULL;
}
