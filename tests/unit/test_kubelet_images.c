/* Names of images, credentials for them, and the host ids of pods. */
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kubelet/runtime/image_name.h"
#include "kubelet/runtime/keyring.h"
#include "kubelet/userns.h"

static void names_are_normalised(void **state)
{
    (void)state;
    static const struct {
        const char *text, *domain, *repository;
    } cases[] = {
        {"nginx", "docker.io", "docker.io/library/nginx"},
        {"nginx:1.27-alpine", "docker.io", "docker.io/library/nginx"},
        {"team/app", "docker.io", "docker.io/team/app"},
        {"docker.io/nginx", "docker.io", "docker.io/library/nginx"},
        {"index.docker.io/team/app:v1", "docker.io", "docker.io/team/app"},
        {"localhost/bb:1", "localhost", "localhost/bb"},
        {"host:5000/a/b__c.d-e--f", "host:5000", "host:5000/a/b__c.d-e--f"},
        {"[::1]:5000/x", "[::1]:5000", "[::1]:5000/x"},
        {"Registry.example.com/x", "Registry.example.com", "Registry.example.com/x"},
        {"a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "docker.io",
         "docker.io/library/a"},
        {"h.io/a:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         "h.io", "h.io/a"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image_name n = {.domain = NULL};
        struct error err = ERROR_INIT;
        if (image_name_parse(cases[i].text, &n, &err) < 0)
            fail_msg("%s", error_text(&err));
        assert_string_equal(n.domain, cases[i].domain);
        assert_string_equal(n.repository, cases[i].repository);
        image_name_done(&n);
    }
}

static void wrong_names_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",     ":1",      "a:",      "a b",    "-a",     "a/",          "/a",
        "a//b", "a..b",    "a___b",   "a:b:c",  "h:x/a",  "a@sha256:00", "a@x",
        "a-",   "h-.io/a", "h.io:/a", "[::1/a", "a:-tag", "a.-b",
    };
    struct error err = ERROR_INIT;
    struct image_name n = {.domain = NULL};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (image_name_parse(cases[i], &n, &err) == 0)
            fail_msg("\"%s\" is taken for %s", cases[i], n.repository);
    assert_int_equal(image_name_parse("host.io/Upper", &n, &err), -EINVAL);
    assert_string_equal(error_text(&err), "couldn't parse image name \"host.io/Upper\": invalid "
                                          "reference format: repository name must be lowercase");
}

/* ---- credentials ---- */
static int add(struct keyring *k, const char *key, const char *json, struct error *err)
{
    struct bytes_pair pair = {
        .key = (char *)(uintptr_t)key,
        .value = {.data = (unsigned char *)(uintptr_t)json, .len = strlen(json)}};
    struct bytes_map map = {.items = &pair, .count = 1};
    return keyring_add(k, &map, err);
}

