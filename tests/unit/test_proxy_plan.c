/* proxy/plan: from objects to what is to be programmed, without a kernel. Objects are written with
 * ' for
 * ", results are compared as text; see show(). */
#include "lib/test.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/strbuf.h"
#include "proxy/plan.h"

static json_t *parse(const char *text)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *copy = str_dup(text);
    for (char *c = copy; *c; c++)
        *c = (char)(*c == '\'' ? '"' : *c);
    json_t *j = json_parse(copy, strlen(copy), &err);
    if (!j)
        fail_msg("%s: %s", err.text, copy);
    return j;
}

static struct plan *new_plan(void)
{
    const struct plan_config config = {.node = "n1", .ipv4 = true, .ipv6 = true};
    return plan_new(&config);
}

static int set_service(struct plan *p, const char *key, const char *text, struct error *err)
{
    _cleanup_json_ json_t *j = parse(text);
    return plan_service_set(p, key, j, err);
}

static int set_slice(struct plan *p, const char *key, const char *text, struct error *err)
{
    _cleanup_json_ json_t *j = parse(text);
    return plan_slice_set(p, key, j, err);
}

static void ignore(_unused_ void *arg, _unused_ const struct plan_service *old,
                   _unused_ const struct plan_service *now)
{
}

static void add_ips(struct strbuf *b, const char *what, const struct ip_addr *ips, size_t n)
{
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < n; i++)
        strbuf_addf(b, "%s%s", i ? "," : what, ip_addr_format(&ips[i], text));
}

/* "tcp 10.96.0.1:80 node 30080 ext … lb … from … sticky … internal-local external-local →
 * 10.0.0.1:8080 CLh": C and L: takes traffic under the policies Cluster and Local; h: is here. */
static void show_port(const struct plan_port *p, struct strbuf *b)
{
    char text[IP_TEXT_MAX];
    strbuf_addf(b, "%s %s:%u", plan_protocol_name(p->protocol),
                ip_addr_format(&p->cluster_ip, text), p->port);
    if (p->node_port)
        strbuf_addf(b, " node %u", p->node_port);
    add_ips(b, " ext ", p->external_ips, p->n_external_ips);
    add_ips(b, " lb ", p->ingress_ips, p->n_ingress_ips);
    for (size_t i = 0; i < p->n_source_ranges; i++)
        strbuf_addf(b, "%s%s", i ? "," : " from ", ip_prefix_format(&p->source_ranges[i], text));
    if (p->affinity_seconds)
        strbuf_addf(b, " sticky %d", p->affinity_seconds);
    strbuf_adds(b, p->internal_local ? " internal-local" : "");
    strbuf_adds(b, p->external_local ? " external-local" : "");
    strbuf_adds(b, p->has_endpoints ? " ->" : " refused");
    size_t cluster = 0, local = 0;
    for (size_t i = 0; i < p->n_endpoints; i++) {
        const struct plan_endpoint *e = &p->endpoints[i];
        strbuf_addf(b, " %s:%u%s%s%s", ip_addr_format(&e->ip, text), e->port,
                    e->in_cluster || e->in_local || e->local ? " " : "", e->in_cluster ? "C" : "",
                    e->in_local ? "L" : "");
        strbuf_adds(b, e->local ? "h" : "");
        cluster += e->in_cluster;
        local += e->in_local;
    }
    assert_int_equal(cluster, p->n_cluster);
    assert_int_equal(local, p->n_local);
}

static char *show(const struct plan *p, const char *key)
{
    const struct plan_service *s = plan_get(p, key);
    struct strbuf b = STRBUF_INIT;
    for (size_t i = 0; s && i < s->n_ports; i++) {
        strbuf_adds(&b, i ? " | " : "");
        show_port(&s->ports[i], &b);
    }
    if (s && s->health_port)
        strbuf_addf(&b, " health %u:%zu", s->health_port, s->n_local_ready);
    for (size_t i = 0; s && i < s->n_problems; i++)
        strbuf_addf(&b, " ! %s", s->problems[i]);
    return strbuf_take(&b);
}

