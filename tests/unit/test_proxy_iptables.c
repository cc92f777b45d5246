/* proxy/iptables: rules of a plan, their differences, and taking over what is there. */
#include "lib/test.h"

#include "base/strbuf.h"
#include "proxy/iptables/survey.h"

static const struct addresses everywhere = {.everywhere = true};

static struct backend_config config4(void)
{
    struct backend_config c = {.family = AF_INET,
                               .local = {.kind = LOCAL_CIDR},
                               .mark = 0x4000,
                               .localhost_node_ports = true,
                               .addresses = &everywhere};
    assert_int_equal(ip_prefix_parse("10.0.0.0/8", &c.local.cidr), 0);
    return c;
}

static void set(struct plan *p, const char *key, const char *service, const char *endpoints)
{
    _cleanup_free_ char *slice =
        str_printf("{'metadata':{'namespace':'ns','labels':{'kubernetes.io/service-name':'%s'}},"
                   "'addressType':'IPv4','ports':[{'port':8080}],'endpoints':[%s]}",
                   key + 3, endpoints);
    _cleanup_free_ char *text = str_dup(service);
    for (char *s = text; *s; s++)
        *s = (char)(*s == '\'' ? '"' : *s);
    for (char *s = slice; *s; s++)
        *s = (char)(*s == '\'' ? '"' : *s);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    _cleanup_json_ json_t *k = json_parse(slice, strlen(slice), NULL);
    assert_true(j && k);
    assert_int_equal(plan_service_set(p, key, j, NULL), 0);
    assert_int_equal(plan_slice_set(p, key, k, NULL), 0);
}

static void ignore(_unused_ void *arg, _unused_ const struct plan_service *old,
                   _unused_ const struct plan_service *now)
{
}

static struct plan *plan_of(const char *service, const char *endpoints)
{
    const struct plan_config config = {.node = "n1", .ipv4 = true, .ipv6 = true};
    struct plan *p = plan_new(&config);
    set(p, "ns/web", service, endpoints);
    (void)plan_refresh(p, ignore, NULL);
    return p;
}

#define NODE_PORT "{'spec':{'clusterIP':'10.96.0.1','ports':[{'port':80,'nodePort':30080}]%s}}"
#define TWO       "{'addresses':['10.0.0.1'],'nodeName':'n1'},{'addresses':['10.0.0.2'],'nodeName':'n2'}"

/* The rules of ns/web, chains in alphabetical order of appearance replaced by what they are for. */
static void rules_for(struct rules *out, const char *more, const char *endpoints,
                      const struct backend_config *c)
{
    _cleanup_free_ char *service = str_printf(NODE_PORT, more);
    struct plan *p = plan_of(service, endpoints);
    rules_of_service(c, plan_get(p, "ns/web"), out);
    (void)plan_free(p);
}

static const char *chain(const struct rules *r, const char *prefix)
{
    MAP_FOR_EACH(e, &r->chains[RULES_NAT]) {
        if (str_starts(map_key(e), prefix))
            return map_value(e);
    }
    return NULL;
}

static void a_node_port_has_its_chains(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules r = RULES_INIT;
    char id[17];
    rules_for(&r, "", TWO, &c);
    plan_hash("ns/webtcp", id);
    _cleanup_free_ char *svc = str_printf("KUBE-SVC-%s", id);
    _cleanup_free_ char *ext = str_printf("KUBE-EXT-%s", id);
    assert_int_equal(map_count(&r.chains[RULES_NAT]), 4); /* SVC, EXT, two SEP */
    const char *text = map_get(&r.chains[RULES_NAT], svc);
    assert_non_null(text);
    assert_non_null(strstr(text, " ! -s 10.0.0.0/8 -d 10.96.0.1/32 -p tcp"));
    assert_non_null(strstr(text, "--probability 0.50000000000"));
    assert_null(
        strstr(strstr(text, "--probability") + 1, "--probability")); /* the last takes all */
    assert_non_null(strstr(map_get(&r.chains[RULES_NAT], ext), "KUBE-MARK-MASQ"));
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_NODE_PORTS]), "--dport 30080"));
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_SERVICES]), svc));
    assert_string_equal(strbuf_text(&r.lists[LIST_REJECT]), "");
    assert_string_equal(strbuf_text(&r.lists[LIST_REJECT_EXTERNAL]), "");
    rules_done(&r);
}

