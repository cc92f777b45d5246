/* Volumes against a scripted API server: files, their changes, tokens, claims, ownership, limits.
 */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "base/teardown.h"
#include "base/times.h"
#include "kubelet/stats/disk.h"
#include "net/http_client.h"
#include "net/http_server.h"

/* ---- the API server: objects by path, watches that stay open ---- */
struct fixture {
    struct kubelet k;
    struct http_server *server;
    struct map objects; /* path of one object → JSON text */
    struct map watches; /* the same path → struct http_exchange */
    struct strbuf asked;
    char *token_answer;
    int token_status, token_requests;
    char root[64];
    struct pod *pod;
    struct volume_set *set;
    int changes;
    char *over;
};

static void watch_gone(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    MAP_FOR_EACH(e, &f->watches)
        if (map_value(e) == x)
            (void)map_take(&f->watches, map_key(e));
    http_exchange_abort(x);
}

static void on_token_body(struct http_exchange *x, int result, const char *data, size_t len,
                          void *arg)
{
    struct fixture *f = arg;
    assert_int_equal(result, 0);
    f->token_requests++;
    strbuf_truncate(&f->asked, 0);
    strbuf_add(&f->asked, data, len);
    http_exchange_reply(x, f->token_status, "application/json", f->token_answer,
                        strlen(f->token_answer));
}

/* A list (or watch) by name → the path of the one object. */
static char *object_path(const struct http_exchange *x)
{
    const char *fields = http_exchange_query_get(x, "fieldSelector");
    if (!fields)
        return str_dup(http_exchange_path(x));
    assert_true(str_starts(fields, "metadata.name="));
    return str_printf("%s/%s", http_exchange_path(x), fields + strlen("metadata.name="));
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    _cleanup_free_ char *path = object_path(x);
    const char *object = map_get(&f->objects, path);
    if (str_eq(http_exchange_method(x), "POST")) {
        http_exchange_read_body(x, 65536, on_token_body, f);
    } else if (http_exchange_query_get(x, "watch")) {
        http_exchange_on_close(x, watch_gone, f);
        http_exchange_begin(x, 200, "application/json", -1);
        map_set(&f->watches, path, x);
    } else if (http_exchange_query_get(x, "fieldSelector")) {
        _cleanup_free_ char *list = str_printf(
            "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}", object ? object : "");
        http_exchange_reply(x, 200, "application/json", list, strlen(list));
    } else if (object) {
        http_exchange_reply(x, 200, "application/json", object, strlen(object));
    } else {
        static const char none[] = "{\"kind\":\"Status\",\"message\":\"no such object\"}";
        http_exchange_reply(x, 404, "application/json", none, sizeof(none) - 1);
    }
}

static void put_object(struct fixture *f, const char *path, const char *json)
{
    struct http_exchange *x = map_get(&f->watches, path);
    map_set(&f->objects, path, str_dup(json));
    if (!x)
        return;
    _cleanup_free_ char *event = str_printf("{\"type\":\"MODIFIED\",\"object\":%s}\n", json);
    http_exchange_write(x, event, strlen(event));
}

/* ---- the kubelet's side ---- */
static char *helper(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    *strstr(self, "/tests/unit/") = 0;
    return str_printf("%s/libexec/coracle/%s", self, name);
}

static void start(struct fixture *f)
{
    struct error err = ERROR_INIT;
    uint16_t port = 0;
    memset(f, 0, sizeof(*f));
    (void)snprintf(f->root, sizeof(f->root), "/tmp/coracle-volume.XXXXXX");
    assert_non_null(mkdtemp(f->root));
    f->objects = (struct map)MAP_INIT(free);
    f->token_answer = str_dup("{}");
    f->token_status = 500;
    f->k.loop = loop_new();
    f->server = http_server_new(f->k.loop, NULL, on_request, f);
    assert_int_equal(http_server_listen_tcp(f->server, "127.0.0.1", 0, NULL, &port, &err), 0);
    struct kubeconfig config = {.server = str_printf("http://127.0.0.1:%u", port)};
    assert_int_equal(kube_client_new(&f->k.api, f->k.loop, &config, "test", &err), 0);
    free(config.server);
    f->k.node_name = str_dup("n1");
    f->k.node_labels = json_pack("{s:s}", "zone", "a");
    f->k.pods_dir = fs_join(f->root, "pods");
    f->k.log_root = fs_join(f->root, "logs");
    f->k.tree_program = helper("coracle-tree");
    f->k.objects = object_cache_new(f->k.api);
    f->k.allocatable = (struct node_capacity){.cpu_milli = 4000, .memory = 1 << 30};
}