static void expect(struct plan *p, const char *key, const char *wanted, const char *what)
{
    (void)plan_refresh(p, ignore, NULL);
    _cleanup_free_ char *got = show(p, key);
    if (!str_eq(got, wanted))
        fail_msg("%s:\n     got: %s\nexpected: %s", what, got, wanted);
}

/* The names are public knowledge: people look for them in iptables-save. */
static void hashes_are_upstreams(_unused_ void **state)
{
    char hash[17];
    plan_hash("default/kubernetes:httpstcp", hash);
    assert_string_equal(hash, "NPX46M4PTMTKRN6Y");
    plan_hash("kube-system/kube-dns:dnsudp", hash);
    assert_string_equal(hash, "TCOU7JCQXEZGVUNU");
}

/* ---- services ---- */

#define META  "'metadata':{'name':'web','namespace':'default','uid':'u'}"
#define SPEC  "'clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1'],"
#define PORT  "'ports':[{'name':'http','port':80,'nodePort':30080}]"
#define PLAIN "'ports':[{'name':'http','port':80}]"
#define ONE   "{'addresses':['10.0.0.1'],'nodeName':'n1','conditions':{'ready':true}}"
#define SLICE(endpoints)                                                                         \
    "{'metadata':{'name':'s','namespace':'default','labels':{'kubernetes.io/service-name':"      \
    "'web'}},'addressType':'IPv4','ports':[{'name':'http','port':8080}],'endpoints':[" endpoints \
    "]}"

