/* gRPC status codes of grpc_status.h. */
#include "net/grpc_status.h"

#include <errno.h>
#include <stddef.h>

#include "base/macros.h"

/* The errno of a row answers "which errno is this status"; the first row with an errno answers
 * the other direction. */
static const struct {
    const char *name;
    int code;
} statuses[] = {
    [RPC_OK] = {"OK", 0},
    [RPC_CANCELLED] = {"CANCELLED", ECANCELED},
    [RPC_UNKNOWN] = {"UNKNOWN", EIO},
    [RPC_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", EINVAL},
    [RPC_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", ETIMEDOUT},
    [RPC_NOT_FOUND] = {"NOT_FOUND", ENOENT},
    [RPC_ALREADY_EXISTS] = {"ALREADY_EXISTS", EEXIST},
    [RPC_PERMISSION_DENIED] = {"PERMISSION_DENIED", EACCES},
    [RPC_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", ENOBUFS},
    [RPC_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", EBUSY},
    [RPC_ABORTED] = {"ABORTED", EAGAIN},
    [RPC_OUT_OF_RANGE] = {"OUT_OF_RANGE", ERANGE},
    [RPC_UNIMPLEMENTED] = {"UNIMPLEMENTED", EOPNOTSUPP},
    [RPC_INTERNAL] = {"INTERNAL", EIO},
    [RPC_UNAVAILABLE] = {"UNAVAILABLE", ECONNREFUSED},
    [RPC_DATA_LOSS] = {"DATA_LOSS", EBADMSG},
    [RPC_UNAUTHENTICATED] = {"UNAUTHENTICATED", EPERM},
};

const char *rpc_status_name(enum rpc_status status)
{
    size_t i = (size_t)status;
    return i < ARRAY_SIZE(statuses) ? statuses[i].name : "UNKNOWN";
}

int rpc_status_errno(enum rpc_status status)
{
    size_t i = (size_t)status;
    return i < ARRAY_SIZE(statuses) ? -statuses[i].code : -EIO;
}

enum rpc_status rpc_status_of_errno(int code)
{
    switch (code) {
    case -EPERM:
        return RPC_PERMISSION_DENIED;
    case -ENOSPC:
    case -ENOMEM:
    case -EMFILE:
        return RPC_RESOURCE_EXHAUSTED;
    case -EBADMSG:
        return RPC_DATA_LOSS;
    default:
        break;
    }
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        if (-code == statuses[i].code)
            return (enum rpc_status)i;
    return RPC_UNKNOWN;
}