static void close_set(struct fixture *f)
{
    f->set = volume_set_free(f->set);
    f->pod = pod_unref(f->pod);
}

static void finish(struct fixture *f)
{
    close_set(f);
    object_cache_free(f->k.objects);
    kube_client_free(f->k.api);
    for (int i = 0; i < 50; i++)
        (void)event_base_loop(loop_base(f->k.loop), EVLOOP_NONBLOCK);
    http_server_free(f->server);
    for (int i = 0; i < 50; i++)
        (void)event_base_loop(loop_base(f->k.loop), EVLOOP_NONBLOCK);
    loop_free(f->k.loop);
    assert_int_equal(teardown_mounts(f->root, NULL), 0);
    assert_int_equal(fs_remove_tree(f->root, NULL), 0);
    map_clear(&f->objects);
    map_clear(&f->watches);
    strbuf_done(&f->asked);
    json_decref(f->k.node_labels);
    free(f->token_answer);
    free(f->k.node_name);
    free(f->k.pods_dir);
    free(f->k.log_root);
    free(f->k.tree_program);
    free(f->over);
}

static void on_changed(void *arg)
{
    struct fixture *f = arg;
    f->changes++;
}

static struct pod *make_pod(const char *labels, const char *spec)
{
    struct error err = ERROR_INIT;
    struct pod *pod = NULL;
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\",\"uid\":\"u1\",\"labels\":%s},"
        "\"spec\":{\"serviceAccountName\":\"robot\",\"containers\":[{\"name\":\"c\",\"image\":"
        "\"i\",\"resources\":{\"limits\":{\"cpu\":\"1500m\"}}}],%s}}",
        labels, spec);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    if (!j)
        fail_msg("%s", error_text(&err));
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, &err), 0);
    if (pod->invalid)
        fail_msg("%s", pod->invalid);
    return pod;
}

/* A set of one volume "v" of this source; @more: further fields of the spec, ending with a comma.
 */
static void open_set(struct fixture *f, const char *more, const char *source)
{
    _cleanup_free_ char *spec = str_printf("%s\"volumes\":[{\"name\":\"v\",%s}]", more, source);
    close_set(f);
    f->pod = make_pod("{\"app\":\"x\"}", spec);
    f->set = volume_set_new(&f->k, f->pod, on_changed, f);
}

/* Sets up until it is no longer pending. */
static int settle(struct fixture *f, struct error *err)
{
    uint64_t end = now_ms() + 20000;
    int code;
    while ((code = volume_set_setup(f->set, err)) == VOLUME_E_PENDING) {
        int before = f->changes;
        while (f->changes == before) {
            assert_true(now_ms() < end);
            (void)event_base_loop(loop_base(f->k.loop), EVLOOP_ONCE);
        }
    }
    return code;
}

static void wait_change(struct fixture *f)
{
    uint64_t end = now_ms() + 20000;
    for (int before = f->changes; f->changes == before;) {
        assert_true(now_ms() < end);
        (void)event_base_loop(loop_base(f->k.loop), EVLOOP_ONCE);
    }
}

