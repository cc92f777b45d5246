/* KubeletConfiguration; see file.h. */
#include "kubelet/config/file.h"

#include <errno.h>
#include <inttypes.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/yaml.h"

#define CONFIG_MAX (1u << 20)

static const struct decode_field memory_swap_fields[] = {
    DECODE_FIELD(struct memory_swap_config, behavior, "swapBehavior", DECODE_STRING), DECODE_END};
static const struct decode_type memory_swap_type = {
    "MemorySwapConfiguration", sizeof(struct memory_swap_config), memory_swap_fields};

static const struct decode_field config_fields[] = {
    DECODE_FIELD(struct kubelet_config, api_version, "apiVersion", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, kind, "kind", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, static_pods, "staticPodPath", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, cluster_domain, "clusterDomain", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, cluster_dns, "clusterDNS", DECODE_STRINGS),
    DECODE_FIELD(struct kubelet_config, seccomp_default, "seccompDefault", DECODE_OPT_BOOL),
    DECODE_FIELD(struct kubelet_config, unsafe_sysctls, "allowedUnsafeSysctls", DECODE_STRINGS),
    DECODE_FIELD(struct kubelet_config, address, "address", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, port, "port", DECODE_OPT_INT),
    DECODE_FIELD(struct kubelet_config, cgroup_root, "cgroupRoot", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, resolv_conf, "resolvConf", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, endpoint, "containerRuntimeEndpoint", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, cert, "tlsCertFile", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, key, "tlsPrivateKeyFile", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, cgroup_driver, "cgroupDriver", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, enforce, "enforceNodeAllocatable", DECODE_STRINGS),
    DECODE_FIELD(struct kubelet_config, kube_reserved, "kubeReserved", DECODE_MAP),
    DECODE_FIELD(struct kubelet_config, system_reserved, "systemReserved", DECODE_MAP),
    DECODE_FIELD(struct kubelet_config, eviction_hard, "evictionHard", DECODE_MAP),
    DECODE_FIELD(struct kubelet_config, eviction_soft, "evictionSoft", DECODE_MAP),
    DECODE_FIELD(struct kubelet_config, eviction_soft_grace, "evictionSoftGracePeriod", DECODE_MAP),
    DECODE_FIELD(struct kubelet_config, eviction_reclaim, "evictionMinimumReclaim", DECODE_MAP),
    DECODE_FIELD(struct kubelet_config, pressure_transition, "evictionPressureTransitionPeriod",
                 DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, eviction_max_grace, "evictionMaxPodGracePeriod",
                 DECODE_OPT_INT),
    DECODE_SUB(struct kubelet_config, memory_swap, "memorySwap", DECODE_OBJECT, &memory_swap_type),
    DECODE_FIELD(struct kubelet_config, oom_single, "singleProcessOOMKill", DECODE_OPT_BOOL),
    DECODE_FIELD(struct kubelet_config, max_pods, "maxPods", DECODE_OPT_INT),
    DECODE_FIELD(struct kubelet_config, pod_pids_limit, "podPidsLimit", DECODE_OPT_INT),
    DECODE_FIELD(struct kubelet_config, image_gc_high, "imageGCHighThresholdPercent",
                 DECODE_OPT_INT),
    DECODE_FIELD(struct kubelet_config, image_gc_low, "imageGCLowThresholdPercent", DECODE_OPT_INT),
    DECODE_FIELD(struct kubelet_config, image_min_age, "imageMinimumGCAge", DECODE_STRING),
    DECODE_FIELD(struct kubelet_config, image_max_age, "imageMaximumGCAge", DECODE_STRING),
    DECODE_END};
static const struct decode_type config_type = {"KubeletConfiguration",
                                               sizeof(struct kubelet_config), config_fields};

static bool is_known(const char *key)
{
    for (const struct decode_field *f = config_fields; f->name; f++)
        if (str_eq(f->name, key))
            return true;
    return str_eq(key, "authentication");
}

static void warn_unsupported(const char *path, const json_t *j)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        if (!is_known(key))
            log_warn("field of the configuration is not supported: it has no effect", "file", path,
                     "field", key, NULL);
    }
}

