/* Security contexts → CRI. A container's own field wins over the pod's. */
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"

static const char *const masked_paths[] = {
    "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
    "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                             "/proc/sysrq-trigger"};

static Runtime__V1__Int64Value *int_value(int64_t value)
{
    Runtime__V1__Int64Value *v = message_new(&runtime__v1__int64_value__descriptor);
    v->value = value;
    return v;
}

Runtime__V1__IDMapping *request_id_mapping(const struct id_mapping *m)
{
    Runtime__V1__IDMapping *r = message_new(&runtime__v1__idmapping__descriptor);
    r->host_id = m->host;
    r->container_id = 0;
    r->length = m->length;
    return r;
}

static Runtime__V1__UserNamespace *user_namespace(const struct id_mapping *m)
{
    Runtime__V1__UserNamespace *u = message_new(&runtime__v1__user_namespace__descriptor);
    u->mode = m->length ? RUNTIME__V1__NAMESPACE_MODE__POD : RUNTIME__V1__NAMESPACE_MODE__NODE;
    if (m->length) {
        message_append(&u->n_uids, &u->uids, request_id_mapping(m));
        message_append(&u->n_gids, &u->gids, request_id_mapping(m));
    }
    return u;
}

static Runtime__V1__NamespaceOption *namespaces(const struct pod *pod,
                                                const struct request_context *ctx)
{
    Runtime__V1__NamespaceOption *n = message_new(&runtime__v1__namespace_option__descriptor);
    const struct pod_spec *s = &pod->spec;
    n->userns_options = user_namespace(&ctx->ids);
    n->network =
        s->host_network ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    n->ipc = s->host_ipc ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    n->pid = s->host_pid                              ? RUNTIME__V1__NAMESPACE_MODE__NODE
             : s->share_pid.set && s->share_pid.value ? RUNTIME__V1__NAMESPACE_MODE__POD
                                                      : RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    return n;
}

static Runtime__V1__SELinuxOption *selinux(const struct selinux_spec *s)
{
    if (!s)
        return NULL;
    Runtime__V1__SELinuxOption *o = message_new(&runtime__v1__selinux_option__descriptor);
    message_text(&o->user, s->user);
    message_text(&o->role, s->role);
    message_text(&o->type, s->type);
    message_text(&o->level, s->level);
    return o;
}

/* @fallback is what no profile means. */
static Runtime__V1__SecurityProfile *profile(const struct profile_spec *p, const char *root,
                                             Runtime__V1__SecurityProfile__ProfileType fallback)
{
    Runtime__V1__SecurityProfile *r = message_new(&runtime__v1__security_profile__descriptor);
    r->profile_type = fallback;
    if (!p)
        return r;
    if (str_eq(p->type, "RuntimeDefault")) {
        r->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
    } else if (str_eq(p->type, "Localhost")) {
        r->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        const char *ref = p->localhost_profile ? p->localhost_profile : "";
        r->localhost_ref = root ? str_printf("%s/%s", root, ref) : str_dup(ref);
    } else {
        r->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    }
    return r;
}

static Runtime__V1__SupplementalGroupsPolicy groups_policy(const struct pod_security *s)
{
    return str_eq(s->supplemental_policy, "Strict")
               ? RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict
               : RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Merge;
}

static int64_t *groups(const struct pod_security *s, size_t *n)
{
    *n = s->n_supplemental_groups + s->fs_group.set;
    if (!*n)
        return NULL;
    int64_t *g = mem_zalloc(*n * sizeof(*g));
    for (size_t i = 0; i < s->n_supplemental_groups; i++)
        g[i] = s->supplemental_groups[i];
    if (s->fs_group.set)
        g[*n - 1] = s->fs_group.value;
    return g;
}

Runtime__V1__LinuxSandboxSecurityContext *
request_sandbox_security(const struct pod *pod, const struct request_context *ctx)
{
    const struct pod_security *s = &pod->spec.security;
    Runtime__V1__LinuxSandboxSecurityContext *r =
        message_new(&runtime__v1__linux_sandbox_security_context__descriptor);
    r->namespace_options = namespaces(pod, ctx);
    r->selinux_options = selinux(s->selinux);
    r->seccomp = profile(NULL, NULL, RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
    r->supplemental_groups = groups(s, &r->n_supplemental_groups);
    r->supplemental_groups_policy = groups_policy(s);
    if (s->run_as_user.set)
        r->run_as_user = int_value(s->run_as_user.value);
    if (s->run_as_group.set && s->run_as_user.set)
        r->run_as_group = int_value(s->run_as_group.value);
    for (size_t i = 0; i < pod_container_count(pod); i++) {
        const struct container_security *c = &pod_container_at(pod, i)->security;
        r->privileged |= c->privileged.set && c->privileged.value;
    }
    return r;
}

/* runAsNonRoot against the user that the container would run as. */
static int check_non_root(const struct container_request *r, const struct opt_int *uid,
                          struct error *err)
{
    const struct image_info *image = r->image;
    if (uid->set && uid->value == 0)
        return error_set(err, -EPERM, "container's runAsUser breaks non-root policy");
    if (uid->set)
        return 0;
    if (!image)
        return error_set(err, -EPERM, "container has runAsNonRoot and the image's user is unknown");
    if (image->has_uid && image->uid == 0)
        return error_set(err, -EPERM, "container has runAsNonRoot and image will run as root");
    if (!image->has_uid && image->username && *image->username)
        return error_set(
            err, -EPERM,
            "container has runAsNonRoot and image has non-numeric user (%.60s), cannot "
            "verify user is non-root",
            image->username);
    if (!image->has_uid)
        return error_set(err, -EPERM, "container has runAsNonRoot and image will run as root");
    return 0;
}

static void set_user(Runtime__V1__LinuxContainerSecurityContext *r, const struct opt_int *uid,
                     const struct opt_int *gid, const struct image_info *image)
{
    if (uid->set)
        r->run_as_user = int_value(uid->value);
    else if (image && image->has_uid)
        r->run_as_user = int_value(image->uid);
    else if (image && image->username && *image->username)
        r->run_as_username = str_dup(image->username);
    if (gid->set) {
        r->run_as_group = int_value(gid->value);
        if (!r->run_as_user && !*r->run_as_username)
            r->run_as_user = int_value(0);
    }
}

Runtime__V1__LinuxContainerSecurityContext *
request_container_security(const struct pod *pod, const struct request_context *ctx,
                           const struct container_request *r, struct error *err)
{
    const struct pod_security *p = &pod->spec.security;
    const struct container_security *c = &r->spec->security;
    const struct opt_int *uid = c->run_as_user.set ? &c->run_as_user : &p->run_as_user;
    const struct opt_int *gid = c->run_as_group.set ? &c->run_as_group : &p->run_as_group;
    const struct opt_bool *non_root =
        c->run_as_non_root.set ? &c->run_as_non_root : &p->run_as_non_root;
    const struct profile_spec *seccomp = c->seccomp ? c->seccomp : p->seccomp;
    if (non_root->set && non_root->value && check_non_root(r, uid, err) < 0)
        return NULL;
    if (seccomp && str_eq(seccomp->type, "Localhost") &&
        !path_is_below(seccomp->localhost_profile)) {
        (void)error_set(err, -EINVAL, "localhostProfile must be a relative path without '..'");
        return NULL;
    }
    Runtime__V1__LinuxContainerSecurityContext *s =
        message_new(&runtime__v1__linux_container_security_context__descriptor);
    s->namespace_options = namespaces(pod, ctx);
    if (r->target_id && s->namespace_options->pid == RUNTIME__V1__NAMESPACE_MODE__CONTAINER) {
        s->namespace_options->pid = RUNTIME__V1__NAMESPACE_MODE__TARGET;
        message_text(&s->namespace_options->target_id, r->target_id);
    }
    s->selinux_options = selinux(c->selinux ? c->selinux : p->selinux);
    s->privileged = c->privileged.set && c->privileged.value;
    s->readonly_rootfs = c->read_only_root.set && c->read_only_root.value;
    s->no_new_privs = c->allow_escalation.set && !c->allow_escalation.value;
    s->supplemental_groups = groups(p, &s->n_supplemental_groups);
    s->supplemental_groups_policy = groups_policy(p);
    set_user(s, uid, gid, r->image);
    s->seccomp = profile(s->privileged ? NULL : seccomp, ctx->seccomp_root,
                         ctx->seccomp_default && !s->privileged
                             ? RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault
                             : RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined);
    const struct profile_spec *apparmor = c->apparmor ? c->apparmor : p->apparmor;
    if (apparmor)
        s->apparmor =
            profile(apparmor, NULL, RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
    if (c->capabilities) {
        s->capabilities = message_new(&runtime__v1__capability__descriptor);
        message_append_texts(&s->capabilities->n_add_capabilities,
                             &s->capabilities->add_capabilities, &c->capabilities->add);
        message_append_texts(&s->capabilities->n_drop_capabilities,
                             &s->capabilities->drop_capabilities, &c->capabilities->drop);
    }
    bool unmasked = s->privileged || str_eq(c->proc_mount, "Unmasked");
    for (size_t i = 0; !unmasked && i < ARRAY_SIZE(masked_paths); i++)
        message_append_text(&s->n_masked_paths, &s->masked_paths, masked_paths[i]);
    for (size_t i = 0; !unmasked && i < ARRAY_SIZE(readonly_paths); i++)
        message_append_text(&s->n_readonly_paths, &s->readonly_paths, readonly_paths[i]);
    return s;
}
