/* Work on helper threads; see job.h. */
#include "cri/job.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/strbuf.h"

#define STACK_SIZE (256 * 1024)

struct job {
    struct list entry; /* in waiting or running: the loop's thread only */
    struct jobs *jobs;
    pthread_t thread;
    atomic_bool finished; /* set by the thread as its last act but the wake-up */
    int (*work)(void *data, struct error *err);
    void (*done)(int code, const struct error *err, void *data);
    void (*discard)(void *data); /* NULL: the data is somebody else's */
    void *data;
    int code;
    struct error err;
};

struct jobs {
    struct loop_wakeup wakeup;
    struct list waiting, running;
    unsigned n_running, at_once;
};

static void *run(void *arg)
{
    struct job *job = arg;
    job->code = job->work(job->data, &job->err);
    atomic_store_explicit(&job->finished, true, memory_order_release);
    loop_wake(&job->jobs->wakeup);
    return NULL;
}

static void start_some(struct jobs *jobs)
{
    while (!list_empty(&jobs->waiting) && jobs->n_running < jobs->at_once) {
        struct job *job = LIST_ENTRY(jobs->waiting.next, struct job, entry);
        list_remove(&job->entry);
        list_append(&jobs->running, &job->entry);
        jobs->n_running++;
        pthread_attr_t attr;
        sigset_t all, old;
        (void)pthread_attr_init(&attr);
        (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        int r = pthread_create(&job->thread, &attr, run, job);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
        (void)pthread_attr_destroy(&attr);
        if (r) {
            job->thread = pthread_self(); /* none to join */
            job->code = error_errno(&job->err, -r, "cannot start a thread");
            atomic_store(&job->finished, true);
            loop_wake(&jobs->wakeup);
        }
    }
}

static void join(struct job *job)
{
    if (!pthread_equal(job->thread, pthread_self()))
        (void)pthread_join(job->thread, NULL);
}

static void on_wakeup(void *arg)
{
    struct jobs *jobs = arg;
    struct list finished;
    list_init(&finished);
    LIST_FOR_EACH(e, &jobs->running) {
        struct job *job = LIST_ENTRY(e, struct job, entry);
        if (!atomic_load_explicit(&job->finished, memory_order_acquire))
            continue;
        list_remove(e);
        list_append(&finished, e);
        jobs->n_running--;
    }
    start_some(jobs);
    while (!list_empty(&finished)) {
        struct job *job = LIST_ENTRY(finished.next, struct job, entry);
        list_remove(&job->entry);
        join(job);
        job->done(job->code, &job->err, job->data);
        free(job);
    }
}

struct jobs *jobs_new(struct loop *loop, unsigned at_once)
{
    struct jobs *jobs = mem_zalloc(sizeof(*jobs));
    jobs->at_once = at_once;
    list_init(&jobs->waiting);
    list_init(&jobs->running);
    if (loop_wakeup_init(&jobs->wakeup, loop, "helper threads", on_wakeup, jobs) < 0)
        abort();
    return jobs;
}

static void drop(struct job *job)
{
    if (job->discard)
        job->discard(job->data);
    free(job);
}

struct jobs *jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return NULL;
    LIST_FOR_EACH(e, &jobs->running) {
        struct job *job = LIST_ENTRY(e, struct job, entry);
        join(job);
        drop(job);
    }
    LIST_FOR_EACH(e, &jobs->waiting)
        drop(LIST_ENTRY(e, struct job, entry));
    loop_wakeup_done(&jobs->wakeup);
    free(jobs);
    return NULL;
}

void job_run_owned(struct jobs *jobs, int (*work)(void *data, struct error *err),
                   void (*done)(int code, const struct error *err, void *data),
                   void (*discard)(void *data), void *data)
{
    struct job *job = mem_zalloc(sizeof(*job));
    *job = (struct job){.jobs = jobs, .work = work, .done = done, .discard = discard, .data = data};
    list_append(&jobs->waiting, &job->entry);
    start_some(jobs);
}

void job_run(struct jobs *jobs, int (*work)(void *data, struct error *err),
             void (*done)(int code, const struct error *err, void *data), void *data)
{
    job_run_owned(jobs, work, done, NULL, data);
}
