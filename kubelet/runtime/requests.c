/* Pod → PodSandboxConfig and ContainerConfig. */
#include "kubelet/runtime/requests.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/runtime/message.h"

struct container_mount *mount_list_add(struct mount_list *l, const char *host_path,
                                       const char *container_path, bool read_only)
{
    l->items = mem_grow(l->items, l->count + 1, sizeof(*l->items));
    l->items[l->count++] = (struct container_mount){.host_path = str_dup(host_path),
                                                    .container_path = str_dup(container_path),
                                                    .read_only = read_only};
    return &l->items[l->count - 1];
}

void mount_list_done(struct mount_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].host_path);
        free(l->items[i].container_path);
        free(l->items[i].propagation);
        free(l->items[i].image);
        free(l->items[i].image_sub_path);
    }
    free(l->items);
    memset(l, 0, sizeof(*l));
}

void image_info_done(struct image_info *i)
{
    free(i->id);
    free(i->digest_ref);
    free(i->username);
    memset(i, 0, sizeof(*i));
}

char *pod_hostname(const struct pod *pod, const char *cluster_domain, char **ret_domain)
{
    const struct pod_spec *s = &pod->spec;
    if (s->hostname_override && *s->hostname_override) {
        *ret_domain = str_dup("");
        return str_dup(s->hostname_override);
    }
    char *host = str_ndup(s->hostname && *s->hostname ? s->hostname : pod->meta.name, 63);
    for (size_t n = strlen(host); n && (host[n - 1] == '-' || host[n - 1] == '.'); n--)
        host[n - 1] = 0;
    bool sub = s->subdomain && name_is_dns(s->subdomain, 63, false);
    *ret_domain = sub ? str_printf("%s.%s.svc.%s", s->subdomain, pod->meta.ns,
                                   cluster_domain ? cluster_domain : "")
                      : str_dup("");
    return host;
}

char *pod_kernel_hostname(const struct pod *pod, const char *cluster_domain, struct error *err)
{
    _cleanup_free_ char *domain = NULL, *host = pod_hostname(pod, cluster_domain, &domain);
    if (!pod->spec.hostname_as_fqdn.value || !*domain)
        return TAKE_PTR(host);
    char *fqdn = str_printf("%s.%s", host, domain);
    if (strlen(fqdn) <= HOST_NAME_MAX)
        return fqdn;
    (void)error_set(err, -ENAMETOOLONG,
                    "failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too "
                    "long (%d characters is the max, %zu characters requested)",
                    fqdn, HOST_NAME_MAX, strlen(fqdn));
    free(fqdn);
    return NULL;
}

char *pod_log_dir(const struct pod *pod, const char *log_root)
{
    return str_printf("%s/%s_%s_%s", log_root, pod->meta.ns, pod->meta.name, pod->meta.uid);
}

static Runtime__V1__Protocol protocol(const char *name)
{
    return str_eq(name, "UDP")    ? RUNTIME__V1__PROTOCOL__UDP
           : str_eq(name, "SCTP") ? RUNTIME__V1__PROTOCOL__SCTP
                                  : RUNTIME__V1__PROTOCOL__TCP;
}

static void add_ports(Runtime__V1__PodSandboxConfig *s, const struct container_spec *c)
{
    for (size_t i = 0; i < c->ports.count; i++) {
        const struct container_port *p = &c->ports.items[i];
        Runtime__V1__PortMapping *m = message_new(&runtime__v1__port_mapping__descriptor);
        m->protocol = protocol(p->protocol);
        m->container_port = (int32_t)p->container_port;
        m->host_port = (int32_t)p->host_port;
        message_text(&m->host_ip, p->host_ip);
        message_append(&s->n_port_mappings, &s->port_mappings, m);
    }
}