static const struct {
    const char *what, *service, *wanted;
} services[] = {
    {"a cluster IP", "{" META ",'spec':{" SPEC PLAIN "}}", "tcp 10.96.0.1:80 -> 10.0.0.1:8080 Ch"},
    {"the old single field", "{" META ",'spec':{'clusterIP':'10.96.0.1'," PLAIN "}}",
     "tcp 10.96.0.1:80 -> 10.0.0.1:8080 Ch"},
    {"a node port", "{" META ",'spec':{'type':'NodePort'," SPEC PORT "}}",
     "tcp 10.96.0.1:80 node 30080 -> 10.0.0.1:8080 Ch"},
    {"external addresses", "{" META ",'spec':{" SPEC PLAIN ",'externalIPs':['1.1.1.1','2.2.2.2']}}",
     "tcp 10.96.0.1:80 ext 1.1.1.1,2.2.2.2 -> 10.0.0.1:8080 Ch"},
    {"a load balancer and who may use it",
     "{" META ",'spec':{'type':'LoadBalancer'," SPEC PLAIN
     ",'loadBalancerSourceRanges':['10.1.2.3/8','fd00::/8']},'status':{'loadBalancer':{'ingress':[{"
     "'ip':'5.5.5.5'},{'hostname':'x'}]}}}",
     "tcp 10.96.0.1:80 lb 5.5.5.5 from 10.0.0.0/8 -> 10.0.0.1:8080 Ch"},
    {"a range of everybody is no restriction",
     "{" META ",'spec':{" SPEC PLAIN ",'loadBalancerSourceRanges':['10.0.0.0/8','0.0.0.0/0']},"
     "'status':{'loadBalancer':{'ingress':[{'ip':'5.5.5.5'}]}}}",
     "tcp 10.96.0.1:80 lb 5.5.5.5 -> 10.0.0.1:8080 Ch"},
    {"a balancer that ends connections keeps its address to itself",
     "{" META ",'spec':{" SPEC PLAIN "},'status':{'loadBalancer':{'ingress':[{'ip':'5.5.5.5',"
     "'ipMode':'Proxy'},{'ip':'6.6.6.6','ipMode':'VIP'}]}}}",
     "tcp 10.96.0.1:80 lb 6.6.6.6 -> 10.0.0.1:8080 Ch"},
    {"affinity has a default", "{" META ",'spec':{" SPEC PLAIN ",'sessionAffinity':'ClientIP'}}",
     "tcp 10.96.0.1:80 sticky 10800 -> 10.0.0.1:8080 Ch"},
    {"affinity with a time",
     "{" META ",'spec':{" SPEC PLAIN ",'sessionAffinity':'ClientIP','sessionAffinityConfig':{"
     "'clientIP':{'timeoutSeconds':10}}}}",
     "tcp 10.96.0.1:80 sticky 10 -> 10.0.0.1:8080 Ch"},
    {"affinity with a bad time",
     "{" META ",'spec':{" SPEC PLAIN ",'sessionAffinity':'ClientIP','sessionAffinityConfig':{"
     "'clientIP':{'timeoutSeconds':90000}}}}",
     "tcp 10.96.0.1:80 sticky 10800 -> 10.0.0.1:8080 Ch ! "
     "spec.sessionAffinityConfig.clientIP.timeoutSeconds: must be 1 to 86400"},
    {"policies",
     "{" META ",'spec':{'type':'NodePort'," SPEC PORT
     ",'internalTrafficPolicy':'Local','externalTrafficPolicy':'Local'}}",
     "tcp 10.96.0.1:80 node 30080 internal-local external-local -> 10.0.0.1:8080 CLh"},
    {"an internal policy alone needs no endpoints elsewhere",
     "{" META ",'spec':{" SPEC PLAIN ",'internalTrafficPolicy':'Local'}}",
     "tcp 10.96.0.1:80 internal-local -> 10.0.0.1:8080 Lh"},
    {"a health check port",
     "{" META ",'spec':{'type':'LoadBalancer'," SPEC PORT
     ",'externalTrafficPolicy':'Local','healthCheckNodePort':31000}}",
     "tcp 10.96.0.1:80 node 30080 external-local -> 10.0.0.1:8080 CLh health 31000:1"},
    {"one number, three protocols",
     "{" META ",'spec':{" SPEC "'ports':[{'name':'http','port':53},{'name':'u','port':53,"
     "'protocol':'UDP'},{'name':'s','port':53,'protocol':'SCTP'}]}}",
     "tcp 10.96.0.1:53 -> 10.0.0.1:8080 Ch | udp 10.96.0.1:53 refused | sctp 10.96.0.1:53 refused"},
    {"dual stack, either first",
     "{" META ",'spec':{'clusterIP':'fd00::1','clusterIPs':['fd00::1','10.96.0.1']," PORT
     ",'externalIPs':['1.1.1.1','fd00::9']}}",
     "tcp fd00::1:80 node 30080 ext fd00::9 refused | "
     "tcp 10.96.0.1:80 node 30080 ext 1.1.1.1 -> 10.0.0.1:8080 Ch"},
    {"headless", "{" META ",'spec':{'clusterIP':'None'," PLAIN "}}", ""},
    {"a name elsewhere", "{" META ",'spec':{'type':'ExternalName','externalName':'x'}}", ""},
    {"without an address yet", "{" META ",'spec':{" PLAIN "}}", ""},
    {"for another proxy",
     "{'metadata':{'name':'web','namespace':'default','labels':{"
     "'service.kubernetes.io/service-proxy-name':'x'}},'spec':{" SPEC PLAIN "}}",
     ""},
    {"labelled headless",
     "{'metadata':{'name':'web','namespace':'default','labels':{"
     "'service.kubernetes.io/headless':''}},'spec':{" SPEC PLAIN "}}",
     ""},
    {"bad addresses are passed over",
     "{" META ",'spec':{" SPEC PLAIN ",'externalIPs':['1.1.1.x','2.2.2.2']},'status':{"
     "'loadBalancer':{'ingress':[{'ip':'x'}]}}}",
     "tcp 10.96.0.1:80 ext 2.2.2.2 -> 10.0.0.1:8080 Ch ! spec.externalIPs[0]: \"1.1.1.x\" is not "
     "an "
     "address ! status.loadBalancer.ingress[0].ip: \"x\" is not an address"},
    {"a range that cannot be read lets nobody in",
     "{" META ",'spec':{" SPEC PLAIN ",'loadBalancerSourceRanges':['10/8']},'status':{"
     "'loadBalancer':{'ingress':[{'ip':'5.5.5.5'}]}}}",
     "tcp 10.96.0.1:80 -> 10.0.0.1:8080 Ch ! spec.loadBalancerSourceRanges[0]: \"10/8\" is not a "
     "range of addresses; the load balancer's addresses are not served"},
    {"an external address that is the balancer's too is served once",
     "{" META ",'spec':{" SPEC PLAIN ",'externalIPs':['5.5.5.5']},'status':{"
     "'loadBalancer':{'ingress':[{'ip':'5.5.5.5'}]}}}",
     "tcp 10.96.0.1:80 ext 5.5.5.5 -> 10.0.0.1:8080 Ch"},
};

