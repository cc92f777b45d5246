/* Joining: the signature and the pin of what a server says, labels and taints of a new Node. */
#include "lib/test.h"

#include <errno.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "cli/discovery.h"
#include "kube/jws.h"
#include "kubelet/node/registration.h"

#define ID      "abcdef"
#define SECRET  "0123456789abcdef"
#define PAYLOAD "apiVersion: v1\nkind: Config\n"
/* Made by another program: HMAC-SHA-256 over BASE64URL(header).BASE64URL(payload). */
#define JWS "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..vH_kT4yiol-nrAWgjfCYqvum5wsKETXe0S7OOp1VgnE"

static int verify(const char *jws, const char *id, const char *secret, const char *payload)
{
    return jws_verify(jws, id, secret, payload, strlen(payload), NULL);
}

static void a_signature_is_the_tokens_and_the_texts(_unused_ void **state)
{
    _cleanup_free_ char *ours = jws_sign(ID, SECRET, PAYLOAD, strlen(PAYLOAD));
    assert_string_equal(ours, JWS);
    assert_int_equal(verify(JWS, ID, SECRET, PAYLOAD), 0);
    assert_int_equal(verify(JWS, ID, "0123456789abcdeg", PAYLOAD), -EKEYREJECTED);
    assert_int_equal(verify(JWS, ID, SECRET, PAYLOAD "x"), -EKEYREJECTED);
    assert_int_equal(verify(JWS, "abcdeg", SECRET, PAYLOAD), -EINVAL);
    /* {"alg":"none","kid":"abcdef"} */
    assert_int_equal(verify("eyJhbGciOiJub25lIiwia2lkIjoiYWJjZGVmIn0..", ID, SECRET, PAYLOAD),
                     -EINVAL);
    assert_int_equal(verify("", ID, SECRET, PAYLOAD), -EINVAL);
    assert_int_equal(verify("e30.e30.AAAA", ID, SECRET, PAYLOAD), -EINVAL);
}

/* The files of the fuzz corpus, which another program signed. */
static json_t *sample(const char *name)
{
    const char *top = getenv("TOP");
    _cleanup_free_ char *path =
        str_printf("%s/tests/fuzz/corpus/fuzz_discovery/%s", top ? top : ".", name);
    json_t *j = json_parse_file(path, 65536, NULL);
    assert_non_null(j);
    return j;
}

static int check(const char *name, const char *pin, bool unpinned)
{
    char copy[128] = "";
    char *items[] = {copy, NULL};
    (void)snprintf(copy, sizeof(copy), "%s", pin ? pin : "");
    const struct option_list pins = {items, pin ? 1 : 0};
    const struct discovery d = {.token = ID "." SECRET, .pins = &pins, .unpinned = unpinned};
    struct kubeconfig k = {.server = NULL};
    _cleanup_json_ json_t *info = sample(name);
    int r = discovery_check(&d, info, &k, NULL);
    if (r == 0)
        assert_string_equal(k.server, "https://10.0.0.1:6443");
    kubeconfig_done(&k);
    return r;
}

static void a_cluster_is_believed_by_token_and_pin(_unused_ void **state)
{
    const char *pin = "sha256:30c86823b7c3f4cc5e46b8e7af8033b892dec259ecdfdae411eb52186400b3c7";
    assert_int_equal(check("signed.json", pin, false), 0);
    assert_int_equal(check("signed.json", NULL, true), 0);
    assert_int_equal(check("signed.json", NULL, false), -EKEYREJECTED);
    assert_int_equal(
        check("signed.json",
              "sha256:0000000000000000000000000000000000000000000000000000000000000000", false),
        -EKEYREJECTED);
    assert_int_equal(check("wrong-secret.json", pin, false), -EKEYREJECTED);
    assert_int_equal(check("unknown-token.json", pin, false), -EKEYEXPIRED);
    assert_int_equal(check("none.json", pin, false), -EKEYREJECTED);
}

static void labels(const char *text, const char *expected)
{
    json_t *got = NULL;
    struct error err = ERROR_INIT;
    int r = registration_labels(text, &got, &err);
    if (!expected) {
        assert_int_equal(r, -EINVAL);
        return;
    }
    _cleanup_json_ json_t *want = json_parse(expected, strlen(expected), NULL);
    if (r < 0 || !json_equal(got, want))
        fail_msg("%s: %s", text, error_text(&err));
    json_decref(got);
}

static void labels_of_a_new_node(_unused_ void **state)
{
    labels("", "{}");
    labels("disk=ssd,zone=,bare", "{\"disk\":\"ssd\",\"zone\":\"\",\"bare\":\"\"}");
    labels("node.kubernetes.io/rack=r1,a.node.kubernetes.io/b=c",
           "{\"node.kubernetes.io/rack\":\"r1\",\"a.node.kubernetes.io/b\":\"c\"}");
    labels("node-role.kubernetes.io/master=", NULL);
    labels("k8s.io/x=y", NULL);
    labels("-a=b", NULL);
    labels("a=b c", NULL);
}

static void taints(const char *text, const char *expected)
{
    json_t *got = NULL;
    int r = registration_taints(text, &got, NULL);
    if (!expected) {
        assert_int_equal(r, -EINVAL);
        return;
    }
    _cleanup_json_ json_t *want = json_parse(expected, strlen(expected), NULL);
    assert_int_equal(r, 0);
    assert_true(json_equal(got, want));
    json_decref(got);
}

static void taints_of_a_new_node(_unused_ void **state)
{
    taints("a=b:NoSchedule,c:NoExecute",
           "[{\"key\":\"a\",\"value\":\"b\",\"effect\":\"NoSchedule\"},"
           "{\"key\":\"c\",\"value\":\"\",\"effect\":\"NoExecute\"}]");
    taints("a=b", NULL);
    taints("a=b:Never", NULL);
    taints("a=b:NoSchedule,a=c:NoSchedule", NULL);
    taints("=b:NoSchedule", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_the_tokens_and_the_texts),
        cmocka_unit_test(a_cluster_is_believed_by_token_and_pin),
        cmocka_unit_test(labels_of_a_new_node),
        cmocka_unit_test(taints_of_a_new_node),
    };
    return RUN_TESTS(tests);
}