/* Every endpoint gets the same share, in the kernel's 31 bits. */
static void shares_are_equal(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules r = RULES_INIT;
    struct strbuf endpoints = STRBUF_INIT;
    for (int i = 1; i <= 7; i++)
        strbuf_addf(&endpoints, "%s{'addresses':['10.0.0.%d']}", i > 1 ? "," : "", i);
    rules_for(&r, "", strbuf_text(&endpoints), &c);
    double left = 1;
    int n = 0;
    for (const char *p = strstr(chain(&r, "KUBE-SVC-"), "--probability "); p;
         p = strstr(p + 1, "--probability ")) {
        double share = left * strtod(p + strlen("--probability "), NULL);
        assert_true(share > 1.0 / 7 - 1e-8 && share < 1.0 / 7 + 1e-8);
        left -= share;
        n++;
    }
    assert_int_equal(n, 6);
    strbuf_done(&endpoints);
    rules_done(&r);
}

static void no_endpoints_are_refused_and_no_local_ones_dropped(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules r = RULES_INIT;
    rules_for(&r, "", "", &c);
    assert_int_equal(map_count(&r.chains[RULES_NAT]), 0);
    const char *reject = strbuf_text(&r.lists[LIST_REJECT]);
    assert_non_null(strstr(reject, "\"ns/web has no endpoints\""));
    assert_non_null(strstr(reject, "-j REJECT --reject-with icmp-port-unreachable"));
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_REJECT_EXTERNAL]), "--dport 30080 -j REJECT"));
    assert_string_equal(strbuf_text(&r.lists[LIST_SERVICES]), "");
    rules_done(&r);
    r = (struct rules)RULES_INIT;
    rules_for(&r, ",'externalTrafficPolicy':'Local','internalTrafficPolicy':'Local'",
              "{'addresses':['10.0.0.2'],'nodeName':'n2'}", &c);
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_REJECT]), "has no local endpoints"));
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_REJECT]), "-j DROP"));
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_REJECT_EXTERNAL]), "-j DROP"));
    /* What starts here or in a pod goes to the endpoint elsewhere. */
    assert_non_null(strstr(strbuf_text(&r.lists[LIST_NODE_PORTS]), "KUBE-EXT-"));
    assert_non_null(strstr(chain(&r, "KUBE-EXT-"), "--src-type LOCAL -j KUBE-SVC-"));
    assert_null(strstr(chain(&r, "KUBE-EXT-"), "KUBE-SVL-"));
    rules_done(&r);
}

static void local_policies_have_a_chain_of_their_own(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules r = RULES_INIT;
    rules_for(&r, ",'externalTrafficPolicy':'Local'", TWO, &c);
    assert_non_null(strstr(chain(&r, "KUBE-SVL-"), "10.0.0.1:8080"));
    assert_null(strstr(chain(&r, "KUBE-SVL-"), "10.0.0.2:8080"));
    assert_non_null(strstr(chain(&r, "KUBE-EXT-"), " -s 10.0.0.0/8 "));
    assert_non_null(strstr(chain(&r, "KUBE-SVC-"), "cluster IP"));
    assert_null(strstr(chain(&r, "KUBE-SVL-"), "cluster IP"));
    rules_done(&r);
}