static void services_become_ports(_unused_ void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
        struct plan *p = new_plan();
        assert_int_equal(set_service(p, "default/web", services[i].service, NULL), 0);
        assert_int_equal(set_slice(p, "default/s", SLICE(ONE), NULL), 0);
        expect(p, "default/web", services[i].wanted, services[i].what);
        plan_service_remove(p, "default/web");
        expect(p, "default/web", "", "gone");
        (void)plan_free(p);
    }
}

static const struct {
    const char *service, *field;
} refused[] = {
    {"{" META ",'spec':{" SPEC "'ports':[{'port':99999}]}}", "spec.ports[0].port"},
    {"{" META ",'spec':{" SPEC "'ports':[{'port':1},{'port':1,'nodePort':-1}]}}",
     "spec.ports[1].nodePort"},
    {"{" META ",'spec':{" SPEC "'ports':[{'port':1,'protocol':'ICMP'}]}}",
     "spec.ports[0].protocol"},
    {"{" META ",'spec':{" SPEC "'ports':'x'}}", "spec.ports"},
    {"{" META ",'spec':{" SPEC PLAIN ",'healthCheckNodePort':70000}}", "spec.healthCheckNodePort"},
};

static void services_that_make_no_sense_are_refused_alone(_unused_ void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct plan *p = new_plan();
        struct error err = ERROR_INIT;
        assert_int_equal(set_service(p, "default/web", "{" META ",'spec':{" SPEC PLAIN "}}", NULL),
                         0);
        assert_int_equal(
            set_service(p, "a/b", "{'spec':{'clusterIP':'10.96.0.2','ports':[{'port':1}]}}", NULL),
            0);
        assert_int_equal(set_service(p, "default/web", refused[i].service, &err), -EINVAL);
        assert_non_null(strstr(err.text, refused[i].field));
        expect(p, "default/web", "", refused[i].field);
        expect(p, "a/b", "tcp 10.96.0.2:1 refused", "the other");
        (void)plan_free(p);
    }
}

static void a_family_the_node_lacks_is_said(_unused_ void **state)
{
    const struct plan_config config = {.node = "n1", .ipv4 = true};
    struct plan *p = plan_new(&config);
    assert_int_equal(set_service(p, "default/web",
                                 "{" META ",'spec':{'clusterIP':'fd00::1','clusterIPs':['fd00::1',"
                                 "'10.96.0.1']," PLAIN "}}",
                                 NULL),
                     0);
    expect(p, "default/web",
           "tcp 10.96.0.1:80 refused ! spec.clusterIPs: fd00::1: this node has no IPv6",
           "IPv4 only");
    (void)plan_free(p);
}

static void a_named_proxy_serves_what_names_it(_unused_ void **state)
{
    const struct plan_config config = {.node = "n1", .ipv4 = true, .proxy_name = "mine"};
    struct plan *p = plan_new(&config);
    assert_int_equal(set_service(p, "default/web",
                                 "{'metadata':{'labels':{'service.kubernetes.io/service-proxy-name'"
                                 ":'mine'}},'spec':{" SPEC PLAIN "}}",
                                 NULL),
                     0);
    assert_int_equal(set_service(p, "default/not", "{" META ",'spec':{" SPEC PLAIN "}}", NULL), 0);
    expect(p, "default/web", "tcp 10.96.0.1:80 refused", "ours");
    expect(p, "default/not", "", "not ours");
    (void)plan_free(p);
}

/* ---- endpoints ---- */

#define EP(address, more) "{'addresses':['" address "']" more "}"
#define READY             ",'conditions':{'ready':true}"
#define DRAINING          ",'conditions':{'ready':false,'serving':true,'terminating':true}"
#define LOST              ",'conditions':{'ready':false,'serving':false}"
#define HERE              ",'nodeName':'n1'"
#define THERE             ",'nodeName':'n2'"
#define ZONES(z)          ",'hints':{'forZones':[{'name':'" z "'}]}"
#define NODES(n)          ",'hints':{'forNodes':[{'name':'" n "'}],'forZones':[{'name':'z1'}]}"
#define BOTH \
    ",'internalTrafficPolicy':'Local','externalTrafficPolicy':'Local','externalIPs':['1.1.1.1']"

