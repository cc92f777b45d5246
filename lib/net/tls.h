/*
 * TLS contexts from PEM files or PEM text, for servers (with reloading) and clients. At least
 * TLS 1.2, no session resumption on servers (so a reloaded CA counts at once), buffers released
 * when idle.
 */
#pragma once

#include <stdbool.h>

#include <openssl/ssl.h>

#include "base/error.h"
#include "base/loop.h"

/* ---- server ---- */
enum tls_client_auth {
    TLS_CLIENT_NONE,    /* don't ask for a certificate */
    TLS_CLIENT_REQUEST, /* ask; none, and one that doesn't verify, are accepted and told apart */
    TLS_CLIENT_REQUIRE, /* ask; the handshake fails without one that verifies */
};
struct tls_server_options {
    const char *cert_file; /* the chain, leaf first */
    const char *key_file;
    const char *client_ca_file; /* bundle; NULL: client certificates can't verify */
    enum tls_client_auth client_auth;
};
struct tls_server;

/* Loads the files. -EINVAL, -ENOENT … with the file named in @err. Strings are copied. */
int tls_server_new(const struct tls_server_options *options, struct tls_server **ret,
                   struct error *err);
/* Loads the files again, for connections from now on. On failure the old ones stay in use. */
int tls_server_reload(struct tls_server *t, struct error *err);
/* Other files from now on; loads them. On failure what was stays in use. Changes of files are still
 * noticed in the directories of the first ones only. */
int tls_server_use(struct tls_server *t, const char *cert_file, const char *key_file,
                   struct error *err);
/* Reloads whenever one of the files changes or is replaced (inotify on their directories). A
 * failing reload keeps what was and is logged at debug level. */
int tls_server_watch(struct tls_server *t, struct loop *loop, struct error *err);
/* Reference counted: every listener holds one. */
struct tls_server *tls_server_ref(struct tls_server *t);
struct tls_server *tls_server_unref(struct tls_server *t); /* returns NULL */
DEFINE_CLEANUP(struct tls_server *, tls_server_unref);
/* A new server-side SSL object of the context in use now. Aborts on exhaustion. */
SSL *tls_server_ssl(struct tls_server *t);
/* X509_V_OK or why the client's certificate did not verify. Says nothing without a certificate. */
long tls_server_verify_result(const SSL *ssl);

/* ---- client ---- */

/* How a client trusts and identifies itself. For each of CA, certificate and key give a file or PEM
 * text, not both. No CA: the system's. Strings belong to the caller for as long as stated where the
 * struct is used. */
struct tls_client_config {
    const char *ca_file, *ca_pem;
    const char *cert_file, *cert_pem;
    const char *key_file, *key_pem;
    const char *server_name; /* the name to verify instead of the URL's host */
    bool insecure;           /* verify nothing */
};
/* A context with certificate verification on. The caller frees with SSL_CTX_free(). 0 or -errno. */
int tls_client_context(const struct tls_client_config *config, SSL_CTX **ret, struct error *err);
/* A client-side SSL object that will verify @host (a name or an address; config->server_name wins)
 * and send it as SNI when it is a name. 0 or -errno. */
int tls_client_ssl(SSL_CTX *ctx, const struct tls_client_config *config, const char *host,
                   SSL **ret, struct error *err);

/* Sets @err to @code with the formatted text, ": ", and the oldest queued OpenSSL error. Clears the
 * queue. Returns @code. */
int tls_error(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);
