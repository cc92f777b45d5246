/* Keys and certificates as PEM text and files: see x509.h. */
#include "net/x509.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/fs.h"
#include "net/tls.h"

#define PEM_FILE_MAX (1024 * 1024)

static void take_bio(BIO *bio, struct strbuf *out)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    strbuf_add(out, data, (size_t)len);
    BIO_free(bio);
}

void x509_cert_pem(const X509 *cert, struct strbuf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_X509(bio, cert) != 1)
        abort();
    take_bio(bio, out);
}

void x509_key_pem(const EVP_PKEY *key, struct strbuf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        abort();
    take_bio(bio, out);
}

int x509_cert_parse(const char *pem, size_t len, X509 **ret, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)(len > PEM_FILE_MAX ? PEM_FILE_MAX : len));
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (!cert)
        return tls_error(err, -EINVAL, "certificate");
    *ret = cert;
    return 0;
}

static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

int x509_key_parse(const char *pem, size_t len, EVP_PKEY **ret, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)(len > PEM_FILE_MAX ? PEM_FILE_MAX : len));
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (!key)
        return tls_error(err, -EINVAL, "private key");
    *ret = key;
    return 0;
}

static int read_cert(const char *file, X509 **ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(file, PEM_FILE_MAX, &text, err);
    if (r < 0)
        return r;
    r = x509_cert_parse(strbuf_text(&text), text.len, ret, err);
    return r < 0 ? error_prefix(err, r, "%s", file) : 0;
}

int x509_key_read(const char *file, EVP_PKEY **ret, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(file, PEM_FILE_MAX, &text, err);
    if (r < 0)
        return r;
    r = x509_key_parse(strbuf_text(&text), text.len, ret, err);
    OPENSSL_cleanse(text.data, text.len);
    return r < 0 ? error_prefix(err, r, "%s", file) : 0;
}

bool x509_fits(const X509 *cert, const EVP_PKEY *key)
{
    bool fits = X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    return fits;
}

int x509_pair_read(const char *cert_file, const char *key_file, struct x509_pair *ret,
                   struct error *err)
{
    struct x509_pair p = {.cert = NULL};
    int r = read_cert(cert_file, &p.cert, err);
    if (r == 0)
        r = x509_key_read(key_file, &p.key, err);
    if (r == 0 && !x509_fits(p.cert, p.key))
        r = error_set(err, -EINVAL, "%s does not belong to %s", key_file, cert_file);
    if (r < 0)
        x509_pair_done(&p);
    else
        *ret = p;
    return r;
}

static int make_parent(const char *file, struct error *err)
{
    const char *slash = strrchr(file, '/');
    if (!slash || slash == file)
        return 0;
    _cleanup_free_ char *dir = str_ndup(file, (size_t)(slash - file));
    return fs_mkdirs(dir, 0755, err);
}

static int write_key(const char *file, const EVP_PKEY *key, struct error *err)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    int r = make_parent(file, err);
    if (r < 0)
        return r;
    x509_key_pem(key, &pem);
    r = fs_write_atomic(file, pem.data, pem.len, 0600, FS_DURABLE, err);
    OPENSSL_cleanse(pem.data, pem.len);
    return r;
}

int x509_pair_write(const struct x509_pair *p, const char *cert_file, const char *key_file,
                    struct error *err)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    int r = write_key(key_file, p->key, err);
    if (r == 0)
        r = make_parent(cert_file, err);
    if (r < 0)
        return r;
    x509_cert_pem(p->cert, &pem);
    return fs_write_atomic(cert_file, pem.data, pem.len, 0644, FS_DURABLE, err);
}

int x509_public_key_write(const EVP_PKEY *key, const char *file, struct error *err)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_PUBKEY(bio, key) != 1)
        abort();
    take_bio(bio, &pem);
    int r = make_parent(file, err);
    return r < 0 ? r : fs_write_atomic(file, pem.data, pem.len, 0644, FS_DURABLE, err);
}

/* The key in one PEM block. *ret NULL: a block that holds no key (EC PARAMETERS). */
static int key_of_block(const char *name, const unsigned char *der, long len, EVP_PKEY **ret,
                        struct error *err)
{
    *ret = NULL;
    if (str_eq(name, PEM_STRING_ECPARAMETERS))
        return 0;
    if (str_eq(name, PEM_STRING_PUBLIC)) {
        *ret = d2i_PUBKEY(NULL, &der, len);
    } else if (str_eq(name, PEM_STRING_RSA_PUBLIC)) {
        *ret = d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, len);
    } else if (str_eq(name, PEM_STRING_X509)) {
        X509 *cert = d2i_X509(NULL, &der, len);
        *ret = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
    } else if (str_eq(name, PEM_STRING_PKCS8INF) || str_eq(name, PEM_STRING_RSA) ||
               str_eq(name, PEM_STRING_ECPRIVATEKEY)) {
        *ret = d2i_AutoPrivateKey(NULL, &der, len);
    } else {
        return error_set(err, -EINVAL, "\"%.40s\" is no key and no certificate", name);
    }
    return *ret ? 0 : tls_error(err, -EINVAL, "%.40s", name);
}

int x509_keys_read(const char *file, EVP_PKEY **ret, size_t max, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(file, PEM_FILE_MAX, &text, err);
    if (r < 0)
        return r;
    BIO *bio = BIO_new_mem_buf(strbuf_text(&text), (int)text.len);
    char *name, *header;
    unsigned char *der;
    long len;
    size_t n = 0;
    while (r == 0 && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        EVP_PKEY *key = NULL;
        r = n == max ? error_set(err, -E2BIG, "%s: more than %zu keys", file, max)
                     : key_of_block(name, der, len, &key, err);
        if (key)
            ret[n++] = key;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (text.data)
        OPENSSL_cleanse(text.data, text.len);
    if (r == 0 && !n)
        r = error_set(err, -EINVAL, "%s: holds no key in PEM form", file);
    if (r == 0)
        return (int)n;
    while (n)
        EVP_PKEY_free(ret[--n]);
    return r == -E2BIG ? r : error_prefix(err, r, "%s", file);
}

int x509_key_ensure(const char *key_file, EVP_PKEY **ret, struct error *err)
{
    int r = x509_key_read(key_file, ret, err);
    if (r != -ENOENT)
        return r;
    EVP_PKEY *key = x509_key_new();
    r = write_key(key_file, key, err);
    if (r < 0) {
        EVP_PKEY_free(key);
        return r;
    }
    *ret = key;
    return 0;
}

int x509_file_expires(const char *cert_file, int64_t *ret, struct error *err)
{
    X509 *cert = NULL;
    int r = read_cert(cert_file, &cert, err);
    if (r < 0)
        return r;
    *ret = x509_expires(cert);
    X509_free(cert);
    return 0;
}