static const struct {
    const char *what, *more, *endpoints, *wanted;
} choices[] = {
    {"no condition is ready", "", EP("10.0.0.1", ""), "-> 10.0.0.1:8080 C"},
    {"in order of address", "", EP("10.0.0.9", READY) "," EP("10.0.0.10", READY),
     "-> 10.0.0.9:8080 C 10.0.0.10:8080 C"},
    {"what does not serve is no endpoint", "", EP("10.0.0.1", LOST), "refused"},
    {"draining ones only when none is ready", "",
     EP("10.0.0.1", READY) "," EP("10.0.0.2", DRAINING), "-> 10.0.0.1:8080 C 10.0.0.2:8080"},
    {"draining ones when none is ready", "", EP("10.0.0.1", LOST) "," EP("10.0.0.2", DRAINING),
     "-> 10.0.0.2:8080 C"},
    {"serving without being ready or on its way out takes nothing", "",
     EP("10.0.0.1", ",'conditions':{'ready':false,'serving':true}"), "refused 10.0.0.1:8080"},
    {"the same endpoint twice", "", EP("10.0.0.1", READY) "," EP("10.0.0.1", DRAINING HERE),
     "-> 10.0.0.1:8080 Ch"},
    {"policy Local", BOTH, EP("10.0.0.1", READY HERE) "," EP("10.0.0.2", READY THERE),
     "ext 1.1.1.1 internal-local external-local -> 10.0.0.1:8080 CLh 10.0.0.2:8080 C"},
    {"policy Local and none here", BOTH, EP("10.0.0.2", READY THERE),
     "ext 1.1.1.1 internal-local external-local -> 10.0.0.2:8080 C"},
    {"policy Local falls back by itself", BOTH,
     EP("10.0.0.1", DRAINING HERE) "," EP("10.0.0.2", READY THERE),
     "ext 1.1.1.1 internal-local external-local -> 10.0.0.1:8080 Lh 10.0.0.2:8080 C"},
    {"an external policy without external addresses", ",'externalTrafficPolicy':'Local'",
     EP("10.0.0.1", READY HERE), "external-local -> 10.0.0.1:8080 Ch"},
    {"hints for the zone", "",
     EP("10.0.0.1", READY ZONES("z1")) "," EP("10.0.0.2", READY ZONES("z2")),
     "-> 10.0.0.1:8080 C 10.0.0.2:8080"},
    {"hints for another zone only", "", EP("10.0.0.1", READY ZONES("z2")), "-> 10.0.0.1:8080 C"},
    {"hints that some lack", "", EP("10.0.0.1", READY ZONES("z1")) "," EP("10.0.0.2", READY),
     "-> 10.0.0.1:8080 C 10.0.0.2:8080 C"},
    {"hints for the node beat those for the zone", "",
     EP("10.0.0.1", READY NODES("n2")) "," EP("10.0.0.2", READY NODES("n1")),
     "-> 10.0.0.1:8080 10.0.0.2:8080 C"},
    {"no hint for this node: the zone's", "",
     EP("10.0.0.1", READY NODES("n2")) "," EP("10.0.0.2", READY NODES("n3")),
     "-> 10.0.0.1:8080 C 10.0.0.2:8080 C"},
    {"hints do not bind the policy Local", BOTH,
     EP("10.0.0.1", READY HERE ZONES("z2")) "," EP("10.0.0.2", READY THERE ZONES("z1")),
     "ext 1.1.1.1 internal-local external-local -> 10.0.0.1:8080 Lh 10.0.0.2:8080 C"},
    {"the host name of the old version", "",
     EP("10.0.0.1", ",'topology':{'kubernetes.io/hostname':'n1'}"), "-> 10.0.0.1:8080 Ch"},
};