static void expect_file(struct fixture *f, const char *name, const char *content, mode_t mode)
{
    _cleanup_free_ char *path = fs_join(f->set->volumes[0].path, name);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct stat st;
    assert_int_equal(fs_read(path, 65536, &text, NULL), 0);
    assert_string_equal(strbuf_text(&text), content);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static void expect_failure(struct fixture *f, const char *more, const char *source,
                           const char *text)
{
    struct error err = ERROR_INIT;
    open_set(f, more, source);
    assert_true(settle(f, &err) < 0);
    if (!strstr(error_text(&err), text))
        fail_msg("%s: %s", source, error_text(&err));
}

/* Mounts are made in a mount namespace of the test's own. */
static bool may_mount(void)
{
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* ---- files from the API ---- */
#define CONFIG "/api/v1/namespaces/d/configmaps/cfg"
#define SECRET "/api/v1/namespaces/d/secrets/sec"
#define OBJECT(name, version, data)                                                           \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"resourceVersion\":\"" version \
    "\"}," data "}"

static char *token_answer(const char *token, int64_t lifetime)
{
    char until[TIME_TEXT_MAX];
    return str_printf("{\"spec\":{\"expirationSeconds\":%lld},\"status\":{\"token\":\"%s\","
                      "\"expirationTimestamp\":\"%s\"}}",
                      (long long)lifetime, token, time_format(time_now() + lifetime, until));
}

static void a_projected_volume_follows_its_sources(void **state)
{
    (void)state;
    if (!may_mount())
        skip();
    struct fixture f;
    struct error err = ERROR_INIT;
    start(&f);
    put_object(&f, CONFIG, OBJECT("cfg", "1", "\"data\":{\"a\":\"one\",\"b\":\"two\"}"));
    put_object(&f, SECRET, OBJECT("sec", "1", "\"data\":{\"pw\":\"aHVudGVyMg==\"}"));
    free(f.token_answer);
    f.token_answer = token_answer("t0", 3600);
    f.token_status = 201;
    open_set(&f, "",
             "\"projected\":{\"defaultMode\":292,\"sources\":["
             "{\"configMap\":{\"name\":\"cfg\",\"items\":[{\"key\":\"a\",\"path\":\"deep/a\"}]}},"
             "{\"secret\":{\"name\":\"sec\",\"items\":[{\"key\":\"pw\",\"path\":\"pw\",\"mode\":"
             "256}]}},"
             "{\"secret\":{\"name\":\"none\",\"optional\":true}},"
             "{\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":"
             "\"metadata.labels\"}},{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":"
             "\"c\",\"resource\":\"limits.cpu\",\"divisor\":\"1m\"}},{\"path\":\"mem\","
             "\"resourceFieldRef\":{\"containerName\":\"c\",\"resource\":\"limits.memory\","
             "\"divisor\":\"1Mi\"}}]}},"
             "{\"serviceAccountToken\":{\"audience\":\"vault\",\"expirationSeconds\":7200,"
             "\"path\":\"token\"}}]}");
    if (settle(&f, &err) != 0)
        fail_msg("%s", error_text(&err));
    expect_file(&f, "deep/a", "one", 0444);
    expect_file(&f, "pw", "hunter2", 0400);
    expect_file(&f, "labels", "app=\"x\"", 0444);
    expect_file(&f, "cpu", "1500", 0444);
    expect_file(&f, "mem", "1024", 0444); /* no limit: what the node may give */
    expect_file(&f, "token", "t0", 0444);
    _cleanup_json_ json_t *asked = json_parse(f.asked.data, f.asked.len, &err);
    assert_string_equal(json_path_string(asked, "kind"), "TokenRequest");
    assert_int_equal(json_path_int(asked, "spec.expirationSeconds", 0), 7200);
    assert_string_equal(json_path_string(asked, "spec.boundObjectRef.uid"), "u1");
    assert_string_equal(json_path_string(asked, "spec.boundObjectRef.kind"), "Pod");
    assert_string_equal(json_string_value(json_array_get(json_path(asked, "spec.audiences"), 0)),
                        "vault");
    struct statfs fs;
    assert_int_equal(statfs(f.set->volumes[0].path, &fs), 0);
    assert_int_equal(fs.f_type, 0x01021994); /* a tmpfs: tokens never reach a disk */

    /* A ConfigMap changes. */
    while (!map_has(&f.watches, CONFIG))
        (void)event_base_loop(loop_base(f.k.loop), EVLOOP_ONCE);
    put_object(&f, CONFIG, OBJECT("cfg", "2", "\"data\":{\"a\":\"new\"}"));
    wait_change(&f);
    assert_int_equal(settle(&f, &err), 0);
    expect_file(&f, "deep/a", "new", 0444);
    /* A key vanishes: what was there stays, and the trouble is told. */
    put_object(&f, CONFIG, OBJECT("cfg", "3", "\"data\":{}"));
    wait_change(&f);
    assert_int_equal(settle(&f, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), "references non-existent config key: a"));
    assert_true(volume_set_ready(f.set));
    expect_file(&f, "deep/a", "new", 0444);
    finish(&f);
}

static void labels_are_written_anew(void **state)
{
    (void)state;
    struct fixture f;
    struct error err = ERROR_INIT;
    static const char source[] = "\"downwardAPI\":{\"items\":[{\"path\":\"l\",\"mode\":384,"
                                 "\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}},"
                                 "{\"path\":\"one\",\"fieldRef\":{\"fieldPath\":"
                                 "\"metadata.labels['app']\"}}]}";
    start(&f);
    open_set(&f, "", source);
    assert_int_equal(settle(&f, &err), 0);
    expect_file(&f, "l", "app=\"x\"", 0600);
    expect_file(&f, "one", "x", 0644);
    _cleanup_free_ char *spec = str_printf("\"volumes\":[{\"name\":\"v\",%s}]", source);
    struct pod *next = make_pod("{\"b\":\"2\",\"app\":\"\\\"q\\n\\u0001\"}", spec);
    assert_true(volume_set_update(f.set, next));
    pod_unref(next);
    assert_int_equal(settle(&f, &err), 0);
    expect_file(&f, "l", "app=\"\\\"q\\n\\x01\"\nb=\"2\"", 0600);
    finish(&f);
}

static void an_immutable_object_is_not_watched(void **state)
{
    (void)state;
    struct fixture f;
    struct error err = ERROR_INIT;
    start(&f);
    put_object(&f, CONFIG, OBJECT("cfg", "1", "\"immutable\":true,\"data\":{\"a\":\"one\"}"));
    open_set(&f, "", "\"configMap\":{\"name\":\"cfg\"}");
    assert_int_equal(settle(&f, &err), 0);
    expect_file(&f, "a", "one", 0644);
    for (int i = 0; i < 200; i++)
        (void)event_base_loop(loop_base(f.k.loop), EVLOOP_NONBLOCK);
    assert_int_equal(map_count(&f.watches), 0);
    finish(&f);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    put_object(&f, CONFIG, OBJECT("cfg", "1", "\"data\":{\"a\":\"one\"}"));
    expect_failure(&f, "", "\"configMap\":{\"name\":\"none\"}", "configmap \"none\" not found");
    expect_failure(&f, "", "\"secret\":{\"secretName\":\"none\"}", "secret \"none\" not found");
    expect_failure(&f, "", "\"secret\":{}", "a secret has no name");
    expect_failure(&f, "",
                   "\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"cfg\",\"items\":[{"
                   "\"key\":\"a\",\"path\":\"../a\"}]}}]}",
                   "\"../a\" is not usable as a path");
    expect_failure(&f, "",
                   "\"projected\":{\"sources\":[{\"clusterTrustBundle\":{\"path\":\"x\"}}]}",
                   "projected.sources[0]: clusterTrustBundle is not supported");
    expect_failure(&f, "", "\"projected\":{\"sources\":[{}]}",
                   "projected.sources[0]: has no source");
    expect_failure(&f, "",
                   "\"downwardAPI\":{\"items\":[{\"path\":\"p\",\"fieldRef\":{\"fieldPath\":"
                   "\"status.podIP\"}}]}",
                   "unsupported fieldPath: status.podIP");
    expect_failure(&f, "", "\"csi\":{\"driver\":\"d\"}",
                   "volumes of kind \"csi\" are not supported");
    expect_failure(&f, "", "\"emptyDir\":{\"medium\":\"HugePages\"}", "HugePages");
    expect_failure(&f, "", "\"nfs\":{\"server\":\"-o\",\"path\":\"/x\"}", "nfs: server");
    expect_failure(&f, "", "\"hostPath\":{\"path\":\"/nowhere\",\"type\":\"Directory\"}",
                   "hostPath type check failed: /nowhere is not a directory");
    f.token_answer[0] = 0;
    expect_failure(&f, "",
                   "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}}]}",
                   "the server answered 500");
    finish(&f);
}

/* ---- tokens ---- */
static void tokens_are_renewed_in_time(void **state)
{
    (void)state;
    assert_int_equal(token_refresh_at(1000000, 3600, 0), 1000000 - 720);
    assert_int_equal(token_refresh_at(1000000, 3600, 0.5), 1000000 - 725);
    /* However long it lives, it is not used for more than a day. */
    assert_int_equal(token_refresh_at(1000000, 500000, 0), 1000000 - 500000 + 86400);
    struct fixture f;
    struct error err = ERROR_INIT;
    if (!may_mount())
        skip();
    start(&f);
    free(f.token_answer);
    f.token_answer = token_answer("t0", 3); /* at 80 % of 3 s, less the jitter: at once */
    f.token_status = 201;
    open_set(&f, "\"securityContext\":{\"runAsUser\":1000,\"fsGroup\":2000},",
             "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}}]}");
    assert_int_equal(settle(&f, &err), 0);
    expect_file(&f, "t", "t0", 0640);
    _cleanup_free_ char *path = fs_join(f.set->volumes[0].path, "t");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 1000);
    assert_int_equal(st.st_gid, 2000);
    free(f.token_answer);
    f.token_answer = token_answer("t1", 3600);
    wait_change(&f);
    assert_int_equal(settle(&f, &err), 0);
    assert_true(f.token_requests >= 2);
    expect_file(&f, "t", "t1", 0640);
    finish(&f);
}

