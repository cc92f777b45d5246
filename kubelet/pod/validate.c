/*
 * Defaults and checks. The API server has done most of this for pods that came from there; static
 * manifests come straight from a file, and even an API object is not trusted where a name becomes
 * part of a path.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "kube/quantity.h"
#include "kubelet/pod/pod.h"

#define CONTAINERS_MAX 256
#define VOLUMES_MAX    256
#define GROUPS_MAX     256

bool name_is_dns(const char *name, size_t max, bool dots)
{
    if (!name || !*name || strlen(name) > max)
        return false;
    char prev = '.';
    for (const char *p = name; *p; p++) {
        bool alnum = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9');
        if (!alnum && !(*p == '-' && prev != '.') &&
            !(*p == '.' && dots && prev != '.' && prev != '-'))
            return false;
        prev = *p;
    }
    return prev != '-' && prev != '.';
}

bool path_is_below(const char *path)
{
    if (!path || !*path || *path == '/')
        return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return false;
        p += n;
        p += *p == '/';
    }
    return true;
}

/* ---- defaults ---- */
static void default_text(char **field, const char *value)
{
    if (!*field || !**field) {
        free(*field);
        *field = str_dup(value);
    }
}

static void default_probe(struct probe_spec *p)
{
    if (!p)
        return;
    p->timeout = p->timeout > 0 ? p->timeout : 1;
    p->period = p->period > 0 ? p->period : 10;
    p->success = p->success > 0 ? p->success : 1;
    p->failure = p->failure > 0 ? p->failure : 3;
    if (p->http_get) {
        default_text(&p->http_get->path, "/");
        default_text(&p->http_get->scheme, "HTTP");
    }
}

/* Always for ":latest" and no tag, IfNotPresent for another tag or a digest. */
static const char *default_pull_policy(const char *image)
{
    const char *slash = strrchr(image, '/');
    const char *tag = strchr(slash ? slash : image, ':');
    if (strchr(image, '@'))
        return "IfNotPresent";
    return !tag || str_eq(tag, ":latest") ? "Always" : "IfNotPresent";
}

static void default_requests(struct resource_requirements *r)
{
    for (size_t i = 0; i < r->limits.count; i++) {
        if (string_map_get(&r->requests, r->limits.items[i].key))
            continue;
        r->requests.items =
            mem_grow(r->requests.items, r->requests.count + 1, sizeof(*r->requests.items));
        r->requests.items[r->requests.count++] = (struct string_pair){
            .key = str_dup(r->limits.items[i].key), .value = str_dup(r->limits.items[i].value)};
    }
}

static void default_container(struct container_spec *c)
{
    if (c->image)
        default_text(&c->image_pull_policy, default_pull_policy(c->image));
    default_text(&c->termination_path, "/dev/termination-log");
    default_text(&c->termination_policy, "File");
    default_probe(c->liveness);
    default_probe(c->readiness);
    default_probe(c->startup);
    for (size_t i = 0; i < c->ports.count; i++)
        default_text(&c->ports.items[i].protocol, "TCP");
    default_requests(&c->resources);
}

static bool is_guaranteed(const struct resource_requirements *r)
{
    static const char *const names[] = {"cpu", "memory"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int64_t limit = resource_milli(&r->limits, names[i], 0);
        if (limit <= 0 || limit != resource_milli(&r->requests, names[i], limit))
            return false;
    }
    return true;
}

static bool says_something(const struct resource_requirements *r)
{
    return resource_milli(&r->requests, "cpu", 0) > 0 || resource_milli(&r->limits, "cpu", 0) > 0 ||
           resource_value(&r->requests, "memory", 0) > 0 ||
           resource_value(&r->limits, "memory", 0) > 0;
}

static enum qos_class qos_of(const struct pod *pod)
{
    const struct resource_requirements *whole = pod->spec.resources;
    bool any = whole && says_something(whole), guaranteed = !any || is_guaranteed(whole);
    for (size_t i = 0; !(whole && any) && i < pod_fixed_count(pod); i++) {
        const struct resource_requirements *r = &pod_container_at(pod, i)->resources;
        any |= says_something(r);
        guaranteed &= is_guaranteed(r);
    }
    if (!any)
        return QOS_BEST_EFFORT;
    return guaranteed ? QOS_GUARANTEED : QOS_BURSTABLE;
}

static void default_mode(struct opt_int *mode)
{
    if (!mode->set)
        *mode = (struct opt_int){.set = true, .value = 0644};
}

