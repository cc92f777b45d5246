/*
 * lib/kube/validate: one table for each kind of object: what is put into a good object, and the
 * errors that must come of it. Single quotes stand for double ones; patches are JSON merge
 * patches, so that each case says only what is wrong.
 */
#include "lib/test.h"

#include "base/json.h"
#include "kube/object.h"
#include "kube/patch.h"
#include "kube/status.h"

static struct schema_registry *reg;

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

/* @base with @patch merged in, decoded. */
static json_t *object(const struct schema_resource *res, const char *base, const char *patch)
{
    _cleanup_json_ json_t *b = parse(base);
    _cleanup_json_ json_t *p = parse(patch);
    json_t *obj = NULL, *status = NULL;
    assert_int_equal(patch_merge(b, p, &obj, NULL), 0);
    if (object_check(res, obj, FIELD_VALIDATION_STRICT, NULL, &status) < 0)
        fail_msg("%s: %s", patch, status_message(status));
    object_default(res, obj);
    return obj;
}

struct validate_case {
    const char *patch, *errors;
};

static void check(const char *name, const struct field_errors *errs, const char *expected)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    field_errors_write(errs, &text);
    if (strcmp(strbuf_text(&text), expected) != 0)
        fail_msg("%s:\n got      %s\n expected %s", name, strbuf_text(&text), expected);
}

static void run_creates(const char *kind, const char *base, const struct validate_case *cases,
                        size_t n)
{
    const struct schema_resource *res = schema_by_word(reg, kind);
    for (size_t i = 0; i < n; i++) {
        _cleanup_json_ json_t *obj = object(res, base, cases[i].patch);
        object_prepare_create(res, obj);
        _cleanup_field_errors_ struct field_errors errs = FIELD_ERRORS_INIT;
        object_validate_create(res, obj, &errs);
        check(cases[i].patch, &errs, cases[i].errors);
    }
}

static void run_updates(const char *kind, const char *subresource, const char *base,
                        const struct validate_case *cases, size_t n)
{
    const struct schema_resource *res = schema_by_word(reg, kind);
    for (size_t i = 0; i < n; i++) {
        _cleanup_json_ json_t *old = object(res, base, "{}");
        object_prepare_create(res, old);
        _cleanup_json_ json_t *patch = parse(cases[i].patch);
        json_t *obj = NULL;
        assert_int_equal(patch_merge(old, patch, &obj, NULL), 0);
        object_default(res, obj);
        object_prepare_update(res, subresource, obj, old);
        _cleanup_field_errors_ struct field_errors errs = FIELD_ERRORS_INIT;
        object_validate_update(res, subresource, obj, old, &errs);
        check(cases[i].patch, &errs, cases[i].errors);
        json_decref(obj);
    }
}

#define LABEL                                                                                    \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and " \
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "   \
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN                                                                                 \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "  \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used " \
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

static void metadata(_unused_ void **state)
{
    static const struct validate_case cases[] = {
        {"{}", ""},
        {"{'metadata':{'name':null}}",
         "metadata.name: Required value: name or generateName is required"},
        {"{'metadata':{'name':'A_b'}}", "metadata.name: Invalid value: \"A_b\": " SUBDOMAIN},
        {"{'metadata':{'namespace':null}}", "metadata.namespace: Required value"},
        {"{'metadata':{'namespace':'a.b'}}", "metadata.namespace: Invalid value: \"a.b\": " LABEL},
        {"{'metadata':{'generateName':'x-'}}", ""},
        {"{'metadata':{'labels':{'a b':'c','ok':'-'}}}",
         "[metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric "
         "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
         "'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
         "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), metadata.labels: Invalid value: \"-\": a "
         "valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
         "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
         "'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')]"},
        {"{'metadata':{'annotations':{'Example.COM/a':'free text!'}}}", ""},
        {"{'metadata':{'annotations':{'/a':''}}}",
         "metadata.annotations: Invalid value: \"/a\": prefix part must be non-empty"},
        {"{'metadata':{'ownerReferences':[{'apiVersion':'apps/','kind':'X','name':'n','uid':''}]}}",
         "[metadata.ownerReferences[0].apiVersion: Invalid value: \"apps/\": version must not be "
         "empty, metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty]"},
        {"{'metadata':{'finalizers':['a/b/c']}}",
         "metadata.finalizers[0]: Invalid value: \"a/b/c\": a qualified name must consist of "
         "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
         "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
         "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and "
         "'/' (e.g. 'example.com/MyName')"},
    };
    run_creates("cm", "{'metadata':{'name':'a','namespace':'n'}}", cases, ARRAY_SIZE(cases));
    static const struct validate_case wide[] = {
        {"{'metadata':{'namespace':'x'}}",
         "metadata.namespace: Forbidden: not allowed on this type"},
        {"{'metadata':{'name':'a.b','labels':null}}",
         "metadata.name: Invalid value: \"a.b\": " LABEL},
    };
    run_creates("ns", "{'metadata':{'name':'a'}}", wide, ARRAY_SIZE(wide));
    static const struct validate_case updates[] = {
        {"{'metadata':{'labels':{'a':'b'}}}", ""},
        {"{'metadata':{'name':'b'}}", "metadata.name: Invalid value: \"b\": field is immutable"},
        {"{'metadata':{'uid':'u2'}}", "metadata.uid: Invalid value: \"u2\": field is immutable"},
    };
    run_updates("cm", NULL, "{'metadata':{'name':'a','namespace':'n','uid':'u'}}", updates,
                ARRAY_SIZE(updates));
}

