/* Rules about containers: names, ports, environment, mounts, probes, hooks, resources. */
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "kube/format.h"
#include "kube/quantity.h"
#include "kube/validate_internal.h"

enum role { ROLE_CONTAINER, ROLE_INIT, ROLE_EPHEMERAL };

/* What containers of one pod share. */
struct pod_context {
    const json_t *spec;
    struct map names;      /* of containers */
    struct map volumes;    /* name → volume */
    struct map host_ports; /* "TCP/ip/port" */
};

/* ---- probes and hooks ---- */

static void validate_port_value(const json_t *port, const struct field_path *path,
                                struct field_errors *errs)
{
    if (json_is_integer(port)) {
        json_int_t v = json_integer_value(port);
        if (v < 1 || v > 65535)
            field_invalid_int(errs, path, v, "must be between 1 and 65535, inclusive");
    } else if (json_is_string(port)) {
        const char *problem = format_problem(FORMAT_PORT_NAME, json_string_value(port));
        if (problem)
            field_invalid_text(errs, path, json_string_value(port), "%s", problem);
    }
}

static void validate_http_get(const json_t *get, const struct field_path *path,
                              struct field_errors *errs)
{
    if (!*member_text(get, "path"))
        field_required(errs, FIELD(path, "path"), NULL);
    validate_port_value(json_object_get(get, "port"), FIELD(path, "port"), errs);
    const json_t *headers = json_object_get(get, "httpHeaders");
    for (size_t i = 0; i < json_array_size(headers); i++) {
        const char *name = member_text(json_array_get(headers, i), "name");
        size_t good = strspn(name, "-0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (name[good])
            field_invalid_text(errs, FIELD(FIELD_INDEX(FIELD(path, "httpHeaders"), i), "name"),
                               name,
                               "a valid HTTP header must consist of alphanumeric characters or "
                               "'-' (e.g. 'X-Header-Name', regex used for validation is "
                               "'[-A-Za-z0-9]+')");
    }
}

/* @kinds: NULL-terminated; one of them must be there, and only one. */
static void validate_handler(const json_t *handler, const char *const *kinds,
                             const struct field_path *path, struct field_errors *errs)
{
    size_t found = 0;
    for (; *kinds; kinds++) {
        const json_t *h = json_object_get(handler, *kinds);
        const struct field_path *at = FIELD(path, *kinds);
        if (!h)
            continue;
        if (found++)
            field_forbidden(errs, at, "may not specify more than 1 handler type");
        else if (str_eq(*kinds, "exec") && !json_array_size(json_object_get(h, "command")))
            field_required(errs, FIELD(at, "command"), NULL);
        else if (str_eq(*kinds, "httpGet"))
            validate_http_get(h, at, errs);
        else if (str_eq(*kinds, "tcpSocket"))
            validate_port_value(json_object_get(h, "port"), FIELD(at, "port"), errs);
    }
    if (!found)
        field_required(errs, path, "must specify a handler type");
}

static void validate_probe(const json_t *container, const char *key,
                           const struct field_path *parent, struct field_errors *errs)
{
    static const char *const kinds[] = {"exec", "httpGet", "tcpSocket", "grpc", NULL};
    const json_t *probe = json_object_get(container, key);
    if (!probe)
        return;
    const struct field_path *path = FIELD(parent, key);
    bool readiness = str_eq(key, "readinessProbe");
    validate_handler(probe, kinds, path, errs);
    const json_t *threshold = json_object_get(probe, "successThreshold");
    if (!readiness && json_integer_value(threshold) != 1)
        field_invalid(errs, FIELD(path, "successThreshold"), threshold, "must be 1");
    const json_t *grace = json_object_get(probe, "terminationGracePeriodSeconds");
    if (grace && readiness)
        field_invalid(errs, FIELD(path, "terminationGracePeriodSeconds"), grace,
                      "must not be set for readinessProbes");
    else if (grace && json_integer_value(grace) <= 0)
        field_invalid(errs, FIELD(path, "terminationGracePeriodSeconds"), grace,
                      "must be greater than 0");
}

static void validate_lifecycle(const json_t *container, const struct field_path *parent,
                               struct field_errors *errs)
{
    static const char *const kinds[] = {"exec", "httpGet", "tcpSocket", "sleep", NULL};
    static const char *const hooks[] = {"postStart", "preStop"};
    const json_t *lifecycle = json_object_get(container, "lifecycle");
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        const json_t *hook = json_object_get(lifecycle, hooks[i]);
        if (hook)
            validate_handler(hook, kinds, FIELD(FIELD(parent, "lifecycle"), hooks[i]), errs);
    }
}