static void default_volume(const struct pod *pod, struct volume_spec *v)
{
    if (v->config_map)
        default_mode(&v->config_map->default_mode);
    else if (v->secret)
        default_mode(&v->secret->default_mode);
    else if (v->downward)
        default_mode(&v->downward->default_mode);
    else if (v->projected)
        default_mode(&v->projected->default_mode);
    else if (v->image && v->image->reference)
        default_text(&v->image->pull_policy, default_pull_policy(v->image->reference));
    else if (v->ephemeral && !v->claim) {
        v->claim = mem_zalloc(sizeof(*v->claim));
        v->claim->name = str_printf("%s-%s", pod->meta.name, v->name ? v->name : "");
    } else if (!v->host_path && !v->empty_dir && !v->nfs && !v->claim && !v->image &&
               !v->unsupported)
        v->empty_dir = mem_zalloc(sizeof(*v->empty_dir));
}

void pod_default(struct pod *pod)
{
    struct pod_spec *s = &pod->spec;
    default_text(&s->restart_policy, "Always");
    default_text(&s->dns_policy, "ClusterFirst");
    if (!s->grace.set)
        s->grace = (struct opt_int){.set = true, .value = 30};
    for (size_t i = 0; i < s->init_containers.count; i++)
        default_container(&s->init_containers.items[i]);
    for (size_t i = 0; i < s->containers.count; i++)
        default_container(&s->containers.items[i]);
    for (size_t i = 0; i < s->ephemeral.count; i++)
        default_container(&s->ephemeral.items[i]);
    if (s->resources)
        default_requests(s->resources);
    for (size_t i = 0; i < s->volumes.count; i++)
        default_volume(pod, &s->volumes.items[i]);
    pod->restart = str_eq(s->restart_policy, "Never")       ? RESTART_NEVER
                   : str_eq(s->restart_policy, "OnFailure") ? RESTART_ON_FAILURE
                                                            : RESTART_ALWAYS;
    pod->qos = qos_of(pod);
    const json_t *groups = s->security.raw_groups;
    size_t n = json_array_size(groups);
    if (n && n <= GROUPS_MAX) {
        s->security.supplemental_groups = mem_zalloc(n * sizeof(int64_t));
        for (size_t i = 0; i < n; i++)
            s->security.supplemental_groups[i] = json_integer_value(json_array_get(groups, i));
        s->security.n_supplemental_groups = n;
    }
    json_decref(s->security.raw_groups);
    s->security.raw_groups = NULL;
}

/* ---- checks ---- */
static int bad(struct error *err, const char *field, const char *why)
{
    return error_set_field(err, -EINVAL, field, "%s: %s", field, why);
}

static bool valid_policy(const char *value, const char *a, const char *b, const char *c)
{
    return str_eq(value, a) || str_eq(value, b) || str_eq(value, c);
}

static int check_mounts(const struct pod *pod, const struct container_spec *c, const char *where,
                        struct error *err)
{
    char field[200];
    for (size_t i = 0; i < c->volume_mounts.count; i++) {
        const struct volume_mount *m = &c->volume_mounts.items[i];
        (void)snprintf(field, sizeof(field), "%s.volumeMounts[%zu]", where, i);
        if (!m->name || !pod_volume(pod, m->name))
            return bad(err, field, "no volume of this name");
        if (!m->mount_path || !*m->mount_path || strchr(m->mount_path, ':'))
            return bad(err, field, "mountPath must be a path without ':'");
        if (m->sub_path && *m->sub_path && !path_is_below(m->sub_path))
            return bad(err, field, "subPath must be a relative path without '..'");
        if (m->propagation && *m->propagation &&
            !valid_policy(m->propagation, "None", "HostToContainer", "Bidirectional"))
            return bad(err, field,
                       "mountPropagation is none of None, HostToContainer, Bidirectional");
        if (str_eq(m->propagation, "Bidirectional") && !c->security.privileged.value)
            return bad(err, field, "mountPropagation Bidirectional needs a privileged container");
        if (m->recursive_read_only && *m->recursive_read_only &&
            !valid_policy(m->recursive_read_only, "Disabled", "IfPossible", "Enabled"))
            return bad(err, field, "recursiveReadOnly is none of Disabled, IfPossible, Enabled");
        if (m->sub_path_expr && *m->sub_path_expr && m->sub_path && *m->sub_path)
            return bad(err, field, "subPath and subPathExpr exclude each other");
    }
    return 0;
}

