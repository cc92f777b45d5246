/* lib/kube/table: ages, and the cells of each kind. Single quotes stand for double ones. */
#include "lib/test.h"

#include <errno.h>

#include "base/json.h"
#include "base/times.h"
#include "kube/table.h"

static struct schema_registry *reg;
static const int64_t NOW = 1767225600; /* 2026-01-01T00:00:00Z */

static int setup(_unused_ void **state)
{
    reg = schema_registry_new();
    return 0;
}

static int teardown(_unused_ void **state)
{
    reg = schema_registry_free(reg);
    return 0;
}

static json_t *parse(const char *text)
{
    _cleanup_free_ char *copy = str_dup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    struct error err = ERROR_INIT;
    json_t *j = json_parse(copy, strlen(copy), &err);
    if (!j)
        fail_msg("%s: %s", text, err.text);
    return j;
}

/* The cells as text, separated by "|". */
static char *cells_of(const char *kind, const char *object)
{
    _cleanup_json_ json_t *obj = parse(object);
    _cleanup_json_ json_t *cells = table_cells(schema_by_word(reg, kind), obj, NOW);
    struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; i < json_array_size(cells); i++) {
        const json_t *c = json_array_get(cells, i);
        if (i)
            strbuf_addc(&text, '|');
        if (json_is_string(c))
            strbuf_adds(&text, json_string_value(c));
        else
            json_encode(c, &text);
    }
    return strbuf_take(&text);
}

static void ages(_unused_ void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {-5, "<invalid>"},  {-1, "0s"},        {0, "0s"},         {119, "119s"},
        {120, "2m"},        {130, "2m10s"},    {600, "10m"},      {630, "10m"},
        {10800, "3h"},      {10860, "3h1m"},   {28800, "8h"},     {172799, "47h"},
        {172800, "2d"},     {176400, "2d1h"},  {691200, "8d"},    {63072000, "2y"},
        {63158400, "2y1d"}, {252288000, "8y"}, {252374400, "8y"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[TABLE_AGE_MAX];
        assert_string_equal(table_age(cases[i].seconds, buf), cases[i].text);
    }
}

#define POD(spec, status)                                                           \
    "{'metadata':{'name':'p','creationTimestamp':'2025-12-31T23:59:00Z'},'spec':{'" \
    "containers':[{'name':'a'},{'name':'b'}]" spec "},'status':{" status "}}"
#define WIDE "|60s|<none>|<none>|<none>|<none>"

static void the_state_of_a_pod_in_a_word(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {POD("", "'phase':'Pending'"), "p|0/2|Pending|0" WIDE},
        {POD("", "'phase':'Failed','reason':'Evicted'"), "p|0/2|Evicted|0" WIDE},
        {POD("", "'phase':'Pending','conditions':[{'type':'PodScheduled','status':'False','reason':"
                 "'SchedulingGated'}]"),
         "p|0/2|SchedulingGated|0" WIDE},
        {POD("", "'phase':'Running','containerStatuses':[{'name':'a','ready':true,'state':{"
                 "'running':{}}},{'name':'b','ready':false,'restartCount':3,'state':{'waiting':{"
                 "'reason':'CrashLoopBackOff'}},'lastState':{'terminated':{'finishedAt':"
                 "'2025-12-31T23:59:30Z'}}}]"),
         "p|1/2|CrashLoopBackOff|3 (30s ago)" WIDE},
        {POD("", "'phase':'Running','conditions':[{'type':'Ready','status':'True'}],"
                 "'containerStatuses':[{'ready':true,'state':{'running':{}}},{'state':{"
                 "'terminated':{'reason':'Completed'}}}]"),
         "p|1/2|Running|0" WIDE},
        {POD("", "'phase':'Running','containerStatuses':[{'state':{'terminated':{'reason':"
                 "'Completed'}}},{'ready':true,'state':{'running':{}}}]"),
         "p|1/2|NotReady|0" WIDE},
        {POD("", "'phase':'Failed','containerStatuses':[{'state':{'terminated':{'exitCode':1}}}]"),
         "p|0/2|ExitCode:1|0" WIDE},
        {POD("", "'phase':'Failed','containerStatuses':[{'state':{'terminated':{'exitCode':137,"
                 "'signal':9}}}]"),
         "p|0/2|Signal:9|0" WIDE},
        {POD("", "'phase':'Succeeded','containerStatuses':[{'state':{'terminated':{'reason':"
                 "'Completed'}}}]"),
         "p|0/2|Completed|0" WIDE},
        {POD(",'initContainers':[{'name':'i'},{'name':'j'}]",
             "'phase':'Pending','initContainerStatuses':[{'name':'i','state':{'terminated':{"
             "'exitCode':0}}},{'name':'j','state':{'running':{}}}]"),
         "p|0/2|Init:1/2|0" WIDE},
        {POD(",'initContainers':[{'name':'i'}]",
             "'phase':'Pending','initContainerStatuses':[{'name':'i','restartCount':2,'state':{"
             "'waiting':{'reason':'ImagePullBackOff'}}}]"),
         "p|0/2|Init:ImagePullBackOff|2" WIDE},
        {POD(",'initContainers':[{'name':'i'}]",
             "'phase':'Failed','initContainerStatuses':[{'name':'i','state':{'terminated':{"
             "'exitCode':2}}}]"),
         "p|0/2|Init:ExitCode:2|0" WIDE},
        {POD(",'initContainers':[{'name':'s','restartPolicy':'Always'}]",
             "'phase':'Running','initContainerStatuses':[{'name':'s','started':true,'ready':true,"
             "'restartCount':1,'state':{'running':{}}}],'containerStatuses':[{'ready':true,'state':"
             "{'running':{}}}]"),
         "p|2/3|Running|1" WIDE},
        {"{'metadata':{'name':'p','deletionTimestamp':'2026-01-01T00:00:00Z'},'spec':{'nodeName':"
         "'n1','readinessGates':[{'conditionType':'x'},{'conditionType':'y'}]},'status':{'phase':"
         "'Running','podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}],'conditions':[{'type':'y',"
         "'status':'True'}]}}",
         "p|0/0|Terminating|0|<unknown>|10.0.0.1|n1|<none>|1/2"},
        {"{'metadata':{'name':'p','deletionTimestamp':'2026-01-01T00:00:00Z'},'status':{'phase':"
         "'Running','reason':'NodeLost'}}",
         "p|0/0|Unknown|0|<unknown>|<none>|<none>|<none>|<none>"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *got = cells_of("pod", cases[i][0]);
        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], got);
    }
}