#define POD \
    "{'metadata':{'name':'a','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'}]}}"
#define CONTAINER(text) "{'spec':{'containers':[{'name':'c','image':'i'," text "}]}}"

static void pods_and_their_containers(_unused_ void **state)
{
    static const struct validate_case cases[] = {
        {"{}", ""},
        {"{'spec':null}", "spec.containers: Required value"},
        {"{'spec':{'containers':[]}}", "spec.containers: Required value"},
        {"{'spec':{'containers':[{}]}}",
         "[spec.containers[0].name: Required value, spec.containers[0].image: Required value]"},
        {"{'spec':{'containers':[{'name':'A','image':' i'}]}}",
         "[spec.containers[0].name: Invalid value: \"A\": " LABEL
         ", spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing "
         "whitespace]"},
        {"{'spec':{'initContainers':[{'name':'c','image':'i'}]}}",
         "spec.initContainers[0].name: Duplicate value: \"c\""},
        {CONTAINER("'imagePullPolicy':'Maybe'"),
         "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: "
         "\"Always\", \"IfNotPresent\", \"Never\""},
        {CONTAINER("'ports':[{}]"), "spec.containers[0].ports[0].containerPort: Required value"},
        {CONTAINER("'ports':[{'containerPort':70000,'protocol':'X'},{'containerPort':80,'hostPort':"
                   "8080},{'containerPort':81,'hostPort':8080}]"),
         "[spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and "
         "65535, inclusive, spec.containers[0].ports[0].protocol: Unsupported value: \"X\": "
         "supported values: \"SCTP\", \"TCP\", \"UDP\", spec.containers[0].ports[2].hostPort: "
         "Duplicate value: \"TCP//8080\"]"},
        {CONTAINER(
             "'ports':[{'containerPort':80,'name':'http'},{'containerPort':81,'name':'http'},{"
             "'containerPort':82,'name':'1234'}]"),
         "[spec.containers[0].ports[2].name: Invalid value: \"1234\": must contain at least one "
         "letter (a-z), spec.containers[0].ports[1].name: Duplicate value: \"http\"]"},
        {CONTAINER("'env':[{'name':'A=B'},{'name':'x','value':'y','valueFrom':{'fieldRef':{"
                   "'fieldPath':'metadata.name'}}},{'name':'y','valueFrom':{}},{'name':'z',"
                   "'valueFrom':{'fieldRef':{'fieldPath':'spec.dns'}}}]"),
         "[spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable "
         "name must consist only of printable ASCII characters other than '=', "
         "spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when "
         "`value` is not empty, spec.containers[0].env[2].valueFrom: Invalid value: \"\": must "
         "specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
         "`fileKeyRef`, spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "
         "\"spec.dns\": supported values: \"metadata.name\", \"metadata.namespace\", "
         "\"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", "
         "\"status.hostIPs\", \"status.podIP\", \"status.podIPs\"]"},
        {CONTAINER("'env':[{'name':'a','valueFrom':{'fieldRef':{'fieldPath':\"metadata.labels["
                   "\\u0027a/b\\u0027]\"}}}]"),
         ""},
        {CONTAINER("'envFrom':[{}]"),
         "spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` "
         "or `secretRef`"},
        {CONTAINER("'volumeMounts':[{'name':'v','mountPath':'/a'},{'name':'','mountPath':'/a',"
                   "'subPath':'../x'}]"),
         "[spec.containers[0].volumeMounts[1].name: Required value, "
         "spec.containers[0].volumeMounts[0].name: Not found: \"v\", "
         "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique, "
         "spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../x\": must not contain "
         "'..']"},
        {CONTAINER("'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'2','memory':'-1'}}"),
         "[spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater "
         "than or equal to 0, spec.containers[0].resources.requests: Invalid value: \"2\": must be "
         "less than or equal to cpu limit of 1]"},
        {CONTAINER("'resources':{'requests':{'gpu':'1','example.com/gpu':'1'}}"),
         "[spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard "
         "resource for containers, spec.containers[0].resources.limits: Required value: Limit must "
         "be set for non overcommitable resources, spec.containers[0].resources.limits: Required "
         "value: Limit must be set for non overcommitable resources]"},
        {CONTAINER("'securityContext':{'privileged':true,'allowPrivilegeEscalation':false,"
                   "'runAsUser':-1}"),
         "[spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and "
         "2147483647, inclusive, spec.containers[0].securityContext: Invalid value: "
         "{\"privileged\":true,\"allowPrivilegeEscalation\":false,\"runAsUser\":-1}: cannot set "
         "`allowPrivilegeEscalation` to false and `privileged` to true]"},
        {CONTAINER("'securityContext':{'seccompProfile':{'type':'Localhost'}}"),
         "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must "
         "be set when seccomp type is Localhost"},
        {"{'spec':{'ephemeralContainers':[{'name':'e','image':'i'}]}}",
         "spec.ephemeralContainers: Forbidden: cannot be set on create"},
        {"{'spec':{'initContainers':[{'name':'i','image':'i','livenessProbe':{'exec':{'command':['"
         "x'"
         "]}}}]}}",
         "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers "
         "without restartPolicy=Always"},
        {"{'spec':{'initContainers':[{'name':'i','image':'i','restartPolicy':'Always',"
         "'livenessProbe':{'exec':{'command':['x']}}}]}}",
         ""},
    };
    run_creates("pod", POD, cases, ARRAY_SIZE(cases));
}