static void endpoints_are_chosen(_unused_ void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        struct plan *p = new_plan();
        _cleanup_free_ char *service =
            str_printf("{" META ",'spec':{" SPEC PLAIN "%s}}", choices[i].more);
        _cleanup_free_ char *slice = str_printf(SLICE("%s"), choices[i].endpoints);
        _cleanup_free_ char *wanted = str_printf("tcp 10.96.0.1:80 %s", choices[i].wanted);
        plan_set_zone(p, "z1");
        assert_int_equal(set_service(p, "default/web", service, NULL), 0);
        assert_int_equal(set_slice(p, "default/s", slice, NULL), 0);
        expect(p, "default/web", wanted, choices[i].what);
        (void)plan_free(p);
    }
}

static void addresses_no_endpoint_can_have_are_passed_over(_unused_ void **state)
{
    static const char *const bad[] = {
        "10.0.0.999", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "fd00::1", ""};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct plan *p = new_plan();
        struct error err = ERROR_INIT;
        _cleanup_free_ char *slice =
            str_printf(SLICE("{'addresses':['%s']},{'addresses':['10.0.0.2']}"), bad[i]);
        assert_int_equal(set_service(p, "default/web", "{" META ",'spec':{" SPEC PLAIN "}}", NULL),
                         0);
        assert_int_equal(set_slice(p, "default/s", slice, &err), -EINVAL);
        assert_non_null(strstr(err.text, "endpoints[0].addresses[0]"));
        expect(p, "default/web", "tcp 10.96.0.1:80 -> 10.0.0.2:8080 C", bad[i]);
        (void)plan_free(p);
    }
}

static void slices_add_up_and_may_move(_unused_ void **state)
{
    struct plan *p = new_plan();
    assert_int_equal(set_service(p, "default/web", "{" META ",'spec':{" SPEC PLAIN "}}", NULL), 0);
    assert_int_equal(set_slice(p, "default/a", SLICE(EP("10.0.0.1", READY)), NULL), 0);
    assert_int_equal(set_slice(p, "default/b", SLICE(EP("10.0.0.2", READY)), NULL), 0);
    expect(p, "default/web", "tcp 10.96.0.1:80 -> 10.0.0.1:8080 C 10.0.0.2:8080 C", "two slices");
    static const char other[] =
        "{'metadata':{'name':'a','namespace':'default','labels':{'kubernetes.io/service-name':"
        "'other'}},'addressType':'IPv4','ports':[{'name':'http','port':1}],'endpoints':[]}";
    assert_int_equal(set_slice(p, "default/a", other, NULL), 0);
    expect(p, "default/web", "tcp 10.96.0.1:80 -> 10.0.0.2:8080 C", "one belongs to another");
    plan_slice_remove(p, "default/b");
    expect(p, "default/web", "tcp 10.96.0.1:80 refused", "none");
    assert_int_equal(set_slice(p, "default/c", SLICE("'x'"), NULL), -EINVAL);
    expect(p, "default/web", "tcp 10.96.0.1:80 refused", "one that cannot be read");
    (void)plan_free(p);
}

/* ---- who gets what ---- */

static void set_claimant(struct plan *p, const char *name, const char *created, const char *ip,
                         const char *more)
{
    _cleanup_free_ char *key = str_printf("x/%s", name);
    _cleanup_free_ char *text =
        str_printf("{'metadata':{'creationTimestamp':'%s'},'spec':{'clusterIP':'%s','ports':[{"
                   "'port':80,'nodePort':30080}]%s}}",
                   created, ip, more);
    assert_int_equal(set_service(p, key, text, NULL), 0);
}

#define OLD "2026-01-01T00:00:00Z"
#define NEW "2026-01-02T00:00:00Z"

static void the_older_service_gets_a_port_in_any_order(_unused_ void **state)
{
    for (int first = 0; first < 2; first++) {
        struct plan *p = new_plan();
        for (int i = 0; i < 2; i++) {
            bool old = (i == 0) == (first == 0);
            set_claimant(p, old ? "old" : "new", old ? OLD : NEW, old ? "10.96.0.1" : "10.96.0.2",
                         "");
            (void)plan_refresh(p, ignore, NULL);
        }
        expect(p, "x/old", "tcp 10.96.0.1:80 node 30080 refused", "the older");
        expect(p, "x/new",
               "tcp 10.96.0.2:80 refused ! spec.ports.nodePort: node port 30080/tcp belongs to "
               "service x/old",
               "the younger");
        plan_service_remove(p, "x/old");
        expect(p, "x/new", "tcp 10.96.0.2:80 node 30080 refused", "alone");
        (void)plan_free(p);
    }
}

