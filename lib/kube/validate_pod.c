/* Rules about pods as a whole, and about what an update may change. */
#include <string.h>

#include "base/json.h"
#include "kube/format.h"
#include "kube/validate_internal.h"

#define MAX_NAMESERVERS 3
#define MAX_SEARCHES    32
#define SEARCH_BYTES    2048

static void validate_dns(const json_t *spec, const struct field_path *path,
                         struct field_errors *errs)
{
    const json_t *config = json_object_get(spec, "dnsConfig");
    const json_t *servers = json_object_get(config, "nameservers");
    const json_t *searches = json_object_get(config, "searches");
    const struct field_path *at = FIELD(path, "dnsConfig");
    if (str_eq(member_text(spec, "dnsPolicy"), "None")) {
        _cleanup_free_ char *detail =
            str_printf("must provide at least one DNS nameserver when `dnsPolicy` is %s", "None");
        if (!config)
            field_required(errs, at, "must provide `dnsConfig` when `dnsPolicy` is None");
        else if (!json_array_size(servers))
            field_required(errs, FIELD(at, "nameservers"), detail);
    }
    if (json_array_size(servers) > MAX_NAMESERVERS)
        field_invalid(errs, FIELD(at, "nameservers"), servers,
                      "must not have more than %d nameservers", MAX_NAMESERVERS);
    for (size_t i = 0; i < json_array_size(servers); i++) {
        const char *ip = json_string_value(json_array_get(servers, i));
        const char *problem = format_problem(FORMAT_IP, ip);
        if (problem)
            field_invalid_text(errs, FIELD_INDEX(FIELD(at, "nameservers"), i), ip, "%s", problem);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < json_array_size(searches); i++)
        bytes += json_string_length(json_array_get(searches, i)) + (i > 0);
    if (json_array_size(searches) > MAX_SEARCHES)
        field_invalid(errs, FIELD(at, "searches"), searches,
                      "must not have more than %d search paths", MAX_SEARCHES);
    else if (bytes > SEARCH_BYTES)
        field_invalid(errs, FIELD(at, "searches"), searches,
                      "must not have more than %d characters (including spaces) in the search "
                      "list",
                      SEARCH_BYTES);
    const json_t *options = json_object_get(config, "options");
    for (size_t i = 0; i < json_array_size(options); i++)
        if (!*member_text(json_array_get(options, i), "name"))
            field_required(errs, FIELD(FIELD_INDEX(FIELD(at, "options"), i), "name"),
                           "must not be empty");
}

static void validate_host_aliases(const json_t *aliases, const struct field_path *path,
                                  struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        const json_t *alias = json_array_get(aliases, i);
        const struct field_path *at = FIELD_INDEX(path, i);
        validate_format(alias, "ip", FORMAT_IP, at, errs);
        const json_t *names = json_object_get(alias, "hostnames");
        for (size_t n = 0; n < json_array_size(names); n++) {
            const char *name = json_string_value(json_array_get(names, n));
            const char *problem = format_problem(FORMAT_DNS_SUBDOMAIN, name);
            if (problem)
                field_invalid_text(errs, FIELD_INDEX(FIELD(at, "hostnames"), n), name, "%s",
                                   problem);
        }
    }
}

/* Lower-case words of letters, digits, '-' and '_', joined by '.' or '/'. */
static bool is_sysctl_name(const char *name)
{
    size_t len = strlen(name);
    if (!len || len > 253)
        return false;
    for (const char *part = name;;) {
        size_t n = strcspn(part, "./");
        bool good = n > 0 && !strchr("-_", part[0]) && !strchr("-_", part[n - 1]) &&
                    strspn(part, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
        if (!good)
            return false;
        if (!part[n])
            return true;
        part += n + 1;
    }
}

static void validate_sysctls(const json_t *spec, const struct field_path *path,
                             struct field_errors *errs)
{
    const json_t *list = json_object_get(json_object_get(spec, "securityContext"), "sysctls");
    bool host_network = json_is_true(json_object_get(spec, "hostNetwork"));
    bool host_ipc = json_is_true(json_object_get(spec, "hostIPC"));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const struct field_path *at = FIELD(FIELD_INDEX(FIELD(path, "sysctls"), i), "name");
        const json_t *value = json_object_get(json_array_get(list, i), "name");
        const char *name = json_string_value(value);
        if (!name || !*name)
            continue; /* the schema has said so */
        if (!is_sysctl_name(name))
            field_invalid(errs, at, value,
                          "must have at most 253 characters and match regex "
                          "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
                          "$");
        if (host_network && (str_starts(name, "net.") || str_starts(name, "net/")))
            field_invalid(errs, at, value, "may not be specified when 'hostNetwork' is true");
        if (host_ipc && (str_starts(name, "kernel.shm") || str_starts(name, "kernel.msg") ||
                         str_eq(name, "kernel.sem") || str_starts(name, "fs.mqueue.")))
            field_invalid(errs, at, value, "may not be specified when 'hostIPC' is true");
    }
}

