/*
 * Certificate signing requests from outside. Input: PEM text; or DER, which is signed anew here, so
 * that names which a fuzzer has made are reached behind the check of the signature.
 */
#include <string.h>

#include <openssl/pem.h>

#include "base/strbuf.h"
#include "controllers/certificates.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *sign_anew(const uint8_t *data, size_t size, EVP_PKEY *key)
{
    const unsigned char *at = data;
    X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)size);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text, *out = NULL;
    if (req && X509_REQ_set_pubkey(req, key) == 1 && X509_REQ_sign(req, key, EVP_sha256()) > 0 &&
        PEM_write_bio_X509_REQ(bio, req) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        out = str_ndup(text, (size_t)len);
    }
    BIO_free(bio);
    X509_REQ_free(req);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct x509_pair ca;
    static char serving[] = SIGNER_SERVING, usage[] = "server auth",
                signature[] = "digital signature", user[] = "system:node:n1",
                group[] = "system:nodes";
    static char *usages[] = {usage, signature}, *groups[] = {group};
    struct x509_csr request = {.request = NULL};
    if (!ca.cert && x509_ca_new("fuzz", 1, &ca, NULL) < 0)
        abort();
    _cleanup_free_ char *pem = size && data[0] == 0x30 ? sign_anew(data, size, ca.key)
                                                       : str_ndup((const char *)data, size);
    if (!pem || x509_csr_parse(pem, strlen(pem), &request, NULL) < 0)
        return 0;
    const struct csr csr = {
        .signer = serving, .username = user, .usages = {usages, 2}, .groups = {groups, 1}};
    _cleanup_strbuf_ struct strbuf cert = STRBUF_INIT;
    enum csr_kind kind = csr_recognize(&csr, &request);
    int r = csr_sign(&csr, &request, &ca, 3600, &cert, NULL);
    /* What is recognized can be signed. */
    if (kind == CSR_SERVING && r < 0)
        abort();
    x509_csr_done(&request);
    return 0;
}
