/* cri/image: names of images and the challenges of registries. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "cri/image/challenge.h"
#include "cri/image/reference.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_are_completed(_unused_ void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"nginx", "docker.io/library/nginx:latest"},
        {"nginx:1.25", "docker.io/library/nginx:1.25"},
        {"index.docker.io/nginx", "docker.io/library/nginx:latest"},
        {"docker.io/nginx", "docker.io/library/nginx:latest"},
        {"user/app", "docker.io/user/app:latest"},
        {"localhost/app:v1", "localhost/app:v1"},
        {"localhost:5000/a/b/c", "localhost:5000/a/b/c:latest"},
        {"registry.example.com/a__b/c-d--e.f:T_1", "registry.example.com/a__b/c-d--e.f:T_1"},
        {"[::1]:5000/x:y", "[::1]:5000/x:y"},
        {"nginx@" DIGEST, "docker.io/library/nginx@" DIGEST},
        {"nginx:1.25@" DIGEST, "docker.io/library/nginx@" DIGEST},
        {"a.b/x", "a.b/x:latest"},
        {"ab/x", "docker.io/ab/x:latest"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image_reference ref;
        struct error err = ERROR_INIT;
        if (image_reference_parse(cases[i].in, &ref, &err))
            fail_msg("%s: %s", cases[i].in, error_text(&err));
        _cleanup_free_ char *text = image_reference_text(&ref);
        assert_string_equal(text, cases[i].out);
        image_reference_done(&ref);
    }
}

static void bad_names_are_refused(_unused_ void **state)
{
    static const char longer_digest[] = "nginx@" DIGEST "0", two_digests[] = "a@b@" DIGEST;
    static const char *const cases[] = {
        longer_digest,
        two_digests,
        "",
        ":",
        "Nginx",
        "nginx:",
        "nginx:a b",
        "nginx:-x",
        "a//b",
        "/a",
        "a/",
        "a_-b",
        "a..b/c/",
        "a___b",
        "-a",
        "host:0/x",
        "host:70000/x",
        "host:5000",
        "[::1/x",
        "ex ample.com/x",
        ".example.com/x",
        "example-.com/x",
        "nginx@sha256:123",
        "nginx@sha512:0123",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "../etc/passwd",
        "a/../b",
        "http://example.com/x",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image_reference ref;
        struct error err = ERROR_INIT;
        /* "host:5000" alone is a repository with a tag. */
        int r = image_reference_parse(cases[i], &ref, &err);
        if (str_eq(cases[i], "host:5000")) {
            assert_int_equal(r, 0);
            assert_string_equal(ref.tag, "5000");
            image_reference_done(&ref);
            continue;
        }
        if (r != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i]);
        assert_null(ref.host);
    }
    char longer[400];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct image_reference ref;
    assert_int_equal(image_reference_parse(longer, &ref, NULL), -EINVAL);
}

static void challenges(_unused_ void **state)
{
    struct challenge c;
    assert_int_equal(challenge_parse("Bearer realm=\"https://auth.example/token\","
                                     "service=\"registry\",scope=\"repository:a/b:pull,push\"",
                                     &c),
                     0);
    assert_int_equal(c.scheme, CHALLENGE_BEARER);
    assert_string_equal(c.realm, "https://auth.example/token");
    assert_string_equal(c.service, "registry");
    assert_string_equal(c.scope, "repository:a/b:pull,push");
    challenge_done(&c);

    assert_int_equal(challenge_parse("Negotiate, Basic realm=\"a \\\"b\\\"\", bearer realm=x", &c),
                     0);
    assert_int_equal(c.scheme, CHALLENGE_BEARER);
    assert_string_equal(c.realm, "x");
    challenge_done(&c);

    assert_int_equal(challenge_parse("Basic realm=\"a \\\"b\\\"\"", &c), 0);
    assert_int_equal(c.scheme, CHALLENGE_BASIC);
    assert_string_equal(c.realm, "a \"b\"");
    challenge_done(&c);

    assert_int_equal(challenge_parse("Digest qop=auth", &c), 0);
    assert_int_equal(c.scheme, CHALLENGE_NONE);
    assert_int_equal(challenge_parse("", &c), 0);
    assert_int_equal(challenge_parse("Bearer realm=\"open", &c), -EINVAL);
    assert_int_equal(challenge_parse("\"", &c), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_completed),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(challenges),
    };
    return RUN_TESTS(tests);
}
