/* Command-line flags; see flags.h. */
#include "apiserver/flags.h"

#include <errno.h>
#include <string.h>

#include "apiserver/auth/authz.h"
#include "base/strbuf.h"
#include "base/times.h"

#define COMPACT_SECONDS   300
#define EVENT_TTL_SECONDS 3600
#define FLAGS_MAX         64

/* Rows of the one table, gathered from groups that fit on a screen. */
struct table {
    struct option_def defs[FLAGS_MAX];
    size_t n;
};

static void add(struct table *t, const struct option_def *defs, size_t n)
{
    if (t->n + n >= FLAGS_MAX)
        abort();
    memcpy(t->defs + t->n, defs, n * sizeof(*defs));
    t->n += n;
}

static void add_store(struct table *t, struct flags *f)
{
    const struct option_def defs[] = {
        {"Store", 0, OPTION_FLAG_GROUP, NULL, NULL, NULL},
        {"etcd-servers", 0, OPTION_LIST, &f->etcd_servers, "URL,…", "etcd endpoints"},
        {"etcd-cafile", 0, OPTION_STRING, &f->etcd_ca, "FILE", "CA of etcd's certificate"},
        {"etcd-certfile", 0, OPTION_STRING, &f->etcd_cert, "FILE", "client certificate for etcd"},
        {"etcd-keyfile", 0, OPTION_STRING, &f->etcd_key, "FILE", "its key"},
        {"etcd-prefix", 0, OPTION_STRING, &f->etcd_prefix, "KEY", "prefix of all keys (/registry)"},
        {"etcd-compaction-interval", 0, OPTION_INT, &f->compact_interval, "SECONDS",
         "time between compactions (300)"},
        {"event-ttl-seconds", 0, OPTION_INT, &f->event_ttl, "SECONDS",
         "how long Events are kept (3600)"},
    };
    add(t, defs, ARRAY_SIZE(defs));
}

static void add_serving(struct table *t, struct flags *f)
{
    const struct option_def defs[] = {
        {"Serving", 0, OPTION_FLAG_GROUP, NULL, NULL, NULL},
        {"bind-address", 0, OPTION_STRING, &f->bind_address, "IP", "listen there (0.0.0.0)"},
        {"secure-port", 0, OPTION_INT, &f->secure_port, "PORT", "HTTPS port (6443; 0: any)"},
        {"advertise-address", 0, OPTION_STRING, &f->advertise_address, "IP",
         "where others reach this server"},
        {"tls-cert-file", 0, OPTION_STRING, &f->cert, "FILE", "serving certificate"},
        {"tls-private-key-file", 0, OPTION_STRING, &f->key, "FILE", "its key"},
        {"service-cluster-ip-range", 0, OPTION_STRING, &f->service_cidr, "CIDR",
         "cluster IPs of Services (10.96.0.0/16)"},
        {"service-node-port-range", 0, OPTION_STRING, &f->node_ports, "FIRST-LAST",
         "node ports of Services (30000-32767)"},
        {"cluster-dns", 0, OPTION_STRING, &f->cluster_dns, "IP",
         "keep a Service kube-system/kube-dns with this cluster IP, answered on each node"},
        {"kubelet-client-certificate", 0, OPTION_STRING, &f->kubelet_cert, "FILE",
         "client certificate for kubelets"},
        {"kubelet-client-key", 0, OPTION_STRING, &f->kubelet_key, "FILE", "its key"},
        {"kubelet-certificate-authority", 0, OPTION_STRING, &f->kubelet_ca, "FILE",
         "CA of the kubelets' certificates"},
    };
    add(t, defs, ARRAY_SIZE(defs));
}

