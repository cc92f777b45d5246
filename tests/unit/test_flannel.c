/* The overlay's pure parts: the configuration, what nodes publish, the plan, subnet.env. */
#include "lib/test.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "flannel/backend.h"
#include "flannel/rules.h"
#include "flannel/subnet_file.h"

static struct flannel_config config(const char *text)
{
    struct flannel_config c;
    struct error err = ERROR_INIT;
    if (config_parse(text, strlen(text), &c, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

#define VXLAN   "{\"Network\":\"10.244.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}"
#define HOST_GW "{\"Network\":\"10.244.0.0/16\",\"Backend\":{\"Type\":\"host-gw\"}}"
#define DIRECT \
    "{\"Network\":\"10.244.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"DirectRouting\":true}}"
#define BOTH                                                                            \
    "{\"Network\":\"10.244.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd44::/56\"," \
    "\"Backend\":{\"Type\":\"vxlan\",\"VNI\":65538,\"Port\":4789,\"MTU\":9000}}"

static void configurations_are_flannels(_unused_ void **state)
{
    struct flannel_config c = config("{\"Network\":\"10.244.1.2/16\",\"SubnetLen\":24,\"Backend\":"
                                     "{\"Type\":\"vxlan\",\"MacPrefix\":\"0E-2A\"}}");
    char text[IP_TEXT_MAX];
    assert_true(c.on[V4] && !c.on[V6]);
    assert_string_equal(ip_prefix_format(&c.network[V4], text), "10.244.0.0/16");
    assert_int_equal(c.vni, 1);
    assert_int_equal(c.port, 8472);
    assert_int_equal(backend_overhead(&c), 50);
    c = config(BOTH);
    assert_true(c.on[V4] && c.on[V6]);
    assert_int_equal(c.vni, 65538);
    assert_int_equal(c.port, 4789);
    assert_int_equal(c.mtu, 9000);
    assert_int_equal(backend_overhead(&c), 70);
    c = config(HOST_GW);
    assert_int_equal(backend_overhead(&c), 0);
}

static void bad_configurations_are_named(_unused_ void **state)
{
    static const struct {
        const char *text, *message;
        int code;
    } cases[] = {
        {"[]", "net-conf.json: expected an object, got an array", -EINVAL},
        {"{}", "Network: missing", -EINVAL},
        {"{\"Network\":\"fd00::/64\"}", "Network: \"fd00::/64\" is no IPv4 CIDR", -EINVAL},
        {"{\"Network\":\"10.0.0.0/8\",\"EnableIPv6\":true}", "IPv6Network: missing", -EINVAL},
        {"{\"EnableIPv4\":false}", "EnableIPv4, EnableIPv6: at least one is needed", -EINVAL},
        {"{\"Network\":\"10.0.0.0/8\"}",
         "Backend.Type: back end udp is not there (there are vxlan and host-gw)", -EPROTONOSUPPORT},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"wireguard\"}}",
         "Backend.Type: back end wireguard is not there (there are vxlan and host-gw)",
         -EPROTONOSUPPORT},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"magic\"}}",
         "Backend.Type: \"magic\" is no back end", -EINVAL},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":16777216}}",
         "Backend.VNI: 16777216 is not 0 to 16777215", -EINVAL},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"Port\":65536}}",
         "Backend.Port: 65536 is no port", -EINVAL},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"MTU\":600}}",
         "Backend.MTU: 600 is not 626 to 65535", -EINVAL},
        {"{\"Network\":\"10.0.0.0/8\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":\"1\"}}",
         "Backend.VNI: expected an integer, got a string", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct flannel_config c;
        struct error err = ERROR_INIT;
        assert_int_equal(config_parse(cases[i].text, strlen(cases[i].text), &c, &err),
                         cases[i].code);
        assert_string_equal(err.text, cases[i].message);
    }
}

