/* lib/net/x509_csr.c and controllers/certificates.c: requests that are understood, and what comes
 * of them. */
#include "lib/test.h"

#include <errno.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/times.h"
#include "controllers/certificates.h"
#include "kube/decode.h"

/* A request with these names, signed by @key. @sans is in OpenSSL's syntax; NULL for none. */
static char *make_request(EVP_PKEY *key, const char *cn, const char *o, const char *sans)
{
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = X509_REQ_get_subject_name(req);
    if (o)
        (void)X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)o, -1, -1,
                                         0);
    if (cn)
        (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
                                         -1, 0);
    (void)X509_REQ_set_pubkey(req, key);
    if (sans) {
        STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
        (void)sk_X509_EXTENSION_push(list,
                                     X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, sans));
        (void)sk_X509_EXTENSION_push(
            list, X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE"));
        assert_int_equal(X509_REQ_add_extensions(req, list), 1);
        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    }
    assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_X509_REQ(bio, req), 1);
    long len = BIO_get_mem_data(bio, &data);
    char *pem = str_ndup(data, (size_t)len);
    BIO_free(bio);
    X509_REQ_free(req);
    return pem;
}

static void requests_are_read(_unused_ void **state)
{
    EVP_PKEY *key = x509_key_new();
    _cleanup_free_ char *pem =
        make_request(key, "system:node:n1", "system:nodes",
                     "DNS:n1,IP:10.0.0.1,IP:fd00::1,email:a@b.example,URI:spiffe://x");
    _cleanup_x509_csr_ struct x509_csr csr = {.request = NULL};
    assert_int_equal(x509_csr_parse(pem, strlen(pem), &csr, NULL), 0);
    assert_string_equal(csr.common_name, "system:node:n1");
    assert_string_equal(csr.organizations[0], "system:nodes");
    assert_null(csr.organizations[1]);
    assert_string_equal(csr.dns_names[0], "n1");
    assert_string_equal(csr.ip_addresses[0], "10.0.0.1");
    assert_string_equal(csr.ip_addresses[1], "fd00::1");
    assert_string_equal(csr.emails[0], "a@b.example");
    assert_string_equal(csr.uris[0], "spiffe://x");
    EVP_PKEY_free(key);
}

static void requests_are_made(_unused_ void **state)
{
    EVP_PKEY *key = x509_key_new();
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    _cleanup_x509_csr_ struct x509_csr csr = {.request = NULL};
    struct error err = ERROR_INIT;
    const char *groups[] = {"system:nodes", NULL}, *names[] = {"n1", NULL},
               *addresses[] = {"10.0.0.1", "fd00::1", NULL}, *bad[] = {"10.0.0", NULL};
    struct x509_request request = {.common_name = "system:node:n1",
                                   .organizations = groups,
                                   .dns_names = names,
                                   .ip_addresses = addresses};
    assert_int_equal(x509_csr_make(&request, key, &pem, NULL), 0);
    assert_int_equal(x509_csr_parse(pem.data, pem.len, &csr, NULL), 0);
    assert_string_equal(csr.common_name, "system:node:n1");
    assert_string_equal(csr.organizations[0], "system:nodes");
    assert_string_equal(csr.dns_names[0], "n1");
    assert_string_equal(csr.ip_addresses[1], "fd00::1");
    assert_null(csr.ip_addresses[2]);
    size_t before = pem.len;
    request.ip_addresses = bad;
    assert_int_equal(x509_csr_make(&request, key, &pem, &err), -EINVAL);
    assert_non_null(strstr(error_text(&err), "10.0.0"));
    assert_int_equal(pem.len, before);
    EVP_PKEY_free(key);
}

static void refused(const char *pem, const char *why)
{
    struct error err = ERROR_INIT;
    struct x509_csr csr = {.request = NULL};
    assert_int_equal(x509_csr_parse(pem, strlen(pem), &csr, &err), -EINVAL);
    if (!strstr(error_text(&err), why))
        fail_msg("\"%s\" is not in \"%s\"", why, error_text(&err));
}