/* ---- ports ---- */

static void validate_host_port(struct pod_context *ctx, const json_t *port,
                               const struct field_path *path, struct field_errors *errs)
{
    json_int_t number = json_integer_value(json_object_get(port, "hostPort"));
    if (!number)
        return;
    if (json_is_true(json_object_get(ctx->spec, "hostNetwork")) &&
        number != json_integer_value(json_object_get(port, "containerPort")))
        field_invalid(errs, FIELD(path, "containerPort"), json_object_get(port, "containerPort"),
                      "must match `hostPort` when `hostNetwork` is true");
    _cleanup_free_ char *key = str_printf("%s/%s/%lld", member_text(port, "protocol"),
                                          member_text(port, "hostIP"), (long long)number);
    if (map_has(&ctx->host_ports, key)) {
        _cleanup_json_ json_t *value = json_string(key);
        field_duplicate(errs, FIELD(path, "hostPort"), value);
    }
    map_set(&ctx->host_ports, key, ctx);
}

static void validate_ports(struct pod_context *ctx, const json_t *ports,
                           const struct field_path *path, struct field_errors *errs)
{
    struct map names = MAP_INIT(NULL);
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        const struct field_path *at = FIELD_INDEX(path, i);
        const char *name = member_text(port, "name");
        if (*name && map_has(&names, name))
            field_duplicate(errs, FIELD(at, "name"), json_object_get(port, "name"));
        if (*name)
            map_set(&names, name, ctx);
        if (!*member_text(port, "protocol"))
            field_required(errs, FIELD(at, "protocol"), NULL);
        validate_format(port, "hostIP", FORMAT_IP, at, errs);
        validate_host_port(ctx, port, at, errs);
    }
    map_clear(&names);
}

/* ---- environment ---- */

static void validate_env_source(const json_t *source, const struct field_path *path,
                                struct field_errors *errs)
{
    size_t n = json_object_size(source);
    if (n == 0)
        field_invalid_text(errs, path, "",
                           "must specify one of: `fieldRef`, `resourceFieldRef`, "
                           "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    if (n > 1)
        field_invalid_text(errs, path, "", "may not have more than one field specified at a time");
    const json_t *ref = json_object_get(source, "fieldRef");
    if (ref)
        validate_field_ref(ref, false, FIELD(path, "fieldRef"), errs);
    ref = json_object_get(source, "resourceFieldRef");
    if (ref)
        validate_resource_field_ref(ref, false, FIELD(path, "resourceFieldRef"), errs);
    static const char *const keys[] = {"configMapKeyRef", "secretKeyRef"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        validate_format(json_object_get(source, keys[i]), "key", FORMAT_CONFIG_KEY,
                        FIELD(path, keys[i]), errs);
}

static void validate_env(const json_t *env, const struct field_path *path,
                         struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(env); i++) {
        const json_t *var = json_array_get(env, i);
        const json_t *source = json_object_get(var, "valueFrom");
        const struct field_path *at = FIELD_INDEX(path, i);
        if (!source)
            continue;
        if (*member_text(var, "value"))
            field_invalid_text(errs, FIELD(at, "valueFrom"), "",
                               "may not be specified when `value` is not empty");
        validate_env_source(source, FIELD(at, "valueFrom"), errs);
    }
}

static void validate_env_from(const json_t *list, const struct field_path *path,
                              struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *source = json_array_get(list, i);
        const struct field_path *at = FIELD_INDEX(path, i);
        bool map = json_object_get(source, "configMapRef"),
             secret = json_object_get(source, "secretRef");
        validate_format(source, "prefix", FORMAT_ENV_NAME, at, errs);
        if (!map && !secret)
            field_invalid_text(errs, at, "", "must specify one of: `configMapRef` or `secretRef`");
        if (map && secret)
            field_invalid_text(errs, at, "",
                               "may not have more than one field specified at a time");
        const char *ref = map ? "configMapRef" : "secretRef";
        if ((map || secret) && !*member_text(json_object_get(source, ref), "name"))
            field_required(errs, FIELD(FIELD(at, ref), "name"), NULL);
    }
}

