/* proxy/ipvs: what a plan means in virtual servers, addresses and set entries. */
#include "lib/test.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>

#include "base/strbuf.h"
#include "proxy/ipvs/model.h"

static struct addresses node_addresses(void)
{
    static struct ip_addr ips[2];
    assert_int_equal(ip_addr_parse("10.77.0.2", &ips[0]), 0);
    assert_int_equal(ip_addr_parse("127.0.0.1", &ips[1]), 0);
    return (struct addresses){.node_ports = ips, .n_node_ports = 2};
}

static json_t *parse(const char *text)
{
    _cleanup_free_ char *copy = str_dup(text);
    for (char *s = copy; *s; s++)
        *s = (char)(*s == '\'' ? '"' : *s);
    json_t *j = json_parse(copy, strlen(copy), NULL);
    assert_non_null(j);
    return j;
}

static void ignore(_unused_ void *arg, _unused_ const struct plan_service *old,
                   _unused_ const struct plan_service *now)
{
}

/* The plan must outlive the model. */
static struct plan *model_of(const char *spec, const char *status, const char *endpoints,
                             const char *scheduler, struct ipvs_model *ret)
{
    const struct plan_config pc = {.node = "n1", .ipv4 = true};
    const struct addresses addresses = node_addresses();
    struct backend_config c = {
        .family = AF_INET, .addresses = &addresses, .ipvs = {.scheduler = scheduler}};
    struct plan *p = plan_new(&pc);
    _cleanup_free_ char *service = str_printf(
        "{'spec':{'clusterIP':'10.96.0.1','ports':[{'port':80,'nodePort':30080}]%s},'status':{%s}}",
        spec, status);
    _cleanup_free_ char *slice =
        str_printf("{'metadata':{'namespace':'ns','labels':{'kubernetes.io/service-name':'web'}},"
                   "'addressType':'IPv4','ports':[{'port':8080}],'endpoints':[%s]}",
                   endpoints);
    _cleanup_json_ json_t *a = parse(service), *b = parse(slice);
    assert_int_equal(ip_addr_parse("10.77.0.2", &c.node_ip), 0);
    assert_int_equal(plan_service_set(p, "ns/web", a, NULL), 0);
    assert_int_equal(plan_slice_set(p, "ns/web-1", b, NULL), 0);
    (void)plan_refresh(p, ignore, NULL);
    ipvs_model_of(&c, plan_get(p, "ns/web"), ret);
    ipvs_model_sort(ret);
    return p;
}

#define HERE  "{'addresses':['10.0.0.1'],'nodeName':'n1'}"
#define THERE "{'addresses':['10.0.0.2'],'nodeName':'n2'}"

static size_t entries(const struct ipvs_model *m, enum ipvs_set set)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_items; i++)
        n += m->items[i].set == set;
    return n;
}

static const struct ipvs_server *server(const struct ipvs_model *m, const char *ip, int port)
{
    struct ip_addr a;
    assert_int_equal(ip_addr_parse(ip, &a), 0);
    for (size_t i = 0; i < m->n_servers; i++)
        if (ip_addr_equal(&m->servers[i].service.address, &a) && m->servers[i].service.port == port)
            return &m->servers[i];
    return NULL;
}

static void a_node_port_has_a_server_for_each_address(_unused_ void **state)
{
    struct ipvs_model m = {.items = NULL};
    struct plan *p = model_of("", "", HERE "," THERE, "rr", &m);
    assert_int_equal(m.n_servers, 2);
    assert_non_null(server(&m, "10.96.0.1", 80));
    assert_non_null(server(&m, "10.77.0.2", 30080)); /* never on loopback */
    assert_string_equal(m.servers[0].service.scheduler, "rr");
    assert_int_equal(m.n_addresses, 1); /* the node's own is there already */
    assert_int_equal(entries(&m, IPVS_SET_CLUSTER_IP), 1);
    assert_int_equal(entries(&m, IPVS_SET_NODE_PORT_TCP), 1);
    assert_int_equal(entries(&m, IPVS_SET_NODE_PORT_LOCAL_TCP), 0);
    assert_int_equal(entries(&m, IPVS_SET_LOOP_BACK), 1); /* of the endpoint here */
    for (size_t i = 0; i < m.n_items; i++)                /* as the kernel lists it */
        assert_int_equal(m.items[i].entry.prefix, m.items[i].entry.ip2.family ? 32 : 0);
    ipvs_model_done(&m);
    (void)plan_free(p);
}