static void add_authentication(struct table *t, struct flags *f)
{
    struct accounts_options *a = &f->accounts;
    const struct option_def defs[] = {
        {"Authentication", 0, OPTION_FLAG_GROUP, NULL, NULL, NULL},
        {"client-ca-file", 0, OPTION_STRING, &f->client_ca, "FILE", "CA of client certificates"},
        {"token-auth-file", 0, OPTION_STRING, &f->token_file, "FILE",
         "lines of token,user,uid,\"groups\""},
        {"enable-bootstrap-token-auth", 0, OPTION_BOOL, &f->bootstrap_tokens, NULL,
         "take tokens of new nodes, kept in Secrets of kube-system (false)"},
        {"service-account-issuer", 0, OPTION_LIST, &a->issuers, "URL,…",
         "issuer of ServiceAccount tokens; further ones are accepted only"},
        {"service-account-key-file", 0, OPTION_LIST, &a->key_files, "FILE,…",
         "public or private keys that such tokens are checked with"},
        {"service-account-signing-key-file", 0, OPTION_STRING, &a->signing_key_file, "FILE",
         "private key that they are signed with"},
        {"api-audiences", 0, OPTION_LIST, &a->audiences, "NAME,…",
         "who this server is in tokens (the issuers)"},
        {"service-account-jwks-uri", 0, OPTION_STRING, &a->jwks_uri, "URL",
         "where the discovery document says the keys are"},
        {"service-account-max-token-expiration", 0, OPTION_STRING, &f->max_token_expiration,
         "DURATION", "longest lifetime of a token (no limit)"},
        {"service-account-extend-token-expiration", 0, OPTION_BOOL, &a->extend, NULL,
         "let tokens of pods live for a year (true)"},
        {"service-account-mount", 0, OPTION_BOOL, &a->mount, NULL,
         "give pods a volume with a token (true)"},
    };
    add(t, defs, ARRAY_SIZE(defs));
}

static void add_authorization(struct table *t, struct flags *f)
{
    const struct option_def defs[] = {
        {"Authorization", 0, OPTION_FLAG_GROUP, NULL, NULL, NULL},
        {"authorization-mode", 0, OPTION_LIST, &f->authorization_modes, "MODE,…",
         "Node, RBAC, AlwaysAllow, AlwaysDeny (AlwaysAllow)"},
        {"anonymous-auth", 0, OPTION_BOOL, &f->anonymous, NULL,
         "take requests without credentials, as system:anonymous (true)"},
    };
    add(t, defs, ARRAY_SIZE(defs));
}

static void add_general(struct table *t, struct flags *f)
{
    const struct option_def defs[] = {
        {"General", 0, OPTION_FLAG_GROUP, NULL, NULL, NULL},
        {"root", 0, OPTION_STRING, &f->root, "DIR", "prefix of all paths"},
        {"v", 'v', OPTION_INT, &f->verbosity, "N", "log verbosity"},
        {"help", 'h', OPTION_BOOL, &f->help, NULL, "this text"},
    };
    add(t, defs, ARRAY_SIZE(defs));
}

static int complete(struct flags *f, struct error *err)
{
    int64_t ms = 0;
    if (f->max_token_expiration && duration_parse(f->max_token_expiration, &ms) < 0)
        return error_set(err, -EINVAL,
                         "--service-account-max-token-expiration: \"%s\" is no duration (\"24h\")",
                         f->max_token_expiration);
    f->accounts.max_expiration_s = ms / 1000;
    return authz_check_modes(&f->authorization_modes, err);
}

int flags_parse(struct flags *f, int argc, char **argv, struct error *err)
{
    *f = (struct flags){.bind_address = "0.0.0.0",
                        .secure_port = 6443,
                        .event_ttl = EVENT_TTL_SECONDS,
                        .compact_interval = COMPACT_SECONDS,
                        .service_cidr = "10.96.0.0/16",
                        .node_ports = "30000-32767",
                        .anonymous = true,
                        .accounts = {.extend = true, .mount = true}};
    struct table t = {.n = 0};
    add_store(&t, f);
    add_serving(&t, f);
    add_authentication(&t, f);
    add_authorization(&t, f);
    add_general(&t, f);
    _cleanup_free_ char **words = mem_grow(NULL, (size_t)argc + 1, sizeof(*words));
    int n = options_parse(t.defs, argc, argv, false, words, err);
    if (n < 0)
        return n;
    if (f->help)
        options_help(t.defs, stdout);
    else if (n > 0)
        return error_set(err, -EINVAL, "unexpected argument: %s", words[0]);
    return complete(f, err);
}

void flags_done(struct flags *f)
{
    option_list_done(&f->etcd_servers);
    option_list_done(&f->authorization_modes);
    option_list_done(&f->accounts.issuers);
    option_list_done(&f->accounts.key_files);
    option_list_done(&f->accounts.audiences);
}