static void probes_and_hooks(_unused_ void **state)
{
    static const struct validate_case cases[] = {
        {CONTAINER("'livenessProbe':{}"),
         "spec.containers[0].livenessProbe: Required value: must specify a handler type"},
        {CONTAINER("'livenessProbe':{'exec':{},'successThreshold':2}"),
         "[spec.containers[0].livenessProbe.exec.command: Required value, "
         "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1]"},
        {CONTAINER("'readinessProbe':{'tcpSocket':{'port':0},'httpGet':{'port':'http'},"
                   "'terminationGracePeriodSeconds':1,'successThreshold':2}"),
         "[spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 "
         "handler type, spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid "
         "value: 1: must not be set for readinessProbes]"},
        {CONTAINER("'readinessProbe':{'tcpSocket':{'port':70000}}"),
         "spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: 70000: must be between "
         "1 and 65535, inclusive"},
        {CONTAINER("'startupProbe':{'httpGet':{'port':'UPPER','httpHeaders':[{'name':'a b'}]},"
                   "'periodSeconds':-1}"),
         "[spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than "
         "or equal to 0, spec.containers[0].startupProbe.httpGet.port: Invalid value: \"UPPER\": "
         "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), "
         "spec.containers[0].startupProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a "
         "valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
         "regex used for validation is '[-A-Za-z0-9]+')]"},
        {CONTAINER("'lifecycle':{'preStop':{},'postStart':{'sleep':{'seconds':1}}}"),
         "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"},
    };
    run_creates("pod", POD, cases, ARRAY_SIZE(cases));
}

