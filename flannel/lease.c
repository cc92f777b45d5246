/* What nodes publish; see lease.h. */
#include "flannel/lease.h"

#include <errno.h>
#include <string.h>

#include "flannel/backend.h"
#include "kube/decode.h"

#define BACKEND_DATA_MAX 1024
#define POD_CIDRS_MAX    2

struct node {
    char *name;
    int64_t created;
    struct string_map annotations;
    char *pod_cidr;
    struct string_list pod_cidrs;
};

static const struct decode_field meta_fields[] = {
    DECODE_FIELD(struct node, name, "name", DECODE_STRING),
    DECODE_FIELD(struct node, created, "creationTimestamp", DECODE_TIME),
    DECODE_FIELD(struct node, annotations, "annotations", DECODE_MAP), DECODE_END};
static const struct decode_type meta_type = {"ObjectMeta", sizeof(struct node), meta_fields};
static const struct decode_field spec_fields[] = {
    DECODE_FIELD(struct node, pod_cidr, "podCIDR", DECODE_STRING),
    DECODE_FIELD(struct node, pod_cidrs, "podCIDRs", DECODE_STRINGS), DECODE_END};
static const struct decode_type spec_type = {"NodeSpec", sizeof(struct node), spec_fields};
static const struct decode_field node_fields[] = {
    {"metadata", DECODE_OBJECT, 0, &meta_type}, {"spec", DECODE_OBJECT, 0, &spec_type}, DECODE_END};
static const struct decode_type node_type = {"Node", sizeof(struct node), node_fields};

struct vtep {
    char *mac;
    struct opt_int vni;
};
static const struct decode_field vtep_fields[] = {
    DECODE_FIELD(struct vtep, mac, "VtepMAC", DECODE_STRING),
    DECODE_FIELD(struct vtep, vni, "VNI", DECODE_OPT_INT), DECODE_END};
static const struct decode_type vtep_type = {"backend-data", sizeof(struct vtep), vtep_fields};

static const char *const data_key[] = {"backend-data", "backend-v6-data"};
static const char *const ip_key[] = {"public-ip", "public-ipv6"};
static const char *const overwrite_key[] = {"public-ip-overwrite", "public-ipv6-overwrite"};

/* ---- small things ---- */

char *mac_format(const uint8_t mac[6], char *buf)
{
    (void)snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                   mac[5]);
    return buf;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdefABCDEF", *at = c ? strchr(digits, c) : NULL;
    int n = at ? (int)(at - digits) : -1;
    return n > 15 ? n - 6 : n;
}

