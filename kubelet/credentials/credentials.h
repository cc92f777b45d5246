/*
 * Who the kubelet is to the API server: what its kubeconfig says, or, where there is none that
 * works, a client certificate asked for with a bootstrap token. It is renewed in time, and new
 * connections use it; nothing is started again.
 */
#pragma once

#include "kubelet/kubelet.h"

struct credentials;

struct credentials_options {
    const char *kubeconfig; /* NULL: no API server */
    const char *bootstrap;  /* kubeconfig with the token; NULL: none */
    bool rotate;            /* rotateCertificates */
};

/* Makes k->api (NULL without a kubeconfig). Until the first certificate is here its requests fail.
 * Strings belong to the caller. 0, or -errno naming the file. */
int credentials_new(struct kubelet *k, const struct credentials_options *options,
                    struct credentials **ret, struct error *err);
/* k->api too. Returns NULL. */
struct credentials *credentials_free(struct credentials *c);