static void pods_as_a_whole(_unused_ void **state)
{
    static const struct validate_case cases[] = {
        {"{'spec':{'restartPolicy':'Sometimes','dnsPolicy':'None'}}",
         "[spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", "
         "\"OnFailure\", \"Never\", spec.dnsConfig: Required value: must provide `dnsConfig` when "
         "`dnsPolicy` is None]"},
        {"{'spec':{'dnsPolicy':'None','dnsConfig':{'nameservers':['x']}}}",
         "spec.dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. "
         "10.9.8.7 or 2001:db8::ffff)"},
        {"{'spec':{'volumes':[{'name':'v'},{'name':'v','emptyDir':{},'hostPath':{'path':'/a/../"
         "b'}}]"
         "}}",
         "[spec.volumes[1].name: Duplicate value: \"v\", spec.volumes[1].hostPath: Forbidden: may "
         "not specify more than 1 volume type]"},
        {"{'spec':{'volumes':[{'name':'v','hostPath':{'path':'/a/../b','type':'Pipe'}}]}}",
         "[spec.volumes[0].hostPath.type: Unsupported value: \"Pipe\": supported values: \"\", "
         "\"DirectoryOrCreate\", \"Directory\", \"FileOrCreate\", \"File\", \"Socket\", "
         "\"CharDevice\", \"BlockDevice\", spec.volumes[0].hostPath.path: Invalid value: "
         "\"/a/../b\": must not contain '..']"},
        {"{'spec':{'volumes':[{'name':'e','ephemeral':{'volumeClaimTemplate':{'spec':{"
         "'accessModes':['ReadWriteOnce']}}}}]}}",
         "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: "
         "Required value"},
        {"{'spec':{'volumes':[{'name':'s','secret':{'defaultMode':512,'items':[{'key':'a b','path':"
         "'/abs'}]}}]}}",
         "[spec.volumes[0].secret.items[0].path: Invalid value: \"/abs\": must be a relative path, "
         "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be between 0 and 511, "
         "inclusive, spec.volumes[0].secret.secretName: Required value, "
         "spec.volumes[0].secret.items[0].key: Invalid value: \"a b\": a valid config key must "
         "consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
         "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')]"},
        {"{'spec':{'volumes':[{'name':'p','projected':{'sources':[{'configMap':{}},{"
         "'serviceAccountToken':{'path':'t','expirationSeconds':5}},{'downwardAPI':{'items':[{"
         "'path':'x'}]}}]}}]}}",
         "[spec.volumes[0].projected.sources[0].configMap.name: Required value, "
         "spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid "
         "value: 5: may not specify a duration less than 10 minutes, "
         "spec.volumes[0].projected.sources[2].downwardAPI.items[0]: Required value: one of "
         "fieldRef and resourceFieldRef is required]"},
        {"{'spec':{'hostNetwork':true,'containers':[{'name':'c','image':'i','ports':[{"
         "'containerPort':80,'hostPort':81}]}],'securityContext':{'sysctls':[{'name':'net.core.x',"
         "'value':'1'},{'name':'Bad','value':'1'}]}}}",
         "[spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` "
         "when "
         "`hostNetwork` is true, spec.securityContext.sysctls[0].name: Invalid value: "
         "\"net.core.x\": may not be specified when 'hostNetwork' is true, "
         "spec.securityContext.sysctls[1].name: Invalid value: \"Bad\": must have at most 253 "
         "characters and match regex "
         "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$]"},
        {"{'spec':{'hostname':'a.b','hostAliases':[{'ip':'x','hostnames':['a']}],"
         "'activeDeadlineSeconds':0,'terminationGracePeriodSeconds':-1}}",
         "[spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to "
         "0, spec.hostname: Invalid value: \"a.b\": " LABEL
         ", spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. "
         "10.9.8.7 or 2001:db8::ffff), spec.activeDeadlineSeconds: Invalid value: 0: must be "
         "between 1 and 2147483647, inclusive]"},
        {"{'spec':{'tolerations':[{'operator':'Equal'},{'key':'k','operator':'Exists','value':'v'},"
         "{"
         "'key':'k','tolerationSeconds':1,'effect':'Never'},{'operator':'Exists'}]}}",
         "[spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when "
         "`key` is empty, which means \"match all values and all keys\", "
         "spec.tolerations[1].operator: Invalid value: \"v\": value must be empty when `operator` "
         "is 'Exists', spec.tolerations[2].effect: Invalid value: \"Never\": effect must be "
         "'NoExecute' when `tolerationSeconds` is set, spec.tolerations[2].effect: Unsupported "
         "value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", "
         "\"PreferNoSchedule\"]"},
        {"{'spec':{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
         "'nodeSelectorTerms':[{'matchExpressions':[{'key':'k','operator':'In'},{'key':'k',"
         "'operator':'Frob'}]}]},'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':101,"
         "'preference':{}}]},'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{"
         "'topologyKey':''}]}}}}",
         "[spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: "
         "Invalid value: 101: must be between 1 and 100, inclusive, "
         "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
         ".topologyKey: Required value, "
         "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
         ".nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when "
         "`operator` is 'In' or 'NotIn', "
         "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
         ".nodeSelectorTerms[0].matchExpressions[1].operator: Invalid value: \"Frob\": not a valid "
         "selector operator]"},
        {"{'spec':{'topologySpreadConstraints':[{'maxSkew':0,'topologyKey':'z','whenUnsatisfiable':"
         "'DoNotSchedule'}]}}",
         "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"},
        {"{'spec':{'hostPID':true,'shareProcessNamespace':true,'hostUsers':false}}",
         "[spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID "
         "cannot both be enabled, spec.hostPID: Forbidden: when `hostUsers` is false, it may not "
         "be set]"},
    };
    run_creates("pod", POD, cases, ARRAY_SIZE(cases));
}

