/* The protocol's views of sandboxes and containers; see status.h. */
#include "cri/status.h"

#include <string.h>

#include "cri/signals.h"

/* Map entries of every message have the same form; protobuf-c names a type for each. Packing goes
 * by each entry's own descriptor, so that those of the configuration can stand in a status. */
typedef Runtime__V1__PodSandboxConfig__LabelsEntry entry;

#define BORROW_MAP(to, n_to, from, n_from) \
    do {                                   \
        (n_to) = (n_from);                 \
        (to) = (void *)(uintptr_t)(from);  \
    } while (0)

Runtime__V1__PodSandboxState sandbox_state_of(const struct sandbox *s)
{
    return s->state == SANDBOX_READY ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY
                                     : RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
}

Runtime__V1__ContainerState container_state_of(const struct container *c)
{
    switch (c->state) {
    case CONTAINER_CREATING:
    case CONTAINER_CREATED:
    case CONTAINER_STARTING:
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED;
    case CONTAINER_RUNNING:
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
    case CONTAINER_EXITED:
        return RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
    }
    return RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN;
}

static void set_addresses(struct arena *a, const struct network_attachment *net,
                          Runtime__V1__PodSandboxNetworkStatus *to)
{
    char text[IP_TEXT_MAX];
    if (!net->n_addrs)
        return;
    to->ip = arena_dup(a, ip_addr_format(&net->addrs[0], text));
    to->n_additional_ips = net->n_addrs - 1;
    to->additional_ips = arena_array(a, net->n_addrs, sizeof(void *));
    for (size_t i = 1; i < net->n_addrs; i++) {
        Runtime__V1__PodIP *ip = ARENA_MESSAGE(a, Runtime__V1__PodIP, runtime__v1__pod_ip);
        ip->ip = arena_dup(a, ip_addr_format(&net->addrs[i], text));
        to->additional_ips[i - 1] = ip;
    }
}

Runtime__V1__PodSandboxStatus *status_of_sandbox(struct arena *a, const struct sandbox *s)
{
    Runtime__V1__PodSandboxStatus *st =
        ARENA_MESSAGE(a, Runtime__V1__PodSandboxStatus, runtime__v1__pod_sandbox_status);
    st->id = (char *)(uintptr_t)s->id;
    st->metadata = s->config->metadata;
    st->state = sandbox_state_of(s);
    st->created_at = s->created_ns;
    st->network = ARENA_MESSAGE(a, Runtime__V1__PodSandboxNetworkStatus,
                                runtime__v1__pod_sandbox_network_status);
    set_addresses(a, &s->net, st->network);
    st->linux =
        ARENA_MESSAGE(a, Runtime__V1__LinuxPodSandboxStatus, runtime__v1__linux_pod_sandbox_status);
    st->linux->namespaces = ARENA_MESSAGE(a, Runtime__V1__Namespace, runtime__v1__namespace);
    st->linux->namespaces->options =
        (Runtime__V1__NamespaceOption *)(uintptr_t)sandbox_namespaces(s->config);
    BORROW_MAP(st->labels, st->n_labels, s->config->labels, s->config->n_labels);
    BORROW_MAP(st->annotations, st->n_annotations, s->config->annotations,
               s->config->n_annotations);
    return st;
}

Runtime__V1__PodSandbox *sandbox_summary(struct arena *a, const struct sandbox *s)
{
    Runtime__V1__PodSandbox *p =
        ARENA_MESSAGE(a, Runtime__V1__PodSandbox, runtime__v1__pod_sandbox);
    p->id = (char *)(uintptr_t)s->id;
    p->metadata = s->config->metadata;
    p->state = sandbox_state_of(s);
    p->created_at = s->created_ns;
    BORROW_MAP(p->labels, p->n_labels, s->config->labels, s->config->n_labels);
    BORROW_MAP(p->annotations, p->n_annotations, s->config->annotations, s->config->n_annotations);
    return p;
}

static void set_text(char **to, const char *from)
{
    if (from)
        *to = (char *)(uintptr_t)from;
}