static void interfaces_tell_local_traffic_too(_unused_ void **state)
{
    struct backend_config c = config4();
    struct rules r = RULES_INIT;
    c.local = (struct local_traffic){.kind = LOCAL_PREFIX, .interface = "veth"};
    rules_for(&r, ",'externalTrafficPolicy':'Local'", TWO, &c);
    assert_non_null(strstr(chain(&r, "KUBE-SVC-"), " -d 10.96.0.1/32 ! -i veth+ -p tcp"));
    assert_non_null(strstr(chain(&r, "KUBE-EXT-"), " -i veth+ "));
    rules_done(&r);
    r = (struct rules)RULES_INIT;
    c.local.kind = LOCAL_NONE;
    rules_for(&r, "", TWO, &c);
    assert_null(strstr(chain(&r, "KUBE-SVC-"), "KUBE-MARK-MASQ"));
    rules_done(&r);
    r = (struct rules)RULES_INIT;
    c.masquerade_all = true;
    rules_for(&r, "", TWO, &c);
    assert_non_null(strstr(chain(&r, "KUBE-SVC-"), "-A KUBE-SVC-"));
    assert_non_null(strstr(chain(&r, "KUBE-SVC-"), "KUBE-MARK-MASQ"));
    rules_done(&r);
}

/* ---- differences ---- */