static void validate_namespaces(const json_t *spec, const struct field_path *path,
                                struct field_errors *errs)
{
    static const char *const shared[] = {"hostNetwork", "hostPID", "hostIPC"};
    if (json_is_true(json_object_get(spec, "hostPID")) &&
        json_is_true(json_object_get(spec, "shareProcessNamespace")))
        field_invalid(errs, FIELD(path, "shareProcessNamespace"), json_true(),
                      "ShareProcessNamespace and HostPID cannot both be enabled");
    if (!json_is_false(json_object_get(spec, "hostUsers")))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
        if (json_is_true(json_object_get(spec, shared[i])))
            field_forbidden(errs, FIELD(path, shared[i]),
                            "when `hostUsers` is false, it may not be set");
}

void validate_pod_spec(const json_t *spec, const struct field_path *path, struct field_errors *errs)
{
    static const char *const subdomains[] = {"serviceAccountName", "nodeName", "priorityClassName",
                                             "runtimeClassName", "hostnameOverride"};
    validate_volumes(json_object_get(spec, "volumes"), FIELD(path, "volumes"), errs);
    validate_containers(spec, path, errs);
    validate_scheduling(spec, path, errs);
    validate_dns(spec, path, errs);
    validate_host_aliases(json_object_get(spec, "hostAliases"), FIELD(path, "hostAliases"), errs);
    validate_namespaces(spec, path, errs);
    for (size_t i = 0; i < ARRAY_SIZE(subdomains); i++)
        validate_format(spec, subdomains[i], FORMAT_DNS_SUBDOMAIN, path, errs);
    const json_t *deadline = json_object_get(spec, "activeDeadlineSeconds");
    if (deadline && (json_integer_value(deadline) < 1 || json_integer_value(deadline) > INT32_MAX))
        field_invalid(errs, FIELD(path, "activeDeadlineSeconds"), deadline,
                      "must be between 1 and 2147483647, inclusive");
    const struct field_path *security = FIELD(path, "securityContext");
    validate_security_context(json_object_get(spec, "securityContext"), security, errs);
    validate_sysctls(spec, security, errs);
    if (json_object_get(spec, "resources"))
        validate_resources(json_object_get(spec, "resources"), FIELD(path, "resources"), errs);
}

void validate_pod(const json_t *pod, struct field_errors *errs)
{
    const json_t *spec = json_object_get(pod, "spec");
    if (spec)
        validate_pod_spec(spec, FIELD(NULL, "spec"), errs);
}

/* ---- updates ---- */

static const char UPDATABLE[] =
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)";

static void copy_member(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value)
        (void)json_object_set(to, key, value);
    else
        (void)json_object_del(to, key);
}

/* Makes the fields of the containers that may change equal to those of @old. */
static void level_containers(json_t *spec, const json_t *old, const char *list,
                             const char *const *fields)
{
    json_t *containers = json_object_get(spec, list);
    for (size_t i = 0; i < json_array_size(containers); i++)
        for (const char *const *f = fields; *f; f++)
            copy_member(json_array_get(containers, i),
                        json_array_get(json_object_get(old, list), i), *f);
}

static bool has_same_toleration(const json_t *list, const json_t *wanted)
{
    static const char *const keys[] = {"key", "operator", "value", "effect"};
    for (size_t i = 0; i < json_array_size(list); i++) {
        size_t equal = 0;
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
            equal +=
                str_eq(member_text(json_array_get(list, i), keys[k]), member_text(wanted, keys[k]));
        if (equal == ARRAY_SIZE(keys))
            return true;
    }
    return false;
}

