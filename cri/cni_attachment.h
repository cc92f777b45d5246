/*
 * What a pod's DEL needs to know of its ADD: kept in a file, before the first plugin runs, so that
 * what was made is taken back also after the daemon was restarted, the configuration changed or the
 * node rebooted (IPAM plugins keep their leases on disk).
 */
#pragma once

#include "base/json.h"

#define CNI_IFNAME "eth0"

struct cni_attachment {
    char *sandbox;   /* CNI_CONTAINERID */
    char *netns;     /* path */
    char *args;      /* CNI_ARGS */
    json_t *config;  /* cni_config.h */
    json_t *runtime; /* capability → value */
    json_t *result;  /* of ADD; NULL: it did not come to an end */
};

void cni_attachment_free(struct cni_attachment *a); /* NULL is harmless */

/* <dir>/<sandbox>.json; the directory is made. Not synced. */
int cni_attachment_save(const char *dir, const struct cni_attachment *a, struct error *err);
/* -ENOENT when there is none, -EBADMSG when it is damaged. */
int cni_attachment_load(const char *dir, const char *sandbox, struct cni_attachment **ret,
                        struct error *err);
int cni_attachment_forget(const char *dir, const char *sandbox, struct error *err);
/* Calls @cb (may be NULL) with the sandbox of each; returns how many. */
size_t cni_attachments_each(const char *dir, void (*cb)(const char *sandbox, void *arg), void *arg);