static char *difference(const struct backend_config *c, const char *more_a, const char *a,
                        const char *more_b, const char *b)
{
    struct rules old = RULES_INIT, now = RULES_INIT;
    struct delta d = DELTA_INIT;
    struct strbuf out = STRBUF_INIT;
    size_t written[RULES_TABLES];
    rules_for(&old, more_a, a, c);
    rules_for(&now, more_b, b, c);
    delta_change(&d, &old, &now);
    delta_text(&d, &out, written);
    assert_int_equal(delta_is_empty(&d), out.len == 0);
    rules_done(&old);
    rules_done(&now);
    delta_done(&d);
    return strbuf_take(&out);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

static void only_what_differs_is_written(_unused_ void **state)
{
    const struct backend_config c = config4();
    _cleanup_free_ char *same = difference(&c, "", TWO, "", TWO);
    assert_string_equal(same, "");
    /* One endpoint goes: the service's chain is written, the endpoint's deleted, no list touched.
     */
    _cleanup_free_ char *less =
        difference(&c, "", TWO, "", "{'addresses':['10.0.0.1'],'nodeName':'n1'}");
    assert_int_equal(count(less, ":KUBE-SVC-"), 1);
    assert_int_equal(count(less, ":KUBE-SEP-"), 1);
    assert_int_equal(count(less, "-X KUBE-SEP-"), 1);
    assert_int_equal(count(less, "KUBE-SERVICES"), 0);
    assert_int_equal(count(less, "*filter"), 0);
    /* The last one goes: its line moves from one list to another. */
    _cleanup_free_ char *none = difference(&c, "", "{'addresses':['10.0.0.1']}", "", "");
    assert_int_equal(count(none, "-D KUBE-SERVICES -d 10.96.0.1/32"), 1);
    assert_int_equal(count(none, "-A KUBE-SERVICES -d 10.96.0.1/32"), 1);
    assert_int_equal(count(none, "-D KUBE-NODEPORTS"), 1);
    assert_int_equal(count(none, "-X "), 3);
    /* And comes: in front, so that the jump for node ports stays the last. */
    _cleanup_free_ char *some = difference(&c, "", "", "", "{'addresses':['10.0.0.1']}");
    assert_int_equal(count(some, "-I KUBE-SERVICES -d 10.96.0.1/32"), 1);
}

/* ---- taking over ---- */

/* What iptables-save would print after @rules and the static ones were restored. */
static void save_text(const struct rules *fixed, const struct rules *r, struct strbuf *out)
{
    for (int t = 0; t < RULES_TABLES; t++) {
        strbuf_addf(out, "*%s\n:INPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n", rules_table_names[t]);
        for (int l = 0; l < RULES_LISTS; l++)
            if ((int)rules_lists[l].table == t)
                strbuf_addf(out, ":%s - [0:0]\n", rules_lists[l].chain);
        for (int which = 0; which < 2; which++)
            MAP_FOR_EACH(e, which ? &r->chains[t] : &fixed->chains[t]) {
                strbuf_addf(out, ":%s - [0:0]\n", map_key(e));
            }
        for (size_t i = 0; i < rules_source.n_jumps; i++)
            if ((int)rules_source.jumps[i].table == t)
                strbuf_addf(out, "-A %s %s\n", rules_source.jumps[i].chain,
                            rules_source.jumps[i].rule);
        strbuf_adds(out, "-A DOCKER -j RETURN\n");
        for (int which = 0; which < 2; which++)
            MAP_FOR_EACH(e, which ? &r->chains[t] : &fixed->chains[t]) {
                strbuf_adds(out, map_value(e));
            }
        for (int l = 0; l < RULES_LISTS; l++)
            if ((int)rules_lists[l].table == t) {
                strbuf_adds(out, strbuf_text(&r->lists[l]));
                strbuf_adds(out, strbuf_text(&fixed->lists[l]));
            }
        strbuf_adds(out, "COMMIT\n");
    }
}

static char *takeover(const struct rules *fixed, const char *saved, const struct rules *wanted)
{
    struct survey s;
    struct delta d = DELTA_INIT;
    struct strbuf out = STRBUF_INIT;
    size_t written[RULES_TABLES];
    survey_init(&s, &rules_source);
    survey_read(&s, saved);
    survey_static(&s, fixed, &d);
    survey_service(&s, wanted, &d);
    survey_end(&s, &d);
    delta_text(&d, &out, written);
    survey_done(&s);
    delta_done(&d);
    return strbuf_take(&out);
}

static void what_is_there_as_wanted_stays(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules fixed = RULES_INIT, old = RULES_INIT, now = RULES_INIT, none = RULES_INIT;
    struct strbuf saved = STRBUF_INIT;
    rules_source.fixed(&c, &fixed);
    rules_for(&old, "", TWO, &c);
    rules_for(&now, "", "{'addresses':['10.0.0.1'],'nodeName':'n1'}", &c);
    save_text(&fixed, &old, &saved);
    _cleanup_free_ char *same = takeover(&fixed, strbuf_text(&saved), &old);
    assert_string_equal(same, "");
    _cleanup_free_ char *less = takeover(&fixed, strbuf_text(&saved), &now);
    assert_int_equal(count(less, ":KUBE-SVC-"), 1);
    assert_int_equal(count(less, "-X KUBE-SEP-"), 1);
    assert_int_equal(count(less, "DOCKER"), 0);
    _cleanup_free_ char *gone = takeover(&fixed, strbuf_text(&saved), &none);
    assert_int_equal(count(gone, "-X "), 4);
    assert_int_equal(count(gone, "-D KUBE-SERVICES"), 1);
    assert_int_equal(count(gone, "-D KUBE-NODEPORTS"), 1);
    _cleanup_free_ char *all = takeover(&fixed, "", &old);
    assert_int_equal(count(all, "-I PREROUTING"), 1);
    assert_int_equal(count(all, "-I FORWARD"), 4);
    strbuf_done(&saved);
    rules_done(&fixed);
    rules_done(&old);
    rules_done(&now);
}

/* What leads to chains of another mode goes with them; what others lead to ours stays. */
static void jumps_of_another_mode_go(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules fixed = RULES_INIT, r = RULES_INIT;
    struct strbuf saved = STRBUF_INIT;
    rules_source.fixed(&c, &fixed);
    rules_for(&r, "", TWO, &c);
    save_text(&fixed, &r, &saved);
    strbuf_adds(&saved, "*filter\n:INPUT ACCEPT [0:0]\n:MINE - [0:0]\n:KUBE-IPVS-FILTER - [0:0]\n"
                        "-A INPUT -j KUBE-IPVS-FILTER\n"
                        "-A FORWARD -m comment --comment \"kubernetes forwarding rules, as "
                        "they were\" -j KUBE-FORWARD\n"
                        "-A MINE -s 192.0.2.1/32 -j KUBE-FORWARD\n"
                        "-A KUBE-IPVS-FILTER -j DROP\nCOMMIT\n");
    _cleanup_free_ char *text = takeover(&fixed, strbuf_text(&saved), &r);
    assert_int_equal(count(text, "-D INPUT -j KUBE-IPVS-FILTER"), 1);
    assert_int_equal(count(text, "-X KUBE-IPVS-FILTER"), 1);
    assert_int_equal(count(text, "-D FORWARD"), 1);
    assert_int_equal(count(text, "MINE"), 0);
    strbuf_done(&saved);
    rules_done(&fixed);
    rules_done(&r);
}

static void the_jump_for_node_ports_is_the_last(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules fixed = RULES_INIT, r = RULES_INIT;
    struct strbuf saved = STRBUF_INIT;
    rules_source.fixed(&c, &fixed);
    rules_for(&r, "", TWO, &c);
    save_text(&fixed, &r, &saved);
    /* Somebody appended the service's line once more. */
    char *commit = strstr(strbuf_text(&saved), "COMMIT");
    _cleanup_free_ char *text = str_printf("%.*s%s%s", (int)(commit - saved.data), saved.data,
                                           strbuf_text(&r.lists[LIST_SERVICES]), commit);
    _cleanup_free_ char *out = takeover(&fixed, text, &r);
    assert_int_equal(count(out, "-D KUBE-SERVICES"), 2); /* the copy, and the jump in the middle */
    assert_int_equal(count(out, "-A KUBE-SERVICES"), 1); /* the jump, at the end */
    assert_true(strstr(out, "-A KUBE-SERVICES") > strstr(out, "-D KUBE-SERVICES"));
    strbuf_done(&saved);
    rules_done(&fixed);
    rules_done(&r);
}

static void much_that_is_stale_is_written_anew(_unused_ void **state)
{
    const struct backend_config c = config4();
    struct rules fixed = RULES_INIT;
    struct strbuf saved = STRBUF_INIT;
    struct survey s;
    rules_source.fixed(&c, &fixed);
    strbuf_adds(&saved, "*nat\n:KUBE-SERVICES - [0:0]\n");
    for (int i = 0; i <= SURVEY_STALE_MAX; i++)
        strbuf_addf(&saved, "-A KUBE-SERVICES -d 10.96.%d.%d/32 -j X\n", i / 256, i % 256);
    strbuf_adds(&saved, "COMMIT\n");
    survey_init(&s, &rules_source);
    survey_read(&s, strbuf_text(&saved));
    assert_true(survey_wants_rewrite(&s, LIST_SERVICES));
    assert_false(survey_wants_rewrite(&s, LIST_NODE_PORTS));
    survey_done(&s);
    strbuf_done(&saved);
    rules_done(&fixed);
}

static void only_our_chains_are_ours(_unused_ void **state)
{
    assert_true(rules_is_ours("KUBE-SVC-ABC"));
    assert_true(rules_is_ours("KUBE-FW-ABC"));
    assert_true(rules_is_ours("KUBE-POSTROUTING"));
    assert_true(rules_is_ours("KUBE-PROXY-CANARY"));
    assert_false(rules_is_ours("KUBE-SERVICES-MINE"));
    assert_false(rules_is_ours("KUBE-KUBELET-CANARY"));
    assert_false(rules_is_ours("KUBE-IPTABLES-HINT"));
    assert_false(rules_is_ours("DOCKER"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_port_has_its_chains),
        cmocka_unit_test(shares_are_equal),
        cmocka_unit_test(no_endpoints_are_refused_and_no_local_ones_dropped),
        cmocka_unit_test(local_policies_have_a_chain_of_their_own),
        cmocka_unit_test(interfaces_tell_local_traffic_too),
        cmocka_unit_test(only_what_differs_is_written),
        cmocka_unit_test(what_is_there_as_wanted_stays),
        cmocka_unit_test(jumps_of_another_mode_go),
        cmocka_unit_test(the_jump_for_node_ports_is_the_last),
        cmocka_unit_test(much_that_is_stale_is_written_anew),
        cmocka_unit_test(only_our_chains_are_ours),
    };
    return RUN_TESTS(tests);
}