/* ---- mounts ---- */

static void validate_mount(struct pod_context *ctx, const json_t *mount, struct map *paths,
                           const struct field_path *at, struct field_errors *errs)
{
    const char *name = member_text(mount, "name"), *path = member_text(mount, "mountPath");
    if (*name && !map_has(&ctx->volumes, name))
        field_not_found(errs, FIELD(at, "name"), json_object_get(mount, "name"));
    if (*path && map_has(paths, path))
        field_invalid_text(errs, FIELD(at, "mountPath"), path, "must be unique");
    map_set(paths, path, ctx);
    static const char *const subpaths[] = {"subPath", "subPathExpr"};
    for (size_t i = 0; i < ARRAY_SIZE(subpaths); i++)
        validate_format(mount, subpaths[i], FORMAT_LOCAL_PATH, at, errs);
    if (*member_text(mount, "subPath") && *member_text(mount, "subPathExpr"))
        field_invalid_text(errs, FIELD(at, "subPathExpr"), member_text(mount, "subPathExpr"),
                           "subPathExpr and subPath are mutually exclusive");
}

static void validate_mounts(struct pod_context *ctx, const json_t *container,
                            const struct field_path *parent, struct field_errors *errs)
{
    struct map paths = MAP_INIT(NULL);
    const json_t *mounts = json_object_get(container, "volumeMounts");
    bool privileged =
        json_is_true(json_object_get(json_object_get(container, "securityContext"), "privileged"));
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        const struct field_path *at = FIELD_INDEX(FIELD(parent, "volumeMounts"), i);
        validate_mount(ctx, mount, &paths, at, errs);
        if (str_eq(member_text(mount, "mountPropagation"), "Bidirectional") && !privileged)
            field_forbidden(errs, FIELD(at, "mountPropagation"),
                            "Bidirectional mount propagation is available only to privileged "
                            "containers");
    }
    const json_t *devices = json_object_get(container, "volumeDevices");
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *device = json_array_get(devices, i);
        const struct field_path *at = FIELD_INDEX(FIELD(parent, "volumeDevices"), i);
        const json_t *volume = map_get(&ctx->volumes, member_text(device, "name"));
        if (!volume)
            field_not_found(errs, FIELD(at, "name"), json_object_get(device, "name"));
        else if (!json_object_get(volume, "persistentVolumeClaim") &&
                 !json_object_get(volume, "ephemeral"))
            field_invalid_text(errs, FIELD(at, "name"), member_text(device, "name"),
                               "can only use volume source type of PersistentVolumeClaim or "
                               "Ephemeral for block mode");
        if (map_has(&paths, member_text(device, "devicePath")))
            field_invalid_text(errs, FIELD(at, "devicePath"), member_text(device, "devicePath"),
                               "must not already exist as a path in volumeMounts");
    }
    map_clear(&paths);
}

/* ---- one container ---- */

static void validate_name(struct pod_context *ctx, const json_t *container,
                          const struct field_path *path, struct field_errors *errs)
{
    const char *name = member_text(container, "name");
    if (*name && map_has(&ctx->names, name))
        field_duplicate(errs, FIELD(path, "name"), json_object_get(container, "name"));
    if (*name)
        map_set(&ctx->names, name, ctx);
}

static void validate_image(const json_t *container, const struct field_path *path,
                           struct field_errors *errs)
{
    const char *image = member_text(container, "image");
    size_t len = strlen(image);
    if (!len)
        field_required(errs, FIELD(path, "image"), NULL);
    else if (strchr(" \t\r\n", image[0]) || strchr(" \t\r\n", image[len - 1]))
        field_invalid_text(errs, FIELD(path, "image"), image,
                           "must not have leading or trailing whitespace");
}