static void prefixes_are_flannelds(_unused_ void **state)
{
    static const struct {
        const char *flag, *prefix; /* NULL: refused */
    } cases[] = {
        {"flannel.alpha.coreos.com", "flannel.alpha.coreos.com/"},
        {"flannel.alpha.coreos.com/", "flannel.alpha.coreos.com/"},
        {"a.b/net", "a.b/net-"},
        {"a.b/net-", "a.b/net-"},
        {"a.b/c/d", NULL},
        {"local", NULL},
        {"A.b", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *p = lease_prefix(cases[i].flag, NULL);
        if (cases[i].prefix)
            assert_string_equal(p, cases[i].prefix);
        else
            assert_null(p);
    }
}

/* ---- leases ---- */

#define NOTE(key, value) "\"flannel.alpha.coreos.com/" key "\":\"" value "\""
#define NODE(name, created, cidrs, annotations)                                              \
    "{\"metadata\":{\"name\":\"" name "\",\"creationTimestamp\":\"2026-01-01T00:00:" created \
    "Z\",\"annotations\":{" NOTE("kube-subnet-manager",                                      \
                                 "true") "," annotations "}},\"spec\":{\"podCIDRs\":[" cidrs "]}}"
#define DATA(mac) "{\\\"VNI\\\":1,\\\"VtepMAC\\\":\\\"" mac "\\\"}"
#define PEER(name, created, cidr, ip, mac)                                                \
    NODE(name, created, "\"" cidr "\"",                                                   \
         NOTE("backend-type", "vxlan") "," NOTE("public-ip", ip) "," NOTE("backend-data", \
                                                                          DATA(mac)))

static int from_node(const char *text, const struct flannel_config *c, struct lease *l,
                     struct error *err)
{
    _cleanup_json_ json_t *node = json_parse(text, strlen(text), err);
    assert_non_null(node);
    return lease_from_node(node, LEASE_PREFIX, c, l, err);
}

static void annotations_are_flannelds_bytes(_unused_ void **state)
{
    static const char vxlan[] =
        "{\"flannel.alpha.coreos.com/backend-type\":\"vxlan\",\"flannel.alpha.coreos.com/"
        "backend-data\":\"{\\\"VNI\\\":2,\\\"VtepMAC\\\":\\\"0a:00:00:00:00:0f\\\"}\",\"flannel."
        "alpha.coreos.com/public-ip\":\"192.0.2.1\",\"flannel.alpha.coreos.com/backend-v6-data\":"
        "\"{\\\"VNI\\\":2,\\\"VtepMAC\\\":\\\"0a:00:00:00:00:1f\\\"}\",\"flannel.alpha.coreos.com/"
        "public-ipv6\":\"2001:db8::1\",\"flannel.alpha.coreos.com/kube-subnet-manager\":\"true\"}";
    static const char host_gw[] =
        "{\"flannel.alpha.coreos.com/backend-type\":\"host-gw\",\"flannel.alpha.coreos.com/"
        "backend-data\":\"null\",\"flannel.alpha.coreos.com/public-ip\":\"192.0.2.1\",\"flannel."
        "alpha.coreos.com/kube-subnet-manager\":\"true\"}";
    struct flannel_config c = config(BOTH);
    char vxlan_name[] = "vxlan", host_gw_name[] = "host-gw";
    struct lease l = {.backend = vxlan_name,
                      .family = {{.set = true, .mac = {10, 0, 0, 0, 0, 15}},
                                 {.set = true, .mac = {10, 0, 0, 0, 0, 31}}}};
    assert_int_equal(ip_addr_parse("192.0.2.1", &l.family[V4].public_ip), 0);
    assert_int_equal(ip_addr_parse("2001:db8::1", &l.family[V6].public_ip), 0);
    for (int i = 0; i < 2; i++) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        _cleanup_json_ json_t *j = lease_annotations(&l, LEASE_PREFIX, &c);
        json_encode(j, &text);
        assert_string_equal(strbuf_text(&text), i ? host_gw : vxlan);
        c = config(HOST_GW);
        l.backend = host_gw_name;
        l.family[V6].set = false;
    }
}