/* ---- claims ---- */
#define CLAIM "/api/v1/namespaces/d/persistentvolumeclaims/data"
#define PV    "/api/v1/persistentvolumes/pv1"
#define BOUND                                                                                 \
    "{\"metadata\":{\"uid\":\"c1\"},\"spec\":{\"volumeName\":\"pv1\"},\"status\":{\"phase\":" \
    "\"Bound\"}}"

static void put_pv(struct fixture *f, const char *spec)
{
    _cleanup_free_ char *json = str_printf("{\"spec\":{\"claimRef\":{\"uid\":\"c1\"},%s}}", spec);
    put_object(f, PV, json);
}

static void claims_lead_to_volumes(void **state)
{
    (void)state;
    struct fixture f;
    struct error err = ERROR_INIT;
    static const char source[] = "\"persistentVolumeClaim\":{\"claimName\":\"data\"}";
    start(&f);
    expect_failure(&f, "", source, "failed to fetch PVC from API server: no such object");
    put_object(&f, CLAIM, "{\"metadata\":{},\"status\":{\"phase\":\"Pending\"}}");
    expect_failure(&f, "", source, "error processing PVC d/data: PVC is not bound");
    put_object(&f, CLAIM, BOUND);
    expect_failure(&f, "", source, "failed to fetch PV pv1 from API server");
    put_object(&f, PV, "{\"spec\":{\"claimRef\":{\"uid\":\"other\"}}}");
    expect_failure(&f, "", source, "PV pv1 is not bound to PVC d/data");
    put_pv(&f, "\"csi\":{\"driver\":\"x\"}");
    expect_failure(&f, "", source, "PV pv1: volumes of kind \"csi\" are not supported");
    put_pv(&f, "\"local\":{\"path\":\"/tmp\"},\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\""
               ":[{\"matchExpressions\":[{\"key\":\"zone\",\"operator\":\"In\",\"values\":[\"b\"]}]"
               "}]}}");
    expect_failure(&f, "", source, "its nodeAffinity does not allow this node");
    /* The same set goes on once the volume is right. */
    _cleanup_free_ char *dir = fs_join(f.root, "data");
    _cleanup_free_ char *spec =
        str_printf("\"hostPath\":{\"path\":\"%s\",\"type\":\"DirectoryOrCreate\"}", dir);
    put_pv(&f, spec);
    assert_int_equal(settle(&f, &err), 0);
    assert_string_equal(f.set->volumes[0].path, dir);
    assert_true(fs_exists(dir));
    /* An ephemeral volume takes only the claim that was made for this pod. */
    put_object(&f, "/api/v1/namespaces/d/persistentvolumeclaims/web-v", BOUND);
    expect_failure(&f, "", "\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{}}}",
                   "PVC was not created for the pod");
    put_object(&f, "/api/v1/namespaces/d/persistentvolumeclaims/web-v",
               "{\"metadata\":{\"uid\":\"c1\",\"ownerReferences\":[{\"uid\":\"u1\",\"controller\":"
               "true}]},\"spec\":{\"volumeName\":\"pv1\"},\"status\":{\"phase\":\"Bound\"}}");
    open_set(&f, "", "\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{}}}");
    assert_int_equal(settle(&f, &err), 0);
    finish(&f);
}

