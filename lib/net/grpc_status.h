/*
 * gRPC status codes (numbers of the gRPC specification) and what they are in errno terms. Needs
 * nothing of gRPC itself, so that code which only maps errors need not link it.
 */
#pragma once

enum rpc_status {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
};

/* The name as the specification writes it: "NOT_FOUND"; "UNKNOWN" for a number it lacks. */
const char *rpc_status_name(enum rpc_status status);
/* The nearest -errno; 0 for RPC_OK. */
int rpc_status_errno(enum rpc_status status);
/* The other way: the status a server answers for -errno @code; RPC_OK for 0. */
enum rpc_status rpc_status_of_errno(int code);