static void cells_of_other_kinds(_unused_ void **state)
{
    static const struct {
        const char *kind, *object, *cells;
    } cases[] = {
        {"no",
         "{'metadata':{'name':'n','labels':{'node-role.kubernetes.io/worker':'','kubernetes.io/"
         "role':'edge'}},'spec':{'unschedulable':true},'status':{'conditions':[{'type':'Ready',"
         "'status':'True'}],'addresses':[{'type':'InternalIP','address':'10.0.0.1'}],'nodeInfo':{"
         "'kubeletVersion':'v1.36.0','osImage':'Debian'}}}",
         "n|Ready,SchedulingDisabled|edge,worker|<unknown>|v1.36.0|10.0.0.1|<none>|Debian|<unknown>"
         "|<unknown>"},
        {"no", "{'metadata':{'name':'n'}}",
         "n|Unknown|<none>|<unknown>||<none>|<none>|<unknown>|<unknown>|<unknown>"},
        {"svc",
         "{'metadata':{'name':'s'},'spec':{'type':'NodePort','clusterIP':'10.1.0.1','ports':[{"
         "'port':80,'nodePort':30080,'protocol':'TCP'},{'port':53,'protocol':'UDP'}],'selector':{"
         "'b':'2','a':'1'}}}",
         "s|NodePort|10.1.0.1|<none>|80:30080/TCP,53/UDP|<unknown>|a=1,b=2"},
        {"svc", "{'metadata':{'name':'s'},'spec':{'type':'LoadBalancer'}}",
         "s|LoadBalancer|<none>|<pending>|<none>|<unknown>|<none>"},
        {"svc",
         "{'metadata':{'name':'s'},'spec':{'type':'ExternalName','externalName':'a.example'}}",
         "s|ExternalName|<none>|a.example|<none>|<unknown>|<none>"},
        {"ep",
         "{'metadata':{'name':'e'},'subsets':[{'addresses':[{'ip':'1.1.1.1'},{'ip':'2.2.2.2'}],"
         "'ports':[{'port':80},{'port':81}]}]}",
         "e|1.1.1.1:80,2.2.2.2:80,1.1.1.1:81 + 1 more...|<unknown>"},
        {"ep", "{'metadata':{'name':'e'}}", "e|<none>|<unknown>"},
        {"endpointslices",
         "{'metadata':{'name':'e'},'addressType':'IPv4','ports':[{'port':80},{}],'endpoints':[{"
         "'addresses':['1.1.1.1']}]}",
         "e|IPv4|80,*|1.1.1.1|<unknown>"},
        {"cm", "{'metadata':{'name':'c'},'data':{'a':''},'binaryData':{'b':''}}", "c|2|<unknown>"},
        {"secret", "{'metadata':{'name':'c'},'type':'Opaque','data':{'a':''}}",
         "c|Opaque|1|<unknown>"},
        {"ns", "{'metadata':{'name':'c'},'status':{'phase':'Active'}}", "c|Active|<unknown>"},
        {"lease", "{'metadata':{'name':'c'},'spec':{'holderIdentity':'h'}}", "c|h|<unknown>"},
        {"deploy",
         "{'metadata':{'name':'d'},'spec':{'replicas':3,'selector':{'matchLabels':{'a':'1'}},"
         "'template':{'spec':{'containers':[{'name':'x','image':'i'},{'name':'y','image':'j'}]}}},"
         "'status':{'readyReplicas':2,'updatedReplicas':1}}",
         "d|2/3|1|0|<unknown>|x,y|i,j|a=1"},
        {"rs", "{'metadata':{'name':'d'},'spec':{'replicas':3},'status':{'replicas':2}}",
         "d|3|2|0|<unknown>|||<none>"},
        {"events",
         "{'metadata':{'name':'e'},'type':'Normal','reason':'Pulled','message':'m','involvedObject'"
         ":{'kind':'Pod','name':'p','fieldPath':'spec.containers{a}'},'source':{'component':"
         "'kubelet','host':'n'},'firstTimestamp':'2025-12-31T23:58:00Z','lastTimestamp':"
         "'2025-12-31T23:59:00Z','count':2}",
         "60s|Normal|Pulled|pod/p|spec.containers{a}|kubelet, n|m|2m|2|e"},
        {"events.events.k8s.io",
         "{'metadata':{'name':'e'},'type':'Normal','reason':'R','note':'m','regarding':{'kind':"
         "'Node','name':'n'},'reportingController':'c','reportingInstance':'i','eventTime':"
         "'2025-12-31T23:59:00.000000Z'}",
         "60s|Normal|R|node/n||c, i|m|60s|1|e"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *got = cells_of(cases[i].kind, cases[i].object);
        if (strcmp(got, cases[i].cells) != 0)
            fail_msg("%s: %s", cases[i].object, got);
    }
}

static void tables_have_a_frame(_unused_ void **state)
{
    const struct schema_resource *res = schema_by_word(reg, "pod");
    _cleanup_json_ json_t *meta = parse("{'resourceVersion':'7'}");
    _cleanup_json_ json_t *pod = parse("{'kind':'Pod','metadata':{'name':'p'},'status':{'phase':"
                                       "'Succeeded'}}");
    _cleanup_json_ json_t *table = table_new(res, "v1", true, meta);
    table_add(table, res, pod, TABLE_INCLUDE_METADATA, NOW);
    table_add(table, res, pod, TABLE_INCLUDE_OBJECT, NOW);
    table_add(table, res, pod, TABLE_INCLUDE_NONE, NOW);
    assert_string_equal(json_path_string(table, "kind"), "Table");
    assert_string_equal(json_path_string(table, "apiVersion"), "meta.k8s.io/v1");
    assert_string_equal(json_path_string(table, "metadata.resourceVersion"), "7");
    const json_t *columns = json_object_get(table, "columnDefinitions");
    assert_int_equal(json_array_size(columns), 9);
    assert_string_equal(json_path_string(json_array_get(columns, 0), "format"), "name");
    assert_int_equal(json_path_int(json_array_get(columns, 5), "priority", 0), 1);
    const json_t *rows = json_object_get(table, "rows");
    assert_string_equal(json_path_string(json_array_get(rows, 0), "object.kind"),
                        "PartialObjectMetadata");
    assert_string_equal(json_path_string(json_array_get(rows, 1), "object.kind"), "Pod");
    assert_null(json_object_get(json_array_get(rows, 2), "object"));
    assert_int_equal(json_array_size(json_object_get(json_array_get(rows, 0), "conditions")), 1);
    enum table_include include;
    assert_int_equal(table_include_parse("Object", &include), 0);
    assert_int_equal(include, TABLE_INCLUDE_OBJECT);
    assert_int_equal(table_include_parse("object", &include), -EINVAL);
}

static void every_kind_has_a_cell_for_each_column(_unused_ void **state)
{
    const struct schema_resource *res;
    for (size_t i = 0; (res = schema_resource_at(reg, i)); i++) {
        _cleanup_json_ json_t *obj = parse("{'metadata':{'name':'x'},'spec':{},'status':{}}");
        _cleanup_json_ json_t *cells = table_cells(res, obj, NOW);
        assert_int_equal(json_array_size(cells), res->n_columns ? res->n_columns : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ages),
        cmocka_unit_test(the_state_of_a_pod_in_a_word),
        cmocka_unit_test(cells_of_other_kinds),
        cmocka_unit_test(tables_have_a_frame),
        cmocka_unit_test(every_kind_has_a_cell_for_each_column),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
