/*
 * Container logs in the CRI format → what `kubectl logs` shows. Pure but for reading one file.
 *
 *   2026-01-02T03:04:05.678901234Z stdout F a whole line
 *   2026-01-02T03:04:05.678901234Z stderr P the first part of a long one
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

#define LOG_LINE_MAX (64u << 10) /* a record longer than this is passed on in pieces */

struct log_options {
    int64_t since; /* nanoseconds since the epoch; 0: everything */
    int64_t tail;  /* lines from the end; -1: all */
    int64_t limit; /* bytes of output; -1: all */
    bool timestamps;
    bool no_stdout, no_stderr;
};

struct log_reader {
    struct log_options options;
    int64_t written; /* bytes of output so far */
    bool in_line;    /* the last record was a part: no timestamp before the next */
    bool full;       /* the limit is reached */
};

/* Turns whole records at the start of @data into output. Returns how many bytes of @data were
 * used; the rest is an unfinished record, to be given again with what follows it. @last: nothing
 * follows. What is no CRI record is passed over. */
size_t log_reader_feed(struct log_reader *r, const char *data, size_t len, bool last,
                       struct strbuf *out);

/* The offset in @fd at which the last @lines lines begin (parts belong to the line that they
 * are of). 0 when there are fewer. -errno. */
int64_t log_tail_offset(int fd, int64_t lines);
