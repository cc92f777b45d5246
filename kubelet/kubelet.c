/* Helpers on the shared context. */
#include "kubelet/kubelet.h"

#include "base/fs.h"
#include "base/strbuf.h"

void kubelet_event(struct kubelet *k, const struct pod *pod, const char *container,
                   const char *type, const char *reason, const char *fmt, ...)
{
    va_list args;
    struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *path = NULL;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    for (size_t i = 0; container && i < pod_container_count(pod); i++)
        if (str_eq(pod_container_at(pod, i)->name, container))
            path = str_printf("spec.%s{%s}", pod_container_field(pod, i), container);
    struct event_object about = {.api_version = "v1",
                                 .kind = "Pod",
                                 .ns = pod->meta.ns,
                                 .name = pod->meta.name,
                                 .uid = pod->meta.uid,
                                 .resource_version = pod->meta.resource_version,
                                 .field_path = path};
    event_record(k->events, &about, type, reason, "%s", strbuf_text(&text));
    strbuf_done(&text);
}

const struct runtime_handler *kubelet_handler(const struct kubelet *k, const char *name)
{
    for (size_t i = 0; i < k->handlers.count; i++)
        if (str_eq(k->handlers.items[i].name, name ? name : ""))
            return &k->handlers.items[i];
    return NULL;
}

void kubelet_read_dns(struct kubelet *k)
{
    struct strbuf text = STRBUF_INIT;
    if (!k->resolv_conf)
        return;
    (void)fs_read(k->resolv_conf, 65536, &text, NULL);
    free(k->resolv_text);
    k->dns.host_config = k->resolv_text = strbuf_take(&text);
}

char *kubelet_pod_dir(const struct kubelet *k, const char *uid)
{
    return fs_join(k->pods_dir, uid);
}