static void leases_are_read(_unused_ void **state)
{
    struct flannel_config c = config(VXLAN);
    struct lease l;
    assert_int_equal(
        from_node(PEER("n", "07", "10.244.2.0/24", "192.0.2.2", "0A:00:00:00:00:02"), &c, &l, NULL),
        1);
    const struct lease_family *f = &l.family[V4];
    char text[IP_TEXT_MAX], mac[18];
    assert_string_equal(l.node, "n");
    assert_string_equal(l.backend, "vxlan");
    assert_true(f->set && !l.family[V6].set);
    assert_string_equal(ip_prefix_format(&f->subnet, text), "10.244.2.0/24");
    assert_string_equal(ip_addr_format(&f->public_ip, text), "192.0.2.2");
    assert_string_equal(mac_format(f->mac, mac), "0a:00:00:00:00:02");
    assert_int_equal(f->vni, 1);
    lease_done(&l);
    /* A node without flannel; one whose family is not ours; old data without a VNI. */
    assert_int_equal(from_node("{\"metadata\":{\"name\":\"n\"}}", &c, &l, NULL), 0);
    assert_int_equal(from_node(NODE("n", "07", "\"fd44::/64\"", NOTE("x", "")), &c, &l, NULL), 0);
    assert_int_equal(
        from_node(NODE("n", "07", "\"10.244.2.0/24\"",
                       NOTE("backend-type", "vxlan") "," NOTE("public-ip", "192.0.2.2") "," NOTE(
                           "backend-data", "{\\\"VtepMAC\\\":\\\"0a:00:00:00:00:02\\\"}")),
                  &c, &l, NULL),
        1);
    assert_int_equal(l.family[V4].vni, -1);
    lease_done(&l);
}

static void bad_leases_are_named(_unused_ void **state)
{
    static const struct {
        const char *node, *message;
    } cases[] = {
        {NODE("n", "07", "\"10.244.2.0/33\"", NOTE("backend-type", "vxlan")),
         "spec.podCIDRs: \"10.244.2.0/33\" is no CIDR"},
        {NODE("n", "07", "\"10.244.2.0/24\",\"10.244.3.0/24\"", NOTE("backend-type", "vxlan")),
         "spec.podCIDRs: two of one family"},
        {NODE("n", "07", "\"10.244.2.0/24\"", NOTE("backend-type", "vxlan")),
         "flannel.alpha.coreos.com/public-ip: missing"},
        {NODE("n", "07", "\"10.244.2.0/24\"", NOTE("public-ip", "fd00::1")),
         "flannel.alpha.coreos.com/public-ip: \"fd00::1\" is no IPv4 address"},
        {NODE("n", "07", "\"10.244.2.0/24\"",
              NOTE("backend-type", "vxlan") "," NOTE("public-ip", "192.0.2.2")),
         "flannel.alpha.coreos.com/backend-data: missing"},
        {PEER("n", "07", "10.244.2.0/24", "192.0.2.2", "0a:00:00:00:00"),
         "flannel.alpha.coreos.com/backend-data: VtepMAC: \"0a:00:00:00:00\" is no MAC"},
        {PEER("n", "07", "10.244.2.0/24", "192.0.2.2", "0a:00:00:00:00:0g"),
         "flannel.alpha.coreos.com/backend-data: VtepMAC: \"0a:00:00:00:00:0g\" is no MAC"},
    };
    struct flannel_config c = config(VXLAN);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct lease l;
        struct error err = ERROR_INIT;
        assert_int_equal(from_node(cases[i].node, &c, &l, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].message);
    }
}

/* ---- the plan ---- */

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(text, &p), 0);
    return p;
}