/* The users that are tried for a repository, in order. */
static void expect_users(const struct keyring *k, const char *repository, const char *users)
{
    struct credential_list l = {.items = NULL};
    _cleanup_strbuf_ struct strbuf got = STRBUF_INIT;
    keyring_lookup(k, repository, &l);
    for (size_t i = 0; i < l.count; i++)
        strbuf_addf(&got, "%s%s", i ? " " : "", l.items[i].user);
    if (strcmp(strbuf_text(&got), users) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", repository, strbuf_text(&got), users);
    credential_list_done(&l);
}

static void credentials_are_found_by_registry(void **state)
{
    (void)state;
    struct keyring k = {.entries = NULL};
    struct error err = ERROR_INIT;
    if (add(&k, ".dockerconfigjson",
            "{\"auths\":{\"r.example.com\":{\"username\":\"host\",\"password\":\"p\"},"
            "\"https://r.example.com/v1/team\":{\"auth\":\"dGVhbTpwOnc=\"},"
            "\"*.globs.org:5000\":{\"username\":\"glob\",\"password\":\"p\"},"
            "\"a.*.org\":{\"username\":\"middle\",\"password\":\"p\"},"
            "\"https://index.docker.io/v1/\":{\"username\":\"hub\",\"password\":\"p\"}}}",
            &err) < 0)
        fail_msg("%s", error_text(&err));
    assert_int_equal(add(&k, ".dockercfg",
                         "{\"r.example.com\":{\"username\":\"second\",\"password\":\"p\"}}", &err),
                     0);
    expect_users(&k, "r.example.com/other/app", "host second");
    expect_users(&k, "r.example.com/team/app", "team host second"); /* the more specific first */
    expect_users(&k, "r.example.com:443/team/app", "");
    expect_users(&k, "x.globs.org:5000/a", "glob");
    expect_users(&k, "x.globs.org/a", "");
    expect_users(&k, "y.x.globs.org:5000/a", ""); /* a glob is one part of the name */
    expect_users(&k, "a.b.org/x", "middle");
    expect_users(&k, "docker.io/library/nginx", "hub");
    expect_users(&k, "other.io/x", "");
    struct credential_list l = {.items = NULL};
    keyring_lookup(&k, "r.example.com/team/app", &l);
    assert_string_equal(l.items[0].password, "p:w");
    credential_list_done(&l);
    keyring_done(&k);
}

static void damaged_secrets_add_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *key, *json, *complaint;
    } cases[] = {
        {"other", "{}", "neither .dockerconfigjson nor .dockercfg"},
        {".dockerconfigjson", "{", "line 1"},
        {".dockerconfigjson", "{\"auths\":{\"a.io\":{},\"b.io\":{\"auth\":\"!\"}}}",
         "b.io: auth is not base64"},
        {".dockercfg", "{\"b.io\":{\"auth\":\"bm9jb2xvbg==\"}}", "does not hold user:password"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct keyring k = {.entries = NULL};
        struct error err = ERROR_INIT;
        assert_true(add(&k, cases[i].key, cases[i].json, &err) < 0);
        if (!strstr(error_text(&err), cases[i].complaint))
            fail_msg("%s: %s", cases[i].json, error_text(&err));
        assert_int_equal(k.count, 0);
    }
}

/* ---- ids ---- */
static void ids_are_given_out_once(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct id_mapping ids;
    char dir[] = "/tmp/coracle-userns.XXXXXX";
    assert_non_null(mkdtemp(dir));
    for (unsigned i = 0; i < 3; i++) {
        char uid[8];
        (void)snprintf(uid, sizeof(uid), "u%u", i);
        _cleanup_free_ char *pod = fs_join(dir, uid);
        assert_int_equal(fs_mkdirs(pod, 0755, &err), 0);
        assert_int_equal(userns_ids(dir, uid, &ids, &err), 0);
        assert_int_equal(ids.host, 65536 * (i + 1));
        assert_int_equal(ids.length, 65536);
    }
    /* Asked again: the same. A pod that is gone leaves its ids to the next. */
    assert_int_equal(userns_ids(dir, "u2", &ids, &err), 0);
    assert_int_equal(ids.host, 65536 * 3);
    _cleanup_free_ char *gone = fs_join(dir, "u1"), *new = fs_join(dir, "new"),
                        *file = fs_join(new, "userns"), *upstream = fs_join(dir, "up"),
                        *theirs = fs_join(upstream, "userns");
    assert_int_equal(fs_remove_tree(gone, &err), 0);
    assert_int_equal(fs_mkdirs(new, 0755, &err), 0);
    assert_int_equal(userns_ids(dir, "new", &ids, &err), 0);
    assert_int_equal(ids.host, 65536 * 2);
    /* What upstream's kubelet has written is taken over. */
    static const char text[] =
        "{\"uidMappings\":[{\"hostId\":6553600,\"containerId\":0,\"length\":65536}],"
        "\"gidMappings\":[{\"hostId\":6553600,\"containerId\":0,\"length\":65536}]}";
    assert_int_equal(fs_mkdirs(upstream, 0755, &err), 0);
    assert_int_equal(fs_write_atomic(theirs, text, sizeof(text) - 1, 0644, FS_VOLATILE, &err), 0);
    assert_int_equal(userns_ids(dir, "up", &ids, &err), 0);
    assert_int_equal(ids.host, 6553600);
    /* A damaged file is no reason to give a running pod other ids. */
    assert_int_equal(fs_write_atomic(file, "{}", 2, 0644, FS_VOLATILE, &err), 0);
    assert_int_equal(userns_ids(dir, "new", &ids, &err), -EINVAL);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_normalised),
        cmocka_unit_test(wrong_names_are_refused),
        cmocka_unit_test(credentials_are_found_by_registry),
        cmocka_unit_test(damaged_secrets_add_nothing),
        cmocka_unit_test(ids_are_given_out_once),
    };
    return RUN_TESTS(tests);
}
