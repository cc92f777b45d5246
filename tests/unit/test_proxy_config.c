/* proxy/config: the file and the flags, and what follows from them. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "proxy/config.h"

static int load(const char *text, struct config *c, struct error *err)
{
    _cleanup_free_ char *copy = str_dup(text);
    for (char *s = copy; *s; s++)
        *s = (char)(*s == '\'' ? '"' : *s);
    _cleanup_json_ json_t *j = json_parse(copy, strlen(copy), err);
    assert_non_null(j);
    return config_from_json(j, 4, c, err);
}

static void defaults_are_upstreams(_unused_ void **state)
{
    struct config c;
    assert_int_equal(load("{}", &c, NULL), 0);
    assert_string_equal(c.mode, "iptables");
    assert_int_equal(c.mark, 0x4000);
    assert_int_equal(c.healthz_port, 10256);
    assert_string_equal(c.healthz_host, "0.0.0.0");
    assert_int_equal(c.metrics_port, 10249);
    assert_string_equal(c.metrics_host, "127.0.0.1");
    assert_int_equal(c.sync_ms, 30000);
    assert_int_equal(c.conntrack_max, 131072);
    assert_int_equal(c.tcp_established_s, 86400);
    assert_int_equal(c.tcp_close_wait_s, 3600);
    assert_int_equal(c.udp_s, 0);
    assert_true(c.localhost_node_ports);
    assert_false(c.node_ports_primary);
    assert_int_equal(c.local[0].kind, LOCAL_NONE);
    config_done(&c);
}

static void a_file_is_understood(_unused_ void **state)
{
    struct config c;
    struct error err = ERROR_INIT;
    assert_int_equal(
        load("{'mode':'nftables','clusterCIDR':'10.244.1.1/16,fd00::/64','bindAddress':'::',"
             "'healthzBindAddress':'[::1]:1234','metricsBindAddress':':0','nftables':{"
             "'masqueradeBit':3,'masqueradeAll':true,'minSyncPeriod':'2s','syncPeriod':'1m'},"
             "'conntrack':{'maxPerCore':100000,'min':1,'udpTimeout':'1500ms'}}",
             &c, &err),
        0);
    assert_string_equal(c.mode, "nftables");
    assert_int_equal(c.mark, 8);
    assert_true(c.masquerade_all);
    assert_int_equal(c.min_sync_ms, 2000);
    assert_int_equal(c.sync_ms, 60000);
    assert_int_equal(c.local[0].kind, LOCAL_CIDR);
    assert_int_equal(c.local[0].cidr.addr.bytes[3], 0);
    assert_int_equal(c.local[1].kind, LOCAL_CIDR);
    assert_string_equal(c.healthz_host, "::1");
    assert_int_equal(c.healthz_port, 1234);
    assert_int_equal(c.metrics_port, 0);
    assert_int_equal(c.bind_ip.family, 0); /* any address says nothing */
    assert_int_equal(c.conntrack_max, 400000);
    assert_int_equal(c.udp_s, 2);      /* rounded up */
    assert_true(c.node_ports_primary); /* this mode's default */
    config_done(&c);
}

static const struct {
    const char *text, *field;
} bad[] = {
    {"{'mode':'userspace'}", "mode"},
    {"{'mode':7}", "mode"},
    {"{'clusterCIDR':'10.0.0.0/8,10.1.0.0/16'}", "clusterCIDR"},
    {"{'clusterCIDR':'10.0.0.0'}", "clusterCIDR"},
    {"{'detectLocalMode':'Guess'}", "detectLocalMode"},
    {"{'detectLocalMode':'BridgeInterface'}", "detectLocal.bridgeInterface"},
    {"{'detectLocalMode':'InterfaceNamePrefix','detectLocal':{'interfaceNamePrefix':'a b'}}",
     "detectLocal.interfaceNamePrefix"},
    {"{'nodePortAddresses':['primary','10.0.0.0/8']}", "nodePortAddresses[0]"},
    {"{'bindAddress':'localhost'}", "bindAddress"},
    {"{'healthzBindAddress':'x:1'}", "healthzBindAddress"},
    {"{'metricsBindAddress':'1.2.3.4:99999'}", "metricsBindAddress"},
    {"{'iptables':{'masqueradeBit':32}}", "iptables.masqueradeBit"},
    {"{'iptables':{'syncPeriod':'often'}}", "iptables.syncPeriod"},
    {"{'ipvs':{'excludeCIDRs':['x']}}", "ipvs.excludeCIDRs[0]"},
    {"{'ipvs':{'tcpTimeout':'-1s'}}", "ipvs.tcpTimeout"},
    {"{'conntrack':{'maxPerCore':-1}}", "conntrack.maxPerCore"},
};

static void what_is_wrong_is_named(_unused_ void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct config c;
        struct error err = ERROR_INIT;
        assert_int_equal(load(bad[i].text, &c, &err), -EINVAL);
        if (!strstr(err.text, bad[i].field))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
}

