/*
 * Running the plugins of a configuration, one after the other (CNI specification, section
 * "Execution of network configurations"): ADD in order, each with the result of the one before; DEL
 * in reverse order, with the result of ADD; GC in order. The first failure ends it.
 */
#pragma once

#include "base/loop.h"
#include "cri/cni_attachment.h"

enum cni_command { CNI_ADD, CNI_DEL, CNI_GC };

struct cni_chain;

struct cni_chain_options {
    struct loop *loop;
    enum cni_command command;
    const char *path;     /* where plugins are; separated by colons */
    uint64_t deadline_ms; /* of each plugin: then it, and what it started, is killed */
    /* Whom and what it is about; stays until the end. GC: config alone, no sandbox. */
    const struct cni_attachment *attachment;
    json_t *valid; /* GC: the attachments to keep, a list; borrowed */
};

/* Starts; @done is called once, always later, unless cancelled. @result: of ADD, borrowed; NULL of
 * the others. */
struct cni_chain *cni_chain_start(const struct cni_chain_options *options,
                                  void (*done)(int code, json_t *result, const struct error *err,
                                               void *arg),
                                  void *arg);
/* Kills the plugin that runs; nothing is called. NULL is harmless. */
void cni_chain_cancel(struct cni_chain *chain);
