/*
 * ServiceAccount tokens from outside. Input: a token as it comes; or, when it starts with '{', the
 * claims of one that is signed here with a key the verifier trusts, so that what lies behind the
 * signature is reached too.
 */
#include <string.h>

#include "apiserver/auth/accounts.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/jwt.h"
#include "net/x509.h"

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once: a key costs more than a run. */
static struct accounts_options options;
static struct accounts *accounts;
static struct jwt_key key;

static void setup(void)
{
    char dir[] = "/tmp/coracle-fuzz-jwt.XXXXXX";
    EVP_PKEY *pkey = NULL;
    static char issuer[] = "https://i";
    static char *issuers[] = {issuer, NULL};
    if (!mkdtemp(dir))
        abort();
    _cleanup_free_ char *file = str_printf("%s/key", dir);
    if (x509_key_ensure(file, &pkey, NULL) < 0 || jwt_key_init(&key, pkey, NULL) < 0)
        abort();
    options = (struct accounts_options){.issuers = {issuers, 1}, .signing_key_file = file};
    accounts = accounts_new(&options, NULL);
    options.signing_key_file = NULL;
    (void)unlink(file);
    (void)rmdir(dir);
    if (!accounts)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *token = str_ndup((const char *)data, size);
    struct account_claims claims;
    if (!accounts)
        setup();
    if (*token == '{') {
        _cleanup_json_ json_t *tree = json_parse(token, strlen(token), NULL);
        if (!json_is_object(tree))
            return 0;
        free(token);
        token = jwt_sign(&key, tree, NULL);
    }
    if (token && accounts_verify(accounts, token, NOW, &claims, NULL) == 0) {
        if (!claims.ns || !claims.account.name || !claims.account.uid)
            abort();
        if (!claims.legacy && claims.expires <= NOW)
            abort();
        account_claims_done(&claims);
    }
    return 0;
}