static void local_traffic_has_modes(_unused_ void **state)
{
    struct config c;
    assert_int_equal(load("{'detectLocalMode':'BridgeInterface','detectLocal':{'bridgeInterface':"
                          "'cni0'}}",
                          &c, NULL),
                     0);
    assert_int_equal(c.local[0].kind, LOCAL_BRIDGE);
    assert_string_equal(c.local[1].interface, "cni0");
    config_done(&c);
    assert_int_equal(load("{'detectLocalMode':'NodeCIDR'}", &c, NULL), 0);
    assert_true(c.local_from_node);
    config_done(&c);
}

static void node_ports_on_loopback_need_the_range(_unused_ void **state)
{
    static const struct {
        const char *text;
        bool wanted;
    } cases[] = {{"{'nodePortAddresses':['10.0.0.0/8']}", false},
                 {"{'nodePortAddresses':['127.0.0.0/8']}", true},
                 {"{'nodePortAddresses':['0.0.0.0/0']}", true},
                 {"{'nodePortAddresses':['fd00::/8']}", true},
                 {"{'nodePortAddresses':['primary']}", false},
                 {"{'iptables':{'localhostNodePorts':false}}", false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config c;
        assert_int_equal(load(cases[i].text, &c, NULL), 0);
        assert_int_equal(c.localhost_node_ports, cases[i].wanted);
        config_done(&c);
    }
}

/* ---- flags ---- */

static int parse_flags(const char *const *argv, const char *file, struct config *c,
                       struct error *err)
{
    struct config_values *values = mem_zalloc(config_n_flags * sizeof(*values));
    struct option_def *defs = mem_zalloc((config_n_flags + 1) * sizeof(*defs));
    char *words[8];
    int argc = 0;
    for (size_t i = 0; i < config_n_flags; i++)
        defs[i] = config_option(i, &values[i]);
    while (argv[argc])
        argc++;
    int r = options_parse(defs, argc, (char **)(uintptr_t)argv, false, words, err);
    assert_int_equal(r, 0);
    r = config_load(file, values, 4, c, err);
    for (size_t i = 0; i < config_n_flags; i++)
        option_list_done(&values[i].list);
    free(values);
    free(defs);
    return r;
}

static void flags_say_the_same(_unused_ void **state)
{
    const char *const argv[] = {"proxy",
                                "--proxy-mode=ipvs",
                                "--cluster-cidr=10.0.0.0/8",
                                "--masquerade-all",
                                "--iptables-masquerade-bit=5",
                                "--iptables-localhost-nodeports=false",
                                "--nodeport-addresses=10.0.0.0/8,192.168.0.0/16",
                                "--ipvs-scheduler=lc",
                                "--ipvs-strict-arp",
                                "--ipvs-udp-timeout=10s",
                                "--conntrack-min=5",
                                "--hostname-override=N",
                                NULL};
    struct config c;
    assert_int_equal(parse_flags(argv, NULL, &c, NULL), 0);
    assert_string_equal(c.mode, "ipvs");
    assert_true(c.masquerade_all);
    assert_int_equal(c.mark, 32);
    assert_false(c.localhost_node_ports);
    assert_int_equal(c.n_node_port_ranges, 2);
    assert_string_equal(c.file.ipvs.scheduler, "lc");
    assert_true(c.file.ipvs.strict_arp);
    assert_int_equal(c.ipvs_udp_s, 10);
    assert_string_equal(c.file.hostname, "N");
    config_done(&c);
    const char *const wrong[] = {"proxy", "--oom-score-adj=low", NULL};
    struct error err = ERROR_INIT;
    assert_int_equal(parse_flags(wrong, NULL, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--oom-score-adj"));
}

static void a_file_goes_before_flags(_unused_ void **state)
{
    char path[] = "/tmp/coracle-proxy-config-XXXXXX";
    const char *const argv[] = {"proxy", "--proxy-mode=ipvs", "--hostname-override=N",
                                "--kubeconfig=K", NULL};
    static const char text[] = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
                               "kind: KubeProxyConfiguration\nmode: nftables\n"
                               "hostnameOverride: M\nunknown: 1\n";
    struct config c;
    struct error err = ERROR_INIT;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(parse_flags(argv, path, &c, &err), 0);
    assert_string_equal(c.mode, "nftables");
    assert_string_equal(c.file.hostname, "N");
    assert_string_equal(c.file.kubeconfig, "K");
    config_done(&c);
    assert_int_equal(ftruncate(fd, 20), 0);
    assert_int_equal(parse_flags(argv, path, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, path));
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(parse_flags(argv, path, &c, &err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_upstreams),
        cmocka_unit_test(a_file_is_understood),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(local_traffic_has_modes),
        cmocka_unit_test(node_ports_on_loopback_need_the_range),
        cmocka_unit_test(flags_say_the_same),
        cmocka_unit_test(a_file_goes_before_flags),
    };
    return RUN_TESTS(tests);
}
