/* State files: volatile, whole or not there; see shim_proto.h. The working directory is the pod's.
 */
#include <string.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

void state_put(struct strbuf *out, const struct shim_state *s)
{
    tlv_put_string(out, SHIM_CONTAINER, s->id);
    tlv_put_u64(out, SHIM_STATE, s->state);
    tlv_put_u64(out, SHIM_PID, (uint64_t)s->pid);
    tlv_put_u64(out, SHIM_CREATED_AT, (uint64_t)s->created_ns);
    tlv_put_u64(out, SHIM_STARTED_AT, (uint64_t)s->started_ns);
    tlv_put_u64(out, SHIM_FINISHED_AT, (uint64_t)s->finished_ns);
    tlv_put_u64(out, SHIM_EXIT_CODE, (uint64_t)s->exit_code);
    tlv_put_u64(out, SHIM_SIGNAL, (uint64_t)s->signal);
    tlv_put_u64(out, SHIM_OOM, s->oom_killed);
}

void state_save(const struct shim_state *s)
{
    _cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
    _cleanup_free_ char *path = str_printf("state/%s", s->id);
    state_put(&data, s);
    /* Without it a dead shim's container is reported as killed: nothing better can be done here. */
    (void)fs_write_atomic(path, data.data, data.len, 0600, FS_VOLATILE, NULL);
}

void state_remove(const char *id)
{
    _cleanup_free_ char *path = str_printf("state/%s", id);
    (void)unlink(path);
}