static void the_policy_local_takes_what_is_here(_unused_ void **state)
{
    struct ipvs_model m = {.items = NULL};
    struct plan *p = model_of(",'externalTrafficPolicy':'Local'", "", HERE "," THERE, "rr", &m);
    const struct ipvs_server *s = server(&m, "10.77.0.2", 30080);
    assert_non_null(s);
    assert_true(ipvs_server_takes(s, &s->port->endpoints[0]));
    assert_false(ipvs_server_takes(s, &s->port->endpoints[1]));
    s = server(&m, "10.96.0.1", 80);
    assert_non_null(s);
    assert_true(ipvs_server_takes(s, &s->port->endpoints[1]));
    assert_int_equal(entries(&m, IPVS_SET_NODE_PORT_LOCAL_TCP), 1);
    assert_int_equal(entries(&m, IPVS_SET_NO_LOCAL), 0);
    ipvs_model_done(&m);
    (void)plan_free(p);
    p = model_of(",'externalTrafficPolicy':'Local'", "", THERE, "rr", &m);
    assert_int_equal(entries(&m, IPVS_SET_NO_LOCAL), 1); /* dropped, not refused */
    ipvs_model_done(&m);
    (void)plan_free(p);
}

static void a_balancer_has_its_ranges(_unused_ void **state)
{
    struct ipvs_model m = {.items = NULL};
    struct plan *p = model_of(
        ",'type':'LoadBalancer','loadBalancerSourceRanges':['10.77.0.0/24','192.0.2.0/24']",
        "'loadBalancer':{'ingress':[{'ip':'203.0.113.6'}]}", HERE, "rr", &m);
    assert_non_null(server(&m, "203.0.113.6", 80));
    assert_int_equal(m.n_addresses, 2);
    assert_int_equal(entries(&m, IPVS_SET_LOAD_BALANCER), 1);
    assert_int_equal(entries(&m, IPVS_SET_FIREWALL), 1);
    assert_int_equal(entries(&m, IPVS_SET_SOURCE_CIDR), 2);
    assert_int_equal(entries(&m, IPVS_SET_SOURCE_IP), 1); /* the node is in one of them */
    ipvs_model_done(&m);
    (void)plan_free(p);
}

static void affinity_is_persistence(_unused_ void **state)
{
    struct ipvs_model m = {.items = NULL};
    struct plan *p = model_of(",'sessionAffinity':'ClientIP','sessionAffinityConfig':{"
                              "'clientIP':{'timeoutSeconds':7}}",
                              "", HERE, "sh,sh-port", &m);
    const struct ipvs_server *s = server(&m, "10.96.0.1", 80);
    assert_non_null(s);
    assert_int_equal(s->service.flags, IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_SCHED2);
    assert_int_equal(s->service.timeout, 7);
    assert_string_equal(s->service.scheduler, "sh");
    ipvs_model_done(&m);
    (void)plan_free(p);
}

static void schedulers_have_flags(_unused_ void **state)
{
    char name[IPVS_SCHEDULER_MAX];
    struct error err = ERROR_INIT;
    uint32_t flags = 0;
    assert_int_equal(ipvs_scheduler_parse("mh,mh-fallback,mh-port", name, &flags, &err), 0);
    assert_string_equal(name, "mh");
    assert_int_equal(flags, IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2);
    assert_int_equal(ipvs_scheduler_parse("wrr", name, &flags, &err), 0);
    assert_int_equal(flags, 0);
    assert_int_equal(ipvs_scheduler_parse("sh,often", name, &flags, &err), -EINVAL);
    assert_non_null(strstr(err.text, "often"));
    assert_int_equal(ipvs_scheduler_parse("a-name-that-is-too-long", name, &flags, &err), -EINVAL);
    assert_int_equal(ipvs_scheduler_parse("", name, &flags, &err), -EINVAL);
}

/* ipset takes 31 characters. */
static void names_of_sets_are_cut(_unused_ void **state)
{
    char name[IPSET_NAME_MAX];
    ipvs_set_name(IPVS_SET_SOURCE_CIDR, AF_INET, name);
    assert_string_equal(name, "KUBE-LOAD-BALANCER-SOURCE-CIDR");
    ipvs_set_name(IPVS_SET_SOURCE_CIDR, AF_INET6, name);
    assert_string_equal(name, "KUBE-6-LOAD-BALANCER-SOURCE-CID");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_port_has_a_server_for_each_address),
        cmocka_unit_test(the_policy_local_takes_what_is_here),
        cmocka_unit_test(a_balancer_has_its_ranges),
        cmocka_unit_test(affinity_is_persistence),
        cmocka_unit_test(schedulers_have_flags),
        cmocka_unit_test(names_of_sets_are_cut),
    };
    return RUN_TESTS(tests);
}
