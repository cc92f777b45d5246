/* proxy/nftables: elements and chains of a plan, and their differences. */
#include "lib/test.h"

#include "base/strbuf.h"
#include "proxy/nftables/ruleset.h"

static const struct addresses everywhere = {.everywhere = true};
static const struct backend_config config = {
    .family = AF_INET, .mark = 0x4000, .nft_table = "t", .addresses = &everywhere};

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

/* A plan with the one service ns/web. */
static struct plan *plan_of(const char *more, const char *endpoints)
{
    const struct plan_config pc = {.node = "n1", .ipv4 = true};
    struct plan *p = plan_new(&pc);
    _cleanup_free_ char *service =
        str_printf("{'spec':{'clusterIP':'10.96.0.1','ports':[{'port':80,"
                   "'nodePort':30080}]%s}}",
                   more);
    _cleanup_free_ char *slice =
        str_printf("{'metadata':{'namespace':'ns','labels':{'kubernetes.io/service-name':'web'}},"
                   "'addressType':'IPv4','ports':[{'port':8080}],'endpoints':[%s]}",
                   endpoints);
    _cleanup_json_ json_t *a = parse(service), *b = parse(slice);
    assert_int_equal(plan_service_set(p, "ns/web", a, NULL), 0);
    assert_int_equal(plan_slice_set(p, "ns/web-1", b, NULL), 0);
    (void)plan_refresh(p, ignore, NULL);
    return p;
}

#define HERE(ip)  "{'addresses':['" ip "'],'nodeName':'n1'}"
#define THERE(ip) "{'addresses':['" ip "'],'nodeName':'n2'}"
#define LOCAL     ",'externalTrafficPolicy':'Local'"
#define STICKY    ",'sessionAffinity':'ClientIP'"

static size_t count(const struct contribution *c, enum nft_table_set set)
{
    size_t n = 0;
    for (size_t i = 0; i < c->elements.n; i++)
        n += c->elements.items[i].set == set;
    return n;
}

static void check_chains(const struct contribution *c, const char *wanted)
{
    struct strbuf b = STRBUF_INIT;
    MAP_FOR_EACH(e, &c->chains) {
        strbuf_addf(&b, "%s%s", b.len ? " " : "", map_key(e));
    }
    assert_string_equal(strbuf_text(&b), wanted);
    strbuf_done(&b);
}

static void services_alike_share_chains(_unused_ void **state)
{
    struct plan *p = plan_of("", HERE("10.0.0.1") "," THERE("10.0.0.2"));
    struct contribution c = CONTRIBUTION_INIT;
    contribution_of(&config, plan_get(p, "ns/web"), &c);
    check_chains(&c, "cluster-ip-2 node-port-2");
    assert_int_equal(count(&c, SET_SERVICES), 1);
    assert_int_equal(count(&c, SET_NODE_PORTS), 1);
    assert_int_equal(count(&c, SET_ENDPOINTS), 2);
    assert_int_equal(count(&c, SET_NODE_PORT_ENDPOINTS), 2);
    assert_int_equal(count(&c, SET_HAIRPIN), 1); /* the other is on another node */
    assert_int_equal(count(&c, SET_UNSERVED), 0);
    /* address . protocol . port . slot, each in registers of its own */
    const struct element *e = &c.elements.items[0];
    for (size_t i = 0; i < c.elements.n && e->set != SET_ENDPOINTS; i++)
        e = &c.elements.items[i];
    static const uint8_t key[] = {10, 96, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0};
    static const uint8_t data[] = {10, 0, 0, 1, 0x1f, 0x90, 0, 0};
    assert_int_equal(e->key_len, sizeof(key));
    assert_memory_equal(e->key, key, sizeof(key));
    assert_int_equal(e->data_len, sizeof(data));
    assert_memory_equal(e->data, data, sizeof(data));
    contribution_done(&c);
    (void)plan_free(p);
}

static void the_policy_local_lets_pods_anywhere(_unused_ void **state)
{
    struct plan *p = plan_of(LOCAL, HERE("10.0.0.1") "," THERE("10.0.0.2") "," THERE("10.0.0.3"));
    struct contribution c = CONTRIBUTION_INIT;
    contribution_of(&config, plan_get(p, "ns/web"), &c);
    check_chains(&c, "cluster-ip-3 choose-node-port-3 node-port-local-3-1");
    assert_int_equal(count(&c, SET_NODE_PORT_LOCAL_ENDPOINTS), 1);
    assert_int_equal(count(&c, SET_UNSERVED_NODE_PORTS), 0);
    contribution_done(&c);
    (void)plan_free(p);
    p = plan_of(LOCAL, THERE("10.0.0.2"));
    contribution_of(&config, plan_get(p, "ns/web"), &c);
    assert_int_equal(count(&c, SET_UNSERVED_NODE_PORTS), 1); /* dropped, unless from a pod */
    assert_int_equal(count(&c, SET_NODE_PORTS), 1);
    contribution_done(&c);
    (void)plan_free(p);
}

