/* Disk usage of writable layers; see layer_usage.h. */
#include "cri/layer_usage.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/times.h"
#include "cri/container.h"
#include "cri/stats.h"

#define LOOKS_AT_ONCE 2
#define YOUNG_MS      1000 /* at least this long */
#define YOUNG_FACTOR  20   /* … and so many times what the look took: 5 % of a processor */

struct layers {
    struct runtime *rt;
    struct jobs *jobs;
    atomic_bool stop;
};

struct look {
    struct layers *layers;
    char id[CONTAINER_ID_LEN + 1];
    char *path;
    struct fs_usage usage;
    int64_t at_ns;
    uint64_t took_ms;
};

struct layers *layers_new(struct runtime *rt)
{
    struct layers *l = mem_zalloc(sizeof(*l));
    l->rt = rt;
    l->jobs = jobs_new(rt->loop, LOOKS_AT_ONCE);
    return l;
}

struct layers *layers_free(struct layers *l)
{
    if (!l)
        return NULL;
    atomic_store(&l->stop, true);
    (void)jobs_free(l->jobs);
    free(l);
    return NULL;
}

static int work(void *data, struct error *err)
{
    struct look *look = data;
    uint64_t began = now_ms();
    look->at_ns = time_now_nano();
    int r = fs_tree_usage(look->path, &look->layers->stop, &look->usage, err);
    look->took_ms = now_ms() - began;
    return r;
}

static void discard(void *data)
{
    struct look *look = data;
    free(look->path);
    free(look);
}

static void on_done(int code, const struct error *err, void *data)
{
    struct look *look = data;
    struct runtime *rt = look->layers->rt;
    struct container *c = map_get(&rt->containers, look->id);
    if (code < 0 && code != -ENOENT) /* it is being removed */
        log_warn("cannot tell what a container's layer takes", "container", look->id, "error",
                 error_text(err), NULL);
    if (c) {
        c->layer.looking = false;
        c->layer.old_ms = now_ms() + YOUNG_MS + YOUNG_FACTOR * look->took_ms;
        if (code == 0) {
            c->layer.usage = look->usage;
            c->layer.at_ns = look->at_ns;
        }
    }
    stats_layer_known(rt, look->id);
    discard(look);
}

bool layers_refresh(struct container *c)
{
    if (c->layer.looking)
        return true;
    if (!c->rt->layers || now_ms() < c->layer.old_ms)
        return false;
    struct look *look = mem_zalloc(sizeof(*look));
    look->layers = c->rt->layers;
    memcpy(look->id, c->id, sizeof(look->id));
    look->path = fs_join(c->layer_dir, "upper");
    c->layer.looking = true;
    job_run_owned(c->rt->layers->jobs, work, on_done, discard, look);
    return true;
}
