/*
 * Serving jobs: a process that starts once, reads nothing foreign, and forks for each job a process
 * that confines itself and does it. That spares every layer of an image the start of a program (the
 * libraries, the locale, the filter: some 15 ms of processor time on a small machine).
 *
 * A job is one message on a SOCK_SEQPACKET socket: the directory to work in, relative to the
 * store's, and the job's words (jobs.h), each ended by a NUL; with it come descriptors: where the
 * answer goes, and those that become 3, 4, … in the job. The answer ends when its writer is closed.
 * Whoever closes the reader cancels the job: it is killed, and gone before a job that was sent
 * later begins.
 */
#pragma once

#include "cri/unpack/confine.h"

#define JOB_MESSAGE_MAX 16384
#define JOB_WORDS_MAX   128
#define JOB_FDS_MAX     4 /* the answer's among them */

/* Serves until the other side closes; the current directory is the store's. Returns the exit
 * status; jobs that still run die with the process. */
int serve(int sock, const struct confine_filter *filter);