static void local_volumes_are_given_to_the_group(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct fixture f;
    struct error err = ERROR_INIT;
    struct stat st;
    start(&f);
    _cleanup_free_ char *dir = fs_join(f.root, "data"), *deep = fs_join(dir, "a/b"),
                        *file = fs_join(deep, "file"), *link = fs_join(dir, "link"),
                        *outside = fs_join(f.root, "outside");
    assert_int_equal(fs_mkdirs(deep, 0755, &err), 0);
    assert_int_equal(fs_write_atomic(file, "x", 1, 0600, FS_VOLATILE, &err), 0);
    assert_int_equal(fs_write_atomic(outside, "x", 1, 0600, FS_VOLATILE, &err), 0);
    assert_int_equal(symlink(outside, link), 0);
    _cleanup_free_ char *spec = str_printf("\"local\":{\"path\":\"%s\"}", dir);
    put_object(&f, CLAIM, BOUND);
    put_pv(&f, spec);
    open_set(&f, "\"securityContext\":{\"fsGroup\":2001},",
             "\"persistentVolumeClaim\":{\"claimName\":\"data\"}");
    if (settle(&f, &err) != 0)
        fail_msg("%s", error_text(&err));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_gid, 2001);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_gid, 2001);
    assert_int_equal(st.st_mode & 07777, 02775);
    assert_int_equal(stat(outside, &st), 0); /* links are not followed */
    assert_int_equal(st.st_gid, 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    /* OnRootMismatch: the top is right, so nothing below is looked at. */
    assert_int_equal(chown(file, 0, 0), 0);
    open_set(&f,
             "\"securityContext\":{\"fsGroup\":2001,\"fsGroupChangePolicy\":\"OnRootMismatch\"},",
             "\"persistentVolumeClaim\":{\"claimName\":\"data\"}");
    assert_int_equal(settle(&f, &err), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_gid, 0);
    finish(&f);
}

