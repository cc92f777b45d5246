/* KubeletConfiguration; see file.h. */
#include "kubelet/config/file.h"

#include <errno.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kube/yaml.h"

#define CONFIG_MAX (1u << 20)

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
    ret->client_ca = str_dup(json_path_string(j, "authentication.x509.clientCAFile"));
    warn_unsupported(path, j);
    return 0;
}

void kubelet_config_done(struct kubelet_config *c)
{
    free(c->client_ca);
    decode_done(&config_type, c);
}
