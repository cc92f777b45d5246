/* The command line of coracle-apiserver: names are kube-apiserver's where it has the flag. */
#pragma once

#include "apiserver/auth/accounts.h"
#include "base/options.h"

struct flags {
    struct option_list etcd_servers;
    const char *etcd_ca, *etcd_cert, *etcd_key, *etcd_prefix;
    const char *bind_address, *advertise_address;
    int secure_port, event_ttl, compact_interval, verbosity;
    const char *cert, *key, *client_ca, *token_file;
    struct option_list authorization_modes;
    bool anonymous, bootstrap_tokens;
    struct accounts_options accounts;
    const char *max_token_expiration;
    const char *service_cidr, *node_ports, *cluster_dns;
    const char *kubelet_cert, *kubelet_key, *kubelet_ca;
    const char *root;
    bool help;
};

/* 0 or -EINVAL naming the flag. Strings are borrowed from @argv. --help has been printed when it is
 * asked for. */
int flags_parse(struct flags *f, int argc, char **argv, struct error *err);
void flags_done(struct flags *f);
