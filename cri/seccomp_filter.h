/*
 * Building a filter: rules go through libseccomp; in front of them stands what makes calls that are
 * newer than all rules fail with ENOSYS, as on a kernel that does not have them, so that C
 * libraries fall back. An action that denies would otherwise break programs whenever their
 * libraries learn a new call.
 */
#pragma once

#include <seccomp.h>

#include "base/error.h"
#include "base/strbuf.h"

#define SECCOMP_ARCHS_MAX 32

struct seccomp_filter {
    scmp_filter_ctx ctx;
    uint32_t fallback; /* the action for calls that no rule is about */
    struct {
        uint32_t token; /* SCMP_ARCH_… */
        int newest;     /* the highest number that a rule is about; -1: none is */
    } archs[SECCOMP_ARCHS_MAX];
    size_t n_archs;
};

/* Begins a filter for the native architecture. -EINVAL: no action for that. seccomp_filter_done()
 * in any case. */
int seccomp_filter_init(struct seccomp_filter *f, uint32_t fallback);
void seccomp_filter_done(struct seccomp_filter *f);
/* Another architecture that rules are for; before the first of them. One that this kernel cannot
 * have is passed over. -errno. */
int seccomp_filter_arch(struct seccomp_filter *f, uint32_t token);
/* A rule about a call, where an architecture has it; one that is there already, or that adds
 * nothing, is no error. -errno. */
int seccomp_filter_rule(struct seccomp_filter *f, uint32_t action, const char *name, unsigned n,
                        const struct scmp_arg_cmp *args);
/* Appends the filter (array of struct sock_filter) to @out. -errno; -E2BIG. */
int seccomp_filter_export(const struct seccomp_filter *f, struct strbuf *out, struct error *err);
