/* A pod's devices: had before anything is made, told of before each start. */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/worker/worker.h"

static void on_devices(void *arg, const char *error)
{
    struct pod_worker *w = arg;
    w->devices = NULL;
    if (error) {
        _cleanup_free_ char *text =
            str_printf("Allocate failed due to %s, which is unexpected", error);
        worker_reject(w, "UnexpectedAdmissionError", text);
    } else {
        w->devices_ready = true;
    }
    worker_kick(w);
}

bool worker_sync_devices(struct pod_worker *w)
{
    /* What runs, or ran, under an earlier kubelet was given what it has by that one. */
    for (size_t i = 0; i < w->n_slots && !w->devices_ready; i++)
        w->devices_ready = w->slots[i]->run != NULL;
    if (!w->devices_ready && !w->devices)
        w->devices_ready = devices_has(w->k->devices, w->pod);
    if (!w->devices_ready && !w->devices)
        w->devices = devices_allocate(w->k->devices, w->pod, on_devices, w);
    return w->devices_ready;
}

static void on_told(void *arg, const char *error)
{
    struct container_slot *s = arg;
    s->devices = NULL;
    s->step = SLOT_IDLE;
    s->devices_told = !error;
    if (error)
        slot_failed(s, "CreateContainerConfigError", error);
    worker_kick(s->w);
}

bool slot_sync_devices(struct container_slot *s)
{
    if (s->devices_told)
        return true;
    s->devices = devices_pre_start(s->w->k->devices, s->w->pod, slot_spec(s)->name, on_told, s);
    if (s->devices)
        s->step = SLOT_DEVICES;
    return !s->devices;
}

void slot_done_devices(struct container_slot *s)
{
    s->devices = device_request_cancel(s->devices);
}

void slot_devices_env(const V1beta1__ContainerAllocateResponse *a, struct env_list *env)
{
    for (size_t i = 0; a && i < a->n_envs; i++) {
        const char *key = a->envs[i]->key;
        if (!*key || env_list_get(env, key))
            continue;
        env->items = mem_grow(env->items, env->count + 1, sizeof(*env->items));
        env->items[env->count++] =
            (struct string_pair){.key = str_dup(key), .value = str_dup(a->envs[i]->value)};
    }
}

void slot_devices_mounts(const V1beta1__ContainerAllocateResponse *a, struct mount_list *mounts)
{
    for (size_t i = 0; a && i < a->n_mounts; i++)
        (void)mount_list_add(mounts, a->mounts[i]->host_path, a->mounts[i]->container_path,
                             a->mounts[i]->read_only);
}