static void add_labels(Runtime__V1__PodSandboxConfig *s, const struct pod *pod)
{
    const ProtobufCMessageDescriptor *label =
        &runtime__v1__pod_sandbox_config__labels_entry__descriptor;
    const ProtobufCMessageDescriptor *note =
        &runtime__v1__pod_sandbox_config__annotations_entry__descriptor;
    for (size_t i = 0; i < pod->meta.labels.count; i++)
        message_map_put(&s->n_labels, &s->labels, label, pod->meta.labels.items[i].key,
                        pod->meta.labels.items[i].value);
    message_map_put(&s->n_labels, &s->labels, label, LABEL_POD_NAME, pod->meta.name);
    message_map_put(&s->n_labels, &s->labels, label, LABEL_POD_NAMESPACE, pod->meta.ns);
    message_map_put(&s->n_labels, &s->labels, label, LABEL_POD_UID, pod->meta.uid);
    for (size_t i = 0; i < pod->meta.annotations.count; i++)
        message_map_put(&s->n_annotations, &s->annotations, note,
                        pod->meta.annotations.items[i].key, pod->meta.annotations.items[i].value);
    message_map_put(&s->n_annotations, &s->annotations, note, POD_ANNOTATION_SOURCE,
                    pod->source == POD_FROM_API ? "api" : "file");
}

static void set_linux(Runtime__V1__PodSandboxConfig *s, const struct pod *pod,
                      const struct request_context *ctx)
{
    Runtime__V1__LinuxPodSandboxConfig *l =
        message_new(&runtime__v1__linux_pod_sandbox_config__descriptor);
    message_text(&l->cgroup_parent, ctx->cgroup_parent);
    l->security_context = request_sandbox_security(pod, ctx);
    for (size_t i = 0; i < pod->spec.security.sysctls.count; i++) {
        const struct sysctl_spec *y = &pod->spec.security.sysctls.items[i];
        if (y->name)
            message_map_put(&l->n_sysctls, &l->sysctls,
                            &runtime__v1__linux_pod_sandbox_config__sysctls_entry__descriptor,
                            y->name, y->value);
    }
    struct pod_resources r = pod_resources_of(pod);
    l->resources = message_new(&runtime__v1__linux_container_resources__descriptor);
    l->resources->cpu_shares = r.shares;
    l->resources->cpu_period = 100000;
    l->resources->cpu_quota = r.quota;
    l->resources->memory_limit_in_bytes = r.memory;
    if (pod->spec.overhead.count) {
        l->overhead = message_new(&runtime__v1__linux_container_resources__descriptor);
        l->overhead->cpu_shares = milli_to_shares(resource_milli(&pod->spec.overhead, "cpu", 0));
        l->overhead->memory_limit_in_bytes = resource_value(&pod->spec.overhead, "memory", 0);
    }
    s->linux = l;
}

Runtime__V1__PodSandboxConfig *request_sandbox(const struct pod *pod,
                                               const struct request_context *ctx, uint32_t attempt)
{
    Runtime__V1__PodSandboxConfig *s = message_new(&runtime__v1__pod_sandbox_config__descriptor);
    s->metadata = message_new(&runtime__v1__pod_sandbox_metadata__descriptor);
    message_text(&s->metadata->name, pod->meta.name);
    message_text(&s->metadata->uid, pod->meta.uid);
    message_text(&s->metadata->namespace_, pod->meta.ns);
    s->metadata->attempt = attempt;
    _cleanup_free_ char *host =
        pod->spec.host_network ? NULL : pod_kernel_hostname(pod, ctx->dns->domain, NULL);
    message_text(&s->hostname, host);
    s->log_directory = pod_log_dir(pod, ctx->log_root);
    s->dns_config = request_dns(pod, ctx->dns, NULL);
    for (size_t i = 0; i < pod->spec.containers.count; i++)
        add_ports(s, &pod->spec.containers.items[i]);
    add_labels(s, pod);
    set_linux(s, pod, ctx);
    return s;
}

