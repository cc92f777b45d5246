/*
 * The etcd back end of store.h, over etcd-client. It shares leases between values that expire at
 * about the same time, compacts history every few minutes (several servers on one etcd agree among
 * themselves through upstream's "compact_rev_key", so that one does it), and resumes watches over
 * broken connections and member changes.
 */
#pragma once

#include "apiserver/store/store.h"
#include "net/grpc_core.h"

struct store_etcd_options {
    const char *const *endpoints; /* "http://127.0.0.1:2379", "https://…", "unix:///path" */
    size_t n_endpoints;
    const char *ca_file, *cert_file, *key_file; /* PEM; for https */
    const char *prefix;                         /* NULL: "/registry" */
    uint64_t deadline_ms;                       /* of each call; 0: 10 s */
    uint64_t compact_interval_s;                /* 0: never (upstream: 300) */
};

/* Opens it; connects in the background: store_revision() tells when it answers. NULL with @err set
 * when an endpoint or a file is bad. */
struct store *store_etcd_new(struct loop *loop, struct rpc *rpc,
                             const struct store_etcd_options *options, struct error *err);
