/* Decoding requests: bytes of a peer, held to the protocol (shim_proto.h). */
#include <errno.h>
#include <string.h>

#include "cri/launch_spec.h"
#include "cri/shim/shim.h"

static int take_text(struct request *req, const struct tlv_item *i)
{
    const char *text = tlv_string(i);
    if (!text)
        return -EBADMSG;
    switch (i->tag) {
    case SHIM_CONTAINER:
        req->container = text;
        break;
    case SHIM_EXEC_ID:
        req->exec_id = text;
        break;
    case SHIM_LOG_PATH:
        req->log_path = text;
        break;
    case SHIM_CGROUP:
        req->cgroup = text;
        break;
    case SHIM_OOM_FILE:
        req->oom_file = text;
        break;
    case SHIM_PID_TARGET:
        req->pid_target = text;
        break;
    default:
        req->procs_file = text;
        break;
    }
    return 0;
}

static int take_number(uint64_t *to, uint64_t max, const struct tlv_item *i)
{
    return tlv_u64(i, to) && *to <= max ? 0 : -EBADMSG;
}

int request_decode(const void *data, size_t len, struct request *ret)
{
    struct tlv_reader in = tlv_read(data, len);
    struct tlv_item i;
    uint64_t type = 0, id = 0;
    int r;
    *ret = (struct request){.fds = {-1, -1, -1, -1}};
    while ((r = tlv_next(&in, &i)) > 0) {
        switch (i.tag) {
        case SHIM_TYPE:
            r = take_number(&type, UINT16_MAX, &i);
            break;
        case SHIM_REQUEST:
            r = take_number(&id, UINT32_MAX, &i);
            break;
        case SHIM_CONTAINER:
        case SHIM_EXEC_ID:
        case SHIM_LOG_PATH:
        case SHIM_CGROUP:
        case SHIM_OOM_FILE:
        case SHIM_PROCS_FILE:
        case SHIM_PID_TARGET:
            r = take_text(ret, &i);
            break;
        case SHIM_LOG_MAX_BYTES:
            r = take_number(&ret->log_max_bytes, UINT64_MAX, &i);
            break;
        case SHIM_LOG_MAX_FILES:
            r = take_number(&ret->log_max_files, 1000, &i);
            break;
        case SHIM_STDIN_OPEN:
            r = take_number(&ret->stdin_open, 1, &i);
            break;
        case SHIM_STDIN_ONCE:
            r = take_number(&ret->stdin_once, 1, &i);
            break;
        case SHIM_TTY:
            r = take_number(&ret->tty, 1, &i);
            break;
        case SHIM_PID_MODE:
            r = take_number(&ret->pid_mode, LAUNCH_PID_TARGET, &i);
            break;
        case SHIM_SIGNAL:
            r = take_number(&ret->signo, 64, &i);
            break;
        case SHIM_ALL:
            r = take_number(&ret->all, 1, &i);
            break;
        case SHIM_COLUMNS:
            r = take_number(&ret->columns, UINT16_MAX, &i);
            break;
        case SHIM_ROWS:
            r = take_number(&ret->rows, UINT16_MAX, &i);
            break;
        case SHIM_HOLD:
            r = take_number(&ret->hold, 1, &i);
            break;
        case SHIM_FDS:
            r = take_number(&ret->streams, 7, &i);
            break;
        default:
            break; /* of a later release */
        }
        if (r < 0)
            return r;
    }
    ret->type = (uint16_t)type;
    ret->id = (uint32_t)id;
    return r < 0 || type < SHIM_CREATE ? -EBADMSG : 0;
}

static size_t count_streams(const struct request *req)
{
    return (size_t)__builtin_popcountll(req->streams);
}

int request_check_fds(const struct request *req)
{
    size_t want = req->type == SHIM_CREATE   ? 1
                  : req->type == SHIM_EXEC   ? 1 + count_streams(req)
                  : req->type == SHIM_ATTACH ? count_streams(req)
                                             : 0;
    return req->n_fds == want ? 0 : -EBADMSG;
}

void request_streams(const struct request *req, size_t lead, int fds[3])
{
    size_t at = lead;
    for (int i = 0; i < 3; i++)
        fds[i] = req->streams & (1U << i) && at < req->n_fds ? req->fds[at++] : -1;
}