static int check_quantities(const struct string_map *m, const char *where, struct error *err)
{
    for (size_t i = 0; i < m->count; i++) {
        struct quantity q;
        if (quantity_parse(m->items[i].value, &q, err) < 0 || quantity_sign(&q) < 0)
            return error_set_field(err, -EINVAL, where, "%s.%s: not a resource quantity: '%.60s'",
                                   where, m->items[i].key, m->items[i].value);
    }
    return 0;
}

static int check_container(const struct pod *pod, size_t n, struct error *err)
{
    const struct container_spec *c = pod_container_at(pod, n);
    size_t inits = pod->spec.init_containers.count, fixed = pod_fixed_count(pod);
    char where[64];
    (void)snprintf(where, sizeof(where), "spec.%s[%zu]", pod_container_field(pod, n),
                   n < inits   ? n
                   : n < fixed ? n - inits
                               : n - fixed);
    if (!name_is_dns(c->name, 63, false))
        return bad(err, where, "name is not a DNS label");
    for (size_t k = 0; k < n; k++)
        if (str_eq(pod_container_at(pod, k)->name, c->name))
            return bad(err, where, "name is used twice");
    if (!c->image || !*c->image)
        return bad(err, where, "image is missing");
    if (!valid_policy(c->image_pull_policy, "Always", "IfNotPresent", "Never"))
        return bad(err, where, "imagePullPolicy is none of Always, IfNotPresent, Never");
    for (size_t i = 0; i < c->ports.count; i++) {
        const struct container_port *p = &c->ports.items[i];
        if (p->container_port < 1 || p->container_port > 65535 || p->host_port < 0 ||
            p->host_port > 65535)
            return bad(err, where, "a port is not between 1 and 65535");
        if (!valid_policy(p->protocol, "TCP", "UDP", "SCTP"))
            return bad(err, where, "a port's protocol is none of TCP, UDP, SCTP");
    }
    int code = check_mounts(pod, c, where, err);
    if (!code)
        code = check_quantities(&c->resources.limits, where, err);
    if (!code)
        code = check_quantities(&c->resources.requests, where, err);
    return code;
}

static int check_volumes(const struct pod *pod, struct error *err)
{
    char where[64];
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume_spec *v = &pod->spec.volumes.items[i];
        (void)snprintf(where, sizeof(where), "spec.volumes[%zu]", i);
        if (!name_is_dns(v->name, 63, false))
            return bad(err, where, "name is not a DNS label");
        for (size_t k = 0; k < i; k++)
            if (str_eq(pod->spec.volumes.items[k].name, v->name))
                return bad(err, where, "name is used twice");
        const struct object_volume_source *o = v->config_map ? v->config_map : v->secret;
        for (size_t k = 0; o && k < o->items.count; k++)
            if (!o->items.items[k].key || !path_is_below(o->items.items[k].path))
                return bad(err, where, "an item needs a key and a relative path without '..'");
    }
    return 0;
}

int pod_validate(const struct pod *pod, struct error *err)
{
    const struct pod_spec *s = &pod->spec;
    if (!s->containers.count)
        return bad(err, "spec.containers", "at least one is needed");
    if (pod_container_count(pod) > CONTAINERS_MAX)
        return bad(err, "spec.containers", "too many");
    if (s->volumes.count > VOLUMES_MAX)
        return bad(err, "spec.volumes", "too many");
    if (!valid_policy(s->restart_policy, "Always", "OnFailure", "Never"))
        return bad(err, "spec.restartPolicy", "none of Always, OnFailure, Never");
    if (s->grace.value < 0)
        return bad(err, "spec.terminationGracePeriodSeconds", "negative");
    if (s->hostname && *s->hostname && !name_is_dns(s->hostname, 63, false))
        return bad(err, "spec.hostname", "not a DNS label");
    if (s->hostname_override && *s->hostname_override &&
        (!name_is_dns(s->hostname_override, 64, true) || s->host_network))
        return bad(err, "spec.hostnameOverride",
                   s->host_network ? "not in the host's network" : "not a DNS subdomain");
    if (s->host_users.set && !s->host_users.value &&
        (s->host_network || s->host_pid || s->host_ipc))
        return bad(err, "spec.hostUsers", "false does not go with namespaces of the host");
    int code = check_volumes(pod, err);
    for (size_t i = 0; !code && i < pod_container_count(pod); i++)
        code = check_container(pod, i, err);
    return code;
}
