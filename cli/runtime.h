/* A command's connection to the container runtime: CRI calls that wait. */
#pragma once

#include "base/loop.h"
#include "net/grpc_client.h"

struct runtime {
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_client *client;
};

/* Connects to the CRI socket below @root when the first call is made. */
int runtime_open(struct runtime *r, const char *root, struct error *err);
void runtime_close(struct runtime *r); /* harmless on a zeroed struct */

/* One unary call. 0 with a copy of the answer in *ret (free with protobuf_c_message_free_unpacked;
 * @ret may be NULL), else -errno with the runtime's message. */
int runtime_call(struct runtime *r, const struct rpc_method *method,
                 const ProtobufCMessage *request, uint64_t deadline_ms, ProtobufCMessage **ret,
                 struct error *err);

/* Sends the archive @path ("-": standard input) to the image store. Prints each imported name to
 * @report. @name may be NULL. */
int runtime_import(struct runtime *r, const char *path, const char *name,
                   void (*report)(const char *name, const char *id, void *arg), void *arg,
                   struct error *err);

/* Writes the images @names (@count of them) as one archive to @fd. On failure what was written is
 * of no use. */
int runtime_export(struct runtime *r, char **names, size_t count, int fd, struct error *err);

/* Stops every container (its stop signal, then SIGKILL after @grace_s), then stops and removes
 * every sandbox. Goes on past errors; returns the first. */
int runtime_drain(struct runtime *r, int grace_s, struct error *err);
