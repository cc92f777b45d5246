/*
 * What coracle-unpack does, one job a process. Each ends with one JSON object on standard output:
 * {"error":TEXT,"code":ERRNO} or what the job gives.
 *
 *   apply SIZE DIR [LOWER]   in layers/: unpacks descriptor 3 (SIZE bytes, growing while descriptor
 * 4 is open) to DIR/layer/fs over LOWER ("12/fs:11/fs…", top first); gives diffID, bytes, inodes,
 * ignored members                  takes the archive on descriptor 3 apart in its directory; gives
 * members remove NAME…             removes trees of its directory sync                     syncs
 * the file system of its directory
 */
#pragma once

#include "base/json.h"
#include "cri/unpack/confine.h"

/* Runs argv[1], confined as the job needs. Returns the exit status. To be followed by _exit(): no
 * exit handler gets through the filter. */
int job_run(const struct confine_filter *filter, int argc, char **argv);
/* Writes an answer; with err->code the error. */
void job_answer(int fd, json_t *answer, const struct error *err);
