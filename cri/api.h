/* The methods of RuntimeService, by subject. */
#pragma once

#include "cri/runtime.h"

/* RPC_METHOD(Version, version, RPC_UNARY): path, type of the request and handler by one name. */
#define API_METHOD(name, lower, kind, fn)                                                         \
    {                                                                                             \
        "/runtime.v1.RuntimeService/" #name, &runtime__v1__##lower##_request__descriptor, (kind), \
            fn                                                                                    \
    }

void api_runtime_register(struct runtime *rt); /* version, status, configuration, events */
void api_sandbox_register(struct runtime *rt);
void api_container_register(struct runtime *rt);
void api_stats_register(struct runtime *rt); /* and ImageFsInfo */
void api_metrics_register(struct runtime *rt);

/* Answers a call that has nothing to say on success: the answer is an empty message. */
void api_finish(struct rpc_server_call *call, const ProtobufCMessage *response, int code,
                const struct error *err);
/* As waiters want it: @arg is the call, and the response an empty message, for every method whose
 * response has no fields. */
void api_done(int code, const struct error *err, void *arg);
