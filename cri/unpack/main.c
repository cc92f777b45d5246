/*
 * coracle-unpack: the image store's worker. It reads what registries and archives send, confined to
 * the one directory it works on. It is started by coracle-cri only.
 *
 *   coracle-unpack serve         in the store's directory: forks a process for each job that
 * arrives on descriptor 3 (serve.h) coracle-unpack JOB ARG…      does one job (jobs.h)
 */
#include <errno.h>
#include <locale.h>

#include "base/strbuf.h"
#include "cri/unpack/jobs.h"
#include "cri/unpack/serve.h"

#define SOCKET_FD 3

static int prepare(struct confine_filter *filter, struct error *err)
{
    if (confine_begin())
        return error_set(err, -ESRCH, "the parent is gone");
    /* Names in pax headers are UTF-8; without a locale of that kind libarchive refuses them. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return error_set(err, -ENOTSUP, "the C.UTF-8 locale is not there");
    return confine_filter_make(filter, err);
}

int main(int argc, char **argv)
{
    struct confine_filter filter;
    struct error err = ERROR_INIT;
    bool serving = argc > 1 && str_eq(argv[1], "serve");
    if (prepare(&filter, &err)) {
        _cleanup_json_ json_t *answer = json_object();
        job_answer(serving ? STDERR_FILENO : STDOUT_FILENO, answer, &err);
        return 1;
    }
    /* No exit handlers: what sanitizers do there needs calls that the filter refuses. */
    _exit(serving ? serve(SOCKET_FD, &filter) : job_run(&filter, argc, argv));
}
