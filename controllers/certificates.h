/*
 * The pure part of the certificate controllers: what a request is for, whether it deserves
 * approval, the certificate that comes of it, when it is of no use any more. Tested and fuzzed
 * without a cluster.
 */
#pragma once

#include "base/strbuf.h"
#include "controllers/objects.h"
#include "net/x509_csr.h"

/* A CertificateSigningRequest. */
struct csr {
    struct object_meta meta;
    struct bytes request;
    char *signer, *username, *uid;
    struct opt_int expiration_seconds;
    struct string_list usages, groups;
    json_t *extra;
    char *certificate; /* base64; NULL when none */
    condition_list conditions;
};
extern const struct decode_type csr_type;

#define SIGNER_CLIENT  "kubernetes.io/kube-apiserver-client"
#define SIGNER_KUBELET "kubernetes.io/kube-apiserver-client-kubelet"
#define SIGNER_SERVING "kubernetes.io/kubelet-serving"

enum csr_kind {
    CSR_OTHER,
    CSR_NODE_CLIENT,      /* a kubelet's client certificate, asked for by somebody else */
    CSR_SELF_NODE_CLIENT, /* … by the kubelet itself */
    CSR_NODE_PART,        /* … of a node's proxy, DNS or overlay */
    CSR_SERVING,          /* a kubelet's serving certificate, asked for by the kubelet itself */
};
enum csr_kind csr_recognize(const struct csr *csr, const struct x509_csr *request);
/* The node that a kubelet's request is about: what follows "system:node:" in its common name. */
const char *csr_node(const struct x509_csr *request);
/* Whether every name and address in the request is one of the node's (status.addresses). */
bool csr_names_node(const struct x509_csr *request, const struct node *node);

/* Whether it is a signer of this cluster's CA. */
bool csr_is_ours(const struct csr *csr);
/* The certificate, as PEM, valid for @longest_s seconds or what the request asks for if that is
 * less. 0, or -EINVAL with the reason when the signer does not sign such requests. */
int csr_sign(const struct csr *csr, const struct x509_csr *request, const struct x509_pair *ca,
             int64_t longest_s, struct strbuf *pem, struct error *err);

/* When the request may be deleted, in seconds: an hour after it was settled, a day after it was
 * made when nobody settles it, or when its certificate ends. */
int64_t csr_useless_at(const struct csr *csr);