/* The plan as text: one line for each thing. */
static void print_plan(const struct plan *p, struct strbuf *to)
{
    char a[IP_TEXT_MAX], b[IP_TEXT_MAX];
    for (size_t i = 0; i < p->n_routes; i++)
        strbuf_addf(to, "route %s via %s dev %d%s\n",
                    ip_prefix_format(&p->routes[i].destination, a),
                    ip_addr_format(&p->routes[i].gateway, b), p->routes[i].ifindex,
                    p->routes[i].onlink ? " onlink" : "");
    for (size_t i = 0; i < p->n_neighbours; i++)
        strbuf_addf(to, "neighbour %s %s dev %d\n",
                    ip_addr_format(&p->neighbours[i].neighbour.addr, a),
                    mac_format(p->neighbours[i].neighbour.mac, b), p->neighbours[i].link);
    for (size_t i = 0; i < p->n_fdb; i++)
        strbuf_addf(to, "fdb %s dst %s dev %d\n", mac_format(p->fdb[i].neighbour.mac, b),
                    ip_addr_format(&p->fdb[i].neighbour.addr, a), p->fdb[i].link);
    for (size_t i = 0; i < p->n_refusals; i++)
        strbuf_addf(to, "%s: %s\n", p->refusals[i].node, p->refusals[i].reason);
}

#define PEERS_MAX 4
struct plan_case {
    const char *config;
    const char *nodes[PEERS_MAX];
    const char *plan;
};

static void check_plan(const struct plan_case *t)
{
    struct flannel_config c = config(t->config);
    const struct ip_prefix host[] = {prefix("192.0.2.1/24"), prefix("10.244.77.1/32")};
    struct plan_self self = {.node = "me", .config = &c, .host = host, .n_host = ARRAY_SIZE(host)};
    struct lease leases[PEERS_MAX];
    const struct lease *list[PEERS_MAX];
    struct plan plan;
    size_t n = 0;
    self.family[V4] = (struct self_family){.on = true,
                                           .subnet = prefix("10.244.1.0/24"),
                                           .public_ip = host[0].addr,
                                           .mac = {10, 0, 0, 0, 0, 1},
                                           .link = c.backend->link ? 7 : 0,
                                           .uplink = 2,
                                           .address = host[0]};
    for (; n < PEERS_MAX && t->nodes[n]; n++) {
        assert_int_equal(from_node(t->nodes[n], &c, &leases[n], NULL), 1);
        list[n] = &leases[n];
    }
    for (int reversed = 0; reversed < 2; reversed++) { /* the order is of no account */
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        overlay_plan_make(&self, list, n, &plan);
        print_plan(&plan, &text);
        assert_string_equal(strbuf_text(&text), t->plan);
        overlay_plan_done(&plan);
        for (size_t i = 0; i < n; i++)
            list[i] = &leases[n - 1 - i];
    }
    for (size_t i = 0; i < n; i++)
        lease_done(&leases[i]);
}

#define N2 PEER("n2", "02", "10.244.2.0/24", "192.0.2.2", "0a:00:00:00:00:02")
#define N3 PEER("n3", "03", "10.244.3.0/24", "198.51.100.3", "0a:00:00:00:00:03")