/* ---- containers ---- */
static int add_mounts(Runtime__V1__ContainerConfig *c, const struct mount_list *mounts,
                      const struct id_mapping *ids, struct error *err)
{
    for (size_t i = 0; i < mounts->count; i++) {
        const struct container_mount *m = &mounts->items[i];
        Runtime__V1__Mount *r = message_new(&runtime__v1__mount__descriptor);
        message_text(&r->container_path, m->container_path);
        message_text(&r->host_path, m->host_path);
        r->readonly = m->read_only;
        r->recursive_read_only = m->recursive_read_only;
        if (m->image) {
            r->image = message_new(&runtime__v1__image_spec__descriptor);
            message_text(&r->image->image, m->image);
            message_text(&r->image->user_specified_image, m->image);
            message_text(&r->image_sub_path, m->image_sub_path);
        }
        if (ids->length && !m->image) {
            message_append(&r->n_uidmappings, &r->uidmappings, request_id_mapping(ids));
            message_append(&r->n_gidmappings, &r->gidmappings, request_id_mapping(ids));
        }
        message_append(&c->n_mounts, &c->mounts, r);
        if (!m->propagation || !*m->propagation || str_eq(m->propagation, "None"))
            r->propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE;
        else if (str_eq(m->propagation, "HostToContainer"))
            r->propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER;
        else if (str_eq(m->propagation, "Bidirectional"))
            r->propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
        else
            return error_set(err, -EINVAL, "mountPropagation %.40s is not known", m->propagation);
    }
    return 0;
}

static int add_words(size_t *n, char ***items, const struct string_list *words,
                     const struct env_list *env, struct error *err)
{
    for (size_t i = 0; i < words->count; i++) {
        char *text = env_expand(words->items[i], env);
        if (!text)
            return error_set(err, -E2BIG, "a command word is too long once expanded");
        message_append(n, items, text);
    }
    return 0;
}

static _printf_(3, 4) void annotate(Runtime__V1__ContainerConfig *c, const char *key,
                                    const char *fmt, ...)
{
    struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    message_map_put(&c->n_annotations, &c->annotations,
                    &runtime__v1__container_config__annotations_entry__descriptor, key,
                    strbuf_text(&text));
    strbuf_done(&text);
}

static void add_identity(Runtime__V1__ContainerConfig *c, const struct pod *pod,
                         const struct container_request *r)
{
    const ProtobufCMessageDescriptor *label =
        &runtime__v1__container_config__labels_entry__descriptor;
    char hash[9];
    container_hash(r->spec, hash);
    message_map_put(&c->n_labels, &c->labels, label, LABEL_POD_NAME, pod->meta.name);
    message_map_put(&c->n_labels, &c->labels, label, LABEL_POD_NAMESPACE, pod->meta.ns);
    message_map_put(&c->n_labels, &c->labels, label, LABEL_POD_UID, pod->meta.uid);
    message_map_put(&c->n_labels, &c->labels, label, LABEL_CONTAINER_NAME, r->spec->name);
    annotate(c, ANNOTATION_HASH, "%s", hash);
    annotate(c, ANNOTATION_RESTARTS, "%" PRIu32, r->restart_count);
    annotate(c, ANNOTATION_MESSAGE_PATH, "%s", r->spec->termination_path);
    annotate(c, ANNOTATION_MESSAGE_POLICY, "%s", r->spec->termination_policy);
    annotate(c, ANNOTATION_POD_GRACE, "%" PRId64, pod->spec.grace.value);
    if (pod->meta.deletion_grace.set)
        annotate(c, ANNOTATION_DELETION_GRACE, "%" PRId64, pod->meta.deletion_grace.value);
}

/* What plugins give beside variables and mounts. */
static void add_devices(Runtime__V1__ContainerConfig *c,
                        const V1beta1__ContainerAllocateResponse *a)
{
    for (size_t i = 0; a && i < a->n_devices; i++) {
        Runtime__V1__Device *d = message_new(&runtime__v1__device__descriptor);
        message_text(&d->container_path, a->devices[i]->container_path);
        message_text(&d->host_path, a->devices[i]->host_path);
        message_text(&d->permissions, a->devices[i]->permissions);
        message_append(&c->n_devices, &c->devices, d);
    }
    for (size_t i = 0; a && i < a->n_annotations; i++)
        annotate(c, a->annotations[i]->key, "%s", a->annotations[i]->value);
    for (size_t i = 0; a && i < a->n_cdi_devices; i++) {
        Runtime__V1__CDIDevice *d = message_new(&runtime__v1__cdidevice__descriptor);
        message_text(&d->name, a->cdi_devices[i]->name);
        message_append(&c->n_cdi_devices, &c->cdi_devices, d);
    }
}