bool mac_parse(const char *text, uint8_t ret[6])
{
    if (strlen(text) != 17)
        return false;
    for (size_t i = 0; i < 6; i++) {
        int high = hex(text[3 * i]), low = hex(text[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool mac_is_zero(const uint8_t mac[6])
{
    static const uint8_t zero[6];
    return memcmp(mac, zero, 6) == 0;
}

void lease_done(struct lease *l)
{
    free(l->node);
    free(l->backend);
    *l = (struct lease){.node = NULL};
}

struct lease *lease_free(struct lease *l)
{
    if (l)
        lease_done(l);
    free(l);
    return NULL;
}

bool lease_family_equal(const struct lease_family *a, const struct lease_family *b)
{
    return a->set == b->set && ip_prefix_equal(&a->subnet, &b->subnet) &&
           ip_addr_equal(&a->public_ip, &b->public_ip) && a->vni == b->vni &&
           memcmp(a->mac, b->mac, 6) == 0;
}

char *lease_prefix(const char *flag, struct error *err)
{
    const char *slash = strchr(flag, '/');
    size_t host = slash ? (size_t)(slash - flag) : strlen(flag);
    const char *dot = memchr(flag, '.', host);
    bool good = (!slash || !strchr(slash + 1, '/')) && dot && dot > flag &&
                strspn(flag, "abcdefghijklmnopqrstuvwxyz0123456789_.-/") == strlen(flag) &&
                flag[host - 1] != '.' && !strstr(flag, "..");
    if (!good) {
        (void)error_set(err, -EINVAL, "--kube-annotation-prefix: \"%.100s\" is no domain/prefix",
                        flag);
        return NULL;
    }
    if (!slash)
        return str_printf("%s/", flag);
    return str_printf("%s%s", flag, str_ends(flag, "/") || str_ends(flag, "-") ? "" : "-");
}

static const char *annotation(const struct node *n, const char *prefix, const char *key)
{
    _cleanup_free_ char *name = str_printf("%s%s", prefix, key);
    return string_map_get(&n->annotations, name);
}

/* ---- reading ---- */

static int decode_node(const json_t *object, struct node *n, struct error *err)
{
    int r = decode(&node_type, object, n, err);
    if (r == 0 && !n->name) {
        decode_done(&node_type, n);
        r = error_set_field(err, -EINVAL, "metadata.name", "metadata.name: missing");
    }
    return r;
}

static int take_cidr(const char *text, struct lease_family *families, struct error *err)
{
    struct ip_prefix p;
    if (ip_prefix_parse(text, &p) < 0)
        return error_set_field(err, -EINVAL, "spec.podCIDRs",
                               "spec.podCIDRs: \"%.100s\" is no CIDR", text);
    struct lease_family *f = &families[p.addr.family == AF_INET ? V4 : V6];
    if (f->set)
        return error_set_field(err, -EINVAL, "spec.podCIDRs", "spec.podCIDRs: two of one family");
    f->set = true;
    f->subnet = ip_prefix_network(&p);
    f->vni = -1;
    return 0;
}

/* The pod CIDRs by family, of those that the overlay has. */
static int take_cidrs(const struct node *n, const struct flannel_config *c,
                      struct lease_family *families, struct error *err)
{
    int r = 0;
    if (n->pod_cidrs.count > POD_CIDRS_MAX)
        return error_set_field(err, -EINVAL, "spec.podCIDRs", "spec.podCIDRs: more than %d",
                               POD_CIDRS_MAX);
    for (size_t i = 0; r == 0 && i < n->pod_cidrs.count; i++)
        r = take_cidr(n->pod_cidrs.items[i], families, err);
    if (r == 0 && !n->pod_cidrs.count && n->pod_cidr && *n->pod_cidr)
        r = take_cidr(n->pod_cidr, families, err);
    for (int i = 0; i < N_FAMILIES; i++)
        families[i].set = families[i].set && c->on[i];
    return r;
}

static int take_ip(const struct node *n, const char *prefix, const char *key, int i,
                   struct ip_addr *ret, struct error *err)
{
    const char *text = annotation(n, prefix, key);
    if (!text || !*text)
        return 0;
    if (ip_addr_parse(text, ret) < 0 || ret->family != family_of(i)) {
        *ret = (struct ip_addr){.family = 0};
        return error_set_field(err, -EINVAL, key, "%s%s: \"%.100s\" is no IPv%d address", prefix,
                               key, text, i == V4 ? 4 : 6);
    }
    return 0;
}

static int take_vtep(const struct node *n, const char *prefix, int i, struct lease_family *f,
                     struct error *err)
{
    const char *text = annotation(n, prefix, data_key[i]);
    struct vtep v = {.mac = NULL};
    if (!text || strlen(text) > BACKEND_DATA_MAX)
        return error_set_field(err, -EINVAL, data_key[i], "%s%s: %s", prefix, data_key[i],
                               text ? "too large" : "missing");
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), err);
    int r = j ? decode(&vtep_type, j, &v, err) : -EINVAL;
    if (r == 0 && (!v.mac || !mac_parse(v.mac, f->mac)))
        r = error_set(err, -EINVAL, "VtepMAC: \"%.40s\" is no MAC", v.mac ? v.mac : "");
    f->vni = v.vni.set ? v.vni.value : -1;
    if (j)
        decode_done(&vtep_type, &v);
    return r < 0 ? error_prefix(err, r, "%s%s", prefix, data_key[i]) : 0;
}

static int take_lease(const struct node *n, const char *prefix, const struct flannel_config *c,
                      struct lease *l, struct error *err)
{
    const char *backend = annotation(n, prefix, "backend-type");
    int r = take_cidrs(n, c, l->family, err);
    l->node = str_dup(n->name);
    l->created = n->created;
    l->backend = str_dup(backend ? backend : "");
    for (int i = 0; r == 0 && i < N_FAMILIES; i++) {
        struct lease_family *f = &l->family[i];
        if (f->set)
            r = take_ip(n, prefix, ip_key[i], i, &f->public_ip, err);
        if (r == 0 && f->set && !f->public_ip.family)
            r = error_set_field(err, -EINVAL, ip_key[i], "%s%s: missing", prefix, ip_key[i]);
        if (r == 0 && f->set && c->backend->link && str_eq(l->backend, c->backend->name))
            r = take_vtep(n, prefix, i, f, err);
    }
    return r;
}

int lease_from_node(const json_t *node, const char *prefix, const struct flannel_config *c,
                    struct lease *ret, struct error *err)
{
    struct lease l = {.node = NULL};
    struct node n;
    int r = decode_node(node, &n, err);
    if (r < 0)
        return r;
    if (str_eq(annotation(&n, prefix, "kube-subnet-manager"), "true")) {
        r = take_lease(&n, prefix, c, &l, err);
        if (r == 0)
            r = l.family[V4].set || l.family[V6].set;
    }
    decode_done(&node_type, &n);
    if (r == 1)
        *ret = l;
    else
        lease_done(&l);
    return r;
}

int lease_own_node(const json_t *node, const char *prefix, const struct flannel_config *c,
                   struct own_node *ret, struct error *err)
{
    struct own_node own = {.overwrite = {{0}}};
    struct node n;
    int r = decode_node(node, &n, err);
    if (r < 0)
        return r;
    r = take_cidrs(&n, c, own.family, err);
    for (int i = 0; r == 0 && i < N_FAMILIES; i++) {
        r = take_ip(&n, prefix, overwrite_key[i], i, &own.overwrite[i], err);
        (void)take_ip(&n, prefix, ip_key[i], i, &own.family[i].public_ip, NULL);
        if (take_vtep(&n, prefix, i, &own.family[i], NULL) < 0)
            memset(own.family[i].mac, 0, 6);
    }
    decode_done(&node_type, &n);
    if (r == 0)
        *ret = own;
    return r;
}

/* ---- writing ---- */

static void put(json_t *to, const char *prefix, const char *key, const char *value)
{
    _cleanup_free_ char *name = str_printf("%s%s", prefix, key);
    (void)json_object_set_new(to, name, json_text(value));
}

json_t *lease_annotations(const struct lease *l, const char *prefix, const struct flannel_config *c)
{
    json_t *to = json_object();
    char ip[IP_TEXT_MAX], mac[18];
    put(to, prefix, "backend-type", l->backend);
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct lease_family *f = &l->family[i];
        if (!f->set)
            continue;
        _cleanup_free_ char *data =
            c->backend->link ? str_printf("{\"VNI\":%u,\"VtepMAC\":\"%s\"}",
                                          (unsigned)c->vni & 0xffffu, mac_format(f->mac, mac))
                             : str_dup("null");
        put(to, prefix, data_key[i], data);
        put(to, prefix, ip_key[i], ip_addr_format(&f->public_ip, ip));
    }
    put(to, prefix, "kube-subnet-manager", "true");
    return to;
}