static void plans(_unused_ void **state)
{
    static const struct plan_case cases[] = {
        {VXLAN, {NULL}, ""},
        {VXLAN, {PEER("me", "01", "10.244.1.0/24", "192.0.2.1", "0a:00:00:00:00:01")}, ""},
        {VXLAN,
         {N2, N3},
         "route 10.244.2.0/24 via 10.244.2.0 dev 7 onlink\n"
         "route 10.244.3.0/24 via 10.244.3.0 dev 7 onlink\n"
         "neighbour 10.244.2.0 0a:00:00:00:00:02 dev 7\n"
         "neighbour 10.244.3.0 0a:00:00:00:00:03 dev 7\n"
         "fdb 0a:00:00:00:00:02 dst 192.0.2.2 dev 7\n"
         "fdb 0a:00:00:00:00:03 dst 198.51.100.3 dev 7\n"},
        {DIRECT, /* only who is on our network is reached without a tunnel */
         {N2, N3},
         "route 10.244.2.0/24 via 192.0.2.2 dev 2\n"
         "route 10.244.3.0/24 via 10.244.3.0 dev 7 onlink\n"
         "neighbour 10.244.3.0 0a:00:00:00:00:03 dev 7\n"
         "fdb 0a:00:00:00:00:03 dst 198.51.100.3 dev 7\n"},
        {HOST_GW, {N2}, "n2: back end \"vxlan\" is not ours, host-gw\n"},
        {HOST_GW,
         {NODE("n2", "02", "\"10.244.2.0/24\"",
               NOTE("backend-type", "host-gw") "," NOTE("public-ip", "192.0.2.2")),
          NODE("n3", "03", "\"10.244.3.0/24\"",
               NOTE("backend-type", "host-gw") "," NOTE("public-ip", "198.51.100.3"))},
         "route 10.244.2.0/24 via 192.0.2.2 dev 2\n"
         "n3: public IP 198.51.100.3 is not on the network of our link, 192.0.2.1/24: host-gw "
         "cannot reach it\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_plan(&cases[i]);
}

#define N2_PLAN                                         \
    "route 10.244.2.0/24 via 10.244.2.0 dev 7 onlink\n" \
    "neighbour 10.244.2.0 0a:00:00:00:00:02 dev 7\n"    \
    "fdb 0a:00:00:00:00:02 dst 192.0.2.2 dev 7\n"

static void lies_do_not_reach_the_kernel(_unused_ void **state)
{
    static const struct plan_case cases[] = {
        {VXLAN,
         {N2, PEER("x", "09", "10.244.2.128/25", "192.0.2.9", "0a:00:00:00:00:09")},
         N2_PLAN "x: subnet 10.244.2.128/25 overlaps that of an older node\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.0.0/22", "192.0.2.9", "0a:00:00:00:00:09")},
         N2_PLAN "x: subnet 10.244.0.0/22 overlaps ours, 10.244.1.0/24\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.0.0/16", "192.0.2.9", "0a:00:00:00:00:09")},
         N2_PLAN "x: subnet 10.244.0.0/16 is no part of 10.244.0.0/16\n"},
        {VXLAN,
         {N2, PEER("x", "09", "0.0.0.0/0", "192.0.2.9", "0a:00:00:00:00:09")},
         N2_PLAN "x: subnet 0.0.0.0/0 is no part of 10.244.0.0/16\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.76.0/23", "192.0.2.9", "0a:00:00:00:00:09")},
         N2_PLAN "x: subnet 10.244.76.0/23 contains this host's address 10.244.77.1\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "192.0.2.1", "0a:00:00:00:00:09")},
         N2_PLAN "x: public IP 192.0.2.1 is ours\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "127.0.0.1", "0a:00:00:00:00:09")},
         N2_PLAN "x: public IP 127.0.0.1 is no address of a host\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "255.255.255.255", "0a:00:00:00:00:09")},
         N2_PLAN "x: public IP 255.255.255.255 is no address of a host\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "10.244.2.7", "0a:00:00:00:00:09")},
         N2_PLAN "x: public IP 10.244.2.7 is one of the pods', 10.244.0.0/16\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "192.0.2.9", "0a:00:00:00:00:02")},
         N2_PLAN "x: MAC 0a:00:00:00:00:02 is that of node n2, which is older\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "192.0.2.9", "0a:00:00:00:00:01")},
         N2_PLAN "x: MAC 0a:00:00:00:00:01 is ours\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "192.0.2.9", "ff:ff:ff:ff:ff:ff")},
         N2_PLAN "x: MAC ff:ff:ff:ff:ff:ff is no address of a link\n"},
        {VXLAN,
         {N2, PEER("x", "09", "10.244.9.0/24", "192.0.2.9", "00:00:00:00:00:00")},
         N2_PLAN "x: MAC 00:00:00:00:00:00 is no address of a link\n"},
        {"{\"Network\":\"10.244.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":2}}",
         {N2},
         "n2: VNI 1 is not ours, 2\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_plan(&cases[i]);
}

