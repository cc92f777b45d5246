/* Running coracle-unpack; see worker.h. */
#include "cri/image/store_private.h"

#include <errno.h>
#include <string.h>

#include "cri/image/worker.h"

#define ANSWER_MAX (16U << 20)
#define ARGS_MAX   8

struct worker {
    struct process_run *run;
    void (*cb)(const json_t *answer, const struct error *err, void *arg);
    void *arg;
};

/* The job's answer, or why there is none. */
static json_t *read_answer(const struct process_result *result, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(strbuf_text(result->out), result->out->len, NULL);
    const char *said = json_path_string(j, "error");
    if (said) {
        int64_t code = json_path_int(j, "code", EIO);
        (void)error_set(err, code > 0 && code < 4096 ? -(int)code : -EIO, "%.900s", said);
        return NULL;
    }
    if (process_result_error(result, "coracle-unpack", err))
        return NULL;
    if (!json_is_object(j)) {
        (void)error_set(err, -EIO, "coracle-unpack gave no answer");
        return NULL;
    }
    return TAKE_PTR(j);
}

static void on_end(const struct process_result *result, void *arg)
{
    struct worker *worker = arg;
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *answer = read_answer(result, &err);
    worker->cb(answer, answer ? NULL : &err, worker->arg);
    free(worker);
}

struct worker *worker_start(struct image_store *store, const struct worker_spec *spec,
                            void (*cb)(const json_t *answer, const struct error *err, void *arg),
                            void *arg, struct error *err)
{
    const char *argv[ARGS_MAX + 2] = {store->worker};
    for (size_t i = 0; i < ARGS_MAX && spec->args[i]; i++)
        argv[i + 1] = spec->args[i];
    struct worker *worker = mem_zalloc(sizeof(*worker));
    worker->cb = cb;
    worker->arg = arg;
    struct process_spec process = PROCESS_SPEC_INIT;
    process.argv = argv;
    process.cwd = spec->cwd;
    process.extra_fds = spec->fds;
    process.n_extra_fds = spec->n_fds;
    if (process_run(store->loop, &process, NULL, 0, ANSWER_MAX, spec->deadline_ms, on_end, worker,
                    &worker->run, err)) {
        free(worker);
        return NULL;
    }
    return worker;
}

struct worker *worker_cancel(struct worker *worker)
{
    if (worker) {
        process_run_cancel(worker->run);
        free(worker);
    }
    return NULL;
}