static void a_cluster_ip_beats_an_external_one(_unused_ void **state)
{
    struct plan *p = new_plan();
    set_claimant(p, "old", OLD, "10.96.0.1", ",'externalIPs':['10.96.0.2']");
    expect(p, "x/old", "tcp 10.96.0.1:80 node 30080 ext 10.96.0.2 refused", "alone");
    assert_int_equal(set_service(p, "x/new",
                                 "{'metadata':{'creationTimestamp':'" NEW
                                 "'},'spec':{'clusterIP':'10.96.0.2',"
                                 "'ports':[{'port':80}]}}",
                                 NULL),
                     0);
    expect(p, "x/new", "tcp 10.96.0.2:80 refused", "whose it is");
    expect(p, "x/old",
           "tcp 10.96.0.1:80 node 30080 refused ! spec.externalIPs: 10.96.0.2 port 80/tcp belongs "
           "to service x/new",
           "who wanted it");
    (void)plan_free(p);
}

/* ---- what changes ---- */

struct seen {
    size_t count;
    char last[64];
    bool had_old, has_now;
};

static void note(void *arg, const struct plan_service *old, const struct plan_service *now)
{
    struct seen *s = arg;
    s->count++;
    s->had_old = old != NULL;
    s->has_now = now != NULL;
    (void)snprintf(s->last, sizeof(s->last), "%s", now ? now->key : old->key);
}

static void only_what_differs_is_told(_unused_ void **state)
{
    struct plan *p = new_plan();
    struct seen s = {.count = 0};
    assert_int_equal(set_service(p, "default/web", "{" META ",'spec':{" SPEC PLAIN "}}", NULL), 0);
    for (int i = 0; i < 100; i++) {
        _cleanup_free_ char *key = str_printf("default/s%d", i);
        _cleanup_free_ char *text =
            str_printf("{'spec':{'clusterIP':'10.97.0.%d','ports':[{'port':1}]}}", i);
        assert_int_equal(set_service(p, key, text, NULL), 0);
    }
    assert_int_equal(plan_refresh(p, note, &s), 101);
    assert_int_equal(s.count, 101);
    assert_int_equal(set_slice(p, "default/s", SLICE(ONE), NULL), 0);
    s.count = 0;
    assert_int_equal(plan_refresh(p, note, &s), 1); /* cost does not grow with the services */
    assert_int_equal(s.count, 1);
    assert_string_equal(s.last, "default/web");
    assert_true(s.had_old && s.has_now);
    s.count = 0;
    assert_int_equal(set_slice(p, "default/s", SLICE(ONE), NULL), 0);
    assert_int_equal(plan_refresh(p, note, &s), 1);
    assert_int_equal(s.count, 0); /* computed, found the same */
    plan_service_remove(p, "default/web");
    assert_int_equal(plan_refresh(p, note, &s), 1);
    assert_true(s.count == 1 && s.had_old && !s.has_now);
    s.count = 0;
    plan_set_zone(p, "z");
    (void)plan_refresh(p, note, &s);
    assert_int_equal(s.count, 0);
    assert_int_equal(map_count(plan_services(p)), 100);
    (void)plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_upstreams),
        cmocka_unit_test(services_become_ports),
        cmocka_unit_test(services_that_make_no_sense_are_refused_alone),
        cmocka_unit_test(a_family_the_node_lacks_is_said),
        cmocka_unit_test(a_named_proxy_serves_what_names_it),
        cmocka_unit_test(endpoints_are_chosen),
        cmocka_unit_test(addresses_no_endpoint_can_have_are_passed_over),
        cmocka_unit_test(slices_add_up_and_may_move),
        cmocka_unit_test(the_older_service_gets_a_port_in_any_order),
        cmocka_unit_test(a_cluster_ip_beats_an_external_one),
        cmocka_unit_test(only_what_differs_is_told),
    };
    return RUN_TESTS(tests);
}