/* ---- emptyDir ---- */
static void memory_has_a_size(void **state)
{
    (void)state;
    if (!may_mount())
        skip();
    struct fixture f;
    struct error err = ERROR_INIT;
    struct statfs fs;
    start(&f);
    open_set(&f, "", "\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"4Mi\"}");
    assert_int_equal(settle(&f, &err), 0);
    assert_int_equal(statfs(f.set->volumes[0].path, &fs), 0);
    assert_int_equal(fs.f_blocks * (uint64_t)fs.f_bsize, 4 << 20);
    /* Again, as a restarted kubelet does: the same mount. */
    open_set(&f, "", "\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"4Mi\"}");
    assert_int_equal(settle(&f, &err), 0);
    assert_int_equal(umount(f.set->volumes[0].path), 0);
    assert_int_equal(umount(f.set->volumes[0].path), -1);
    finish(&f);
}

static void on_over(void *arg, const char *text)
{
    struct fixture *f = arg;
    f->over = str_dup(text);
}

static void usage_over_the_limit_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct error err = ERROR_INIT;
    start(&f);
    open_set(&f, "", "\"emptyDir\":{\"sizeLimit\":\"1Mi\"}");
    assert_int_equal(settle(&f, &err), 0);
    _cleanup_free_ char *file = fs_join(f.set->volumes[0].path, "big");
    _cleanup_free_ char *data = mem_zalloc(2 << 20);
    memset(data, 'x', 2 << 20);
    assert_int_equal(fs_write_atomic(file, data, 2 << 20, 0600, FS_VOLATILE, &err), 0);
    struct disk_limits *l = disk_limits_new(f.set, 10, on_over, &f);
    assert_non_null(l);
    for (uint64_t end = now_ms() + 60000; !f.over;) {
        assert_true(now_ms() < end);
        (void)event_base_loop(loop_base(f.k.loop), EVLOOP_ONCE);
    }
    assert_string_equal(f.over, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
    disk_limits_free(l);
    open_set(&f, "", "\"emptyDir\":{}");
    assert_null(disk_limits_new(f.set, 10, on_over, &f));
    finish(&f);
}