static void affinity_has_chains_of_its_own(_unused_ void **state)
{
    struct plan *p = plan_of(STICKY, HERE("10.0.0.1") "," THERE("10.0.0.2"));
    struct contribution c = CONTRIBUTION_INIT;
    char id[17];
    contribution_of(&config, plan_get(p, "ns/web"), &c);
    plan_hash("ns/webtcp", id);
    _cleanup_free_ char *chains = str_printf("choose-%s cluster-ip-%s node-port-%s", id, id, id);
    check_chains(&c, chains);
    assert_int_equal(count(&c, SET_ENDPOINTS), 0); /* rules have them */
    const struct chain *choice = map_value(map_first(&c.chains));
    _cleanup_free_ char *text = ruleset_signature(choice);
    contribution_done(&c);
    (void)plan_free(p);
    p = plan_of(STICKY, HERE("10.0.0.1") "," THERE("10.0.0.3"));
    contribution_of(&config, plan_get(p, "ns/web"), &c);
    _cleanup_free_ char *other = ruleset_signature(map_value(map_first(&c.chains)));
    assert_string_not_equal(text, other);
    contribution_done(&c);
    (void)plan_free(p);
}

static void nobody_home_is_refused(_unused_ void **state)
{
    struct plan *p = plan_of("", "");
    struct contribution c = CONTRIBUTION_INIT;
    contribution_of(&config, plan_get(p, "ns/web"), &c);
    check_chains(&c, "");
    assert_int_equal(c.elements.n, 2);
    assert_int_equal(count(&c, SET_UNSERVED), 1);
    assert_int_equal(count(&c, SET_UNSERVED_NODE_PORTS), 1);
    assert_string_equal(c.elements.items[0].chain, "refuse");
    contribution_done(&c);
    (void)plan_free(p);
}

/* ---- differences ---- */

struct difference {
    size_t removed, added;
};

static void on_removed(_unused_ const struct element *e, void *arg)
{
    ((struct difference *)arg)->removed++;
}

static void on_added(_unused_ const struct element *e, void *arg)
{
    ((struct difference *)arg)->added++;
}

static struct difference compare(const char *a, const char *b)
{
    struct difference d = {.removed = 0};
    struct plan *p = plan_of("", a), *q = plan_of("", b);
    struct contribution x = CONTRIBUTION_INIT, y = CONTRIBUTION_INIT;
    contribution_of(&config, plan_get(p, "ns/web"), &x);
    contribution_of(&config, plan_get(q, "ns/web"), &y);
    elements_sort(&x.elements);
    elements_sort(&y.elements);
    elements_compare(&x.elements, &y.elements, on_removed, on_added, &d);
    contribution_done(&x);
    contribution_done(&y);
    (void)plan_free(p);
    (void)plan_free(q);
    return d;
}

static void only_what_differs_changes(_unused_ void **state)
{
    struct difference d =
        compare(THERE("10.0.0.1") "," THERE("10.0.0.2"), THERE("10.0.0.1") "," THERE("10.0.0.2"));
    assert_int_equal(d.removed + d.added, 0);
    /* One endpoint moves: its slot, by address and by node port. */
    d = compare(THERE("10.0.0.1") "," THERE("10.0.0.2"), THERE("10.0.0.1") "," THERE("10.0.0.3"));
    assert_int_equal(d.removed, 2);
    assert_int_equal(d.added, 2);
    /* One comes at the end: two slots more, and verdicts that lead to the chain for three. */
    d = compare(THERE("10.0.0.1") "," THERE("10.0.0.2"),
                THERE("10.0.0.1") "," THERE("10.0.0.2") "," THERE("10.0.0.3"));
    assert_int_equal(d.removed, 2);
    assert_int_equal(d.added, 4);
}

static void the_version_knows_the_configuration(_unused_ void **state)
{
    struct backend_config other = config;
    _cleanup_free_ char *a = ruleset_version(&config);
    _cleanup_free_ char *b = ruleset_version(&config);
    other.masquerade_all = true;
    _cleanup_free_ char *c = ruleset_version(&other);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_alike_share_chains),
        cmocka_unit_test(the_policy_local_lets_pods_anywhere),
        cmocka_unit_test(affinity_has_chains_of_its_own),
        cmocka_unit_test(nobody_home_is_refused),
        cmocka_unit_test(only_what_differs_changes),
        cmocka_unit_test(the_version_knows_the_configuration),
    };
    return RUN_TESTS(tests);
}