/* A probe that could never succeed would restart the container for ever: refuse it instead. */
static int check_probe(const struct probe_spec *p, const char *name, struct error *err)
{
    if (!p || p->exec || p->http_get || p->tcp_socket || p->grpc)
        return 0;
    return error_set(err, -ENOTSUP, "%s: the probe has no handler", name);
}

static int check_supported(const struct container_spec *c, struct error *err)
{
    if (json_array_size(c->volume_devices))
        return error_set(err, -ENOTSUP, "volumeDevices are not supported");
    for (size_t i = 0; i < c->restart_rules.count; i++)
        if (!str_eq(c->restart_rules.items[i].action, "Restart"))
            return error_set(
                err, -ENOTSUP, "restartPolicyRules[%zu].action \"%.40s\" is not supported", i,
                c->restart_rules.items[i].action ? c->restart_rules.items[i].action : "");
    int r = check_probe(c->liveness, "livenessProbe", err);
    if (r == 0)
        r = check_probe(c->readiness, "readinessProbe", err);
    return r < 0 ? r : check_probe(c->startup, "startupProbe", err);
}

static int set_stop_signal(Runtime__V1__ContainerConfig *c, const struct container_spec *spec,
                           struct error *err)
{
    const char *name = spec->lifecycle ? spec->lifecycle->stop_signal : NULL;
    if (!name || !*name)
        return 0;
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value_by_name(&runtime__v1__signal__descriptor, name);
    if (!v)
        return error_set(err, -EINVAL, "lifecycle.stopSignal \"%.40s\" is not known", name);
    c->stop_signal = (Runtime__V1__Signal)v->value;
    return 0;
}

Runtime__V1__ContainerConfig *request_container(const struct pod *pod,
                                                const struct request_context *ctx,
                                                const struct container_request *r,
                                                struct error *err)
{
    const struct container_spec *spec = r->spec;
    if (check_supported(spec, err) < 0)
        return NULL;
    Runtime__V1__LinuxContainerSecurityContext *security =
        request_container_security(pod, ctx, r, err);
    if (!security)
        return NULL;
    Runtime__V1__ContainerConfig *c = message_new(&runtime__v1__container_config__descriptor);
    c->linux = message_new(&runtime__v1__linux_container_config__descriptor);
    c->linux->security_context = security;
    c->linux->resources = request_resources(pod, spec, ctx);
    c->metadata = message_new(&runtime__v1__container_metadata__descriptor);
    message_text(&c->metadata->name, spec->name);
    c->metadata->attempt = r->restart_count;
    c->image = message_new(&runtime__v1__image_spec__descriptor);
    message_text(&c->image->image, r->image && r->image->id ? r->image->id : spec->image);
    message_text(&c->image->user_specified_image, spec->image);
    message_text(&c->working_dir, spec->working_dir);
    c->log_path = str_printf("%s/%" PRIu32 ".log", spec->name, r->restart_count);
    if (set_stop_signal(c, spec, err) < 0)
        return message_free(c);
    c->stdin = spec->stdin;
    c->stdin_once = spec->stdin_once;
    c->tty = spec->tty;
    add_devices(c, r->devices);
    add_identity(c, pod, r);
    for (size_t i = 0; i < r->env->count; i++) {
        Runtime__V1__KeyValue *kv = message_new(&runtime__v1__key_value__descriptor);
        kv->key = str_dup(r->env->items[i].key);
        message_text(&kv->value, r->env->items[i].value);
        message_append(&c->n_envs, &c->envs, kv);
    }
    if (add_mounts(c, r->mounts, &ctx->ids, err) < 0 ||
        add_words(&c->n_command, &c->command, &spec->command, r->env, err) < 0 ||
        add_words(&c->n_args, &c->args, &spec->args, r->env, err) < 0)
        return message_free(c);
    return c;
}
