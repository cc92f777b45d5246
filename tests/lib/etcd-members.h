/*
 * Real etcd processes for tests, on fixed loopback ports: the caller sits in a network namespace of
 * its own. Data goes below $T. Failures end the test (cmocka).
 */
#pragma once

#include <sys/types.h>

#define MEMBERS_MAX 3

struct members {
    int n;
    const char *const *extra; /* more arguments for etcd */
    const char *scheme;
    const char *tls_args[8];
    struct {
        pid_t pid;
        char url[32], peer[32], dir[96];
    } m[MEMBERS_MAX];
};

/* Starts a cluster of @n; answers some time later (calls wait for it). @extra: NULL-terminated. */
void members_start(struct members *c, int n, const char *const *extra);
/* One member that takes clients with certificates of its CA only, by https. */
void members_start_tls(struct members *c, const char *ca_file, const char *cert_file,
                       const char *key_file);
/* SIGTERM, or kill -9, waited for. */
void members_stop(struct members *c, int i);
void members_kill(struct members *c, int i);
void members_restart(struct members *c, int i);
void members_signal(struct members *c, int i, int signo);
/* Which member has this URL. */
int members_index(const struct members *c, const char *url);
/* Runs etcdctl with these arguments (NULL-terminated, at most 15) against the first member. */
void members_ctl(const struct members *c, ...) __attribute__((sentinel));
/* Runs etcdctl with @args (split at spaces) and returns the number that the first match of the
 * extended regular expression @regex ends (or holds). */
int members_count(const struct members *c, const char *args, const char *regex);
/* Kills all, removes their data. */
void members_end(struct members *c);
