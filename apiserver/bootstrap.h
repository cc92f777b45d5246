/*
 * What the server itself keeps in the store: the namespaces every cluster has, and the Service
 * "kubernetes" with its endpoints, by which pods reach this server.
 */
#pragma once

#include "apiserver/server.h"

struct bootstrap;
/* Starts when the watch cache is loaded (bootstrap_run()); sets srv->ready and calls @on_ready when
 * it is through, and tries again when the store fails. */
struct bootstrap *bootstrap_new(struct apiserver *srv, void (*on_ready)(void *arg), void *arg);
void bootstrap_run(struct bootstrap *b);
struct bootstrap *bootstrap_free(struct bootstrap *b); /* returns NULL */
