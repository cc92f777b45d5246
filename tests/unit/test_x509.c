/* lib/net/x509.c: certificates that OpenSSL's own verification accepts, and only where it should.
 */
#include "lib/test.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/x509v3.h>

#include "base/fs.h"
#include "net/x509.h"

static const char *const groups[] = {"system:nodes", "system:masters, x", NULL};
static const char *const names[] = {"localhost", "*.svc.local", NULL};
static const char *const addresses[] = {"127.0.0.1", "fd00::1", NULL};

static int verify(X509 *ca, X509 *cert, int purpose)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    (void)X509_STORE_add_cert(store, ca);
    (void)X509_STORE_CTX_init(ctx, store, cert, NULL);
    (void)X509_STORE_CTX_set_purpose(ctx, purpose);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
    int result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return result;
}

static void certificates_verify_for_their_purpose(_unused_ void **state)
{
    _cleanup_x509_pair_ struct x509_pair ca = {.cert = NULL}, other = {.cert = NULL};
    _cleanup_x509_pair_ struct x509_pair client = {.cert = NULL}, server = {.cert = NULL};
    assert_int_equal(x509_ca_new("coracle-ca", 10, &ca, NULL), 0);
    assert_int_equal(x509_ca_new("coracle-ca", 10, &other, NULL), 0);
    struct x509_request q = {
        .common_name = "system:node:a", .organizations = groups, .usage = X509_CLIENT, .days = 1};
    assert_int_equal(x509_issue(&ca, &q, &client, NULL), 0);
    q = (struct x509_request){.common_name = "kube-apiserver",
                              .dns_names = names,
                              .ip_addresses = addresses,
                              .usage = X509_SERVER,
                              .days = 100};
    assert_int_equal(x509_issue(&ca, &q, &server, NULL), 0);
    assert_int_equal(verify(ca.cert, client.cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(verify(ca.cert, server.cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_not_equal(verify(ca.cert, client.cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_not_equal(verify(other.cert, client.cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(X509_check_ip_asc(server.cert, "fd00::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(server.cert, "127.0.0.2", 0), 0);
    assert_int_equal(X509_check_host(server.cert, "a.svc.local", 0, 0, NULL), 1);
    /* Never beyond the CA's own end. */
    assert_true(x509_expires(server.cert) <= x509_expires(ca.cert));
    int64_t left = x509_expires(client.cert) - (int64_t)time(NULL);
    assert_true(left > 86000 && left <= 86400);

    char **organizations;
    _cleanup_free_ char *cn = x509_common_name(client.cert);
    assert_string_equal(cn, "system:node:a");
    assert_int_equal(x509_organizations(client.cert, &organizations), 2);
    assert_string_equal(organizations[1], groups[1]);
    (void)x509_names_free(organizations);
}

static void bad_requests_are_named(_unused_ void **state)
{
    _cleanup_x509_pair_ struct x509_pair p = {.cert = NULL};
    static const char *const bad[] = {"127.0.0.256", NULL};
    struct error err = ERROR_INIT;
    struct x509_request q = {
        .common_name = "x", .ip_addresses = bad, .usage = X509_SERVER, .days = 1};
    assert_int_equal(x509_self_signed(&q, &p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "127.0.0.256"));
    q = (struct x509_request){.common_name = "a name that is much longer than the sixty-four "
                                             "characters that X.520 grants to it",
                              .usage = X509_SERVER,
                              .days = 1};
    assert_int_equal(x509_self_signed(&q, &p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "CN="));
}

static void files_have_the_right_modes(_unused_ void **state)
{
    char dir[] = "/tmp/coracle-x509-XXXXXX";
    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *cert = fs_join(dir, "pki/a.crt"), *key = fs_join(dir, "pki/a.key");
    _cleanup_free_ char *other = fs_join(dir, "pki/other.key");
    _cleanup_x509_pair_ struct x509_pair p = {.cert = NULL}, again = {.cert = NULL};
    assert_int_equal(x509_ca_new("ca", 1, &p, NULL), 0);
    assert_int_equal(x509_pair_write(&p, cert, key, NULL), 0);
    struct stat st;
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(cert, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(x509_pair_read(cert, key, &again, NULL), 0);
    assert_int_equal(X509_cmp(p.cert, again.cert), 0);
    int64_t expires;
    assert_int_equal(x509_file_expires(cert, &expires, NULL), 0);
    assert_int_equal(expires, x509_expires(p.cert));
    char pin[X509_PIN_MAX];
    x509_pin(p.cert, pin);
    assert_int_equal(strlen(pin), 71);

    EVP_PKEY *made, *read;
    struct error err = ERROR_INIT;
    assert_int_equal(x509_key_ensure(other, &made, NULL), 0);
    assert_int_equal(x509_key_ensure(other, &read, NULL), 0);
    assert_int_equal(EVP_PKEY_eq(made, read), 1);
    EVP_PKEY_free(made);
    EVP_PKEY_free(read);
    assert_int_equal(x509_pair_read(cert, other, &again, &err), -EINVAL);
    assert_non_null(strstr(err.text, "does not belong"));
    assert_int_equal(x509_pair_read(key, key, &again, &err), -EINVAL);
    assert_non_null(strstr(err.text, "a.key"));
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_verify_for_their_purpose),
        cmocka_unit_test(bad_requests_are_named),
        cmocka_unit_test(files_have_the_right_modes),
    };
    return RUN_TESTS(tests);
}
