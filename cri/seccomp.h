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

/* Appends the filter of a profile in the OCI runtime specification's JSON form ("Localhost"). Names
 * of system calls that this kernel's architecture does not have are skipped. -EINVAL names the
 * field. */
int seccomp_from_json(const char *json, size_t len, struct strbuf *out, struct error *err);