static void validate_kept_lists(const json_t *spec, const json_t *old,
                                const struct field_path *path, struct field_errors *errs)
{
    const json_t *before = json_object_get(old, "tolerations");
    for (size_t i = 0; i < json_array_size(before); i++)
        if (!has_same_toleration(json_object_get(spec, "tolerations"), json_array_get(before, i))) {
            field_forbidden(errs, FIELD(path, "tolerations"),
                            "existing toleration can not be modified except its "
                            "tolerationSeconds");
            break;
        }
    /* Gates may only go. */
    const json_t *gates = json_object_get(spec, "schedulingGates");
    const json_t *old_gates = json_object_get(old, "schedulingGates");
    for (size_t i = 0; i < json_array_size(gates); i++) {
        bool found = false;
        for (size_t o = 0; o < json_array_size(old_gates); o++)
            found |= json_equal(json_array_get(gates, i), json_array_get(old_gates, o));
        if (!found)
            field_forbidden(errs, FIELD(path, "schedulingGates"),
                            "only deletion is allowed, but found new scheduling gate '%.200s'",
                            member_text(json_array_get(gates, i), "name"));
    }
}

static void validate_deadline_update(const json_t *spec, const json_t *old,
                                     const struct field_path *path, struct field_errors *errs)
{
    const json_t *now = json_object_get(spec, "activeDeadlineSeconds");
    const json_t *was = json_object_get(old, "activeDeadlineSeconds");
    const struct field_path *at = FIELD(path, "activeDeadlineSeconds");
    if (was && !now)
        field_invalid(errs, at, NULL, "must not update from a positive integer to nil value");
    else if (was && json_integer_value(now) > json_integer_value(was))
        field_invalid(errs, at, now, "must be less than or equal to previous value");
}

static void validate_ephemeral_update(const json_t *spec, const json_t *old,
                                      const struct field_path *path, struct field_errors *errs)
{
    const json_t *now = json_object_get(spec, "ephemeralContainers");
    const json_t *was = json_object_get(old, "ephemeralContainers");
    for (size_t o = 0; o < json_array_size(was); o++) {
        const json_t *before = json_array_get(was, o), *after = NULL;
        for (size_t i = 0; i < json_array_size(now); i++)
            if (str_eq(member_text(json_array_get(now, i), "name"), member_text(before, "name")))
                after = json_array_get(now, i);
        if (!after || !json_equal(before, after))
            field_forbidden(errs, FIELD(path, "ephemeralContainers"),
                            "existing ephemeral containers \"%.63s\" may not be %s",
                            member_text(before, "name"), after ? "changed" : "removed");
    }
}

void validate_pod_update(const json_t *pod, const json_t *old, const char *subresource,
                         struct field_errors *errs)
{
    static const char *const images[] = {"image", NULL};
    static const char *const resources[] = {"image", "resources", "resizePolicy", NULL};
    static const char *const lists[] = {"containers", "initContainers"};
    static const char *const free_fields[] = {"activeDeadlineSeconds", "tolerations",
                                              "schedulingGates"};
    const struct field_path *path = FIELD(NULL, "spec");
    const json_t *spec = json_object_get(pod, "spec"), *was = json_object_get(old, "spec");
    bool resize = subresource && str_eq(subresource, "resize");
    bool added = false;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (json_array_size(json_object_get(spec, lists[i])) !=
            json_array_size(json_object_get(was, lists[i]))) {
            field_forbidden(errs, FIELD(path, lists[i]),
                            "pod updates may not add or remove containers");
            added = true;
        }
    if (added)
        return;
    validate_deadline_update(spec, was, path, errs);
    validate_kept_lists(spec, was, path, errs);
    if (subresource && str_eq(subresource, "ephemeralcontainers"))
        validate_ephemeral_update(spec, was, path, errs);
    if (resize && !str_eq(object_pod_qos(spec), object_pod_qos(was)))
        field_invalid_text(errs, path, object_pod_qos(spec),
                           "Pod QOS Class may not change as a result of resizing");
    _cleanup_json_ json_t *level = json_deep_copy(spec);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        level_containers(level, was, lists[i], resize ? resources : images);
    for (size_t i = 0; i < ARRAY_SIZE(free_fields); i++)
        copy_member(level, was, free_fields[i]);
    if (json_integer_value(json_object_get(was, "terminationGracePeriodSeconds")) < 0 &&
        json_integer_value(json_object_get(spec, "terminationGracePeriodSeconds")) == 1)
        copy_member(level, was, "terminationGracePeriodSeconds");
    if (subresource && str_eq(subresource, "ephemeralcontainers"))
        copy_member(level, was, "ephemeralContainers");
    if (!json_equal(level, was))
        field_forbidden(errs, path, "%s", UPDATABLE);
}
