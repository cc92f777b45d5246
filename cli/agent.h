/*
 * A node that has joined a cluster whose server is elsewhere: `coracle join` writes down what the
 * node consists of, `coracle agent` runs it.
 *
 * Files below /etc/coracle: agent.json (the settings; the last that join writes, so that a node is
 * either joined or not), pki/ca.crt, bootstrap.kubeconfig (until the kubelet has its certificate),
 * kubelet.kubeconfig (the kubelet's own), {proxy,dns,flannel}.kubeconfig, net-conf.json.
 */
#pragma once

#include "cli/node.h"
#include "cli/session.h"

/* Below /etc/coracle. */
#define AGENT_BOOTSTRAP_KUBECONFIG "bootstrap.kubeconfig"
/* Where kubeadm puts it too. */
#define AGENT_KUBELET_CONFIG "/var/lib/kubelet/config.yaml"

/* The strings that a node_config points to when it was read from disk. */
struct agent_file;
struct agent_file *agent_file_free(struct agent_file *f); /* returns NULL */
DEFINE_CLEANUP(struct agent_file *, agent_file_free);

bool agent_exists(const struct node_config *c);
/* Fills @c, whose root is set, from agent.json; @c is complete then and points into *ret. -ENOENT:
 * this machine has joined nothing; -EINVAL names the field. */
int agent_load(struct node_config *c, struct agent_file **ret, struct error *err);
/* Writes agent.json; @c must be complete, server_url and dns_ip among it. */
int agent_save(const struct node_config *c, struct error *err);
/* Removes everything that join wrote, agent.json first. */
void agent_forget(const struct node_config *c);

/* The credentials of a part ("proxy", "dns", "flannel"): a client certificate that is asked for
 * over
 * @s, in <part>.kubeconfig. Keeps one that lasts. -EACCES when the cluster says no, -ETIMEDOUT when
 * nobody approves the request; the error says what to do. */
int agent_credentials(const struct node_config *c, struct session *s, const char *part,
                      struct error *err);
/* … of every part that is on. */
int agent_all_credentials(const struct node_config *c, struct session *s, struct error *err);
