/* Labels of Nodes that not everybody may set; see node_label.h. */
#include "kube/node_label.h"

#include <string.h>

#include "base/strbuf.h"

/* Those of them that a kubelet may set. */
static bool is_kubelet_label(const char *key)
{
    static const char *const labels[] = {"kubernetes.io/hostname",
                                         "kubernetes.io/arch",
                                         "kubernetes.io/os",
                                         "beta.kubernetes.io/arch",
                                         "beta.kubernetes.io/os",
                                         "beta.kubernetes.io/instance-type",
                                         "node.kubernetes.io/instance-type",
                                         "failure-domain.beta.kubernetes.io/region",
                                         "failure-domain.beta.kubernetes.io/zone",
                                         "failure-domain.kubernetes.io/region",
                                         "failure-domain.kubernetes.io/zone",
                                         "topology.kubernetes.io/region",
                                         "topology.kubernetes.io/zone"};
    static const char *const namespaces[] = {"kubelet.kubernetes.io", "node.kubernetes.io"};
    size_t len = strcspn(key, "/");
    _cleanup_free_ char *ns = str_ndup(key, len);
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
        if (str_eq(labels[i], key))
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
        size_t n = strlen(namespaces[i]);
        if (str_eq(ns, namespaces[i]) ||
            (len > n && str_ends(ns, namespaces[i]) && ns[len - n - 1] == '.'))
            return true;
    }
    return false;
}

static bool is_kubernetes_label(const char *key)
{
    size_t len = strcspn(key, "/");
    if (!key[len])
        return false;
    _cleanup_free_ char *ns = str_ndup(key, len);
    return str_eq(ns, "kubernetes.io") || str_ends(ns, ".kubernetes.io") || str_eq(ns, "k8s.io") ||
           str_ends(ns, ".k8s.io");
}

bool node_label_is_reserved(const char *key)
{
    return is_kubernetes_label(key) && !is_kubelet_label(key);
}
