/* flannel's net-conf.json; see config.h. */
#include "flannel/config.h"

#include <errno.h>

#include "base/strbuf.h"
#include "flannel/backend.h"
#include "kube/decode.h"

#define VNI_MAX      16777215
#define VNI_DEFAULT  1
#define PORT_DEFAULT 8472 /* Linux's, which is not IANA's */
#define MTU_MAX      65535

struct backend_file {
    char *type;
    struct opt_int vni;
    int64_t port, mtu;
    bool gbp, learning, direct_routing;
};
struct file {
    struct opt_bool v4;
    bool v6;
    char *network, *network6;
    struct backend_file *backend;
};

static const struct decode_field backend_fields[] = {
    DECODE_FIELD(struct backend_file, type, "Type", DECODE_STRING),
    DECODE_FIELD(struct backend_file, vni, "VNI", DECODE_OPT_INT),
    DECODE_FIELD(struct backend_file, port, "Port", DECODE_INT),
    DECODE_FIELD(struct backend_file, mtu, "MTU", DECODE_INT),
    DECODE_FIELD(struct backend_file, gbp, "GBP", DECODE_BOOL),
    DECODE_FIELD(struct backend_file, learning, "Learning", DECODE_BOOL),
    DECODE_FIELD(struct backend_file, direct_routing, "DirectRouting", DECODE_BOOL),
    DECODE_END};
static const struct decode_type backend_type = {"Backend", sizeof(struct backend_file),
                                                backend_fields};
static const struct decode_field file_fields[] = {
    DECODE_FIELD(struct file, v4, "EnableIPv4", DECODE_OPT_BOOL),
    DECODE_FIELD(struct file, v6, "EnableIPv6", DECODE_BOOL),
    DECODE_FIELD(struct file, network, "Network", DECODE_STRING),
    DECODE_FIELD(struct file, network6, "IPv6Network", DECODE_STRING),
    DECODE_SUB(struct file, backend, "Backend", DECODE_OPT_OBJECT, &backend_type),
    DECODE_END};
static const struct decode_type file_type = {"net-conf.json", sizeof(struct file), file_fields};

static int take_network(struct flannel_config *c, int i, const char *text, struct error *err)
{
    const char *field = i == V4 ? "Network" : "IPv6Network";
    struct ip_prefix p;
    if (!text || !*text)
        return error_set_field(err, -EINVAL, field, "%s: missing", field);
    if (ip_prefix_parse(text, &p) < 0 || p.addr.family != family_of(i) || !p.len)
        return error_set_field(err, -EINVAL, field, "%s: \"%.100s\" is no IPv%d CIDR", field, text,
                               i == V4 ? 4 : 6);
    c->network[i] = ip_prefix_network(&p);
    return 0;
}

static int take_backend(struct flannel_config *c, const struct backend_file *b, struct error *err)
{
    int r = backend_find(b && b->type ? b->type : "udp", &c->backend, err);
    if (r < 0 || !b)
        return error_prefix(err, r, "Backend.Type");
    int64_t vni = b->vni.set ? b->vni.value : VNI_DEFAULT;
    if (vni < 0 || vni > VNI_MAX)
        return error_set_field(err, -EINVAL, "Backend.VNI", "Backend.VNI: %lld is not 0 to %d",
                               (long long)vni, VNI_MAX);
    if (b->port < 0 || b->port > UINT16_MAX)
        return error_set_field(err, -EINVAL, "Backend.Port", "Backend.Port: %lld is no port",
                               (long long)b->port);
    int least = c->on[V6] ? 1280 : 576; /* of what is left for pods: RFC 8200, RFC 791 */
    if (b->mtu && (b->mtu < least + backend_overhead(c) || b->mtu > MTU_MAX))
        return error_set_field(err, -EINVAL, "Backend.MTU", "Backend.MTU: %lld is not %d to %d",
                               (long long)b->mtu, least + backend_overhead(c), MTU_MAX);
    c->vni = (uint32_t)vni;
    c->port = b->port ? (uint16_t)b->port : PORT_DEFAULT;
    c->mtu = (int)b->mtu;
    c->gbp = b->gbp;
    c->learning = b->learning;
    c->direct_routing = b->direct_routing;
    return 0;
}

static int take(const struct file *f, struct flannel_config *c, struct error *err)
{
    c->on[V4] = !f->v4.set || f->v4.value;
    c->on[V6] = f->v6;
    if (!c->on[V4] && !c->on[V6])
        return error_set_field(err, -EINVAL, "EnableIPv4",
                               "EnableIPv4, EnableIPv6: at least one is needed");
    int r = c->on[V4] ? take_network(c, V4, f->network, err) : 0;
    if (r == 0 && c->on[V6])
        r = take_network(c, V6, f->network6, err);
    return r < 0 ? r : take_backend(c, f->backend, err);
}

int config_parse(const char *text, size_t len, struct flannel_config *ret, struct error *err)
{
    struct flannel_config c = {.backend = NULL};
    struct file f;
    if (len > CONFIG_MAX)
        return error_set(err, -EINVAL, "larger than %d bytes", CONFIG_MAX);
    _cleanup_json_ json_t *j = json_parse(text, len, err);
    if (!j)
        return -EINVAL;
    int r = decode(&file_type, j, &f, err);
    if (r < 0)
        return r;
    r = take(&f, &c, err);
    decode_done(&file_type, &f);
    if (r == 0)
        *ret = c;
    return r;
}