static int check_range(const struct opt_int *v, const char *field, int64_t least, int64_t most,
                       struct error *err)
{
    if (!v->set || (v->value >= least && v->value <= most))
        return 0;
    return error_set(err, -EINVAL, "%s: %" PRId64 " is not between %" PRId64 " and %" PRId64, field,
                     v->value, least, most);
}

static int read_age(const char *text, const char *field, int64_t *ret_ms, struct error *err)
{
    if (!text || !*text)
        return 0;
    if (duration_parse(text, ret_ms) < 0 || *ret_ms < 0)
        return error_set(err, -EINVAL, "%s: \"%.60s\" is not a duration", field, text);
    return 0;
}

/* When images go; with the defaults of what is not given. */
static int read_image_gc(struct kubelet_config *c, struct error *err)
{
    int r = check_range(&c->image_gc_high, "imageGCHighThresholdPercent", 0, 100, err);
    if (r == 0)
        r = check_range(&c->image_gc_low, "imageGCLowThresholdPercent", 0, 100, err);
    if (r == 0)
        r = read_age(c->image_min_age, "imageMinimumGCAge", &c->image_min_age_ms, err);
    if (r == 0)
        r = read_age(c->image_max_age, "imageMaximumGCAge", &c->image_max_age_ms, err);
    if (r < 0)
        return r;
    kubelet_config_init(c);
    if (c->image_gc_low.value >= c->image_gc_high.value)
        return error_set(err, -EINVAL,
                         "imageGCLowThresholdPercent: %" PRId64
                         " is not below imageGCHighThresholdPercent, %" PRId64,
                         c->image_gc_low.value, c->image_gc_high.value);
    if (c->image_max_age_ms && c->image_max_age_ms <= c->image_min_age_ms)
        return error_set(err, -EINVAL, "imageMaximumGCAge: is not above imageMinimumGCAge");
    return 0;
}

void kubelet_config_init(struct kubelet_config *c)
{
    if (!c->image_gc_high.set)
        c->image_gc_high = (struct opt_int){.set = true, .value = 85};
    if (!c->image_gc_low.set)
        c->image_gc_low = (struct opt_int){.set = true, .value = 80};
    if (!c->image_min_age || !*c->image_min_age)
        c->image_min_age_ms = 120000;
}

static int check_values(const struct kubelet_config *c, struct error *err)
{
    for (size_t i = 0; i < c->enforce.count; i++)
        if (!str_eq(c->enforce.items[i], "pods") && !str_eq(c->enforce.items[i], "none"))
            return error_set(
                err, -ENOTSUP,
                "enforceNodeAllocatable: \"%.60s\" is not supported: pods and none are",
                c->enforce.items[i]);
    if (c->enforce.count > 1)
        for (size_t i = 0; i < c->enforce.count; i++)
            if (str_eq(c->enforce.items[i], "none"))
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
    int r = check_range(&c->max_pods, "maxPods", 1, INT32_MAX, err);
    return r < 0 ? r : check_range(&c->pod_pids_limit, "podPidsLimit", -1, INT64_MAX, err);
}

bool kubelet_config_enforces_pods(const struct kubelet_config *c)
{
    return !c->enforce.count || str_eq(c->enforce.items[0], "pods");
}

int kubelet_config_load(const char *path, struct kubelet_config *ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, CONFIG_MAX, &text, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *j = yaml_parse_one(strbuf_text(&text), text.len, err);
    if (!j)
        return error_prefix(err, -EINVAL, "%s", path);
    r = decode(&config_type, j, ret, err);
    if (r < 0)
        return error_prefix(err, r, "%s", path);
    if (!str_eq(ret->kind, "KubeletConfiguration") ||
        !str_eq(ret->api_version, "kubelet.config.k8s.io/v1beta1")) {
        kubelet_config_done(ret);
        return error_set(err, -EINVAL,
                         "%s: kind: expected KubeletConfiguration of kubelet.config.k8s.io/v1beta1",
                         path);
    }
    r = check_values(ret, err);
    if (r == 0)
        r = read_image_gc(ret, err);
    if (r < 0) {
        kubelet_config_done(ret);
        return error_prefix(err, r, "%s", path);
    }
    ret->client_ca = str_dup(json_path_string(j, "authentication.x509.clientCAFile"));
    warn_unsupported(path, j);
    return 0;
}

void kubelet_config_done(struct kubelet_config *c)
{
    free(c->client_ca);
    decode_done(&config_type, c);
}
