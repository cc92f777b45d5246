/*
 * What the tests of the etcd client share: members, a client, and the last of what it told. The
 * functions wait on the client's loop; failures end the test (cmocka).
 */
#pragma once

#include "etcd-client/etcd.h"
#include "lib/etcd-members.h"

struct run {
    struct members members;
    struct etcd *etcd;
    /* the last answer */
    int code;
    char message[256];
    bool answered, more, succeeded;
    int64_t revision, count, lease, ttl, first_mod;
    size_t n, n_responses;
    char first[64], value[64], last_key[64], version[32], prev[64];
    /* watches and keepers */
    int64_t sum, events, last_revision, progress, want;
    int ended, created, lost;
    size_t largest, bytes;
};

void run_on_reply(void *arg, int code, const char *message, const struct etcd_reply *reply);
int run_wait(struct run *r);
int run_put(struct run *r, const char *key, const char *value);
int run_range(struct run *r, struct etcd_range range);
int run_get(struct run *r, const char *key);
int run_txn(struct run *r, const struct etcd_txn *t);
void run_connect(struct run *r, const struct etcd_options *options);
int run_setup(void **state);
int run_setup3(void **state);
int run_teardown(void **state);
struct etcd_watch *run_watch(struct run *r, const struct etcd_watch_request *request);
void run_wait_events(struct run *r, int64_t n);
void run_wait_created(struct run *r);
int run_wait_end(struct run *r);
