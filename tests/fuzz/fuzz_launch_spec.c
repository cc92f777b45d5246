/* The launch specification, and the image's user database. */
#include <stdint.h>

#include <string.h>

#include "base/strbuf.h"
#include "cri/launch/launch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct launch_job job;
    (void)launch_decode(data, size, &job, NULL);
    launch_job_done(&job);

    /* The same bytes as both files, for whom the first line names. */
    _cleanup_free_ char *text = str_ndup((const char *)data, size);
    _cleanup_free_ char *user = str_ndup(text, strcspn(text, "\n"));
    struct launch_job who = {.spec.process = LAUNCH_PROCESS_INIT};
    who.spec.process.user = user;
    (void)user_lookup(&who, text, text, NULL);
    launch_job_done(&who);
    return 0;
}
