/* KubeletConfiguration; see file.h. */
#include "kubelet/config/file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/yaml.h"
#include "kubelet/config/fields.h"

#define CONFIG_MAX  (1u << 20)
#define API_VERSION "kubelet.config.k8s.io/v1beta1"
#define KIND        "KubeletConfiguration"

#define TYPE(name, struct_type, fields) \
    static const struct decode_type name = {#struct_type, sizeof(struct_type), fields}

static const struct decode_field x509_fields[] = {
    DECODE_FIELD(struct kubelet_x509_authentication, client_ca, "clientCAFile", DECODE_STRING),
    DECODE_END};
TYPE(x509_type, struct kubelet_x509_authentication, x509_fields);
static const struct decode_field anonymous_fields[] = {
    DECODE_FIELD(struct kubelet_anonymous_authentication, enabled, "enabled", DECODE_BOOL),
    DECODE_END};
TYPE(anonymous_type, struct kubelet_anonymous_authentication, anonymous_fields);
static const struct decode_field authn_webhook_fields[] = {
    DECODE_FIELD(struct kubelet_webhook_authentication, enabled, "enabled", DECODE_OPT_BOOL),
    DECODE_FIELD(struct kubelet_webhook_authentication, ttl, "cacheTTL", DECODE_STRING),
    DECODE_END};
TYPE(authn_webhook_type, struct kubelet_webhook_authentication, authn_webhook_fields);
static const struct decode_field authentication_fields[] = {
    DECODE_SUB(struct kubelet_authentication, x509, "x509", DECODE_OBJECT, &x509_type),
    DECODE_SUB(struct kubelet_authentication, webhook, "webhook", DECODE_OBJECT,
               &authn_webhook_type),
    DECODE_SUB(struct kubelet_authentication, anonymous, "anonymous", DECODE_OBJECT,
               &anonymous_type),
    DECODE_END};
TYPE(authentication_type, struct kubelet_authentication, authentication_fields);
static const struct decode_field authz_webhook_fields[] = {
    DECODE_FIELD(struct kubelet_webhook_authorization, allowed_ttl, "cacheAuthorizedTTL",
                 DECODE_STRING),
    DECODE_FIELD(struct kubelet_webhook_authorization, denied_ttl, "cacheUnauthorizedTTL",
                 DECODE_STRING),
    DECODE_END};
TYPE(authz_webhook_type, struct kubelet_webhook_authorization, authz_webhook_fields);
static const struct decode_field authorization_fields[] = {
    DECODE_FIELD(struct kubelet_authorization, mode, "mode", DECODE_STRING),
    DECODE_SUB(struct kubelet_authorization, webhook, "webhook", DECODE_OBJECT,
               &authz_webhook_type),
    DECODE_END};
TYPE(authorization_type, struct kubelet_authorization, authorization_fields);

static const struct decode_field memory_swap_fields[] = {
    DECODE_FIELD(struct memory_swap_config, behavior, "swapBehavior", DECODE_STRING), DECODE_END};
TYPE(memory_swap_type, struct memory_swap_config, memory_swap_fields);

static const struct decode_field shutdown_fields[] = {
    DECODE_FIELD(struct kubelet_shutdown_period, priority, "priority", DECODE_INT),
    DECODE_FIELD(struct kubelet_shutdown_period, seconds, "shutdownGracePeriodSeconds", DECODE_INT),
    DECODE_END};
TYPE(shutdown_type, struct kubelet_shutdown_period, shutdown_fields);

#define FIELD(member, name, kind) DECODE_FIELD(struct kubelet_config, member, name, kind)
static const struct decode_field top_fields[] = {
    FIELD(api_version, "apiVersion", DECODE_STRING),
    FIELD(kind, "kind", DECODE_STRING),
    FIELD(static_pods, "staticPodPath", DECODE_STRING),
    FIELD(cluster_domain, "clusterDomain", DECODE_STRING),
    FIELD(cluster_dns, "clusterDNS", DECODE_STRINGS),
    FIELD(seccomp_default, "seccompDefault", DECODE_BOOL),
    FIELD(unsafe_sysctls, "allowedUnsafeSysctls", DECODE_STRINGS),
    FIELD(address, "address", DECODE_STRING),
    FIELD(port, "port", DECODE_INT),
    FIELD(healthz_address, "healthzBindAddress", DECODE_STRING),
    FIELD(healthz_port, "healthzPort", DECODE_INT),
    FIELD(debugging, "enableDebuggingHandlers", DECODE_BOOL),
    FIELD(cgroup_root, "cgroupRoot", DECODE_STRING),
    FIELD(resolv_conf, "resolvConf", DECODE_STRING),
    FIELD(endpoint, "containerRuntimeEndpoint", DECODE_STRING),
    FIELD(cert, "tlsCertFile", DECODE_STRING),
    FIELD(key, "tlsPrivateKeyFile", DECODE_STRING),
    FIELD(server_tls_bootstrap, "serverTLSBootstrap", DECODE_BOOL),
    FIELD(rotate_certificates, "rotateCertificates", DECODE_BOOL),
    DECODE_SUB(struct kubelet_config, authentication, "authentication", DECODE_OBJECT,
               &authentication_type),
    DECODE_SUB(struct kubelet_config, authorization, "authorization", DECODE_OBJECT,
               &authorization_type),
    FIELD(cgroup_driver, "cgroupDriver", DECODE_STRING),
    FIELD(enforce, "enforceNodeAllocatable", DECODE_STRINGS),
    FIELD(kube_reserved, "kubeReserved", DECODE_MAP),
    FIELD(system_reserved, "systemReserved", DECODE_MAP),
    FIELD(eviction_hard, "evictionHard", DECODE_MAP),
    FIELD(eviction_soft, "evictionSoft", DECODE_MAP),
    FIELD(eviction_soft_grace, "evictionSoftGracePeriod", DECODE_MAP),
    FIELD(eviction_reclaim, "evictionMinimumReclaim", DECODE_MAP),
    FIELD(pressure_transition, "evictionPressureTransitionPeriod", DECODE_STRING),
    FIELD(eviction_max_grace, "evictionMaxPodGracePeriod", DECODE_OPT_INT),
    DECODE_SUB(struct kubelet_config, memory_swap, "memorySwap", DECODE_OBJECT, &memory_swap_type),
    FIELD(oom_single, "singleProcessOOMKill", DECODE_OPT_BOOL),
    FIELD(iptables_chains, "makeIPTablesUtilChains", DECODE_BOOL),
    FIELD(max_pods, "maxPods", DECODE_INT),
    FIELD(pod_pids_limit, "podPidsLimit", DECODE_INT),
    FIELD(image_gc_high, "imageGCHighThresholdPercent", DECODE_INT),
    FIELD(image_gc_low, "imageGCLowThresholdPercent", DECODE_INT),
    FIELD(image_min_age, "imageMinimumGCAge", DECODE_STRING),
    FIELD(image_max_age, "imageMaximumGCAge", DECODE_STRING),
    FIELD(shutdown_text, "shutdownGracePeriod", DECODE_STRING),
    FIELD(shutdown_critical_text, "shutdownGracePeriodCriticalPods", DECODE_STRING),
    DECODE_SUB(struct kubelet_config, shutdown, "shutdownGracePeriodByPodPriority", DECODE_ARRAY,
               &shutdown_type),
    DECODE_END};
static const struct decode_type config_type = {KIND, sizeof(struct kubelet_config), top_fields};

/* ---- fields that are not supported ---- */

enum known { UNKNOWN, UNSUPPORTED, ABOVE, KNOWN };

static enum known look_up(const char *path)
{
    size_t len = strlen(path);
    for (const struct config_field *f = config_fields; f->path; f++)
        if (!strncmp(f->path, path, len) && (!f->path[len] || f->path[len] == '.'))
            return f->path[len] ? ABOVE : KNOWN;
    for (const char *const *name = config_unsupported_fields; *name; name++)
        if (str_eq(*name, path))
            return UNSUPPORTED;
    return str_eq(path, "apiVersion") || str_eq(path, "kind") ? KNOWN : UNKNOWN;
}

/* Refuses a field below @above that does not exist, tells of every one that has no effect, and
 * drops those that are null: they count as absent. */
static int check_fields(const char *file, const char *above, json_t *j, struct error *err)
{
    const char *key;
    json_t *value;
    void *next;
    int r = 0;
    json_object_foreach_safe(j, next, key, value) {
        _cleanup_free_ char *path = str_printf("%s%s%s", above, *above ? "." : "", key);
        enum known known = look_up(path);
        if (known == UNKNOWN)
            return error_set(err, -EINVAL, "%.200s: there is no such field", path);
        if (known == UNSUPPORTED)
            log_warn("field of the configuration is not supported: it has no effect", "file", file,
                     "field", path, NULL);
        if (json_is_null(value))
            (void)json_object_del(j, key);
        else if (known == ABOVE)
            r = check_fields(file, path, value, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void fill_defaults(json_t *config)
{
    for (const struct config_field *f = config_fields; f->path; f++) {
        if (!f->fallback || json_path(config, f->path))
            continue;
        /* What is above it may be of the wrong type: decoding says so. */
        (void)json_path_set(config, f->path, json_loads(f->fallback, JSON_DECODE_ANY, NULL));
    }
}

/* ---- values ---- */

static int check_range(int64_t v, const char *field, int64_t least, int64_t most, struct error *err)
{
    if (v >= least && v <= most)
        return 0;
    return error_set(err, -EINVAL, "%s: %" PRId64 " is not between %" PRId64 " and %" PRId64, field,
                     v, least, most);
}

static int check_ranges(const struct kubelet_config *c, struct error *err)
{
    const struct {
        const char *field;
        int64_t value, least, most;
    } table[] = {
        {"port", c->port, 0, UINT16_MAX},
        {"healthzPort", c->healthz_port, 0, UINT16_MAX},
        {"maxPods", c->max_pods, 1, INT32_MAX},
        {"podPidsLimit", c->pod_pids_limit, -1, INT64_MAX},
        {"imageGCHighThresholdPercent", c->image_gc_high, 0, 100},
        {"imageGCLowThresholdPercent", c->image_gc_low, 0, 100},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(table); i++)
        r = check_range(table[i].value, table[i].field, table[i].least, table[i].most, err);
    return r;
}

static int read_durations(struct kubelet_config *c, struct error *err)
{
    struct kubelet_webhook_authentication *authn = &c->authentication.webhook;
    struct kubelet_webhook_authorization *authz = &c->authorization.webhook;
    const struct {
        const char *field, *text;
        int64_t *ms;
    } table[] = {
        {"authentication.webhook.cacheTTL", authn->ttl, &authn->ttl_ms},
        {"authorization.webhook.cacheAuthorizedTTL", authz->allowed_ttl, &authz->allowed_ttl_ms},
        {"authorization.webhook.cacheUnauthorizedTTL", authz->denied_ttl, &authz->denied_ttl_ms},
        {"imageMinimumGCAge", c->image_min_age, &c->image_min_age_ms},
        {"imageMaximumGCAge", c->image_max_age, &c->image_max_age_ms},
        {"shutdownGracePeriod", c->shutdown_text, &c->shutdown_ms},
        {"shutdownGracePeriodCriticalPods", c->shutdown_critical_text, &c->shutdown_critical_ms},
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const char *text = table[i].text;
        if (text && *text && (duration_parse(text, table[i].ms) < 0 || *table[i].ms < 0))
            return error_set(err, -EINVAL, "%s: \"%.60s\" is not a duration", table[i].field, text);
    }
    return 0;
}

static int check_image_gc(const struct kubelet_config *c, struct error *err)
{
    if (c->image_gc_low >= c->image_gc_high)
        return error_set(err, -EINVAL,
                         "imageGCLowThresholdPercent: %" PRId64
                         " is not below imageGCHighThresholdPercent, %" PRId64,
                         c->image_gc_low, c->image_gc_high);
    if (c->image_max_age_ms && c->image_max_age_ms <= c->image_min_age_ms)
        return error_set(err, -EINVAL, "imageMaximumGCAge: is not above imageMinimumGCAge");
    return 0;
}

static int check_names(const struct kubelet_config *c, struct error *err)
{
    for (size_t i = 0; i < c->enforce.count; i++)
        if (!str_eq(c->enforce.items[i], "pods") && !str_eq(c->enforce.items[i], "none"))
            return error_set(
                err, -ENOTSUP,
                "enforceNodeAllocatable: \"%.60s\" is not supported: pods and none are",
                c->enforce.items[i]);
    if (c->enforce.count > 1 && string_list_has(&c->enforce, "none"))
        return error_set(err, -EINVAL, "enforceNodeAllocatable: none goes with no other");
    if (c->cgroup_driver && *c->cgroup_driver && !str_eq(c->cgroup_driver, "cgroupfs") &&
        !str_eq(c->cgroup_driver, "systemd"))
        return error_set(err, -EINVAL, "cgroupDriver: \"%.60s\" is neither cgroupfs nor systemd",
                         c->cgroup_driver);
    const char *swap = c->memory_swap.behavior;
    if (swap && *swap && !str_eq(swap, "NoSwap") && !str_eq(swap, "LimitedSwap"))
        return error_set(err, -EINVAL,
                         "memorySwap.swapBehavior: \"%.60s\" is neither NoSwap nor LimitedSwap",
                         swap);
    const char *mode = c->authorization.mode;
    if (mode && !str_eq(mode, "AlwaysAllow") && !str_eq(mode, "Webhook"))
        return error_set(err, -EINVAL,
                         "authorization.mode: \"%.60s\" is neither AlwaysAllow nor Webhook", mode);
    return 0;
}

static int check_values(struct kubelet_config *c, struct error *err)
{
    int r = check_ranges(c, err);
    if (r == 0)
        r = read_durations(c, err);
    if (r == 0)
        r = check_image_gc(c, err);
    return r < 0 ? r : check_names(c, err);
}

bool kubelet_config_enforces_pods(const struct kubelet_config *c)
{
    return string_list_has(&c->enforce, "pods");
}

static int read_file(const char *path, json_t **ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!path) {
        *ret = json_pack("{s:s,s:s}", "apiVersion", API_VERSION, "kind", KIND);
        return 0;
    }
    int r = fs_read(path, CONFIG_MAX, &text, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *j = yaml_parse_one(strbuf_text(&text), text.len, err);
    if (!j)
        return error_prefix(err, -EINVAL, "%s", path);
    if (!str_eq(json_path_string(j, "kind"), KIND) ||
        !str_eq(json_path_string(j, "apiVersion"), API_VERSION))
        return error_set(err, -EINVAL, "%s: kind: expected " KIND " of " API_VERSION, path);
    r = check_fields(path, "", j, err);
    if (r < 0)
        return error_prefix(err, r, "%s", path);
    *ret = json_incref(j);
    return 0;
}

int kubelet_config_load(const char *path, const struct config_flags *flags,
                        struct kubelet_config *ret, struct error *err)
{
    _cleanup_json_ json_t *j = NULL;
    int r = read_file(path, &j, err);
    if (r == 0 && flags)
        r = config_flags_apply(flags, j, err);
    if (r < 0)
        return r;
    fill_defaults(j);
    r = decode(&config_type, j, ret, err);
    if (r == 0)
        r = check_values(ret, err);
    if (r < 0) {
        kubelet_config_done(ret);
        return path ? error_prefix(err, r, "%s", path) : r;
    }
    ret->json = json_incref(j);
    return 0;
}

void kubelet_config_done(struct kubelet_config *c)
{
    json_decref(c->json);
    decode_done(&config_type, c);
}