static void what_is_no_request_is_refused(_unused_ void **state)
{
    EVP_PKEY *key = x509_key_new(), *weak = EVP_RSA_gen(512);
    _cleanup_free_ char *good = make_request(key, "a", "b", NULL);
    refused("", "CERTIFICATE REQUEST");
    refused("nonsense", "CERTIFICATE REQUEST");
    _cleanup_free_ char *renamed = str_dup(good);
    for (char *at; (at = strstr(renamed, "REQUEST"));)
        at[6] = 'X';
    refused(renamed, "CERTIFICATE REQUEST");
    /* Any byte of the signed part changed: the signature does not hold. */
    _cleanup_free_ char *changed = str_dup(good);
    char *middle = strchr(changed, '\n') + 20;
    *middle = *middle == 'A' ? 'B' : 'A';
    struct x509_csr csr = {.request = NULL};
    assert_int_equal(x509_csr_parse(changed, strlen(changed), &csr, NULL), -EINVAL);
    if (weak) {
        _cleanup_free_ char *short_key = make_request(weak, "a", "b", NULL);
        refused(short_key, "too weak");
    }
    _cleanup_free_ char *rid = make_request(key, "a", "b", "RID:1.2.3.4");
    refused(rid, "not supported");
    EVP_PKEY_free(key);
    EVP_PKEY_free(weak);
}

/* ---- what the controller makes of them ---- */

static struct csr *make_csr(const char *signer, const char *user, const char *group,
                            const char *usages, const char *pem)
{
    _cleanup_free_ char *request = base64_encode(pem, strlen(pem));
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"c\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":{"
        "\"signerName\":\"%s\",\"username\":\"%s\",\"groups\":[\"%s\"],\"usages\":[%s],\"request\":"
        "\"%s\"}}",
        signer, user, group, usages, request);
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    struct csr *csr = mem_zalloc(sizeof(*csr));
    assert_int_equal(decode(&csr_type, j, csr, &err), 0);
    return csr;
}

static void csr_free(struct csr *csr)
{
    decode_done(&csr_type, csr);
    free(csr);
}

#define CLIENT "\"client auth\",\"digital signature\""
#define SERVER "\"server auth\",\"digital signature\",\"key encipherment\""
#define NODE   "system:node:n1"

static void kubelets_are_recognized(_unused_ void **state)
{
    static const struct {
        const char *signer, *user, *group, *usages, *cn, *o, *sans;
        enum csr_kind kind;
    } cases[] = {
        {SIGNER_KUBELET, "system:bootstrap:abc", "x", CLIENT, NODE, "system:nodes", NULL,
         CSR_NODE_CLIENT},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT, NODE, "system:nodes", NULL,
         CSR_SELF_NODE_CLIENT},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT ",\"key encipherment\"", NODE, "system:nodes",
         NULL, CSR_SELF_NODE_CLIENT},
        {SIGNER_KUBELET, NODE, "system:nodes", SERVER, NODE, "system:nodes", NULL, CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", "\"client auth\"", NODE, "system:nodes", NULL,
         CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT ",\"server auth\"", NODE, "system:nodes",
         NULL, CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT, NODE, "system:masters", NULL, CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT, NODE, NULL, NULL, CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT, "system:node:", "system:nodes", NULL,
         CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT, "admin", "system:nodes", NULL, CSR_OTHER},
        {SIGNER_KUBELET, NODE, "system:nodes", CLIENT, NODE, "system:nodes", "DNS:x", CSR_OTHER},
        {SIGNER_CLIENT, NODE, "system:nodes", CLIENT, NODE, "system:nodes", NULL, CSR_OTHER},
        {SIGNER_SERVING, NODE, "system:nodes", SERVER, NODE, "system:nodes", "DNS:n1", CSR_SERVING},
        {SIGNER_SERVING, NODE, "x", SERVER, NODE, "system:nodes", "DNS:n1", CSR_OTHER},
        {SIGNER_SERVING, "system:node:n2", "system:nodes", SERVER, NODE, "system:nodes", "DNS:n1",
         CSR_OTHER},
        {SIGNER_SERVING, NODE, "system:nodes", SERVER, NODE, "system:nodes", NULL, CSR_OTHER},
        {SIGNER_SERVING, NODE, "system:nodes", SERVER, NODE, "system:nodes", "URI:http://x",
         CSR_OTHER},
        {SIGNER_SERVING, NODE, "system:nodes", CLIENT, NODE, "system:nodes", "DNS:n1", CSR_OTHER},
    };
    EVP_PKEY *key = x509_key_new();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *pem = make_request(key, cases[i].cn, cases[i].o, cases[i].sans);
        struct csr *csr =
            make_csr(cases[i].signer, cases[i].user, cases[i].group, cases[i].usages, pem);
        _cleanup_x509_csr_ struct x509_csr request = {.request = NULL};
        assert_int_equal(
            x509_csr_parse((const char *)csr->request.data, csr->request.len, &request, NULL), 0);
        if (csr_recognize(csr, &request) != cases[i].kind)
            fail_msg("case %zu", i);
        csr_free(csr);
    }
    EVP_PKEY_free(key);
}

