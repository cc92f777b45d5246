/*
 * What nodes that join are told of a cluster: kubeadm's ConfigMaps kubeadm-config and
 * kubelet-config of kube-system, flannel's kube-flannel-cfg beside them. Our server writes them as
 * kubeadm does, so that one way of joining serves both.
 */
#pragma once

#include "base/loop.h"
#include "cli/node.h"
#include "cli/session.h"

/* flannel's network configuration, below /etc/coracle. */
#define CLUSTER_NET_CONF "net-conf.json"

struct cluster_settings {
    char *version;                 /* the server's gitVersion */
    bool ours;                     /* a Coracle server */
    char *pod_cidr, *service_cidr; /* NULL when the cluster does not say */
    char *dns_ip;                  /* of clusterDNS: NULL: none */
    char *kubelet_config;          /* KubeletConfiguration, YAML; NULL when there is none */
    char *net_conf;                /* flannel's JSON; NULL when there is none */
};

/* Reads them over @s (a bootstrap token suffices). What is not there, or may not be read, stays
 * NULL; -EINVAL names what cannot be understood; other errors are those of session_call(). */
int cluster_read(struct session *s, struct cluster_settings *ret, struct error *err);
void cluster_settings_done(struct cluster_settings *c); /* harmless on a zeroed one */

/* The server's side. Writes net-conf.json unless somebody did before. */
int cluster_write_net_conf(const struct node_config *c, struct error *err);
/* Makes the ConfigMaps that are missing; those that are there are their owner's. Trouble is logged
 * and tried again. NULL, and a log, when the API cannot be reached at all. */
struct cluster_publisher *cluster_publish(struct loop *loop, const struct node_config *c);
struct cluster_publisher *cluster_publisher_free(struct cluster_publisher *p); /* returns NULL */