#define UPDATE                                                                                  \
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`," \
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "     \
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be "  \
    "set to 1 if it was previously negative)"

static void pod_updates(_unused_ void **state)
{
    static const char base[] =
        "{'metadata':{'name':'a','namespace':'n'},'spec':{'activeDeadlineSeconds':10,'tolerations':"
        "[{'key':'t','operator':'Exists'}],'containers':[{'name':'c','image':'i:1'}]}}";
    static const struct validate_case cases[] = {
        {"{'metadata':{'labels':{'a':'b'}}}", ""},
        {"{'spec':{'containers':[{'name':'c','image':'i:2','imagePullPolicy':'IfNotPresent'}]}}",
         ""},
        {"{'spec':{'containers':[{'name':'c','image':'i:1','command':['x']}]}}", UPDATE},
        {"{'spec':{'nodeName':'elsewhere'}}", UPDATE},
        {"{'spec':{'containers':[]}}",
         "[spec.containers: Required value, spec.containers: Forbidden: pod updates may not add or "
         "remove containers]"},
        {"{'spec':{'activeDeadlineSeconds':5}}", ""},
        {"{'spec':{'activeDeadlineSeconds':50}}",
         "spec.activeDeadlineSeconds: Invalid value: 50: must be less than or equal to previous "
         "value"},
        {"{'spec':{'activeDeadlineSeconds':null}}",
         "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer "
         "to nil value"},
        {"{'spec':{'tolerations':[]}}", "spec.tolerations: Forbidden: existing toleration can not "
                                        "be modified except its tolerationSeconds"},
        {"{'status':{'phase':'Running'}}", ""},
    };
    run_updates("pod", NULL, base, cases, ARRAY_SIZE(cases));
    static const struct validate_case status[] = {
        {"{'spec':{'containers':[]},'status':{'phase':'Running','podIP':'10.0.0.1'}}", ""},
    };
    run_updates("pod", "status", base, status, ARRAY_SIZE(status));
    static const struct validate_case ephemeral[] = {
        {"{'spec':{'ephemeralContainers':[{'name':'e','image':'i'}]}}", ""},
        {"{'spec':{'ephemeralContainers':[{'name':'c','image':'i','ports':[]}]}}",
         "[spec.ephemeralContainers[0].name: Duplicate value: \"c\", "
         "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container]"},
    };
    run_updates("pod", "ephemeralcontainers", base, ephemeral, ARRAY_SIZE(ephemeral));
    static const struct validate_case resize[] = {
        {"{'spec':{'containers':[{'name':'c','image':'other','resources':{}}]}}", ""},
        {"{'spec':{'containers':[{'name':'c','resources':{'requests':{'cpu':'1'}}}]}}",
         "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of "
         "resizing"},
    };
    run_updates("pod", "resize", base, resize, ARRAY_SIZE(resize));
}

static void services(_unused_ void **state)
{
    static const char base[] = "{'metadata':{'name':'s','namespace':'n'},'spec':{'ports':[{'port':"
                               "80}]}}";
    static const struct validate_case cases[] = {
        {"{}", ""},
        {"{'metadata':{'name':'1a'}}",
         "metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case "
         "alphanumeric characters or '-', start with an alphabetic character, and end with an "
         "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
         "'[a-z]([-a-z0-9]*[a-z0-9])?')"},
        {"{'spec':{'ports':null}}", "spec.ports: Required value"},
        {"{'spec':{'ports':null,'clusterIP':'None'}}", ""},
        {"{'spec':{'ports':[{'port':0},{'port':81,'targetPort':'a_b','name':'x'}]}}",
         "[spec.ports[0].port: Required value, spec.ports[0].name: Required value, "
         "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive, "
         "spec.ports[1].targetPort: Invalid value: \"a_b\": must contain only alpha-numeric "
         "characters (a-z, 0-9), and hyphens (-)]"},
        {"{'spec':{'ports':[{'port':80,'name':'a'},{'port':80,'name':'a'}]}}",
         "[spec.ports[1].name: Duplicate value: \"a\", spec.ports[1]: Duplicate value: "
         "{\"port\":80,\"name\":\"a\",\"protocol\":\"TCP\",\"targetPort\":80}]"},
        {"{'spec':{'ports':[{'port':80,'nodePort':30000}]}}",
         "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
        {"{'spec':{'type':'NodePort','clusterIP':'None'}}",
         "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort "
         "services"},
        {"{'spec':{'type':'ExternalName'}}", "spec.externalName: Required value"},
        {"{'spec':{'type':'ExternalName','externalName':'a.b.','clusterIP':'10.0.0.1'}}",
         "spec.clusterIP: Forbidden: may not be set for ExternalName services"},
        {"{'spec':{'type':'Frob','clusterIP':'10.0.0.300','externalIPs':['x']}}",
         "[spec.type: Unsupported value: \"Frob\": supported values: \"ClusterIP\", "
         "\"ExternalName\", \"LoadBalancer\", \"NodePort\", spec.externalIPs[0]: Invalid value: "
         "\"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), "
         "spec.clusterIPs[0]: Invalid value: \"10.0.0.300\": must be a valid IP address, (e.g. "
         "10.9.8.7 or 2001:db8::ffff), spec.externalTrafficPolicy: Invalid value: \"Cluster\": may "
         "only be set for externally-accessible services]"},
        {"{'spec':{'loadBalancerSourceRanges':['10.0.0.0/33'],'allocateLoadBalancerNodePorts':true,"
         "'externalTrafficPolicy':'Local','healthCheckNodePort':30001}}",
         "[spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is "
         "'LoadBalancer', spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` "
         "is 'LoadBalancer', spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": "
         "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64), "
         "spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is "
         "'LoadBalancer' and `externalTrafficPolicy` is 'Local', spec.externalTrafficPolicy: "
         "Invalid value: \"Local\": may only be set for externally-accessible services]"},
        {"{'spec':{'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{"
         "'timeoutSeconds':0}}}}",
         "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater "
         "than 0 and less than 86400"},
    };
    run_creates("svc", base, cases, ARRAY_SIZE(cases));
    static const struct validate_case updates[] = {
        {"{'spec':{'ports':[{'port':81}]}}", ""},
        {"{'spec':{'clusterIP':'10.0.0.2','clusterIPs':['10.0.0.2']}}",
         "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"},
        {"{'spec':{'type':'NodePort'}}", ""},
    };
    run_updates("svc", NULL,
                "{'metadata':{'name':'s','namespace':'n'},'spec':{'clusterIP':'10.0.0.1','ports':[{"
                "'port':80}]}}",
                updates, ARRAY_SIZE(updates));
}