static void subnet_env_is_flannelds_bytes(_unused_ void **state)
{
    struct flannel_config c = config(BOTH);
    const struct ip_prefix subnet[N_FAMILIES] = {prefix("10.244.255.0/24"),
                                                 prefix("fd44:0:0:1::/64")};
    _cleanup_strbuf_ struct strbuf both = STRBUF_INIT, one = STRBUF_INIT;
    subnet_file_format(&c, subnet, 8930, true, &both);
    assert_string_equal(strbuf_text(&both),
                        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.255.1/24\n"
                        "FLANNEL_IPV6_NETWORK=fd44::/56\nFLANNEL_IPV6_SUBNET=fd44:0:0:1::1/64\n"
                        "FLANNEL_MTU=8930\nFLANNEL_IPMASQ=true\n");
    c = config(VXLAN);
    subnet_file_format(&c, subnet, 1450, false, &one);
    assert_string_equal(strbuf_text(&one),
                        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.255.1/24\n"
                        "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n");
}

#define NAT_RULES                                                                                \
    "-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment \"flanneld masq\" -j " \
    "RETURN\n-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "         \
    "\"flanneld masq\" -j RETURN\n-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m "      \
    "comment "                                                                                   \
    "--comment \"flanneld masq\" -j RETURN\n-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d "           \
    "10.244.1.0/24 -m comment --comment \"flanneld masq\" -j RETURN\n-A FLANNEL-POSTRTG -s "     \
    "10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment \"flanneld masq\" -j MASQUERADE "       \
    "--random-fully\n-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment "         \
    "--comment \"flanneld masq\" -j MASQUERADE --random-fully\n"
#define FILTER_RULES                                                                        \
    "-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT\n" \
    "-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT\n"
#define NAT_JUMP    "-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n"
#define FILTER_JUMP "-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD\n"

static void rules_are_flannelds_and_only_what_is_missing(_unused_ void **state)
{
    static const struct {
        bool masquerade, forward;
        const char *saved, *difference;
    } cases[] = {
        {false, false, "", ""},
        {true, true, "",
         "*nat\n:FLANNEL-POSTRTG - [0:0]\n" NAT_RULES NAT_JUMP
         "COMMIT\n*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_RULES FILTER_JUMP "COMMIT\n"},
        {false, true, "", "*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_RULES FILTER_JUMP "COMMIT\n"},
        /* A stock flanneld's: nothing is doubled, nor if others stand beside them. */
        {true, true,
         "*filter\n:FORWARD DROP [1:2]\n:FLANNEL-FWD - [0:0]\n-A FORWARD -j DOCKER\n" FILTER_JUMP
             FILTER_RULES "COMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n:FLANNEL-POSTRTG - "
         "[0:0]\n" NAT_JUMP NAT_RULES "-A POSTROUTING -j OTHER\nCOMMIT\n",
         ""},
        /* Somebody flushed a chain, or took the jump. */
        {false, true, "*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_JUMP "COMMIT\n",
         "*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_RULES "COMMIT\n"},
        {false, true, "*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_RULES "COMMIT\n",
         "*filter\n" FILTER_JUMP "COMMIT\n"},
        /* Another network's rules are replaced. */
        {false, true,
         "*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_JUMP
         "-A FLANNEL-FWD -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n",
         "*filter\n:FLANNEL-FWD - [0:0]\n" FILTER_RULES "COMMIT\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        const struct rules_wanted w = {.masquerade = cases[i].masquerade,
                                       .forward = cases[i].forward,
                                       .on = {true},
                                       .network = {prefix("10.244.0.0/16")},
                                       .subnet = {prefix("10.244.1.0/24")}};
        flannel_rules_difference(&w, V4, cases[i].saved, &out);
        assert_string_equal(strbuf_text(&out), cases[i].difference);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_are_flannels),
        cmocka_unit_test(bad_configurations_are_named),
        cmocka_unit_test(prefixes_are_flannelds),
        cmocka_unit_test(annotations_are_flannelds_bytes),
        cmocka_unit_test(leases_are_read),
        cmocka_unit_test(bad_leases_are_named),
        cmocka_unit_test(plans),
        cmocka_unit_test(lies_do_not_reach_the_kernel),
        cmocka_unit_test(subnet_env_is_flannelds_bytes),
        cmocka_unit_test(rules_are_flannelds_and_only_what_is_missing),
    };
    return RUN_TESTS(tests);
}