Runtime__V1__ContainerStatus *status_of_container(struct arena *a, const struct container *c)
{
    const Runtime__V1__ContainerConfig *config = c->config;
    Runtime__V1__ContainerStatus *st =
        ARENA_MESSAGE(a, Runtime__V1__ContainerStatus, runtime__v1__container_status);
    st->id = (char *)(uintptr_t)c->id;
    st->metadata = config->metadata;
    st->state = container_state_of(c);
    st->created_at = c->created_ns;
    st->started_at = c->started_ns;
    st->finished_at = c->finished_ns;
    st->exit_code = c->exit_code;
    st->image = config->image;
    set_text(&st->image_ref, c->image_id);
    set_text(&st->image_id, c->image_id);
    set_text(&st->reason, c->reason);
    set_text(&st->message, c->message);
    set_text(&st->log_path, c->log_path);
    BORROW_MAP(st->labels, st->n_labels, config->labels, config->n_labels);
    BORROW_MAP(st->annotations, st->n_annotations, config->annotations, config->n_annotations);
    st->n_mounts = config->n_mounts;
    st->mounts = config->mounts;
    if (config->linux && config->linux->resources) {
        st->resources =
            ARENA_MESSAGE(a, Runtime__V1__ContainerResources, runtime__v1__container_resources);
        st->resources->linux = config->linux->resources;
    }
    st->stop_signal = signal_to_cri(c->stop_signal);
    if (c->n_groups >= 0) {
        st->user = ARENA_MESSAGE(a, Runtime__V1__ContainerUser, runtime__v1__container_user);
        st->user->linux =
            ARENA_MESSAGE(a, Runtime__V1__LinuxContainerUser, runtime__v1__linux_container_user);
        st->user->linux->uid = c->uid;
        st->user->linux->gid = c->gid;
        st->user->linux->n_supplemental_groups = (size_t)c->n_groups;
        st->user->linux->supplemental_groups = c->groups;
    }
    return st;
}

Runtime__V1__Container *container_summary(struct arena *a, const struct container *c)
{
    const Runtime__V1__ContainerConfig *config = c->config;
    Runtime__V1__Container *m = ARENA_MESSAGE(a, Runtime__V1__Container, runtime__v1__container);
    m->id = (char *)(uintptr_t)c->id;
    m->pod_sandbox_id = (char *)(uintptr_t)c->sandbox->id;
    m->metadata = config->metadata;
    m->image = config->image;
    set_text(&m->image_ref, c->image_id);
    set_text(&m->image_id, c->image_id);
    m->state = container_state_of(c);
    m->created_at = c->created_ns;
    BORROW_MAP(m->labels, m->n_labels, config->labels, config->n_labels);
    BORROW_MAP(m->annotations, m->n_annotations, config->annotations, config->n_annotations);
    return m;
}

Runtime__V1__ContainerStatus **statuses_of_containers(struct arena *a, const struct sandbox *s,
                                                      size_t *ret_n)
{
    size_t n = 0;
    LIST_FOR_EACH(e, &s->containers) {
        n++;
    }
    Runtime__V1__ContainerStatus **list = arena_array(a, n, sizeof(void *));
    n = 0;
    LIST_FOR_EACH(e, &s->containers) {
        const struct container *c = LIST_ENTRY(e, struct container, entry);
        if (c->state != CONTAINER_CREATING)
            list[n++] = status_of_container(a, c);
    }
    *ret_n = n;
    return list;
}

bool labels_match(size_t n_labels, const void *labels, size_t n_selector, const void *selector)
{
    entry *const *have = labels;
    entry *const *want = selector;
    for (size_t i = 0; i < n_selector; i++) {
        bool found = false;
        for (size_t j = 0; j < n_labels && !found; j++)
            found = str_eq(have[j]->key, want[i]->key) && str_eq(have[j]->value, want[i]->value);
        if (!found)
            return false;
    }
    return true;
}

/* An id of a filter may be the beginning of one. */
static bool id_matches(const char *id, const char *wanted)
{
    return !wanted[0] || str_starts(id, wanted);
}

bool sandbox_matches(const struct sandbox *s, const Runtime__V1__PodSandboxFilter *f)
{
    if (s->state == SANDBOX_CREATING)
        return false;
    if (!f)
        return true;
    return id_matches(s->id, f->id) && (!f->state || f->state->state == sandbox_state_of(s)) &&
           labels_match(s->config->n_labels, s->config->labels, f->n_label_selector,
                        f->label_selector);
}

bool container_matches(const struct container *c, const Runtime__V1__ContainerFilter *f)
{
    if (c->state == CONTAINER_CREATING)
        return false;
    if (!f)
        return true;
    return id_matches(c->id, f->id) && id_matches(c->sandbox->id, f->pod_sandbox_id) &&
           (!f->state || f->state->state == container_state_of(c)) &&
           labels_match(c->config->n_labels, c->config->labels, f->n_label_selector,
                        f->label_selector);
}
