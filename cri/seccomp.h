/*
 * Seccomp filters, compiled once by the daemon into what the kernel loads, and handed to
 * coracle-launch in the launch specification.
 */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

/* Appends the filter (array of struct sock_filter) of the runtime's default profile (Kubernetes'
 * RuntimeDefault): the system calls containers need are allowed, some only with the capability in
 * @capabilities (bits by number) that they belong to; the rest fails with EPERM, and calls newer
 * than this list with ENOSYS, so that C libraries fall back. */
int seccomp_default(uint64_t capabilities, struct strbuf *out, struct error *err);

/* Compiling takes about 10 ms: a daemon keeps what it compiled, by the capabilities that matter.
 * Zeroed at first. */
#define SECCOMP_CACHE_SIZE 8
struct seccomp_cache {
    struct {
        uint64_t capabilities;
        struct strbuf filter;
    } entries[SECCOMP_CACHE_SIZE];
    unsigned next; /* to be replaced */
};
/* As seccomp_default(); *ret is borrowed until the next call or seccomp_cache_done(). */
int seccomp_cache_default(struct seccomp_cache *cache, uint64_t capabilities,
                          const struct strbuf **ret, struct error *err);
void seccomp_cache_done(struct seccomp_cache *cache);

/* Appends the filter of a profile in the OCI runtime specification's JSON form ("Localhost"), and
 * the flags that seccomp(2) is to be given. Names of system calls that this kernel's architectures
 * do not have are skipped; calls newer than all it names fail with ENOSYS where its default action
 * denies. -EINVAL, -E2BIG name the field. */
int seccomp_from_json(const char *json, size_t len, struct strbuf *out, unsigned *ret_flags,
                      struct error *err);