static void names_are_the_nodes(_unused_ void **state)
{
    struct node_address addresses[] = {
        {(char *)(uintptr_t) "Hostname", (char *)(uintptr_t) "n1"},
        {(char *)(uintptr_t) "InternalIP", (char *)(uintptr_t) "10.0.0.1"}};
    struct node node = {.addresses = {addresses, 2}};
    EVP_PKEY *key = x509_key_new();
    static const struct {
        const char *sans;
        bool good;
    } cases[] = {{"DNS:n1", true},
                 {"DNS:n1,IP:10.0.0.1", true},
                 {"DNS:n1,IP:10.0.0.2", false},
                 {"DNS:n2", false},
                 {"DNS:n1,DNS:kubernetes", false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *pem = make_request(key, NODE, "system:nodes", cases[i].sans);
        _cleanup_x509_csr_ struct x509_csr request = {.request = NULL};
        assert_int_equal(x509_csr_parse(pem, strlen(pem), &request, NULL), 0);
        assert_string_equal(csr_node(&request), "n1");
        assert_int_equal(csr_names_node(&request, &node), cases[i].good);
    }
    EVP_PKEY_free(key);
}

static void certificates_are_what_was_asked_for(_unused_ void **state)
{
    _cleanup_x509_pair_ struct x509_pair ca = {.cert = NULL};
    EVP_PKEY *key = x509_key_new();
    assert_int_equal(x509_ca_new("ca", 10, &ca, NULL), 0);
    _cleanup_free_ char *pem = make_request(key, NODE, "system:nodes", "DNS:n1,IP:10.0.0.1");
    struct csr *csr = make_csr(SIGNER_SERVING, NODE, "system:nodes", SERVER, pem);
    _cleanup_x509_csr_ struct x509_csr request = {.request = NULL};
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT, again = STRBUF_INIT;
    struct error err = ERROR_INIT;
    assert_int_equal(x509_csr_parse(pem, strlen(pem), &request, NULL), 0);
    assert_int_equal(csr_sign(csr, &request, &ca, 3600, &out, &err), 0);
    X509 *cert = NULL;
    assert_int_equal(x509_cert_parse(out.data, out.len, &cert, NULL), 0);
    assert_int_equal(X509_verify(cert, X509_get0_pubkey(ca.cert)), 1);
    assert_int_equal(X509_check_ca(cert), 0); /* whatever the request asked for */
    assert_int_equal(X509_check_host(cert, "n1", 2, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(cert, "10.0.0.1", 0), 1);
    assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
    assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    int64_t left = x509_expires(cert) - time_now();
    assert_true(left > 3500 && left <= 3600);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), key), 1);
    X509_free(cert);
    /* A shorter life is given, a longer one and one that is too short are not. */
    csr->expiration_seconds = (struct opt_int){.set = true, .value = 900};
    assert_int_equal(csr_sign(csr, &request, &ca, 3600, &again, &err), 0);
    assert_int_equal(x509_cert_parse(again.data, again.len, &cert, NULL), 0);
    left = x509_expires(cert) - time_now();
    assert_true(left > 800 && left <= 900);
    X509_free(cert);
    /* Another signer signs no such thing. */
    free(csr->signer);
    csr->signer = str_dup(SIGNER_KUBELET);
    assert_int_equal(csr_sign(csr, &request, &ca, 3600, &again, &err), -EINVAL);
    assert_non_null(strstr(error_text(&err), "alternative names are not allowed"));
    csr_free(csr);
    EVP_PKEY_free(key);
}

static void old_requests_are_useless(_unused_ void **state)
{
    struct condition approved = {.type = (char *)(uintptr_t) "Approved",
                                 .changed = INT64_C(5000) * 1000000000};
    struct csr csr = {.meta = {.created = INT64_C(1000) * 1000000000}};
    assert_int_equal(csr_useless_at(&csr), 1000 + 24 * 3600);
    csr.conditions.items = &approved;
    csr.conditions.count = 1;
    assert_int_equal(csr_useless_at(&csr), 5000 + 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(requests_are_made),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(kubelets_are_recognized),
        cmocka_unit_test(names_are_the_nodes),
        cmocka_unit_test(certificates_are_what_was_asked_for),
        cmocka_unit_test(old_requests_are_useless),
    };
    return RUN_TESTS(tests);
}