static void validate_restart_policy(const json_t *container, enum role role,
                                    const struct field_path *path, struct field_errors *errs)
{
    static const char *const supported[] = {"Always", NULL};
    const char *policy = member_text(container, "restartPolicy");
    if (*policy && role == ROLE_CONTAINER)
        field_forbidden(errs, FIELD(path, "restartPolicy"),
                        "may not be set for non-init containers");
    else if (*policy && role == ROLE_INIT && !str_eq(policy, "Always"))
        field_not_supported(errs, FIELD(path, "restartPolicy"),
                            json_object_get(container, "restartPolicy"), supported);
    if (json_array_size(json_object_get(container, "restartPolicyRules")))
        field_forbidden(errs, FIELD(path, "restartPolicyRules"),
                        "rules of single containers are not supported by this server");
}

static void validate_hooks_and_probes(const json_t *container, enum role role,
                                      const struct field_path *path, struct field_errors *errs)
{
    static const char *const keys[] = {"lifecycle", "livenessProbe", "readinessProbe",
                                       "startupProbe"};
    bool plain_init =
        role == ROLE_INIT && !str_eq(member_text(container, "restartPolicy"), "Always");
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (plain_init && json_object_get(container, keys[i]))
            field_forbidden(errs, FIELD(path, keys[i]),
                            "may not be set for init containers without restartPolicy=Always");
    if (plain_init)
        return;
    validate_lifecycle(container, path, errs);
    for (size_t i = 1; i < ARRAY_SIZE(keys); i++)
        validate_probe(container, keys[i], path, errs);
}

static void validate_container(struct pod_context *ctx, const json_t *container, enum role role,
                               const struct field_path *path, struct field_errors *errs)
{
    static const char *const not_ephemeral[] = {
        "ports",     "livenessProbe", "readinessProbe", "startupProbe",
        "lifecycle", "resizePolicy",  "restartPolicy",  "restartPolicyRules"};
    validate_name(ctx, container, path, errs);
    validate_image(container, path, errs);
    if (role == ROLE_EPHEMERAL) {
        for (size_t i = 0; i < ARRAY_SIZE(not_ephemeral); i++)
            if (json_object_get(container, not_ephemeral[i]))
                field_forbidden(errs, FIELD(path, not_ephemeral[i]),
                                "cannot be set for an Ephemeral Container");
        if (json_object_size(json_object_get(container, "resources")))
            field_forbidden(errs, FIELD(path, "resources"),
                            "cannot be set for an Ephemeral Container");
    } else {
        validate_restart_policy(container, role, path, errs);
        validate_hooks_and_probes(container, role, path, errs);
        validate_ports(ctx, json_object_get(container, "ports"), FIELD(path, "ports"), errs);
        validate_resources(json_object_get(container, "resources"), FIELD(path, "resources"), errs);
    }
    validate_env(json_object_get(container, "env"), FIELD(path, "env"), errs);
    validate_env_from(json_object_get(container, "envFrom"), FIELD(path, "envFrom"), errs);
    validate_mounts(ctx, container, path, errs);
    validate_security_context(json_object_get(container, "securityContext"),
                              FIELD(path, "securityContext"), errs);
}

void validate_containers(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs)
{
    static const struct {
        const char *list;
        enum role role;
    } lists[] = {{"containers", ROLE_CONTAINER},
                 {"initContainers", ROLE_INIT},
                 {"ephemeralContainers", ROLE_EPHEMERAL}};
    struct pod_context ctx = {.spec = spec};
    const json_t *volumes = json_object_get(spec, "volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++)
        map_set(&ctx.volumes, member_text(json_array_get(volumes, i), "name"),
                json_array_get(volumes, i));
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        const json_t *list = json_object_get(spec, lists[l].list);
        /* Init containers run before the others: they may use the same host ports. */
        if (lists[l].role == ROLE_INIT)
            map_clear(&ctx.host_ports);
        for (size_t i = 0; i < json_array_size(list); i++)
            validate_container(&ctx, json_array_get(list, i), lists[l].role,
                               FIELD_INDEX(FIELD(path, lists[l].list), i), errs);
    }
    map_clear(&ctx.names);
    map_clear(&ctx.volumes);
    map_clear(&ctx.host_ports);
}