static void workloads(_unused_ void **state)
{
    static const char base[] =
        "{'metadata':{'name':'d','namespace':'n'},'spec':{'selector':{'matchLabels':{'a':'b'}},"
        "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}"
        "]}}}}";
    static const struct validate_case cases[] = {
        {"{}", ""},
        {"{'spec':null}", "[spec.selector: Required value, spec.template.spec.containers: Required "
                          "value]"},
        {"{'spec':{'replicas':-1}}",
         "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
        {"{'spec':{'selector':{'matchLabels':{'a':'c'}}}}",
         "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match "
         "template `labels`"},
        {"{'spec':{'selector':{'matchLabels':null}}}",
         "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
        {"{'spec':{'selector':{'matchLabels':null,'matchExpressions':[{'key':'a','operator':'In'}]}"
         "}"
         "}",
         "spec.selector.matchExpressions[0].values: Required value: must be specified when "
         "`operator` is 'In' or 'NotIn'"},
        {"{'spec':{'template':{'spec':{'restartPolicy':'Never','activeDeadlineSeconds':1,"
         "'containers':[{'name':'c'}]}}}}",
         "[spec.template.spec.containers[0].image: Required value, "
         "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: "
         "\"Always\", spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds "
         "in ReplicaSet is not Supported]"},
        {"{'spec':{'strategy':{'type':'Recreate','rollingUpdate':{'maxSurge':1}}}}",
         "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is "
         "'Recreate'"},
        {"{'spec':{'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':'0%'}}}}",
         "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when "
         "`maxSurge` is 0"},
        {"{'spec':{'strategy':{'rollingUpdate':{'maxSurge':'lots','maxUnavailable':-1}}}}",
         "[spec.strategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or "
         "equal to 0, spec.strategy.rollingUpdate.maxSurge: Invalid value: \"lots\": a valid "
         "percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
         "'93%', regex used for validation is '[0-9]+%')]"},
        {"{'spec':{'minReadySeconds':600}}",
         "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"},
    };
    run_creates("deploy", base, cases, ARRAY_SIZE(cases));
    static const struct validate_case updates[] = {
        {"{'spec':{'replicas':3}}", ""},
        {"{'spec':{'selector':{'matchLabels':{'x':'y'}},'template':{'metadata':{'labels':{'x':'y'}}"
         "}"
         "}}",
         "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"x\":\"y\"}}: field is "
         "immutable"},
    };
    run_updates("deploy", NULL, base, updates, ARRAY_SIZE(updates));
    run_updates("rs", NULL, base, updates, ARRAY_SIZE(updates));
}

static void config_maps_and_secrets(_unused_ void **state)
{
    static const char base[] = "{'metadata':{'name':'c','namespace':'n'}}";
    static const struct validate_case maps[] = {
        {"{'data':{'ok.yaml':''}}", ""},
        {"{'data':{'a/b':'','x':''},'binaryData':{'x':''}}",
         "[data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric "
         "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used "
         "for validation is '[-._a-zA-Z0-9]+'), data[x]: Invalid value: \"x\": duplicate of key "
         "present in binaryData]"},
        {"{'data':{'..':''}}", "data[..]: Invalid value: \"..\": must not be '..'"},
    };
    run_creates("cm", base, maps, ARRAY_SIZE(maps));
    static const struct validate_case frozen[] = {
        {"{'data':{'a':'2'},'immutable':false}",
         "[immutable: Forbidden: field is immutable when `immutable` is set, data: Forbidden: "
         "field is immutable when `immutable` is set]"},
        {"{'metadata':{'labels':{'a':'b'}}}", ""},
    };
    run_updates("cm", NULL,
                "{'metadata':{'name':'c','namespace':'n'},'immutable':true,'data':{'a':'1'}}",
                frozen, ARRAY_SIZE(frozen));
    static const struct validate_case secrets[] = {
        {"{'stringData':{'a':'1'}}", ""},
        {"{'type':'kubernetes.io/tls'}",
         "[data[tls.crt]: Required value, data[tls.key]: Required value]"},
        {"{'type':'kubernetes.io/basic-auth','stringData':{'username':'u'}}", ""},
        {"{'type':'kubernetes.io/service-account-token'}",
         "metadata.annotations[kubernetes.io/service-account.name]: Required value"},
    };
    run_creates("secret", base, secrets, ARRAY_SIZE(secrets));
    static const struct validate_case secret_updates[] = {
        {"{'type':'other'}", "type: Invalid value: \"other\": field is immutable"}};
    run_updates("secret", NULL, base, secret_updates, ARRAY_SIZE(secret_updates));
}

static void the_other_kinds(_unused_ void **state)
{
    static const struct {
        const char *kind, *base;
        struct validate_case c;
    } cases[] = {
        {"no", "{'metadata':{'name':'n'}}", {"{}", ""}},
        {"no",
         "{'metadata':{'name':'n'}}",
         {"{'spec':{'podCIDR':'10.0.0.0/33','taints':[{'key':'a','effect':'NoSchedule'},{'key':'a',"
          "'effect':'NoSchedule'},{'key':'b'}]}}",
          "[spec.podCIDR: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. "
          "10.9.8.0/24 or 2001:db8::/64), spec.taints[2].effect: Required value, spec.taints[1]: "
          "Duplicate value: {\"key\":\"a\",\"effect\":\"NoSchedule\"}]"}},
        {"lease",
         "{'metadata':{'name':'l','namespace':'n'}}",
         {"{'spec':{'leaseDurationSeconds':0,'leaseTransitions':-1}}",
          "[spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0, "
          "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0]"}},
        {"events",
         "{'metadata':{'name':'e','namespace':'n'}}",
         {"{'involvedObject':{'kind':'Pod','namespace':'other'}}",
          "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"}},
        {"events",
         "{'metadata':{'name':'e','namespace':'default'}}",
         {"{'involvedObject':{'kind':'Node','name':'n'}}", ""}},
        {"events.events.k8s.io",
         "{'metadata':{'name':'e','namespace':'default'}}",
         {"{}", "[eventTime: Required value, reportingController: Required value, "
                "reportingInstance: Required value, action: Required value, reason: Required "
                "value, type: Invalid value: \"\": has to be one of: Normal, Warning]"}},
        {"ep",
         "{'metadata':{'name':'e','namespace':'n'}}",
         {"{'subsets':[{},{'addresses':[{'ip':'127.0.0.1'}],'ports':[{'port':0},{'port':1}]}]}",
          "[subsets[1].ports[0].port: Required value, subsets[0]: Required value: must specify "
          "`addresses` or `notReadyAddresses`, subsets[1].addresses[0].ip: Invalid value: "
          "\"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128), "
          "subsets[1].ports[0].name: Required value, subsets[1].ports[1].name: Required value]"}},
        {"endpointslices",
         "{'metadata':{'name':'e','namespace':'n'},'addressType':'IPv4'}",
         {"{'endpoints':[{'addresses':['::1']},{},{'addresses':['10.0.0.1']}],'ports':[{'port':1},{"
          "'port':2}]}",
          "[endpoints[1].addresses: Required value, endpoints[0].addresses[0]: Invalid value: "
          "\"::1\": must be an IPv4 address, ports[1].name: Duplicate value: \"\"]"}},
        {"endpointslices",
         "{'metadata':{'name':'e','namespace':'n'}}",
         {"{'endpoints':[]}", "addressType: Required value"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        run_creates(cases[i].kind, cases[i].base, &cases[i].c, 1);
    static const struct validate_case slice[] = {
        {"{'addressType':'IPv6'}", "addressType: Invalid value: \"IPv6\": field is immutable"},
    };
    run_updates("endpointslices", NULL,
                "{'metadata':{'name':'e','namespace':'n'},'addressType':'IPv4','endpoints':[]}",
                slice, ARRAY_SIZE(slice));
    static const struct validate_case node[] = {
        {"{'spec':{'podCIDR':'10.0.1.0/24','podCIDRs':['10.0.1.0/24']}}",
         "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to "
         "valid"},
        {"{'spec':{'unschedulable':true}}", ""},
    };
    run_updates("no", NULL,
                "{'metadata':{'name':'n'},'spec':{'podCIDR':'10.0.0.0/24','podCIDRs':["
                "'10.0.0.0/24']}}",
                node, ARRAY_SIZE(node));
}

static void a_status_names_every_cause(_unused_ void **state)
{
    const struct schema_resource *res = schema_by_word(reg, "deploy");
    _cleanup_json_ json_t *obj = object(res, "{'metadata':{'name':'d','namespace':'n'}}", "{}");
    _cleanup_field_errors_ struct field_errors errs = FIELD_ERRORS_INIT;
    object_validate_create(res, obj, &errs);
    const struct status_resource about = {"apps", "deployments", "Deployment"};
    _cleanup_json_ json_t *s = status_invalid(&about, "d", &errs);
    _cleanup_json_ json_t *want = parse(
        "{'kind':'Status','apiVersion':'v1','metadata':{},'status':'Failure','message':"
        "'Deployment.apps \\'d\\' is invalid: [spec.selector: Required value, "
        "spec.template.spec.containers: Required value]','reason':'Invalid','details':{'name':'d',"
        "'group':'apps','kind':'Deployment','causes':[{'reason':'FieldValueRequired','message':"
        "'Required value','field':'spec.selector'},{'reason':'FieldValueRequired','message':"
        "'Required value','field':'spec.template.spec.containers'}]},'code':422}");
    assert_true(json_equal(s, want));
    for (int i = 0; i < 200; i++)
        field_required(&errs, FIELD(NULL, "x"), NULL);
    assert_int_equal(errs.count, FIELD_ERRORS_MAX);
    assert_int_equal(errs.dropped, 102);
}

static void storage(_unused_ void **state)
{
    static const struct validate_case volumes[] = {
        {"{}", ""},
        {"{'spec':{'capacity':{'cpu':'1'}}}",
         "spec.capacity: Unsupported value: {\"storage\":\"1Gi\",\"cpu\":\"1\"}: supported values: "
         "\"storage\""},
        {"{'spec':{'capacity':null,'accessModes':null}}",
         "[spec.accessModes: Required value, spec.capacity: Required value]"},
        {"{'spec':{'nfs':{'server':'s','path':'/p'}}}",
         "spec.nfs: Forbidden: may not specify more than 1 volume type"},
        {"{'spec':{'hostPath':null}}", "spec: Required value: must specify a volume type"},
        {"{'spec':{'hostPath':{'path':'/a/../b'}}}",
         "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"},
        {"{'spec':{'hostPath':{'path':'/a..b/..c'}}}", ""},
        {"{'spec':{'accessModes':['ReadWriteOncePod','ReadOnlyMany']}}",
         "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"},
        {"{'spec':{'storageClassName':'A_b'}}",
         "spec.storageClassName: Invalid value: \"A_b\": " SUBDOMAIN},
    };
    static const struct validate_case volume_updates[] = {
        {"{'spec':{'capacity':{'storage':'2Gi'},'storageClassName':'other'}}", ""},
        {"{'spec':{'hostPath':{'path':'/b'}}}",
         "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after "
         "creation"},
        {"{'spec':{'volumeMode':'Block'}}",
         "spec.volumeMode: Invalid value: \"Block\": field is immutable"},
    };
    static const struct validate_case claim_updates[] = {
        {"{'spec':{'volumeName':'v','storageClassName':'fast'}}", ""},
        {"{'spec':{'resources':{'requests':{'storage':'2Gi'}}}}",
         "spec: Forbidden: spec is immutable after creation except resources.requests and "
         "volumeAttributesClassName for bound claims"},
    };
    const char *volume = "{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},"
                         "'accessModes':['ReadWriteOnce'],'hostPath':{'path':'/a'}}}";
    run_creates("pv", volume, volumes, ARRAY_SIZE(volumes));
    run_updates("pv", "", volume, volume_updates, ARRAY_SIZE(volume_updates));
    run_updates("pvc", "",
                "{'metadata':{'name':'c','namespace':'n'},'spec':{'accessModes':['ReadWriteOnce'],"
                "'resources':{'requests':{'storage':'1Gi'}}}}",
                claim_updates, ARRAY_SIZE(claim_updates));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata),
        cmocka_unit_test(storage),
        cmocka_unit_test(pods_and_their_containers),
        cmocka_unit_test(probes_and_hooks),
        cmocka_unit_test(pods_as_a_whole),
        cmocka_unit_test(pod_updates),
        cmocka_unit_test(services),
        cmocka_unit_test(workloads),
        cmocka_unit_test(config_maps_and_secrets),
        cmocka_unit_test(the_other_kinds),
        cmocka_unit_test(a_status_names_every_cause),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