/* ---- the end ---- */
static int torn_down;
static void on_torn_down(void *arg, int code, const char *error)
{
    (void)arg;
    if (code < 0)
        fail_msg("%s", error);
    torn_down++;
}

static void a_large_volume_goes_elsewhere(void **state)
{
    (void)state;
    struct fixture f;
    struct error err = ERROR_INIT;
    struct volume_teardown *t = NULL;
    start(&f);
    _cleanup_free_ char *dir = kubelet_pod_dir(&f.k, "u1");
    /* What we wrote ourselves goes at once. */
    open_set(&f, "", "\"downwardAPI\":{}");
    assert_int_equal(settle(&f, &err), 0);
    assert_int_equal(volumes_teardown(&f.k, dir, on_torn_down, NULL, &t, &err), 0);
    assert_false(fs_exists(dir));
    assert_int_equal(volumes_teardown(&f.k, dir, on_torn_down, NULL, &t, &err), 0);
    /* What containers filled, by another process. */
    open_set(&f, "", "\"emptyDir\":{}");
    assert_int_equal(settle(&f, &err), 0);
    _cleanup_free_ char *deep = fs_join(f.set->volumes[0].path, "a/b/c");
    assert_int_equal(fs_mkdirs(deep, 0755, &err), 0);
    torn_down = 0;
    assert_int_equal(volumes_teardown(&f.k, dir, on_torn_down, NULL, &t, &err), VOLUME_E_PENDING);
    for (uint64_t end = now_ms() + 20000; !torn_down;) {
        assert_true(now_ms() < end);
        (void)event_base_loop(loop_base(f.k.loop), EVLOOP_ONCE);
    }
    assert_false(fs_exists(dir));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_projected_volume_follows_its_sources),
        cmocka_unit_test(labels_are_written_anew),
        cmocka_unit_test(an_immutable_object_is_not_watched),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(tokens_are_renewed_in_time),
        cmocka_unit_test(claims_lead_to_volumes),
        cmocka_unit_test(local_volumes_are_given_to_the_group),
        cmocka_unit_test(memory_has_a_size),
        cmocka_unit_test(usage_over_the_limit_is_told),
        cmocka_unit_test(a_large_volume_goes_elsewhere),
    };
    return RUN_TESTS(tests);
}
