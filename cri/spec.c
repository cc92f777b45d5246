/* From the CRI's configuration and the image's to a launch specification; see spec.h. */
#include "cri/spec.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const Runtime__V1__LinuxContainerSecurityContext no_security =
    RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;

static const Runtime__V1__LinuxContainerSecurityContext *
security(const Runtime__V1__ContainerConfig *config)
{
    return config->linux && config->linux->security_context ? config->linux->security_context
                                                            : &no_security;
}

static size_t count(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* command replaces the image's entrypoint, args its command; a new command without args takes none
 * of the image's. */
static int arguments(struct arena *a, const Runtime__V1__ContainerConfig *config,
                     const struct image_config *image, struct launch_spec *spec, struct error *err)
{
    char *const *command = config->command;
    char *const *args = config->args;
    size_t n_command = config->n_command, n_args = config->n_args;
    if (!n_command) {
        command = image->entrypoint;
        n_command = count(image->entrypoint);
        if (!n_args) {
            args = image->cmd;
            n_args = count(image->cmd);
        }
    }
    if (n_command + n_args == 0)
        return error_set_field(err, -EINVAL, "command",
                               "no command: neither the configuration nor the image has one");
    if (n_command + n_args > LAUNCH_ITEMS_MAX)
        return error_set_field(err, -EINVAL, "args", "args: more than %d", LAUNCH_ITEMS_MAX);
    const char **argv = arena_array(a, n_command + n_args + 1, sizeof(*argv));
    for (size_t i = 0; i < n_command; i++)
        argv[i] = command[i];
    for (size_t i = 0; i < n_args; i++)
        argv[n_command + i] = args[i];
    if (!argv[0][0])
        return error_set_field(err, -EINVAL, "command", "the command is empty");
    spec->process.argv = argv;
    return 0;
}

struct environment {
    const char **list;
    size_t n;
};

/* Sets NAME=value, replacing an entry of the same name. */
static void environment_set(struct environment *e, const char *entry)
{
    size_t len = strcspn(entry, "=");
    for (size_t i = 0; i < e->n; i++)
        if (strncmp(e->list[i], entry, len) == 0 && e->list[i][len] == '=') {
            e->list[i] = entry;
            return;
        }
    e->list[e->n++] = entry;
}

static int environment(struct arena *a, const Runtime__V1__ContainerConfig *config,
                       const struct image_config *image, const struct spec_pod *pod, bool tty,
                       struct launch_spec *spec, struct error *err)
{
    size_t n_image = count(image->env);
    if (n_image + config->n_envs + 4 > LAUNCH_ITEMS_MAX)
        return error_set_field(err, -EINVAL, "envs", "envs: more than %d entries",
                               LAUNCH_ITEMS_MAX);
    struct environment e = {.list = arena_array(a, n_image + config->n_envs + 4, sizeof(char *))};
    environment_set(&e, DEFAULT_PATH);
    if (pod->hostname && *pod->hostname)
        environment_set(&e, arena_printf(a, "HOSTNAME=%s", pod->hostname));
    if (tty)
        environment_set(&e, "TERM=xterm");
    for (size_t i = 0; i < n_image; i++)
        if (strchr(image->env[i], '='))
            environment_set(&e, image->env[i]);
    for (size_t i = 0; i < config->n_envs; i++) {
        const Runtime__V1__KeyValue *kv = config->envs[i];
        if (!kv->key[0] || strchr(kv->key, '='))
            return error_set_field(err, -EINVAL, "envs",
                                   "envs[%zu].key: \"%s\" is no name of a variable", i, kv->key);
        environment_set(&e, arena_printf(a, "%s=%s", kv->key, kv->value));
    }
    spec->process.env = e.list;
    return 0;
}

static const char *const *paths(struct arena *a, size_t n, char *const *list)
{
    const char **copy = arena_array(a, n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = list[i];
    return copy;
}

static int pid_mode(const Runtime__V1__LinuxContainerSecurityContext *sc,
                    const struct spec_pod *pod, struct launch_spec *spec, struct error *err)
{
    const char *field = "linux.security_context.namespace_options.pid";
    Runtime__V1__NamespaceMode mode =
        sc->namespace_options ? sc->namespace_options->pid : RUNTIME__V1__NAMESPACE_MODE__POD;
    switch (mode) {
    case RUNTIME__V1__NAMESPACE_MODE__POD:
        if (!pod->share_pid)
            return error_set_field(err, -EINVAL, field,
                                   "%s: the sandbox was made without a shared PID namespace",
                                   field);
        spec->pid_mode = LAUNCH_PID_POD;
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__CONTAINER:
        spec->pid_mode = LAUNCH_PID_CONTAINER;
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__NODE:
        if (pod->userns.own)
            return error_set_field(err, -EINVAL, field,
                                   "%s: NODE is not possible with a user namespace of the pod's",
                                   field);
        spec->pid_mode = LAUNCH_PID_NODE;
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__TARGET:
        /* That the container is there is the caller's business. */
        spec->pid_mode = LAUNCH_PID_TARGET;
        return 0;
    default:
        return error_set_field(err, -EINVAL, field, "%s: no such mode", field);
    }
}

/* What a container's first process and one executed later have in common. */
static int process(struct arena *a, const Runtime__V1__ContainerConfig *config,
                   const struct image_config *image, const struct spec_pod *pod, bool tty,
                   struct launch_spec *spec, struct error *err)
{
    const Runtime__V1__LinuxContainerSecurityContext *sc = security(config);
    struct launch_process *p = &spec->process;
    int r = environment(a, config, image, pod, tty, spec, err);
    if (r < 0)
        return r;
    p->cwd = config->working_dir[0] ? config->working_dir : image->working_dir;
    if (!p->cwd || !*p->cwd)
        p->cwd = "/";
    if (p->cwd[0] != '/')
        return error_set_field(err, -EINVAL, "working_dir", "working_dir: \"%s\" is not absolute",
                               p->cwd);
    p->tty = tty;
    p->no_new_privs = sc->no_new_privs;
    if (config->linux && config->linux->resources)
        p->oom_score_adj = config->linux->resources->oom_score_adj;
    if ((r = spec_user(a, sc, image->user, p, err)) < 0 ||
        (r = spec_capabilities(sc, p, err)) < 0 ||
        (r = spec_seccomp(a, pod->filters, sc, p, err)) < 0 ||
        (r = apparmor_profile(pod->apparmor, sc, &p->apparmor, err)) < 0)
        return r;
    spec->privileged = sc->privileged;
    spec->host_network = pod->host_network;
    spec->userns = pod->userns.own;
    spec->userns_uid = pod->userns.uids.host;
    spec->userns_gid = pod->userns.gids.host;
    return 0;
}

/* Containers live in the pod's; one that says so must say it right. */
static int check_userns(const Runtime__V1__LinuxContainerSecurityContext *sc,
                        const struct spec_pod *pod, struct error *err)
{
    const char *field = "linux.security_context.namespace_options.userns_options";
    struct userns u;
    if (!sc->namespace_options || !sc->namespace_options->userns_options)
        return 0;
    int r = userns_parse(sc->namespace_options->userns_options, field, &u, err);
    if (r == 0 && !userns_equal(&u, &pod->userns))
        r = error_set_field(err, -EINVAL, field, "%s: not the user namespace of the sandbox",
                            field);
    return r;
}

int spec_build(struct arena *a, const Runtime__V1__ContainerConfig *config,
               const struct image_config *image, const struct spec_pod *pod,
               const struct spec_root *root, const char *cgroup, struct launch_spec *ret,
               struct error *err)
{
    const Runtime__V1__LinuxContainerSecurityContext *sc = security(config);
    struct launch_spec spec = {.process = LAUNCH_PROCESS_INIT,
                               .lowerdirs = root->lowerdirs,
                               .upperdir = root->upperdir,
                               .workdir = root->workdir,
                               .rootfs_readonly = sc->readonly_rootfs,
                               .shm_path = pod->shm_path,
                               .cgroup = cgroup};
    if (config->n_cdi_devices)
        return error_set_field(err, -ENOTSUP, "CDI_devices", "CDI devices are not supported yet");
    if (sc->privileged && !pod->privileged)
        return error_set_field(err, -EINVAL, "linux.security_context.privileged",
                               "linux.security_context.privileged: no privileged container allowed "
                               "in sandbox");
    int r;
    if ((r = check_userns(sc, pod, err)) < 0 || (r = pid_mode(sc, pod, &spec, err)) < 0 ||
        (r = arguments(a, config, image, &spec, err)) < 0 ||
        (r = process(a, config, image, pod, config->tty, &spec, err)) < 0 ||
        (r = spec_mounts(a, config, pod, root, &spec, err)) < 0 ||
        (r = spec_devices(a, config, &spec, err)) < 0)
        return r;
    if (!sc->privileged) {
        spec.masked_paths = paths(a, sc->n_masked_paths, sc->masked_paths);
        spec.readonly_paths = paths(a, sc->n_readonly_paths, sc->readonly_paths);
    }
    *ret = spec;
    return 0;
}

int spec_exec(struct arena *a, const Runtime__V1__ContainerConfig *config,
              const struct image_config *image, const struct spec_pod *pod, const char *cgroup,
              const char *const *argv, bool tty, struct launch_spec *ret, struct error *err)
{
    struct launch_spec spec = {.process = LAUNCH_PROCESS_INIT, .cgroup = cgroup};
    if (!argv[0] || !argv[0][0])
        return error_set_field(err, -EINVAL, "cmd", "cmd: empty");
    int r = process(a, config, image, pod, tty, &spec, err);
    if (r < 0)
        return r;
    spec.process.argv = argv;
    *ret = spec;
    return 0;
}
