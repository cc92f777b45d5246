/*
 * A certificate on disk; see store.h. The order in which a new one comes: the key, the file, the
 * link, whatever names the link (a kubeconfig), and last the key of the request goes. Whoever is
 * killed in between finds the key again and with it the request, which has the certificate.
 */
#include "kubelet/credentials/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "net/x509.h"

#define PEM_MAX (1u << 20)

char *cert_store_path(const struct cert_store *s)
{
    return str_printf("%s/%s-current.pem", s->dir, s->prefix);
}

static char *key_path(const struct cert_store *s)
{
    return str_printf("%s/%s.key.tmp", s->dir, s->prefix);
}

int cert_store_read(const struct cert_store *s, struct strbuf *pem, struct error *err)
{
    _cleanup_free_ char *path = cert_store_path(s);
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    int r = fs_read(path, PEM_MAX, pem, err);
    if (r == 0) {
        r = x509_cert_parse(strbuf_text(pem), pem->len, &cert, err);
        if (r == 0)
            r = x509_key_parse(strbuf_text(pem), pem->len, &key, err);
        if (r < 0)
            r = error_prefix(err, r, "%s", path);
    }
    if (r == 0 && !x509_fits(cert, key))
        r = error_set(err, -EINVAL, "%s: the key is another certificate's", path);
    if (r == 0 && x509_expires(cert) <= time_now())
        r = error_set(err, -ESTALE, "%s: the certificate has expired", path);
    X509_free(cert);
    EVP_PKEY_free(key);
    return r;
}

/* Removes those that came before @name. */
static void remove_old(const struct cert_store *s, const char *name)
{
    _cleanup_free_ char *prefix = str_printf("%s-2", s->prefix); /* a year */
    DIR *dir = opendir(s->dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!str_starts(e->d_name, prefix) || str_eq(e->d_name, name))
            continue;
        _cleanup_free_ char *path = fs_join(s->dir, e->d_name);
        (void)unlink(path);
    }
    if (dir)
        (void)closedir(dir);
}

/* The link must be on disk before what it led to goes. */
static int sync_dir(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? error_errno(err, -errno, "%s", path) : 0;
}

int cert_store_write(const struct cert_store *s, const char *pem, struct error *err)
{
    char when[32];
    time_t now = (time_t)time_now();
    struct tm tm;
    (void)strftime(when, sizeof(when), "%Y-%m-%d-%H-%M-%S", gmtime_r(&now, &tm));
    _cleanup_free_ char *name = str_printf("%s-%s.pem", s->prefix, when);
    _cleanup_free_ char *path = fs_join(s->dir, name);
    _cleanup_free_ char *current = cert_store_path(s);
    _cleanup_free_ char *link = str_printf("%s.new", current);
    int r = fs_mkdirs(s->dir, 0755, err);
    if (r == 0)
        r = fs_write_atomic(path, pem, strlen(pem), 0600, FS_DURABLE, err);
    if (r < 0)
        return r;
    (void)unlink(link);
    if (symlink(name, link) < 0 || rename(link, current) < 0)
        return error_errno(err, -errno, "%s", current);
    r = sync_dir(s->dir, err);
    if (r == 0)
        remove_old(s, name);
    return r;
}

int64_t cert_store_written_at(const struct cert_store *s)
{
    _cleanup_free_ char *path = cert_store_path(s);
    struct stat st;
    return lstat(path, &st) == 0 ? st.st_mtime : 0;
}

/* ---- the key of a request ---- */

int cert_store_key(const struct cert_store *s, EVP_PKEY **ret, struct error *err)
{
    _cleanup_free_ char *path = key_path(s);
    struct error bad = ERROR_INIT;
    int r = x509_key_ensure(path, ret, &bad);
    if (r == -EINVAL) {
        log_warn("a key that cannot be read is replaced", "error", error_text(&bad), NULL);
        (void)unlink(path);
        r = x509_key_ensure(path, ret, &bad);
    }
    return r < 0 ? error_set(err, r, "%s", error_text(&bad)) : 0;
}

void cert_store_forget_key(const struct cert_store *s)
{
    _cleanup_free_ char *path = key_path(s);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("a key that is not needed any more stays", "file", path, "error", strerror(errno),
                 NULL);
}

void cert_store_forget_key_of(const struct cert_store *s, const char *pem)
{
    _cleanup_free_ char *path = key_path(s);
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    if (x509_key_read(path, &key, NULL) == 0 &&
        x509_cert_parse(pem, strlen(pem), &cert, NULL) == 0 && x509_fits(cert, key))
        cert_store_forget_key(s);
    X509_free(cert);
    EVP_PKEY_free(key);
}
